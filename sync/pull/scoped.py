"""The feed of a scope: rows of the thoughts that are in it, and the names of those that left.

A row's place in this feed is its own version or, if that is later, the version since which its
thought has been in the scope. So a thought that comes in arrives whole behind every cursor
that is older than its coming, however old its segments are; one that left is named at the
version of its leaving. Nothing has to be remembered about any device.

A first pull goes by version alone, up to the head that it began at: nothing was sent before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from sync.core.schema import RECORD_TYPES
from sync.pull.cursors import END, Cursor
from sync.pull.scope import Scope, Wish, is_in, parameters, since, until
from sync.sql import cursor as sql_cursor
from sync.sql import reading_in_order
from sync.tables import CONFLICT_FEED_JSON, TABLES

_STEP: Final = 1_000

Row = tuple[int, bytes, str]
"""Place (a version), key and JSON text of one change."""


def rows(cursor: Cursor, wish: Wish, size: int, *, embeddings: bool) -> tuple[list[Row], bool]:
    """Up to `size` changes behind a cursor, and whether there may be more."""
    shape = _shape(wish.scope)
    values = parameters(wish.scope)
    if _is_first(cursor):
        with reading_in_order():
            found = _ask(_first(shape, size, embeddings), cursor, values, prepare=False)
    else:
        found = _ask(_later(shape, size, embeddings, wish.torn or cursor.key != END), cursor, values)
    return found[:size], len(found) > size


def _is_first(cursor: Cursor) -> bool:
    return (cursor.version, cursor.key) < (cursor.fresh_until, END)


def after_first(cursor: Cursor, wish: Wish) -> Cursor | None:
    """Where to go on once the rows of a first pull are exhausted; None if this is no first pull."""
    if not _is_first(cursor):
        return None
    filters = replace(wish, torn=True).packed()
    return replace(cursor, version=cursor.fresh_until, key=END, filters=filters)


def changing(
    cursor: Cursor, wish: Wish, size: int, *, embeddings: bool
) -> Iterator[tuple[bytes, bytes, str]]:
    """What another scope brings and takes: (key of the thought, key of the row, JSON text).

    Only rows that the device does not have: up to the cursor, of thoughts that are in the
    scope now and were not in the one before. The feed brings the rest.
    """
    assert wish.before is not None
    query = _change(_shape(wish.before), _shape(wish.scope), size, embeddings, wish.torn, wish.broken)
    values = parameters(wish.before, "old_") | parameters(wish.scope)
    thought, row = wish.done
    yield from _ask(query, cursor, values | {"done_thought": thought, "done_row": row})


def condition(type_: str, scope: Scope) -> str:
    """SQL condition on a row `t` of a type: does it belong to a thought in the scope."""
    return _owner_condition(type_, is_in(scope))


def _ask(query: str, cursor: Cursor, values: dict[str, Any], *, prepare: bool | None = None) -> list[Any]:
    place = {
        "space": cursor.space_id,
        "version": cursor.version,
        "key": cursor.key,
        "fresh": cursor.fresh_until,
    }
    return sql_cursor().execute(query, place | values, prepare=prepare).fetchall()


def _shape(scope: Scope) -> Scope:
    """The scope without its values: what decides the text of a statement."""
    return Scope(
        ("*",) if scope.tags else (),
        ("*",) if scope.clusters else (),
        scope.updated_after and "*",
        scope.updated_before and "*",
    )


def _holder(type_: str) -> str | None:
    """The column with the key of what a row hangs on and follows; None for tags, which hang on nothing."""
    parents = RECORD_TYPES[type_].parents
    if type_ == "thoughts":
        return "key"
    if type_ == "embeddings":
        return "owner_key"
    first = next((name for name, parent in parents.items() if parent != "tags"), None)
    return None if first is None else f"{first.removesuffix('_id')}_key"


def _hangs_on_segment(type_: str) -> bool:
    return _holder(type_) not in (None, "key", "thought_key")


def _movable(type_: str) -> str | None:
    """The field by which a record can be hung on something else, if it has one."""
    parents = RECORD_TYPES[type_].parents
    return next(iter(parents), None) if RECORD_TYPES[type_].own_id else None


def _owner_condition(type_: str, in_scope: str) -> str:
    """SQL condition: the thought on which a row `t` hangs, directly or not, is live and in the scope."""
    holder = _holder(type_)
    if holder is None:
        return "true"
    if type_ == "thoughts":
        return f"EXISTS (SELECT FROM sync_thoughts x {_THOUGHT.format('t.key')} AND {in_scope})"
    of_thought = f"EXISTS (SELECT FROM sync_thoughts x {_THOUGHT.format(f't.{holder}')} AND {in_scope})"
    of_segment = (
        "EXISTS (SELECT FROM sync_segments o JOIN sync_thoughts x ON x.space_id = o.space_id"
        f" AND x.key = o.thought_key WHERE o.space_id = t.space_id AND o.key = t.{holder}"
        f" AND NOT x.deleted AND {in_scope})"
    )
    if holder == "thought_key":
        return of_thought
    return f"({of_thought} OR {of_segment})" if type_ == "embeddings" else of_segment


_THOUGHT: Final = "WHERE x.space_id = t.space_id AND x.key = {0} AND NOT x.deleted"


def _types(embeddings: bool) -> list[str]:
    return [name for name, type_ in RECORD_TYPES.items() if embeddings or not type_.opt_in]


_BEHIND: Final = "(t.version, t.key) > (%(version)b::int8, %(key)b)"


@lru_cache(maxsize=256)
def _first(scope: Scope, size: int, embeddings: bool) -> str:
    in_scope = is_in(scope)
    parts = [
        f"(SELECT t.version, t.key, {TABLES[name].feed_json} FROM sync_{name} t"
        f" WHERE t.space_id = %(space)b AND {_BEHIND} AND t.version <= %(fresh)b AND NOT t.deleted"
        f" AND {_owner_condition(name, in_scope)} ORDER BY t.version, t.key LIMIT {size + 1})"
        for name in _types(embeddings)
    ]
    parts.append(_conflicts(size, "AND t.version <= %(fresh)b"))
    return f"{' UNION ALL '.join(parts)} ORDER BY 1, 2 LIMIT {size + 1}"


@lru_cache(maxsize=256)
def _later(scope: Scope, size: int, embeddings: bool, torn: bool) -> str:
    in_scope = is_in(scope)
    parts = []
    for name in _types(embeddings):
        table, holder = TABLES[name], _holder(name)
        if holder is None:
            parts.append(
                f"(SELECT t.version, t.key, {table.feed_json} FROM {table.name} t"
                f" WHERE t.space_id = %(space)b AND {_BEHIND} AND (NOT t.deleted OR t.version > %(fresh)b)"
                f" ORDER BY t.version, t.key LIMIT {size + 1})"
            )
            continue
        followed = _owner_condition(name, in_scope)
        # A tombstone goes to everybody, at its own version: in which scopes the record was
        # while it lived, nobody can say any more, and a name costs little.
        wanted = f"CASE WHEN t.deleted THEN t.version > %(fresh)b ELSE {followed} END"
        changed = (
            "SELECT CASE WHEN t.deleted THEN t.version ELSE greatest(t.version, h.since) END,"
            f" t.key, {table.feed_json}"
            f" FROM {table.name} t LEFT JOIN holders h ON h.key = t.{holder}"
            f" WHERE t.space_id = %(space)b AND {_BEHIND} AND {wanted}"
        )
        arrived = (
            f"SELECT h.since, t.key, {table.feed_json} FROM holders h JOIN {table.name} t"
            f" ON t.space_id = %(space)b AND t.{holder} = h.key"
            f" WHERE NOT t.deleted AND NOT {_BEHIND} AND (h.since, t.key) > (%(version)b::int8, %(key)b)"
        )
        parts.append(f"({changed} UNION ALL {arrived} ORDER BY 1, 2 LIMIT {size + 1})")
        if (field := _movable(name)) is not None:
            moved = f"(t.field_versions ->> '{field}')::int8"
            parts.append(
                f"SELECT {moved}, t.key, {_stub(name, 't', moved)} FROM {table.name} t"
                f" WHERE t.space_id = %(space)b AND t.version >= %(version)b::int8 AND NOT t.deleted"
                f" AND ({moved}, t.key) > (%(version)b::int8, %(key)b) AND {moved} > %(fresh)b"
                f" AND NOT {followed}"
            )
        if torn and _hangs_on_segment(name):
            parts.append(
                f"SELECT l.until, t.key, {_stub(name, 't', 'l.until')} FROM leaving l JOIN {table.name} t"
                f" ON t.space_id = %(space)b AND t.{holder} = l.key WHERE NOT t.deleted"
                " AND (l.until, t.key) > (%(version)b::int8, %(key)b)"
            )
    parts.append(_conflicts(size, ""))
    parts.append(
        f"SELECT j.until, j.key, {_stub('thoughts', 'j', 'j.until')} FROM judged j"
        " WHERE NOT j.inside AND j.until > %(fresh)b AND (j.until, j.key) > (%(version)b::int8, %(key)b)"
    )
    return f"WITH {_judged(scope)} {' UNION ALL '.join(parts)} ORDER BY 1, 2 LIMIT {size + 1}"


def _judged(scope: Scope) -> str:
    """CTEs: thoughts whose being in the scope may have changed behind the cursor, and what follows them.

    `holders` are the thoughts and segments in the scope, with the version since which what
    hangs on them is in it too, where that may lie behind the cursor. `leaving` are the segments
    that left it behind the cursor: a device in the middle of a pull may hold what hangs on one
    without the segment itself, and cannot know then that it left too.
    """
    changed = "WHERE t.space_id = %(space)b AND t.version >= %(version)b::int8"
    candidates = [f"SELECT t.key FROM sync_thoughts t {changed}"]
    if scope.tags:
        candidates.append(f"SELECT t.thought_key FROM sync_thought_tags t {changed}")
    if scope.clusters:
        candidates.append(f"SELECT t.thought_key FROM sync_segments t {changed}")
        candidates.append(
            "SELECT substr(sha256(convert_to('thoughts/' || (h.old -> 'thought_id' ->> 0), 'UTF8')), 1, 16)"
            " FROM sync_history h WHERE h.space_id = %(space)b AND h.version >= %(version)b::int8"
            " AND h.old ? 'thought_id'"
        )
    moved = "(t.field_versions ->> 'thought_id')::int8"
    return f"""
        candidates AS ({" UNION ".join(candidates)}),
        judged AS MATERIALIZED (
            SELECT x.key, x.id, {is_in(scope)} AS inside, {since(scope)} AS since, {until(scope)} AS until
            FROM sync_thoughts x JOIN candidates c ON c.key = x.key
            WHERE x.space_id = %(space)b AND NOT x.deleted),
        holders AS MATERIALIZED (
            SELECT j.key, j.since FROM judged j WHERE j.inside
            UNION ALL
            SELECT t.key, greatest(j.since, {moved})
            FROM judged j JOIN sync_segments t ON t.space_id = %(space)b AND t.thought_key = j.key
            WHERE j.inside AND NOT t.deleted
            UNION ALL
            SELECT t.key, {moved} FROM sync_segments t {changed} AND {moved} >= %(version)b::int8
            AND NOT t.deleted AND t.thought_key NOT IN (SELECT j.key FROM judged j WHERE j.inside)
            AND {_owner_condition("segments", is_in(scope))}),
        leaving AS (
            SELECT t.key, j.until
            FROM judged j JOIN sync_segments t ON t.space_id = %(space)b AND t.thought_key = j.key
            WHERE NOT j.inside AND j.until > %(fresh)b AND NOT t.deleted
            UNION ALL
            SELECT t.key, {moved} FROM sync_segments t {changed} AND {moved} > %(fresh)b
            AND NOT t.deleted AND NOT {_owner_condition("segments", is_in(scope))})"""


@lru_cache(maxsize=256)
def _change(old: Scope, new: Scope, size: int, embeddings: bool, torn: bool, broken: bool) -> str:
    # In the middle of a pull the device may have a part only of what came into the old scope just there.
    before = "<" if torn else "<="
    had = f"({is_in(old, 'old_')} AND {since(old, 'old_')} {before} %(version)b::int8)" if old else "true"
    if broken:
        had = "false"
    left_old = (
        f"({is_in(old, 'old_')} OR {until(old, 'old_')} > %(version)b::int8)" if old and not torn else "true"
    )
    brought = [
        f"SELECT h.thought, t.key, {TABLES[name].feed_json} FROM holders h JOIN {TABLES[name].name} t"
        f" ON t.space_id = %(space)b AND t.{holder} = h.key"
        f" WHERE NOT t.deleted AND NOT {_BEHIND} AND (h.thought, t.key) > (%(done_thought)b, %(done_row)b)"
        for name in _types(embeddings)
        if (holder := _holder(name)) is not None
    ]
    named = [
        f"SELECT j.key, j.key, {_stub('thoughts', 'j', 'j.version')} FROM moving j"
        " WHERE j.goes AND (j.key, j.key) > (%(done_thought)b, %(done_row)b)"
    ]
    if torn:
        named += [
            f"SELECT j.key, t.key, {_stub(name, 't', 't.version')} FROM moving j"
            " JOIN sync_segments o ON o.space_id = %(space)b AND o.thought_key = j.key"
            f" JOIN {TABLES[name].name} t ON t.space_id = %(space)b AND t.{_holder(name)} = o.key"
            " WHERE j.goes AND NOT t.deleted AND (j.key, t.key) > (%(done_thought)b, %(done_row)b)"
            for name in _types(embeddings)
            if _hangs_on_segment(name)
        ]
    return f"""
        WITH moving AS MATERIALIZED (
            SELECT x.key, x.id, x.version,
                   {is_in(new)} AND NOT {had} AS comes, NOT {is_in(new)} AND {left_old} AS goes
            FROM sync_thoughts x
            WHERE x.space_id = %(space)b AND NOT x.deleted AND x.key >= %(done_thought)b),
        holders AS MATERIALIZED (
            SELECT m.key AS thought, m.key FROM moving m WHERE m.comes
            UNION ALL
            SELECT m.key, o.key FROM moving m JOIN sync_segments o
            ON o.space_id = %(space)b AND o.thought_key = m.key AND NOT o.deleted WHERE m.comes)
        {" UNION ALL ".join([*brought, *named])} ORDER BY 1, 2 LIMIT {size + 1}"""


def _stub(type_: str, row: str, version: str) -> str:
    """SQL: the name of a record that left the scope, as one change of the feed."""
    start = f"""concat('{{"type":"{type_}","id":', to_json({row}.id), ',"version":', """
    return f"""{start}{version}, ',"out_of_scope":true}}')"""


def _conflicts(size: int, more: str) -> str:
    return (
        f"(SELECT t.version, t.key, {CONFLICT_FEED_JSON} FROM sync_conflicts t"
        f" WHERE t.space_id = %(space)b AND {_BEHIND} {more} ORDER BY t.version, t.key LIMIT {size + 1})"
    )
