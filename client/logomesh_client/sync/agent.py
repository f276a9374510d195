"""The agent: a round whenever the file or a space has changed, and now and then in case nobody said so."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Final

from logomesh_client.file import LogoMeshFile, NotAttached, State
from logomesh_client.sync.rounds import Report, sync_once
from logomesh_client.wire import Server
from logomesh_client.wire.errors import WireError
from logomesh_client.wire.pacing import Backoff

_LOOK: Final = 0.05
"""Seconds between two looks at whether the app has written: they cost some microseconds."""
_LOOK_IDLE: Final = 0.15
_IDLE_AFTER: Final = 10.0
_POLL: Final = 60.0
_POLL_ALONE: Final = 15.0
"""The same while there are no live events."""
_LAYOUT: Final = 10.0
"""Moves alone are sent no oftener than this: LogoMesh's canvas writes 220 positions a second, for ever."""
_PROOF: Final = 30.0
_FILE_BUSY: Final = 5.0
_NOTHING: Final = 1.0
"""Seconds for which the app's writes are let be after there was nothing in them to send but moves."""


class Agent:
    """Keeps one file in step with one server for as long as `run` goes on.

    `spaces`: only these of the file's. `new_identity` gives a server for a token of our own when another copy
    of the file has used this one's. `told` hears of every round.
    """

    def __init__(
        self,
        path: Path | str,
        server: Server,
        *,
        spaces: Iterable[str] | None = None,
        new_identity: Callable[[], Server] | None = None,
        told: Callable[[Report], None] = lambda report: None,
        poll: float = _POLL,
        layout: float = _LAYOUT,
    ) -> None:
        self.path, self.server = Path(path), server
        self._spaces = None if spaces is None else list(spaces)
        self._new_identity, self._told = new_identity, told
        self._poll, self._layout = poll, layout
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._news = False
        """Somebody else has changed a space, or may have."""
        self._listening = False
        self._seen: dict[str, int] = {}
        self._backoff = Backoff(least=1.0)
        self._next_poll = self._not_before = self._next_layout = self._next_proof = self._next_look = 0.0

    def stop(self) -> None:
        """End `run` soon; from any thread, or from a signal."""
        self._stop.set()
        self._wake.set()

    def sync_now(self) -> None:
        """Do a round at once; from any thread."""
        self._next_poll = self._not_before = 0.0
        self._wake.set()

    def run(self) -> None:
        """Go on until `stop`. Raises `NotLogoMesh` if the file is none (any more), `NotAttached` if it was
        detached, or replaced by a backup from before it was attached."""
        listener = threading.Thread(target=self._listen, name="live events", daemon=True)
        listener.start()
        try:
            while not self._stop.is_set():
                with LogoMeshFile.open(self.path) as file:
                    self._keep(file)
        finally:
            self.stop()
            with suppress(AttributeError):
                self._live.close()
            listener.join(timeout=5)

    def _keep(self, file: LogoMeshFile) -> None:
        """Keep this file in step until it is another one (a backup was put in its place)."""
        known, changed_at = -1, monotonic()
        inode = self.path.stat().st_ino
        looked_for_inode = monotonic()
        while not self._stop.is_set():
            now = monotonic()
            if now - looked_for_inode > 1:
                looked_for_inode = now
                with suppress(OSError):
                    if self.path.stat().st_ino != inode:
                        return
            try:
                version = file.data_version()
                if version != known:
                    known, changed_at = version, now
                    file.refresh()  # a backup may have been copied over it
                    if not file.attached:
                        raise NotAttached(f"{self.path.name} is not attached any more.")
                if now >= self._not_before and (
                    self._news or now >= self._next_poll or self._has_written(file, now)
                ):
                    self._round(file, now)
            except sqlite3.OperationalError:
                self._not_before = now + _FILE_BUSY  # the app holds the file
            self._wake.wait(_LOOK if now - changed_at < _IDLE_AFTER else _LOOK_IDLE)
            self._wake.clear()

    def _has_written(self, file: LogoMeshFile, now: float) -> bool:
        """Whether the app has written something that is worth sending now."""
        if now < self._next_look or not file.has_marks():
            return False
        moves = now >= self._next_layout
        found = any(
            file.pending(link.space, layout=moves) is not None
            for link in file.links()
            if self._spaces is None or link.space in self._spaces
        )
        self._next_look = 0.0 if found else now + _NOTHING
        return found

    def _round(self, file: LogoMeshFile, now: float) -> None:
        polling = now >= self._next_poll
        moves = now >= self._next_layout
        self._news = False
        report = sync_once(
            file, self.server, self._spaces,
            layout=moves, proof=polling or now >= self._next_proof,
            new_identity=self._identity if self._new_identity else None,
        )  # fmt: skip
        self._seen = {link.space: link.seen for link in file.links()}
        if moves or self._next_layout == 0:
            self._next_layout = monotonic() + self._layout
        if report.proved:
            self._next_proof = monotonic() + _PROOF
        self._plan(report, polling)
        self._told(report)

    def _plan(self, report: Report, polling: bool) -> None:
        now = monotonic()
        if report.state in (State.OFFLINE, State.DEGRADED) and not report.got_through:
            asked = max((one.retry_after or 0.0 for one in report.spaces), default=0.0)
            self._not_before = self._next_poll = now + self._backoff.wait(asked)
            return
        self._backoff.reset()
        if polling:
            poll = self._poll if self._listening else min(self._poll, _POLL_ALONE)
            self._next_poll = now + poll * random.uniform(0.8, 1.2)  # noqa: S311 - only spreads the load

    def _identity(self) -> Server:
        assert self._new_identity is not None
        self.server = self._new_identity()
        return self.server

    # Live events, in a thread of their own

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                self._live = self.server.live(Backoff(least=1.0))
                for event in self._live:
                    self._listening = event.kind != "lost"
                    if event.kind == "open" or event.kind == "access":
                        self._next_poll = self._not_before = 0.0
                    elif event.kind != "head" or event.version <= self._seen.get(event.space, -1):
                        continue
                    self._news = True
                    self._wake.set()
            except WireError:
                self._listening = False  # the next round finds out why
            self._stop.wait(_POLL_ALONE)
