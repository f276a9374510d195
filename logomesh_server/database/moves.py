"""What is known of the move that is under way, or of the last one: for whoever looks at its page.

The move itself runs in a process of its own (`manage.py database move`), also where a page has begun it, so
it outlives the request and the browser; whoever ends the whole server (systemd, a container) ends it, too. It
keeps its state in a file of the data folder, without any secret, and holds a lock for as long as it lives: a
state that says "running" under a free lock is that of a move that was cut off, and goes on when begun again.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from .moving import Moved, Progress
from .profile import Profile

STATE: Final = "database-move.json"
LOCK: Final = "database-move.lock"
LOG: Final = "database-move.log"
START_SECONDS: Final = 30


class AlreadyMoving(ImproperlyConfigured):
    """Somebody has begun a move, and it is not over."""


@dataclass(frozen=True, slots=True)
class Move:
    """How far a move is. `state` is running, interrupted, failed or done."""

    to: str
    state: str
    began: str
    share: float = 0.0
    table: str = ""
    rows: int = 0
    of: int = 0
    spaces: int = 0
    said: str = ""
    """Why it failed, and what to do."""

    @property
    def percent(self) -> int:
        return int(100 * self.share)


def last(folder: Path) -> Move | None:
    """The move under way, or else the last one; None if there never was any."""
    try:
        found = Move(**json.loads((folder / STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return replace(found, state="interrupted") if found.state == "running" and not running(folder) else found


def running(folder: Path) -> bool:
    try:
        with (folder / LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


class Record:
    """Writes down how far the move of this process is."""

    def __init__(self, folder: Path, to: str) -> None:
        self._file = folder / STATE
        self._move = Move(to, "running", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
        self._write()

    def progress(self, found: Progress) -> None:
        self._write(table=found.table, rows=found.rows, of=found.of, share=found.share)

    def done(self, found: Moved) -> None:
        self._write(state="done", share=1.0, table="", rows=found.rows, of=found.rows, spaces=found.spaces)

    def failed(self, said: str) -> None:
        self._write(state="failed", said=said)

    def _write(self, **changed: Any) -> None:
        self._move = replace(self._move, **changed)
        draft = self._file.with_suffix(".new")
        draft.write_text(json.dumps(asdict(self._move)), encoding="utf-8")
        draft.replace(self._file)


@contextmanager
def recording(folder: Path, to: str) -> Iterator[Record]:
    """For the time of a move: only one at once. What ends it, ends in its record. Raises AlreadyMoving."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as lock:
        _take(lock)
        record = Record(folder, to)
        try:
            yield record
        except Exception as error:
            record.failed(str(error).strip())
            raise


def _take(lock: Any) -> None:
    for _ in range(20):  # who only looks holds it for a moment, too
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return
    raise AlreadyMoving("A move is under way already: wait for its end.")


def begin(target: Profile | None, kept_in: str = "nowhere") -> None:
    """Begin a move in a process of its own, and wait until it is under way or has failed.

    Without a target it goes back into the embedded PostgreSQL.

    The password goes through a pipe: it stands in no command line and no file. Raises AlreadyMoving, or
    ImproperlyConfigured where the process did not get as far as a state.
    """
    folder: Path = settings.DATA_DIR
    if running(folder):
        raise AlreadyMoving("A move is under way already: wait for its end.")
    log = folder / "logs" / LOG
    log.parent.mkdir(parents=True, exist_ok=True)
    arguments = ["--to", "embedded"]
    if target is not None:
        arguments = ["--to", target.url(), "--keep-password", kept_in, "--ask-password"]
        arguments += ["--schema", ",".join(target.schema)] if target.schema else []
    with log.open("wb") as output:
        (folder / STATE).unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, "manage.py", "database", "move", *arguments],
            cwd=settings.BASE_DIR, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(f"{target.password if target else ''}\n".encode())
        process.stdin.close()
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and last(folder) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    if last(folder) is None:
        lines = log.read_text(errors="replace").strip().splitlines() or ["it did not say why"]
        raise ImproperlyConfigured(f"The move did not begin: {lines[-1]}")
