"""Reads the records of a space for an export: all of one moment, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final
from uuid import UUID

import orjson
import psycopg
from django.db import connection, transaction

from sync.core.records import Record, key_of
from sync.pull.scope import ALL, Scope, parameters
from sync.pull.scoped import condition
from sync.sql import cursor
from sync.tables import TABLES

_numbers = count()
_SMALLEST, _LARGEST = 20, 2_000
_BATCH_BYTES: Final = 4 * 1024**2
_ORDER: Final = {
    "thoughts": "t.created_at, t.id",
    "embeddings": "t.owner_key, t.id",
    "segments": "t.thought_key, t.sort_order NULLS FIRST, t.created_at NULLS FIRST, t.id",
}
"""LogoMesh orders what has the same time by rowid, so rows go into the file in this order."""
_NOT_CARRIED: Final = """NOT (t.owner_type = 'segments' AND t.model = 'unknown' AND EXISTS (
    SELECT FROM sync_segment_related_context c WHERE c.space_id = t.space_id
    AND c.segment_key = t.owner_key AND c.context_type = 'embedding' AND NOT c.deleted))"""
"""An import makes these embeddings of the context row itself."""


@dataclass(frozen=True)
class Chosen:
    """A space, or what a scope chooses of it."""

    space_id: UUID
    scope: Scope = ALL

    @property
    def parameters(self) -> dict[str, Any]:
        return {"space": self.space_id, **parameters(self.scope)}


@contextmanager
def one_moment() -> Iterator[datetime]:
    """All that is read inside is of one moment, however long it takes; nobody has to wait for it."""
    outermost = not connection.in_atomic_block
    with transaction.atomic():
        if outermost:  # else the transaction under way decides
            cursor().execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield datetime.now(UTC)


def records(chosen: Chosen, type_: str) -> Iterator[tuple[str, Record]]:
    """(id, record) of each live record of a type."""
    table = TABLES[type_]
    query = (
        f"SELECT t.id, {table.record_json} FROM {table.name} t"
        f" WHERE t.space_id = %(space)b AND NOT t.deleted AND {_chosen(type_, chosen.scope)}"
        f" ORDER BY {_ORDER.get(type_, 't.created_at, t.id')}"
    )
    for id_, text in _streamed(query, chosen.parameters):
        yield id_, _record(text)


def joined(chosen: Chosen, type_: str) -> Iterator[tuple[bytes, str, Record]]:
    """(key of the thought, id, record) of thoughts, segments or thought_tags, by thought, newest first.

    A link has the name and the colour of its tag in it (`tag_name`, `tag_color`).
    """
    table = TABLES[type_]
    own = type_ == "thoughts"
    order = {"thoughts": "t.id", "segments": "t.sort_order, t.created_at, t.id", "thought_tags": "t.id"}[
        type_
    ]
    tag = (
        "json_build_object('tag_name', g.name, 'tag_color', g.color)::text"
        if type_ == "thought_tags"
        else "'{}'"
    )
    query = (
        f"SELECT h.key, t.id, {tag}, {table.record_json} FROM {table.name} t"
        f" JOIN sync_thoughts h ON h.space_id = t.space_id AND h.key = t.{'key' if own else 'thought_key'}"
        + (
            " JOIN sync_tags g ON g.space_id = t.space_id AND g.key = t.tag_key AND NOT g.deleted"
            if type_ == "thought_tags"
            else ""
        )
        + f" WHERE t.space_id = %(space)b AND NOT t.deleted AND NOT h.deleted"
        f" AND {_chosen(type_, chosen.scope)} ORDER BY h.created_at DESC NULLS LAST, h.key, {order}"
    )
    for key, id_, more, text in _streamed(query, chosen.parameters):
        yield bytes(key), id_, _record(text) | orjson.loads(more)


def tied(chosen: Chosen) -> set[bytes]:
    """Keys of the thoughts of which two segments have the same `sort_order` and time."""
    rows = cursor().execute(
        "SELECT DISTINCT thought_key FROM sync_segments WHERE space_id = %b AND NOT deleted"
        " GROUP BY thought_key, sort_order, created_at HAVING count(*) > 1",
        (chosen.space_id,),
    )
    return {bytes(key) for (key,) in rows}


def kept_beside(chosen: Chosen, type_: str) -> list[str]:
    """The names that records of a type have in `extra`, but for `originals`."""
    table = TABLES[type_]
    rows = cursor().execute(
        f"SELECT DISTINCT jsonb_object_keys(t.extra) FROM {table.name} t WHERE t.space_id = %(space)b"
        f" AND NOT t.deleted AND t.extra <> '{{}}' AND {_chosen(type_, chosen.scope)}",
        chosen.parameters,
    )
    return [name for (name,) in rows if name != "originals"]


def counts(chosen: Chosen) -> dict[str, int]:
    """Type -> live records."""
    found = {}
    for name, table in TABLES.items():
        query = (
            f"SELECT count(*) FROM {table.name} t"
            f" WHERE t.space_id = %(space)b AND NOT t.deleted AND {_chosen(name, chosen.scope)}"
        )
        row = cursor().execute(query, chosen.parameters).fetchone()
        found[name] = int(row[0]) if row else 0
    return found


def hashes(space_id: UUID, type_: str, ids: Sequence[str]) -> dict[bytes, int]:
    """Key -> hash of some live records."""
    rows = cursor().execute(
        f"SELECT key, hash FROM {TABLES[type_].name} WHERE space_id = %b AND key = ANY(%b) AND NOT deleted",
        (space_id, [key_of(type_, id_) for id_ in ids]),
    )
    return dict(rows)


def some(space_id: UUID, type_: str, ids: Sequence[str]) -> dict[str, Record]:
    """Id -> record of some live records."""
    table = TABLES[type_]
    rows = cursor().execute(
        f"SELECT t.id, {table.record_json} FROM {table.name} t"
        " WHERE t.space_id = %b AND t.key = ANY(%b) AND NOT t.deleted",
        (space_id, [key_of(type_, id_) for id_ in ids]),
    )
    return {id_: _record(text) for id_, text in rows}


def _chosen(type_: str, scope: Scope) -> str:
    condition_ = condition(type_, scope) if scope else "true"
    return f"{condition_} AND {_NOT_CARRIED}" if type_ == "embeddings" else condition_


def _record(text: str) -> Record:
    record: Record = orjson.loads(text)
    for name in ("type", "id", "version"):
        del record[name]
    return record


def _streamed(query: str, values: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Rows of a query, fetched in batches of a few megabytes."""
    size = _SMALLEST
    rows = psycopg.ServerCursor(connection.connection, f"export_{next(_numbers)}")
    rows.execute(query, values)
    while batch := rows.fetchmany(size):
        yield from batch
        average = sum(len(row[-1]) for row in batch) // len(batch) + 1
        size = max(_SMALLEST, min(_LARGEST, _BATCH_BYTES // average))
    rows.close()  # one that is given up half-way ends with its transaction
