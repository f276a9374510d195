"""Reads files as the sandbox does, many a second: a process that has loaded the reader forks for each.

    python -m tests.migration.hostile.zygote < requests > verdicts      (a line of JSON each)

The forked process limits itself just as a child of the server does; what it opens is written down.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
import traceback
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw
import msgspec

from migration.dialects import NotLogoMesh
from migration.sandbox import child
from migration.sandbox.frames import Chunk, Finished, Found, Refused, Request, read_frames
from migration.stages.journals import settle_journals

for codec in ("utf-16", "utf-16-le", "utf-16-be"):
    "".encode(codec)  # loads its module, which is a file
PATIENCE = 30.0  # seconds of the clock; the machine may be busy


class Watching(apsw.VFS):
    """SQLite's own file system, with a note of each name that is opened."""

    def __init__(self, opened: set[str]) -> None:
        self.opened = opened
        super().__init__("watching", "", makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        if name is not None:
            self.opened.add(str(name.filename() if isinstance(name, apsw.URIFilename) else name))
        return super().xOpen(name, flags)


def read(path: Path) -> dict[str, Any]:
    """The verdict about a file: what it is or why it is refused, and what reading it cost."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as told:
        pid = os.fork()
        if pid == 0:
            _in_the_fork(path, out.fileno(), told.fileno())
        status, usage = _wait(pid)
        out.seek(0)
        told.seek(0)
        said = json.loads(told.read() or b"{}")
        return {
            **_verdict(out, status),
            **said,
            "signal": signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else None,
            "seconds": round(usage.ru_utime + usage.ru_stime, 2),
            "megabytes": usage.ru_maxrss // 1024,
        }


def _in_the_fork(path: Path, out: int, told: int) -> None:
    opened: set[str] = set()
    watching = Watching(opened)
    sys.addaudithook(
        lambda event, args: (
            opened.add(str(args[0]))
            if event == "open" and isinstance(args[0], str | bytes | os.PathLike)
            else None
        )
    )
    said: dict[str, Any] = {}
    try:
        settled = settle_journals(path)
        for act in ("inspect", "hash"):
            request = msgspec.msgpack.encode(Request(str(settled), str(path.parent), act))
            sys.stdin = SimpleNamespace(buffer=BytesIO(request))  # type: ignore[assignment]
            with os.fdopen(os.dup(out), "wb") as stream:
                sys.stdout = SimpleNamespace(buffer=stream)  # type: ignore[assignment]
                child.main()
            if act == "inspect" and _refuses(out):
                break
    except NotLogoMesh as refusal:
        said["refused"] = refusal.kind
    except BaseException:
        before = set(opened)
        said["crash"] = traceback.format_exc()[-1500:]
        opened = before
    own = {str(path.parent), os.devnull}
    said["opened"] = sorted(
        name for name in opened if not name.startswith(str(path.parent) + "/") and name not in own
    )
    os.write(told, json.dumps(said).encode())
    del watching
    os._exit(0)


def _refuses(out: int) -> bool:
    with os.fdopen(os.dup(out), "rb") as stream:
        stream.seek(0)
        found = any(isinstance(frame, Refused) or _damaged(frame) for frame in read_frames(stream))
        stream.seek(0, os.SEEK_END)
        return found


def _damaged(frame: Any) -> bool:
    return isinstance(frame, Found) and bool(frame.damage)


def _verdict(out: Any, status: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "found": None,
        "refused": None,
        "finished": 0,
        "set_aside": 0,
        "rows": 0,
        "tables": {},
    }
    found |= {"unread": {}}
    try:
        for frame in read_frames(out):
            if isinstance(frame, Found):
                found |= {"found": frame.dialect, "tables": frame.tables, "unread": frame.unread}
                if frame.damage:
                    found["refused"] = "damaged"
            elif isinstance(frame, Refused):
                found["refused"] = frame.kind
            elif isinstance(frame, Finished):
                found["finished"] += 1
            elif isinstance(frame, Chunk):
                found["rows"] += frame.rows
                found["set_aside"] += len(frame.aside)
    except msgspec.DecodeError as error:
        found["crash"] = f"nonsense: {error}"
    return found


def _wait(pid: int) -> tuple[int, Any]:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            return status, usage
        time.sleep(0.002)
    os.kill(pid, signal.SIGABRT)
    _, status, usage = os.wait4(pid, 0)
    return status, usage


if __name__ == "__main__":
    answers = sys.stdout
    for line in sys.stdin:
        print(json.dumps(read(Path(json.loads(line)))), file=answers, flush=True)
