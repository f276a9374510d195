"""`sync --watch`: an agent for each file and server, for as long as it goes on.

A file that cannot be used, a server without a token: they are told, tried again later, and keep nobody from
the others. What is attached, detached, signed in or switched off meanwhile counts at once.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from logomesh_client.cli.desk import Desk
from logomesh_client.cli.endings import Exit, Failure, ending
from logomesh_client.cli.saying import count
from logomesh_client.cli.syncing import follow_rules
from logomesh_client.file import LogoMeshFile, State
from logomesh_client.sync import Agent, Report
from logomesh_client.wire import Server

_LOOK: Final = 1.0
"""Seconds between two looks at whether the profiles, or the list of files, have changed."""
_AGAIN: Final = 60.0
"""Seconds after which what did not work is tried again."""
_END: Final = 20.0

Wanted = dict[tuple[Path, str], tuple[str, ...]]
"""(file, server) -> the spaces to keep in step."""


def watch_files(desk: Desk, named: Sequence[Path]) -> None:
    """Go on until somebody stops it. Raises `Failure` if there is nothing to do from the start."""
    watch = _Watch(desk, named)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    watch.begin()
    desk.voice.say(f"Watching {count(len(watch.paths), 'file')}. Stop with Ctrl-C; nothing is lost by that.")
    desk.voice.flush()
    try:
        while not stopping.wait(_LOOK):
            watch.look()
    finally:
        watch.end()


@dataclass
class _Watched:
    """A file that is being kept in step with a server."""

    agent: Agent
    server: Server
    spaces: tuple[str, ...]
    token: str | None
    thread: threading.Thread
    problem: Exception | None = None


@dataclass
class _Watch:
    desk: Desk
    named: Sequence[Path]
    paths: list[Path] = field(default_factory=list)
    _running: dict[tuple[Path, str], _Watched] = field(default_factory=dict)
    _told: dict[Path, str] = field(default_factory=dict)
    """What was last said about a file that cannot be used: it is said once."""
    _seen: Any = None
    _next: float = 0.0
    """When to try again what did not work."""

    def begin(self) -> None:
        self.paths = self.desk.files(self.named)
        self._seen = self.desk.changed_at()
        wanted, problems = self._wanted()
        if not wanted:
            if problems:
                raise next(iter(problems.values()))
            raise Failure(
                Exit.USAGE,
                "The profiles of these files are local-only, or remote-only: nothing is kept in step.",
                "logomesh profiles --mode hybrid",
            )
        self._follow(wanted, problems)

    def look(self) -> None:
        """See what has changed or ended, and follow."""
        ended = [key for key, one in self._running.items() if not one.thread.is_alive()]
        changed = self.desk.changed_at()
        if not ended and changed == self._seen and time.monotonic() < self._next:
            return
        self._seen = changed
        problems: dict[Path, Exception] = {}
        for key in ended:
            one = self._stopped(key)
            if one.problem is not None:
                problems[key[0]] = one.problem
        try:
            self.paths = list(self.named) or self.desk.known_files()
            wanted, others = self._wanted()
        except Exception as error:  # the profiles are damaged: those that run go on
            self._tell(Path("profiles"), error)
            self._next = time.monotonic() + _AGAIN
            return
        for path in problems:
            wanted = {key: spaces for key, spaces in wanted.items() if key[0] != path}
        self._follow(wanted, problems | others)

    def end(self) -> None:
        for one in self._running.values():
            one.agent.stop()
        for key in list(self._running):
            self._stopped(key)

    def _wanted(self) -> tuple[Wanted, dict[Path, Exception]]:
        """What is to be kept in step now, and what cannot be."""
        wanted: Wanted = {}
        problems: dict[Path, Exception] = {}
        for path in self.paths:
            try:
                with LogoMeshFile.open(path) as file:
                    links = file.links()
                    if not links:
                        raise Failure(
                            Exit.FILE,
                            f"{path.name} is not attached to any space.",
                            "logomesh attach FILE --home SPACE",
                        )
                for url in dict.fromkeys(link.server for link in links):
                    profile = self.desk.profile_of(url, path)
                    if profile is None or profile.keeps_files:
                        wanted[path, url] = tuple(link.space for link in links if link.server == url)
            except Exception as error:
                problems[path] = error
        return wanted, problems

    def _follow(self, wanted: Wanted, problems: dict[Path, Exception]) -> None:
        for key in list(self._running):
            if wanted.get(key) != self._running[key].spaces or self._is_signed_in_anew(key):
                self._stopped(key)
        for key in wanted.keys() - self._running.keys():
            try:
                self._start(*key, wanted[key])
                self._told.pop(key[0], None)
            except Exception as error:
                problems = problems | {key[0]: error}
        for path, problem in problems.items():
            self._tell(path, problem)
        self._next = time.monotonic() + _AGAIN if problems else float("inf")

    def _is_signed_in_anew(self, key: tuple[Path, str]) -> bool:
        """Whether the token that an agent uses is not the one to be used any more."""
        try:
            with LogoMeshFile.open(key[0]) as file:
                return self.desk.file_token(file) != self._running[key].token
        except Exception:
            return False  # the agent finds out why

    def _start(self, path: Path, url: str, spaces: tuple[str, ...]) -> None:
        with LogoMeshFile.open(path) as file:
            server = self.desk.server_for(file, url, patience=0)
            token = self.desk.file_token(file)

        def anew() -> Server:
            with LogoMeshFile.open(path) as file:
                made = self.desk.new_identity(file, url)()
                one.token = self.desk.file_token(file)
                return made

        agent = Agent(
            path,
            server,
            spaces=spaces,
            new_identity=anew,
            told=_Teller(self.desk, path, url, server),
        )

        def run() -> None:
            try:
                agent.run()
            except Exception as error:
                one.problem = error

        one = _Watched(agent, server, spaces, token, threading.Thread(target=run, name=path.name))
        self._running[path, url] = one
        one.thread.start()

    def _stopped(self, key: tuple[Path, str]) -> _Watched:
        one = self._running.pop(key)
        one.agent.stop()
        one.thread.join(timeout=_END)
        one.server.close()
        return one

    def _tell(self, path: Path, error: Exception) -> None:
        end = ending(error)
        if self._told.get(path) == end.words:
            return
        self._told[path] = end.words
        at = datetime.now().astimezone().isoformat(timespec="milliseconds")
        self.desk.voice.line({"at": at, "file": str(path), **end.as_json()})
        self.desk.voice.tell(end, about=path.name)
        self.desk.voice.flush()


class _Teller:
    """A line for each round that did something, or that changed a state; then the rules."""

    def __init__(self, desk: Desk, path: Path, url: str, server: Server) -> None:
        self._desk, self._path, self._url, self._server = desk, path, url, server
        self._last: dict[str, tuple[State, str]] = {}

    def __call__(self, report: Report) -> None:
        profile = self._desk.profile_of(self._url, self._path)
        if profile is not None and profile.rules and report.got_through:
            with LogoMeshFile.open(self._path) as file:
                follow_rules(self._desk, file, self._url, self._server)
        at, voice = datetime.now().astimezone(), self._desk.voice
        for one in report.spaces:
            known, now = self._last.get(one.space), (one.state, one.reason)
            self._last[one.space] = now
            if not (one.sent or one.received or known != now):
                continue
            voice.line(
                {
                    "at": at.isoformat(timespec="milliseconds"),
                    "file": str(self._path),
                    "space": one.space,
                    "state": one.state.value,
                    "reason": one.reason,
                    "request_id": one.request_id,
                    "sent": one.sent,
                    "received": one.received,
                    "equal": one.proved,
                }
            )
            found_by = f" (request {one.request_id})" if one.request_id else ""
            why = f": {one.reason}{found_by}" if one.reason else ""
            voice.say(
                f"{at:%H:%M:%S} {self._path.name} {one.space[:8]} {one.state.value}{why}"
                f" ({one.sent} sent, {one.received} received)"
            )
            voice.flush()
