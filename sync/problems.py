"""What can go wrong with a pull, a push or a conflict, as the client is told."""

from __future__ import annotations

from typing import Any

from workspaces.problems import Problem


class Malformed(Problem):
    type = "malformed"
    status = 400
    title = "The request cannot be read"


class InvalidParameter(Problem):
    type = "invalid-parameter"
    status = 400
    title = "A parameter of the address cannot be used"


class PushTooLarge(Problem):
    type = "push-too-large"
    status = 413
    title = "The push is too large"


class UnsupportedEncoding(Problem):
    type = "unsupported-encoding"
    status = 415
    title = "The encoding of the body is not supported"


class CursorExpired(Problem):
    """`reason` says why: purged, rolled-back, cloned, future or foreign."""

    type = "cursor-expired"
    status = 410
    title = "The cursor cannot be continued"

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.extra = {"reason": reason}


class SpaceBusy(Problem):
    type = "space-busy"
    status = 503
    title = "The space is busy"

    def __init__(self) -> None:
        super().__init__(
            "Somebody else is changing this space. Nothing of yours was applied; send it again shortly.",
            retry_after=1,
        )


class ConflictResolved(Problem):
    type = "conflict-resolved"
    status = 409
    title = "Somebody has resolved this conflict already"


class NoSuchThought(Problem):
    type = "no-such-thought"
    status = 404
    title = "The space does not have this thought"


class AlreadyThere(Problem):
    """`ids` lists up to 100 pairs of type and id."""

    type = "already-there"
    status = 409
    title = "The other space has records with these ids"


class StillInConflict(Problem):
    """`conflicts` lists up to 100 ids."""

    type = "still-in-conflict"
    status = 409
    title = "Somebody must decide a conflict first"


class ChangeRejected(Problem):
    """A change that a page or an endpoint wanted to make, rejected as it would be in a push."""

    type = "invalid-change"
    status = 400
    title = "The change cannot be taken"

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(
            error["detail"], extra={"type": f"/problems/{error['type']}", "title": error["title"]}
        )
