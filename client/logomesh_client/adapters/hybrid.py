"""Thoughts in a LogoMesh file that is kept in step with a space. Nobody waits for the network."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Final

from logomesh_client.adapters.contract import Health, NotOpen
from logomesh_client.adapters.sqlite import SQLiteStorageAdapter
from logomesh_client.file import LogoMeshFile, SpaceLink, State
from logomesh_client.sync import Agent, Report
from logomesh_client.wire import Server

_END_SECONDS: Final = 5.0


class HybridStorageAdapter(SQLiteStorageAdapter):
    """A file, attached to a space and synced in the background.

    What is written is in the file when the call returns, and on the server as soon as it can be reached. What
    others wrote appears when it has come. `health_check` is about the file; `state` about the server.
    """

    def __init__(self, path: Path | str, server: Server, space: str) -> None:
        super().__init__(path)
        self.server = server
        self.space = space
        self._agent: Agent | None = None
        self._thread: threading.Thread | None = None
        self._told = threading.Condition()
        self._rounds = 0
        self._is_syncing = False
        self._state = (State.OFFLINE, "The server was not asked yet.")

    def initialize(self) -> None:
        """Attaches the file if it is not attached yet; needs no network.

        Raises `NotLogoMesh`, and `NotAttached` where the file is attached to other spaces only.
        """
        if self._agent is not None:
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
        self._agent = Agent(self.path, self.server, spaces=[self.space], told=self._take)
        self._is_syncing = True
        self._thread = threading.Thread(
            target=self._keep_in_step, args=(self._agent,), name="logomesh-sync", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """What was not sent stays in the file, for the next time."""
        if self._agent is not None and self._thread is not None:
            self._agent.stop()
            self._thread.join(_END_SECONDS)
            self._agent = self._thread = None
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
        """Wait until a round has run that began after this call. Whether all is sent and the server well.

        False at once where syncing has ended because the file cannot be used; `health_check` says why.
        """
        until = time.monotonic() + timeout
        for _ in range(2):  # one may be under way
            if self._agent is None:
                raise NotOpen
            with self._told:
                after = self._rounds + 1
                self._agent.sync_now()
                while self._rounds < after:
                    if not self._is_syncing or not self._told.wait(until - time.monotonic()):
                        return False
        return self.state is State.ONLINE and not self.unsent()

    def _keep_in_step(self, agent: Agent) -> None:
        try:
            agent.run()
        except Exception as error:
            with self._told:
                self._state = (State.ATTENTION, str(error))
        finally:
            with self._told:
                self._is_syncing = False
                self._told.notify_all()

    def _take(self, report: Report) -> None:
        with self._told:
            self._rounds += 1
            if report.spaces:
                self._state = (report.spaces[0].state, report.spaces[0].reason)
            self._told.notify_all()
