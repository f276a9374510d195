"""A push, in the order of its stages: received → validated → merged → stored → announced."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg

from sync.models import Origin
from sync.problems import CursorExpired, PushTooLarge
from sync.push.merging import merge_changes
from sync.push.receiving import Received, receive
from sync.push.storing import Stored, store
from sync.push.validating import Validated, validate
from sync.writing import Author, ChangeSet, change_set
from workspaces.access import Caller, open_space
from workspaces.roles import Act


def push(caller: Caller, space_id: UUID, body: bytes, encoding: str = "") -> Stored:
    """Take a push as it came over the wire."""
    return accept(caller, space_id, validate(receive(body, encoding)), Origin.PUSH)


def accept(caller: Caller, space_id: UUID, validated: Validated, origin: Origin) -> Stored:
    """Merge validated changes into a space, in one transaction.

    The right to write is asked for again once the space is held: nothing is accepted after
    the commit that took it away.
    """
    author = Author(caller.person_id, caller.device_id)
    try:
        with change_set(space_id, author=author, origin=origin) as changes:
            open_space(caller, space_id, Act.WRITE)
            _check_life(changes, validated)
            return store(changes, merge_changes(changes, validated))
    except psycopg.errors.ProgramLimitExceeded:
        raise PushTooLarge(
            "The values are too large to be kept together with what they replace. Nothing was applied."
            " Cut the text into several segments."
        ) from None


def edit(caller: Caller, space_id: UUID, changes: list[Any], origin: Origin, seen: int = 0) -> Stored:
    """Take changes that a page or an endpoint of this server makes for a person.

    `seen` is the version of the space that the person had before their eyes: it counts for deletions.
    """
    return accept(caller, space_id, validate(Received(None, seen, changes)), origin)


def _check_life(changes: ChangeSet, validated: Validated) -> None:
    """A client that knows another life of the space, or its future, must not write into this one."""
    if validated.epoch not in (None, changes.epoch) or validated.seen > changes.head:
        raise CursorExpired(
            "rolled-back",
            "The server was restored from a backup since this device last pulled. Nothing was applied."
            " Compare with the digest, then send the changes again.",
        )
