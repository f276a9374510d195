"""Live events: the server tells *that* there is something. A lost event costs nothing but time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Final, Literal

import httpx
import orjson

from logomesh_client.wire.bodies import lines_of
from logomesh_client.wire.errors import Problem, Unreachable, WireError, unreachable
from logomesh_client.wire.pacing import Backoff

_LONGEST: Final = 64 * 1024
"""Bytes of a line; ours have some hundred."""


@dataclass(frozen=True)
class Event:
    """`open`: connected (again); ask for all heads, events may have been missed. `head`: a space has a new
    version. `access`: a role changed (None: taken away). `quiet`: nothing for a while, but the line lives.
    `lost`: the line broke; the next try comes after a pause."""

    kind: Literal["open", "head", "access", "quiet", "lost"]
    space: str = ""
    version: int = 0
    role: str | None = None
    error: WireError | None = None


class Live:
    """The events of one device, for as long as somebody goes through them; reconnects by itself.

    Going through it raises `Problem` when the token no longer counts. `close`, from any thread, ends it.
    """

    def __init__(
        self, opened: Callable[[], AbstractContextManager[httpx.Response]], backoff: Backoff
    ) -> None:
        self._opened, self._backoff = opened, backoff
        self._closed = threading.Event()
        self._socket: socket.socket | None = None

    def close(self) -> None:
        self._closed.set()
        if (line := self._socket) is not None:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for it

    def __iter__(self) -> Iterator[Event]:
        while not self._closed.is_set():
            try:
                yield from self._connected()
                error: WireError = Unreachable("The server closed the line of live events.")
            except Problem as problem:
                if not problem.is_passing:
                    raise
                error = problem
            except Unreachable as unreachable_:
                error = unreachable_
            if self._closed.is_set():
                return
            yield Event("lost", error=error)
            self._closed.wait(self._backoff.wait(error.retry_after))

    def _connected(self) -> Iterator[Event]:
        with self._opened() as answer:
            self._socket = answer.extensions["network_stream"].get_extra_info("socket")
            try:
                if self._closed.is_set():
                    return
                yield Event("open")
                for name, data in _messages(answer):
                    self._backoff.reset()
                    event = _event(name, data)
                    if event is not None:
                        yield event
            finally:
                self._socket = None


def _event(name: str, data: str) -> Event | None:
    """The event of a message; None for one that this version does not know."""
    if not data:
        return Event("quiet")
    try:
        body = orjson.loads(data)
        if name == "head":
            return Event("head", space=str(body["space"]), version=int(body["version"]))
        if name == "access":
            return Event("access", space=str(body["space"]), role=body["role"])
    except (ValueError, KeyError, TypeError):
        pass
    return None


def _messages(answer: httpx.Response) -> Iterator[tuple[str, str]]:
    """(name, data) of each message; of a comment ("", "")."""
    name, data = "", ""
    try:
        for line in (line.decode(errors="replace").rstrip("\r") for line in lines_of(answer, _LONGEST)):
            if line.startswith(":"):
                yield "", ""
            elif line.startswith("event:"):
                name = line[6:].strip()
            elif line.startswith("data:"):
                data = line[5:].strip()  # ours have one line; of others the last counts
            elif not line and data:
                yield name, data
                name, data = "", ""
    except httpx.HTTPError as error:
        raise unreachable(error, answer.request.url.host, None) from error
