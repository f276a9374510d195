"""How much room shared spaces take, for those who pay for the disk. Private ones are not weighed."""

from __future__ import annotations

from typing import Final

from django.db import connection

from sync.tables import TABLES

ROW: Final = 28
"""Bytes that PostgreSQL takes for a row, whatever is in it."""


def _sum(table: str, columns: tuple[str, ...]) -> str:
    """SQL: the bytes of the rows of a space, as they lie on the disk; long values are compressed there."""
    cells = " + ".join(f"coalesce(pg_column_size({column}), 0)" for column in columns)
    return f"(SELECT coalesce(sum({ROW} + {cells}), 0) FROM {table} WHERE space_id = h.space_id)"


_ALL: Final = " + ".join(
    [_sum(table.name, ("space_id", *table.columns)) for table in TABLES.values()]
    + [_sum("sync_history", ("space_id", "key", "version", "old", "lost", "act"))]
)
_WEIGH: Final = f"""
    INSERT INTO sync_spacesize (space_id, version, bytes, at)
    SELECT h.space_id, h.head, {_ALL}, now() FROM sync_spacehead h WHERE h.space_id = %s
    ON CONFLICT (space_id) DO UPDATE SET
        version = excluded.version, bytes = excluded.bytes, at = excluded.at"""
_CHANGED: Final = """
    SELECT h.space_id FROM sync_spacehead h JOIN workspaces_space s ON s.id = h.space_id
    LEFT JOIN sync_spacesize w ON w.space_id = h.space_id
    WHERE s.kind = 'shared' AND w.version IS DISTINCT FROM h.head ORDER BY w.at NULLS FIRST"""


def weigh_changed_spaces() -> None:
    """Weigh the records and the history of each shared space that has changed since it was weighed."""
    with connection.cursor() as cursor:
        cursor.execute(_CHANGED)
        for (space_id,) in cursor.fetchall():
            cursor.execute(_WEIGH, [space_id])
