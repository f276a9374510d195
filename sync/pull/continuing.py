"""Whether a cursor can be continued: the server finds out by itself when something went wrong.

Each reason has the same repair, the digest sector by sector (`docs/sync-protocol.md`).
"""

from __future__ import annotations

from uuid import UUID

from sync.problems import CursorExpired
from sync.pull.cursors import Cursor, FromTheFuture, Unreadable, decode
from sync.pull.reading import Head, read_head
from sync.sql import cursor as sql_cursor

# One statement remembers the cursor and says what was remembered; it only writes when the
# device has moved on.
_REMEMBER = """
    WITH before AS (
        SELECT version, key FROM sync_devicecursor WHERE device_id = %(device)b AND space_id = %(space)b),
    moved AS (
        INSERT INTO sync_devicecursor (device_id, space_id, version, key, seen_at)
        SELECT %(device)b, %(space)b, %(version)b, %(key)b, now()
        WHERE NOT EXISTS (SELECT FROM before WHERE (version, key) >= (%(version)b, %(key)b))
        ON CONFLICT (device_id, space_id) DO UPDATE
        SET version = excluded.version, key = excluded.key, seen_at = excluded.seen_at
        WHERE (sync_devicecursor.version, sync_devicecursor.key) < (excluded.version, excluded.key)
    )
    SELECT EXISTS (SELECT FROM before WHERE (version, key) > (%(version)b, %(key)b))"""
_FORGET = "DELETE FROM sync_devicecursor WHERE device_id = %b AND space_id = %b"
_NEW_LIFE = "UPDATE sync_spacehead SET epoch = gen_random_uuid() WHERE space_id = %b AND epoch = %b"


def continued(space_id: UUID, device_id: UUID | None, text: str) -> tuple[Cursor, Head]:
    """The cursor of a request and the head of its space. Raises `CursorExpired`."""
    try:
        cursor = decode(text)
    except FromTheFuture:
        raise CursorExpired("future", "A newer server wrote this cursor. Compare with the digest.") from None
    except Unreadable:
        raise _foreign() from None
    if cursor.space_id != space_id:
        raise _foreign()
    head = read_head(space_id, cursor.version)
    if cursor.epoch != head.epoch:
        raise _rolled_back()
    if cursor.version > head.head or (cursor.made_at and cursor.made_at != head.made_at):
        sql_cursor().execute(_NEW_LIFE, (space_id, head.epoch))
        raise _rolled_back()
    if max(cursor.version, cursor.fresh_until) < head.purged_before:
        raise CursorExpired(
            "purged",
            "This device was away for longer than the server remembers deletions. Compare with the digest.",
        )
    if device_id is not None and _is_behind(device_id, cursor):
        raise CursorExpired(
            "cloned",
            "This device has pulled further than this cursor before: there are two copies of one file, or"
            " the file was restored. Take an identity of your own, then go on with this cursor.",
        )
    return cursor, head


def forget(space_id: UUID, device_id: UUID | None) -> None:
    """A pull without a cursor begins anew."""
    if device_id is not None:
        sql_cursor().execute(_FORGET, (device_id, space_id), prepare=True)


def _is_behind(device_id: UUID, cursor: Cursor) -> bool:
    parameters = {
        "device": device_id,
        "space": cursor.space_id,
        "version": cursor.version,
        "key": cursor.key,
    }
    row = sql_cursor().execute(_REMEMBER, parameters, prepare=True).fetchone()
    return bool(row and row[0])


def _foreign() -> CursorExpired:
    return CursorExpired("foreign", "This server did not give this cursor for this space. Pull without one.")


def _rolled_back() -> CursorExpired:
    return CursorExpired(
        "rolled-back",
        "The server was restored from a backup since this device last pulled. Compare with the digest,"
        " sector by sector, and keep what you have not pushed.",
    )
