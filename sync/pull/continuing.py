"""Whether a cursor can be continued: the server finds out by itself when something went wrong.

Each reason has the same repair, the digest sector by sector (`docs/sync-protocol.md`).
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sync.problems import CursorExpired
from sync.pull.cursors import Cursor, FromTheFuture, Unreadable, decode
from sync.pull.reading import Head
from sync.sql import cursor as sql_cursor

_STATE = """
    SELECT h.head, h.epoch, h.purged_before,
           (SELECT (extract(epoch FROM c.at) * 1000000)::int8 FROM sync_changeset c
            WHERE c.space_id = h.space_id AND c.version = %(version)b),
           d.version, d.key, d.seen_at < now() - interval '1 minute'
    FROM sync_spacehead h
    LEFT JOIN sync_devicecursor d ON d.space_id = h.space_id AND d.device_id = %(device)b
    WHERE h.space_id = %(space)b"""
_REMEMBER = """
    INSERT INTO sync_devicecursor (device_id, space_id, version, key, seen_at)
    VALUES (%(device)b, %(space)b, %(version)b, %(key)b, now())
    ON CONFLICT (device_id, space_id) DO UPDATE
    SET version = excluded.version, key = excluded.key, seen_at = excluded.seen_at
    WHERE (sync_devicecursor.version, sync_devicecursor.key) <= (excluded.version, excluded.key)"""
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
    head, remembered, long_ago = _state(device_id, cursor)
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
    if remembered is not None and remembered > cursor.place:
        raise CursorExpired(
            "cloned",
            "This device has pulled further than this cursor before: there are two copies of one file, or"
            " the file was restored. Take an identity of your own, then go on with this cursor.",
        )
    # That a device hears nothing new is written once a minute at most: else each pull would be a write.
    if device_id is not None and (remembered != cursor.place or long_ago):
        sql_cursor().execute(_REMEMBER, _named(device_id, cursor), prepare=True)
    return cursor, head


def forget(space_id: UUID, device_id: UUID | None) -> None:
    """A pull without a cursor begins anew."""
    if device_id is not None:
        sql_cursor().execute(_FORGET, (device_id, space_id), prepare=True)


def _state(device_id: UUID | None, cursor: Cursor) -> tuple[Head, tuple[int, bytes] | None, bool]:
    """The head of the cursor's space, the furthest place that the device has presented, and whether that
    was over a minute ago."""
    row = sql_cursor().execute(_STATE, _named(device_id, cursor), prepare=True).fetchone()
    assert row is not None, "a trigger gives every space a head"
    *head, version, key, long_ago = row
    return Head(*head), None if version is None else (version, bytes(key)), bool(long_ago)


def _named(device_id: UUID | None, cursor: Cursor) -> dict[str, Any]:
    return {
        "device": device_id,
        "space": cursor.space_id,
        "version": cursor.version,
        "key": cursor.key,
    }


def _foreign() -> CursorExpired:
    return CursorExpired("foreign", "This server did not give this cursor for this space. Pull without one.")


def _rolled_back() -> CursorExpired:
    return CursorExpired(
        "rolled-back",
        "The server was restored from a backup since this device last pulled. Compare with the digest,"
        " sector by sector, and keep what you have not pushed.",
    )
