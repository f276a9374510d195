"""What a file is attached to: the spaces whose records stand in it, and how far each of them is in step."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

_NOT_REFUSED: Final = frozenset(
    {"missing-parent", "other-space", "no-id", "id-is-a-blob", "id-is-not-utf8", "id-with-nul", "id-too-long"}
)


ROLLED_BACK: Final = "rolled-back"
FORGETFUL: Final = frozenset({ROLLED_BACK, "foreign", "future"})
"""Why a cursor cannot be continued, where the server may have forgotten what it had."""


class State(Enum):
    """How things stand with one space of a file. Reads and writes of the app never wait for any of them."""

    ONLINE = "online"  # the last exchange with the server went well
    DEGRADED = "degraded"  # the server answers, but not as it should: busy, read-only, archived
    OFFLINE = "offline"  # the server is not reached: the normal state of a laptop
    ACCESS_LOST = "access-lost"  # the space may no longer be seen: what was not sent is put aside
    ATTENTION = "attention"  # a person must look: something was refused, or two copies differ twice


@dataclass(frozen=True)
class SpaceLink:
    """A space to attach a file to."""

    space: str
    """Its id on the server."""
    server: str
    """The server's address, without `/api/v1`."""
    name: str = ""
    scope: dict[str, Any] = field(default_factory=dict)
    """Selective sync: the scope filters of a pull (`tag`, `cluster`, `updated_after`, `updated_before`)."""


@dataclass(frozen=True)
class Link:
    """One space of an attached file, as it stands in the file's own tables."""

    number: int
    space: str
    server: str
    name: str
    home: bool
    """New thoughts go there."""
    scope: dict[str, Any]
    cursor: str | None
    """Where the next pull goes on; None until the first pull is complete."""
    epoch: str | None
    seen: int
    """The version of the space up to which it was pulled."""
    pulled: bool
    """Whether it was pulled to the end once. Nothing is sent before that."""
    anew: str
    """Why the space is pulled from its beginning once more: the server's reason; "" if it is not."""
    state: State
    reason: str
    """Why the state is not `online`, in words; "" if it is."""
    contact: float | None
    """When the server last answered, in seconds since 1970."""
    proof: float | None
    """When the copy last proved equal to the server's by its digest, in seconds since 1970."""
    proof_version: int | None
    """The version of the space at that time."""


@dataclass(frozen=True)
class Waiting:
    """A change that cannot be sent as it is, and why. It is kept until it can, or a person decides."""

    space: str | None
    type: str
    id: str
    reason: str
    """The server's problem type (`missing-parent`, `invalid-value` …) or `other-space`."""
    detail: str

    @property
    def refused(self) -> bool:
        """Whether the server did not take it. The others wait for what they hang on, or are no records."""
        return self.reason not in _NOT_REFUSED


@dataclass(frozen=True)
class Push:
    """What goes to the server in one push: stored in the file before it is sent, and sent again as it is."""

    space: str
    epoch: str | None
    seen: int
    changes: list[dict[str, Any]]


@dataclass(frozen=True)
class Digest:
    """What `GET …/digest` says of a space, computed from the file."""

    version: int
    records: int
    sectors: tuple[int, ...]
    """256 numbers of 64 bits: the XOR of the hashes of each sector's records."""

    @property
    def whole(self) -> int:
        total = 0
        for sector in self.sectors:
            total ^= sector
        return total
