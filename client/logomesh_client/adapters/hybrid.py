"""Thoughts in a LogoMesh file that is kept in step with a space. Nobody waits for the network."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from logomesh_client.adapters.contract import Health, NotOpen
from logomesh_client.adapters.sqlite import SQLiteStorageAdapter
from logomesh_client.file import LogoMeshFile, SpaceLink, State
from logomesh_client.sync import sync_once
from logomesh_client.wire import Backoff, Server

_POLL_SECONDS: Final = 5.0
_END_SECONDS: Final = 5.0


class HybridStorageAdapter(SQLiteStorageAdapter):
    """A file, attached to a space and synced in the background.

    What is written is in the file when the call returns, and on the server as soon as it can be reached. What
    others wrote appears when it has come. `health_check` is about the file; `state` about the server.
    """

    def __init__(
        self, path: Path | str, server: Server, space: str, *, poll_seconds: float = _POLL_SECONDS
    ) -> None:
        """`poll_seconds`: how long at most until something is noticed that others, or the app, changed."""
        super().__init__(path)
        self.server = server
        self.space = space
        self._poll = poll_seconds
        self._thread: threading.Thread | None = None
        self._turn = threading.Condition()
        self._asked = 0
        """Number of the newest wish for a round."""
        self._done = 0
        """Number of the newest wish that a round has begun after."""
        self._ending = False
        self._state = (State.OFFLINE, "Not asked yet.")

    def initialize(self) -> None:
        """Attaches the file if it is not attached yet; needs no network.

        Raises `NotLogoMesh`, and `NotAttached` where the file is attached to other spaces only.
        """
        if self._thread is not None:
            return
        super().initialize()
        try:
            with LogoMeshFile.open(self.path) as file:
                if not file.attached:
                    file.attach(SpaceLink(self.space, self.server.address.url))
                file.link(self.space)
        except BaseException:
            super().close()
            raise
        self._ending = False
        self._thread = threading.Thread(target=self._keep_in_step, name="logomesh-sync", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """What was not sent stays in the file, for the next time."""
        if self._thread is not None:
            with self._turn:
                self._ending = True
                self._turn.notify_all()
            self._thread.join(_END_SECONDS)
            self._thread = None
        super().close()

    def health_check(self) -> Health:
        health = super().health_check()
        state, reason = self._state
        if health["status"] == "ok" and state is not State.ONLINE:
            health["message"] = f"{state.value}: {reason}"
        return health

    # The server

    @property
    def state(self) -> State:
        """How things stood with the server after the last round."""
        return self._state[0]

    def unsent(self) -> int:
        """How many records have changes that the server does not have."""
        with LogoMeshFile.open(self.path) as file:
            return file.unsent(self.space)

    def sync(self, timeout: float = 60) -> bool:
        """Wait until a round has run that began after this call. Whether all is sent and the server well."""
        until = time.monotonic() + timeout
        wish = self._wish()
        with self._turn:
            while self._done < wish:
                if self._thread is None or not self._turn.wait(until - time.monotonic()):
                    return False
        return self.state is State.ONLINE and not self.unsent()

    def _wish(self) -> int:
        if self._thread is None:
            raise NotOpen
        with self._turn:
            self._asked += 1
            self._turn.notify_all()
            return self._asked

    def _keep_in_step(self) -> None:
        backoff = Backoff()
        with LogoMeshFile.open(self.path) as file:
            while not self._ending:
                wish = self._asked
                [report] = sync_once(file, self.server, [self.space]).spaces
                if report.state is State.ONLINE:
                    backoff.reset()
                    wait = self._poll
                else:
                    wait = max(self._poll, backoff.wait(report.retry_after))
                with self._turn:
                    self._state = (report.state, report.reason)
                    self._done = wish
                    self._turn.notify_all()
                    self._turn.wait_for(self._has_work, wait)

    def _has_work(self) -> bool:
        return self._ending or self._asked > self._done

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Each write wishes for a round."""
        with super()._writing():
            yield
        self._wish()
