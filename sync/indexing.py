"""Keeps the search index in step with the spaces, in the background.

Nobody who writes waits for it: an entry is made after the commit, by whoever works tasks off.
What the index has not reached yet, `sync.searching` reads directly. Why: docs/decisions/search.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import psycopg
from django.db import transaction

from sync.sql import cursor

MAX_TITLE: Final = 1_000
MAX_TEXT: Final = 100_000
"""So many characters of a text are searched: PostgreSQL refuses documents of more than 1 MiB."""
BATCH: Final = 2_000
"""So many records of a type are indexed in one transaction, and a little more where a version has more."""


@dataclass(frozen=True)
class Searched:
    """What of a record type is found: its title weighs more than its text."""

    title: str
    text: str
    thought: str
    """SQL for the id of the thought that the record belongs to (alias t)."""

    @property
    def document(self) -> str:
        """SQL for what the index holds of a record: its words, and its space as a word of its own."""
        return (
            "array_to_tsvector(ARRAY[t.space_id::text])"
            f" || setweight({words(f'left(t.{self.title}, {MAX_TITLE})')}, 'A')"
            f" || setweight({words(f'left(t.{self.text}, {MAX_TEXT})')}, 'B')"
        )


def words(text: str) -> str:
    """SQL for the words of a text. PostgreSQL's parser takes paths and addresses for one word each."""
    return f"to_tsvector('simple', translate(coalesce({text}, ''), '/@_.:', '     '))"


SEARCHED: Final = {
    "thoughts": Searched("title", "description", "t.id"),
    "segments": Searched("title", "content", "t.thought_id"),
}

# While somebody fills a space, say with an import, the index waits: that work goes first. But not for long.
_LAGGING: Final = """
    SELECT h.space_id FROM sync_spacehead h LEFT JOIN sync_searchindex i ON i.space_id = h.space_id
    WHERE h.head > coalesce(i.upto, 0) AND (
        coalesce(i.not_before < now(), true)
        AND NOT EXISTS (SELECT FROM sync_changeset c WHERE c.space_id = h.space_id AND c.version = h.head
                        AND c.at > now() - interval '3 seconds')
        OR (SELECT c.at FROM sync_changeset c
            WHERE c.space_id = h.space_id AND c.version > coalesce(i.upto, 0)
            ORDER BY c.version LIMIT 1) < now() - interval '5 minutes')"""
_POSTPONE: Final = """
    UPDATE sync_searchindex SET not_before = now() + interval '10 seconds' WHERE space_id = %b"""
_BEGIN: Final = "INSERT INTO sync_searchindex (space_id, upto) VALUES (%b, 0) ON CONFLICT DO NOTHING"
# Not a lock on the row: who postpones the index would wait for the batch under way.
_HOLD: Final = "SELECT pg_try_advisory_xact_lock(hashtextextended('search index ' || %b::uuid::text, 0))"
_REACHED: Final = """
    SELECT i.upto, h.head FROM sync_searchindex i JOIN sync_spacehead h ON h.space_id = i.space_id
    WHERE i.space_id = %b"""
_FAR_ENOUGH: Final = """
    SELECT version FROM sync_{type} WHERE space_id = %b AND version > %b AND version <= %b
    ORDER BY version LIMIT 1 OFFSET {batch}"""
_INDEX: Final = """
    INSERT INTO sync_searchentry (space_id, key, type, version, document)
    SELECT t.space_id, t.key, '{type}', t.version, {document} FROM sync_{type} t
    WHERE t.space_id = %b AND t.version > %b AND t.version <= %b AND NOT t.deleted
    ON CONFLICT (space_id, key) DO UPDATE SET version = excluded.version, document = excluded.document"""
_FORGET: Final = """
    DELETE FROM sync_searchentry e USING sync_{type} t
    WHERE t.space_id = %b AND t.version > %b AND t.version <= %b AND t.deleted
      AND e.space_id = t.space_id AND e.key = t.key"""
_ADVANCE: Final = """
    UPDATE sync_searchindex SET upto = %b WHERE space_id = %b
    RETURNING coalesce(not_before > clock_timestamp(), false)"""


def lagging() -> list[UUID]:
    """Spaces of which the index does not hold the latest version, and in which it is quiet."""
    return [space for (space,) in cursor().execute(_LAGGING)]


def postpone(space_id: UUID) -> None:
    """Have the index wait for ten seconds more: somebody needs the processors for work on this space."""
    cur = cursor()
    cur.execute(_BEGIN, (space_id,))
    cur.execute(_POSTPONE, (space_id,))


def catch_up(space_id: UUID) -> None:
    """Index what changed in a space, a batch a transaction; no more than one while it is to wait."""
    while _index_batch(space_id):
        pass


def _index_batch(space_id: UUID) -> bool:
    """Whether to go on at once. Another worker at the same space makes this one leave."""
    with transaction.atomic():
        cur = cursor()
        cur.execute(_BEGIN, (space_id,))
        is_held = cur.execute(_HOLD, (space_id,)).fetchone() == (True,)
        row = cur.execute(_REACHED, (space_id,)).fetchone() if is_held else None
        if row is None or row[0] >= row[1]:
            return False
        after, head = row
        upto = min(_far_enough(cur, type_, space_id, after, head) for type_ in SEARCHED)
        for type_, searched in SEARCHED.items():
            cur.execute(_INDEX.format(type=type_, document=searched.document), (space_id, after, upto))
            cur.execute(_FORGET.format(type=type_), (space_id, after, upto))
        is_to_wait = cur.execute(_ADVANCE, (upto, space_id)).fetchone() == (True,)
        return bool(upto < head) and not is_to_wait


def _far_enough(cur: psycopg.Cursor[Any], type_: str, space_id: UUID, after: int, head: int) -> int:
    query = _FAR_ENOUGH.format(type=type_, batch=BATCH)
    row = cur.execute(query, (space_id, after, head)).fetchone()
    return row[0] if row else head
