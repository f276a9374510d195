"""Reading the feed: each live record once, at its latest version, and tombstones, in version order.

Every query takes up after the last row of the one before. A record that changes meanwhile
moves to a higher version and is read there, so no long transaction is needed and the
server's memory does not grow with the space.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Final
from uuid import UUID

from sync import replica
from sync.core.changes import CONFLICTS
from sync.core.limits import MAX_PAGE_BYTES
from sync.pull import scoped
from sync.pull.cursors import END, START, Cursor
from sync.pull.scope import ALL, Scope, Wish
from sync.sql import cursor as sql_cursor
from sync.sql import reading_in_order
from sync.tables import CONFLICT_FEED_JSON, TABLES

# The size of a step is written into the statement: with LIMIT as a parameter PostgreSQL's
# generic plan sorts the whole space.
_STEPS: Final = (128, 1_000, 5_000)
_STEP_BYTES: Final = 4 * 1024 * 1024
_MANY: Final = 100  # change sets

_HEAD = """
    SELECT h.head, h.epoch, h.purged_before,
           (SELECT (extract(epoch FROM c.at) * 1000000)::int8 FROM sync_changeset c
            WHERE c.space_id = h.space_id AND c.version = %b)
    FROM sync_spacehead h WHERE h.space_id = %b"""


@dataclass(frozen=True)
class Head:
    """The state of a space, and when the asked version was made (None: never)."""

    head: int
    epoch: UUID
    purged_before: int
    made_at: int | None


@dataclass(frozen=True)
class Step:
    """Some rows of the feed, as JSON texts, and the place after the last one."""

    changes: list[str]
    cursor: Cursor
    head: int
    more: bool


def read_head(space_id: UUID, version: int = 0) -> Head:
    """The head of a space that is known to exist."""
    row = sql_cursor().execute(_HEAD, (version, space_id), prepare=True).fetchone()
    assert row is not None, "a trigger gives every space a head"
    return Head(*row)


def dated(cursor: Cursor) -> Cursor:
    """The cursor with the moment at which its version was made, ready to be given to a client."""
    if cursor.made_at:
        return cursor
    return replace(cursor, made_at=read_head(cursor.space_id, cursor.version).made_at or 0)


def start(space_id: UUID, head: Head, scope: Scope = ALL) -> Cursor:
    """The cursor of a first pull."""
    return Cursor(space_id, head.epoch, 0, START, 0, head.head, Wish(scope).packed())


def rescoped(cursor: Cursor, scope: Scope) -> Cursor:
    """The cursor with another scope: what the device has already is not sent again."""
    wish = Wish.unpacked(cursor.filters)
    if wish.scope == scope:
        return cursor
    before = wish.scope if wish.before is None else wish.before
    torn = wish.torn or wish.before is not None or cursor.key != END
    return replace(cursor, filters=Wish(scope, before, torn=torn, broken=wish.before is not None).packed())


def scope_of(cursor: Cursor) -> Scope:
    return Wish.unpacked(cursor.filters).scope


def steps(cursor: Cursor, head: int, limit: int | None, *, embeddings: bool = False) -> Iterator[Step]:
    """Read on from a cursor, a piece at a time, until `limit` records or the end of the feed.

    `head` was read before: all up to it is complete once the feed is exhausted. What is large comes from the
    replica, if there is one that has caught up.
    """
    if _is_large(cursor, head) and replica.has(cursor.space_id, cursor.epoch, head):
        for step in replica.each(_steps(cursor, head, limit, embeddings)):
            yield step
            cursor = step.cursor
            limit = None if limit is None else limit - len(step.changes)
            if not step.more or limit == 0:
                return
    yield from _steps(cursor, head, limit, embeddings)


def _is_large(cursor: Cursor, head: int) -> bool:
    """A first pull, a pull that is under way, or one after many change sets: worth asking twice."""
    return cursor.key != END or head - cursor.version > _MANY


def _steps(cursor: Cursor, head: int, limit: int | None, embeddings: bool) -> Iterator[Step]:
    wish = Wish.unpacked(cursor.filters)
    if (cursor.version, cursor.key) == (head, END) and wish == wish.whole():
        yield Step([], cursor, head, more=False)  # nothing new, as most pulls find
        return
    size = _STEPS[0]
    left = limit
    while True:
        wanted = size if left is None else min(size, left)
        changes, cursor, more = _piece(cursor, wanted, embeddings)
        if not more:
            filters = Wish.unpacked(cursor.filters).whole().packed()
            version = max(head, cursor.version)
            cursor = replace(cursor, version=version, key=END, made_at=0, filters=filters)
        yield Step(changes, cursor, max(head, cursor.version), more)
        if left is not None:
            left -= len(changes)
        if not more or left == 0:
            return
        if changes:
            average = sum(map(len, changes)) // len(changes) + 1
            size = max(step for step in _STEPS if step == _STEPS[0] or step * average <= _STEP_BYTES)


def _piece(cursor: Cursor, wanted: int, embeddings: bool) -> tuple[list[str], Cursor, bool]:
    """The next changes, at most `wanted`; the place after them; and whether to ask again."""
    wish = Wish.unpacked(cursor.filters)
    if wish.before is not None:
        return _changing_piece(cursor, wish, wanted, embeddings)
    if wish.scope:
        rows, more = scoped.rows(cursor, wish, wanted, embeddings=embeddings)
    else:
        rows = _rows(cursor, next(step for step in _STEPS if step >= wanted), embeddings)
        rows, more = rows[:wanted], len(rows) > wanted
    after = _behind(cursor, rows[-1]) if rows else cursor
    if wish.scope and not more and (later := scoped.after_first(after, wish)):
        after, more = later, True
    return [change for _, _, change in rows], after, more


def _behind(cursor: Cursor, row: tuple[int, bytes, str]) -> Cursor:
    return replace(cursor, version=row[0], key=bytes(row[1]), made_at=0)


def _changing_piece(
    cursor: Cursor, wish: Wish, wanted: int, embeddings: bool
) -> tuple[list[str], Cursor, bool]:
    rows = list(scoped.changing(cursor, wish, wanted, embeddings=embeddings))
    if len(rows) > wanted:
        thought, row, _ = rows[wanted - 1]
        wish = replace(wish, done=(bytes(thought), bytes(row)))
    else:
        wish = Wish(wish.scope, torn=bool(wish.scope))
    return [change for _, _, change in rows[:wanted]], replace(cursor, filters=wish.packed()), True


def page(cursor: Cursor, head: int, limit: int, *, embeddings: bool = False) -> Step:
    """One page: up to `limit` records, fewer where they are large."""
    changes: list[str] = []
    size = 0
    step = None
    for step in steps(cursor, head, limit, embeddings=embeddings):
        changes += step.changes
        size += sum(map(len, step.changes))
        if size > MAX_PAGE_BYTES:
            break
    assert step is not None
    return replace(step, changes=changes)


def _rows(cursor: Cursor, size: int, embeddings: bool) -> list[tuple[int, bytes, str]]:
    parameters = {
        "space": cursor.space_id,
        "version": cursor.version,
        "key": cursor.key,
        "fresh": cursor.fresh_until,
    }
    cur = sql_cursor()
    touched, until = cur.execute(_TOUCHED, parameters, prepare=True).fetchone() or ([], 0)
    names = tuple(name for name in touched if embeddings or name not in _OPT_IN)
    if not names:
        return []
    cur.format = cur.format.__class__.BINARY
    # What is committed between the two statements may be of other types: it comes with the next pull.
    query, values = _query(size, names), {**parameters, "until": until}
    if _is_large(cursor, until):
        with reading_in_order():
            return cur.execute(query, values, prepare=False).fetchall()
    return cur.execute(query, values, prepare=True).fetchall()


_PLACE: Final = "t.space_id = %(space)b AND (t.version, t.key) > (%(version)b::int8, %(key)b)"
_OPT_IN: Final = frozenset(table.type.name for table in TABLES.values() if table.type.opt_in)
_SOURCES: Final = {
    **{
        name: (table.name, table.feed_json, " AND (NOT t.deleted OR t.version > %(fresh)b::int8)")
        for name, table in TABLES.items()
    },
    CONFLICTS: ("sync_conflicts", CONFLICT_FEED_JSON, ""),
}
"""Type -> table, JSON of a change, and which rows are left out."""
_TOUCHED: Final = (
    "SELECT array_remove(ARRAY[{}], NULL), (SELECT head FROM sync_spacehead WHERE space_id = %(space)b)"
).format(
    ", ".join(
        f"(SELECT '{name}' FROM {table} t WHERE {_PLACE} ORDER BY t.version, t.key LIMIT 1)"
        for name, (table, _, _) in _SOURCES.items()
    )
)
"""Which types have anything after a place, and the head in that moment. Most pulls bring one or two; each
type that is asked for its changes costs a fifth of a millisecond before its first row.

With EXISTS instead of the first row in order, PostgreSQL may expect to meet a row soon, and read the
whole table in vain."""


@cache
def _query(size: int, names: tuple[str, ...]) -> str:
    parts = [
        f"(SELECT t.version, t.key, {change} AS change FROM {table} t WHERE {_PLACE}{live}"
        f" AND t.version <= %(until)b::int8 ORDER BY t.version, t.key LIMIT {size + 1})"
        for table, change, live in (_SOURCES[name] for name in names)
    ]
    return f"SELECT * FROM ({' UNION ALL '.join(parts)}) c ORDER BY version, key LIMIT {size + 1}"
