"""Bringing back what was deleted, with all that went along with it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson

from sync.core.records import key_of
from sync.models import Origin
from sync.problems import ChangeRejected
from sync.push import edit
from sync.push.storing import Stored
from sync.push.tree import CHILDREN
from sync.push.validating import Rejected
from sync.sql import cursor
from sync.tables import TABLES
from workspaces.access import Caller
from workspaces.ids import uuid7
from workspaces.problems import NotFound

_WENT_ALONG = """
    SELECT t.key FROM {table} t WHERE t.space_id = %b AND t.{column} = ANY(%b)
    AND t.deleted AND t.cascaded AND t.version = %b"""


def restore_deleted(caller: Caller, space_id: UUID, type_: str, id_: str, seen: int) -> Stored:
    """Make a deleted record again, and what hung on it when it was deleted, in one change set.

    What leads to something that is gone (a link to a segment deleted elsewhere) stays deleted.
    Raises `NotFound`, or `ChangeRejected` where what the record hangs on is gone.
    """
    root = _loaded(space_id, type_, [key_of(type_, id_)])
    if not root or not root[0]["deleted"]:
        raise NotFound
    returning = [*root, *_went_along(space_id, root[0])]
    return _taken(edit(caller, space_id, [_made_again(record) for record in returning], Origin.RESTORE, seen))


def restore_version(caller: Caller, space_id: UUID, change: dict[str, Any]) -> Stored:
    """Take a change that brings back a version of a record, and with a deleted one what hung on it."""
    along = going_along(space_id, change["type"], change["id"])
    return _taken(edit(caller, space_id, [change, *along], Origin.RESTORE))


def _taken(stored: Stored) -> Stored:
    """What was made again goes first; what hangs on it may have lost its other end since."""
    first = stored.outcome.results[0]
    if isinstance(first, Rejected):
        raise ChangeRejected(first.error)
    return stored


def going_along(space_id: UUID, type_: str, id_: str) -> list[dict[str, Any]]:
    """The changes that bring back what hung on a deleted record when it was deleted; none if it lives."""
    root = _loaded(space_id, type_, [key_of(type_, id_)])
    if not root or not root[0]["deleted"]:
        return []
    return [_made_again(record) for record in _went_along(space_id, root[0])]


def _went_along(space_id: UUID, root: dict[str, Any]) -> list[dict[str, Any]]:
    """The tombstones that the deletion of `root` left, parents before children."""
    found: dict[bytes, dict[str, Any]] = {}
    level = [root]
    while level:
        below = []
        for parent in sorted({record["type"] for record in level}):
            keys = [record["key"] for record in level if record["type"] == parent]
            for child, column in CHILDREN.get(parent, ()):
                query = _WENT_ALONG.format(table=TABLES[child].name, column=column)
                rows = cursor().execute(query, (space_id, keys, root["version"]))
                wanted = [key for (key,) in rows if bytes(key) not in found]
                below += _loaded(space_id, child, wanted) if wanted else []
        level = [record for record in below if found.setdefault(record["key"], record) is record]
    return list(found.values())


def _loaded(space_id: UUID, type_: str, keys: list[bytes]) -> list[dict[str, Any]]:
    rows = cursor().execute(TABLES[type_].load, (space_id, keys))
    return [
        {
            "type": type_,
            "key": bytes(key),
            "id": id_,
            "version": version,
            "deleted": deleted,
            "record": orjson.loads(text),
        }
        for key, version, _born, deleted, _cascaded, _versions, id_, text in rows
    ]


def _made_again(found: dict[str, Any]) -> dict[str, Any]:
    """The change that makes a record of what its tombstone still holds."""
    return {
        "change_id": str(uuid7()),
        "type": found["type"],
        "id": found["id"],
        "base": found["version"],
        "set": {name: value for name, value in found["record"].items() if value is not None},
    }
