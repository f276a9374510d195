"""Second stage of a push: each change checked in all that needs no database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sync.core.changes import Change, Refused, read_change
from sync.push.receiving import Received


@dataclass(frozen=True)
class Rejected:
    """A change that cannot be taken, and the error that the client is told."""

    change_id: str | None
    error: dict[str, Any]


@dataclass(frozen=True)
class Validated:
    epoch: UUID | None
    seen: int
    changes: list[Change | Rejected]


def validate(received: Received) -> Validated:
    return Validated(
        received.epoch,
        received.seen,
        [_validated(number, raw) for number, raw in enumerate(received.changes)],
    )


def _validated(number: int, raw: Any) -> Change | Rejected:
    try:
        return read_change(raw)
    except Refused as refused:
        return Rejected(_shown_id(raw), error_of(refused, number))


def _shown_id(raw: Any) -> str | None:
    """The change_id as the client wrote it, if an answer can carry it."""
    change_id = raw.get("change_id") if isinstance(raw, dict) else None
    return change_id if isinstance(change_id, str) and change_id.isascii() else None


def error_of(refused: Refused, number: int) -> dict[str, Any]:
    """A refused change as a problem in its result."""
    return {
        "type": refused.type,
        "title": refused.title,
        "detail": refused.detail,
        "pointer": f"/changes/{number}{refused.pointer}",
    }
