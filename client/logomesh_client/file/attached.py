"""The one door to a LogoMesh file: opened, attached, read, written in short transactions, detached."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from logomesh_client.file.dialects import Dialect
from logomesh_client.file.links import Digest, Link, Push, SpaceLink, State, Waiting
from logomesh_client.records import Record


class NotAttached(Exception):
    """The file is not attached to this space (or to none)."""


class LogoMeshFile:
    """A LogoMesh file, open. For one thread; the app may read and write it meanwhile."""

    path: Path
    dialect: Dialect

    @classmethod
    def open(cls, path: Path | str) -> LogoMeshFile:
        """Open a file that LogoMesh wrote, attached or not. Raises `NotLogoMesh`."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    # Attaching

    @property
    def attached(self) -> bool:
        raise NotImplementedError

    @property
    def file_id(self) -> str:
        """A random id, made when the file was attached; the name under which its token is kept."""
        raise NotImplementedError

    def attach(self, home: SpaceLink, others: Sequence[SpaceLink] = ()) -> None:
        """Make our tables and triggers in one transaction. Every row that is there counts as changed.
        On an attached file: adds the spaces that are missing."""
        raise NotImplementedError

    def detach(self) -> None:
        """Take away all that attaching made: schema and rows stay just as LogoMesh has them."""
        raise NotImplementedError

    def links(self) -> list[Link]:
        """The spaces of the file, the home first; [] if it is not attached."""
        raise NotImplementedError

    def link(self, space: str) -> Link:
        raise NotImplementedError

    def set_state(self, space: str, state: State, reason: str = "") -> None:
        raise NotImplementedError

    def set_scope(self, space: str, scope: dict[str, Any]) -> None:
        """Another filter for selective sync; the next pull changes to it."""
        raise NotImplementedError

    # What the file holds

    def record(self, type_: str, id_: str) -> tuple[str | None, Record] | None:
        """(space, record) as the file's row has it now, unsent edits included; None if there is no row."""
        raise NotImplementedError

    def agreed(self, space: str, type_: str, id_: str) -> tuple[int, Record] | None:
        """(version, record) as last agreed with the server."""
        raise NotImplementedError

    def space_of(self, type_: str, id_: str) -> str | None:
        raise NotImplementedError

    # Going out

    def unsent(self, space: str) -> int:
        """How many records have changes that the server has not acknowledged."""
        raise NotImplementedError

    def pending(self, space: str, limit: int = 1000, layout: bool = True) -> Push | None:
        """The next push: first what was sent without an answer, exactly as it was; else what changed since,
        stored before it is returned. None: there is nothing. `layout=False` leaves mere moves for later."""
        raise NotImplementedError

    def answered(self, space: str, push: Push, answer: dict[str, Any]) -> None:
        """Take the server's answer (`{"version", "results"}`) to a push."""
        raise NotImplementedError

    def resolve(self, space: str, conflict: str, decision: dict[str, Any]) -> None:
        """Decide a conflict, also offline: `{"take": …}` or `{"set": {…}}`; goes out with the next push."""
        raise NotImplementedError

    def conflicts(self, space: str, state: str = "open") -> list[dict[str, Any]]:
        raise NotImplementedError

    def waiting(self) -> list[Waiting]:
        """What cannot be sent as it is."""
        raise NotImplementedError

    # Coming in

    def apply(self, space: str, changes: Iterable[dict[str, Any]]) -> int:
        """Apply changes of the feed in short transactions, as they come. What has unsent edits is left alone.
        Returns how many records changed. Then `advance`."""
        raise NotImplementedError

    def advance(self, space: str, *, cursor: str, epoch: str, head: int, complete: bool) -> None:
        """Everything up to this cursor was applied."""
        raise NotImplementedError

    def digest(self, space: str) -> Digest:
        raise NotImplementedError

    def put_aside(self, space: str, reason: str) -> int:
        """Access was taken away: keep the unsent work for `rescue`, remove the local copy of the space."""
        raise NotImplementedError

    def rescue(self) -> list[dict[str, Any]]:
        """All that was put aside or refused, as JSON objects."""
        raise NotImplementedError
