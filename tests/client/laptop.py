"""A laptop: a LogoMesh file, the person at its app, and the client that keeps the file in step, as a process.

The client's process runs the agent until it is told to end, or one round (`once`). It can be killed at a
named point, or at any call it makes inside the package: `strike` is `POINT:N`, and it ends itself with
SIGKILL when it passes there for the Nth time. `call` is a point that every call passes.

    python -m tests.client.laptop FILE --server URL --token TOKEN [--once] [--strike POINT:N]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from logomesh_client.file import LogoMeshFile, SpaceLink, State
from logomesh_client.sync import Agent, Report, sync_once
from logomesh_client.wire import Server, Timeouts
from tests.client.app import App, Hands
from tests.logomesh_server.processes import ROOT

POINTS = (
    "before-pending", "after-pending", "after-push", "before-answered", "after-answered", "between-changes",
    "after-apply", "before-advance", "after-advance",
)  # fmt: skip
"""Where a client's process can be struck down, beside any call."""


@dataclass
class Laptop:
    name: str
    path: Path
    dialect: str
    url: str
    token: str
    spaces: list[str]
    """The home first."""
    hands: Hands
    owner: str = ""
    process: subprocess.Popen[str] | None = None
    starts: int = 0
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.path.with_suffix(".log")

    @classmethod
    def at(
        cls, path: Path, dialect: str, url: str, token: str, spaces: list[str], seed: str, **app: Any
    ) -> Laptop:
        """With a file that is there, attached to these spaces."""
        hands = Hands(App.of(path, dialect, seed, **app), Random(f"hands/{seed}"))
        laptop = cls(path.stem, path, dialect, url, token, spaces, hands)
        laptop.attach()
        return laptop

    def attach(self) -> None:
        links = [SpaceLink(space, self.url) for space in self.spaces]
        with LogoMeshFile.open(self.path) as file:
            file.attach(links[0], links[1:])

    # The client's process

    def start(
        self,
        *,
        once: bool = False,
        strike: str = "",
        idle: float = 5.0,
        poll: float = 3.0,
        layout: float = 1.0,
    ) -> None:
        self.starts += 1
        command = [
            sys.executable, "-m", "tests.client.laptop", str(self.path), "--server", self.url,
            "--token", self.token, "--idle", str(idle), "--poll", str(poll), "--layout", str(layout),
        ]  # fmt: skip
        command += ["--once"] * once + (["--strike", strike] if strike else [])
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'client'}"}
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log, text=True
            )

    def wait(self, seconds: float) -> int | None:
        """How the process ended; None if it still runs."""
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self._forget()

    def stop(self, seconds: float = 30) -> int:
        """Let the client finish its round, and end."""
        assert self.process is not None and self.process.stdin is not None
        self.process.stdin.close()
        try:
            ended = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} does not end:\n{self.said()}") from None
        self._forget()
        return ended

    def _forget(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
        self.process = None

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""

    # What is in the file

    def unsent(self) -> int:
        with LogoMeshFile.open(self.path) as file:
            return sum(file.unsent(link.space) for link in file.links())

    def digests(self) -> dict[str, tuple[int, str]]:
        """Space -> (version, digest) of this copy, of the spaces that are not lost."""
        found = {}
        with LogoMeshFile.open(self.path) as file:
            for link in file.links():
                if link.state is not State.ACCESS_LOST:
                    digest = file.digest(link.space)
                    found[link.space] = (digest.version, f"{digest.whole:016x}")
        return found

    def words_aside(self) -> str:
        """All that waits in the file, or was put aside, as one text."""
        with LogoMeshFile.open(self.path) as file:
            aside = [file.rescue(), [str(it) for it in file.waiting()]]
        return json.dumps(aside, ensure_ascii=False, default=str)

    def bytes(self) -> bytes:
        """All bytes of the file, and of what SQLite keeps beside it."""
        return b"".join(path.read_bytes() for path in sorted(self.path.parent.glob(f"{self.path.name}*")))


def until_equal(
    laptops: list[Laptop], digest: Callable[[str], tuple[int, str]], seconds: float
) -> dict[str, str]:
    """Wait until nothing is unsent and every copy equals the server's: space -> digest.

    `digest` asks the server about a space.
    """
    deadline = time.monotonic() + seconds
    while True:
        left = {laptop.name: count for laptop in laptops if (count := laptop.unsent())}
        if not left:
            theirs = {space: digest(space) for laptop in laptops for space in laptop.spaces}
            mine = {(laptop.name, *it) for laptop in laptops for it in laptop.digests().items()}
            wrong = [(name, space, it, theirs[space]) for name, space, it in mine if it != theirs[space]]
            if not wrong:
                return {space: it[1] for space, it in theirs.items()}
            left = {"differ": len(wrong), **{f"{name} {space}": 1 for name, space, *_ in wrong}}
        assert time.monotonic() < deadline, f"{left}\n" + "\n".join(
            f"{laptop.name}: {laptop.said()}" for laptop in laptops
        )
        time.sleep(0.3)


# The process


class Strike:
    """Ends this process at a point, when it is passed for the Nth time."""

    def __init__(self, spelled: str) -> None:
        self.point, _, times = spelled.partition(":")
        self.left = int(times or 1)

    def pass_by(self, point: str) -> None:
        if point == self.point:
            self.left -= 1
            if self.left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def arm(self) -> None:
        if self.point == "call":
            package = str(ROOT / "client" / "logomesh_client")

            def profile(frame: Any, event: str, _: Any) -> None:
                if event == "call" and frame.f_code.co_filename.startswith(package):
                    self.pass_by("call")

            sys.setprofile(profile)
            return
        self._around(LogoMeshFile, "pending")
        self._around(LogoMeshFile, "answered")
        self._around(LogoMeshFile, "advance")
        self._around(Server, "push")
        apply = LogoMeshFile.apply

        def passing(file: LogoMeshFile, space: str, changes: Any, *args: Any, **options: Any) -> int:
            def one_by_one() -> Any:
                for change in changes:
                    yield change
                    self.pass_by("between-changes")

            done = apply(file, space, one_by_one(), *args, **options)
            self.pass_by("after-apply")
            return done

        LogoMeshFile.apply = passing  # type: ignore[method-assign]

    def _around(self, owner: type, name: str) -> None:
        act = getattr(owner, name)

        def passing(*args: Any, **options: Any) -> Any:
            self.pass_by(f"before-{name}")
            done = act(*args, **options)
            self.pass_by(f"after-{name}")
            return done

        setattr(owner, name, passing)


def main() -> int:
    parser = argparse.ArgumentParser(description="Keep a file in step, round by round.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--server", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--strike", default="")
    parser.add_argument("--idle", type=float, default=5.0, help="seconds without a byte")
    parser.add_argument("--poll", type=float, default=3.0, help="seconds between rounds nobody asked for")
    parser.add_argument("--layout", type=float, default=1.0, help="seconds between rounds for mere moves")
    options = parser.parse_args()
    if options.strike:
        Strike(options.strike).arm()
    server = Server(options.server, options.token, timeouts=Timeouts(connect=5, idle=options.idle, live=20))

    def new_identity() -> Server:
        made = server.new_device(f"copy {os.urandom(4).hex()}").token
        options.file.with_suffix(".token").write_text(made)
        return Server(options.server, made, timeouts=Timeouts(connect=5, idle=options.idle, live=20))

    def told(report: Report) -> None:
        print(time.time(), report, flush=True)

    if options.once:
        with LogoMeshFile.open(options.file) as file:
            told(sync_once(file, server, new_identity=new_identity))
        return 0
    agent = Agent(
        options.file, server, new_identity=new_identity, told=told, poll=options.poll, layout=options.layout
    )
    threading.Thread(target=lambda: (sys.stdin.read(), agent.stop()), daemon=True).start()
    agent.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
