"""The parent's side: starts the child, reads its frames, says why it was stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from migration.dialects import NotLogoMesh
from migration.sandbox.frames import Chunk, Finished, Frame, Refused, Request, read_frames

_AHEAD_BYTES = 8 * 1024**2
"""So much of the file is read ahead: as much as the parent writes at once, so neither waits for the other."""
_KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 1024**2),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 1024**2),
    "MALLOC_TOP_PAD_": str(4 * 1024**2),
}
"""The child needs as much for each chunk as for the one before: handing memory back to the system in between
takes a tenth of its time."""
_ROOT = Path(__file__).resolve().parent.parent.parent


class SandboxFailed(Exception):
    """The child ended before it had said all. The text says why, in words for the file's owner."""


@contextmanager
def reading(request: Request) -> Iterator[Iterator[Frame]]:
    """Start a child on a file and give its frames. It is gone when the block ends.

    Raises `NotLogoMesh` when the child refuses the file, `SandboxFailed` when it is stopped.
    """
    with tempfile.TemporaryFile() as complaints:
        child = subprocess.Popen(
            [sys.executable, "-m", "migration.sandbox.child"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env={"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8", **_KEEP_MEMORY},
        )
        stdin, stdout = cast(BinaryIO, child.stdin), cast(BinaryIO, child.stdout)
        try:
            stdin.write(msgspec.msgpack.encode(request))
            stdin.close()
            with _ahead(_frames(child, stdout, cast(BinaryIO, complaints)), child) as frames:
                yield frames
        finally:
            child.kill()
            child.wait()
            stdout.close()


@contextmanager
def _ahead(frames: Iterator[Frame], child: subprocess.Popen[bytes]) -> Iterator[Iterator[Frame]]:
    """Receive ahead in a thread: the child works while the parent writes."""
    waiting = _Waiting()

    def receive() -> None:
        try:
            for frame in frames:
                waiting.put(frame, frame.size if isinstance(frame, Chunk) else 0)
            waiting.put(None)
        except Exception as error:  # handed to whoever iterates
            waiting.put(error)

    def take() -> Iterator[Frame]:
        while (item := waiting.take()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    thread = threading.Thread(target=receive, name="sandbox", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        waiting.end()
        child.kill()
        thread.join()


class _Waiting:
    """What was received and not yet taken: so many bytes, and the one that made them too many."""

    def __init__(self) -> None:
        self._items: deque[tuple[Frame | Exception | None, int]] = deque()
        self._size = 0
        self._over = False
        self._changed = threading.Condition()

    def put(self, item: Frame | Exception | None, size: int = 0) -> None:
        """Wait until there is room. After the end nothing is kept."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._size < _AHEAD_BYTES)
            if not self._over:
                self._items.append((item, size))
                self._size += size
                self._changed.notify_all()

    def take(self) -> Frame | Exception | None:
        with self._changed:
            self._changed.wait_for(lambda: self._items)
            item, size = self._items.popleft()
            self._size -= size
            self._changed.notify_all()
            return item

    def end(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()


def _frames(child: subprocess.Popen[bytes], stdout: BinaryIO, complaints: BinaryIO) -> Iterator[Frame]:
    try:
        for frame in read_frames(stdout):
            if isinstance(frame, Finished):
                return
            if isinstance(frame, Refused):
                raise NotLogoMesh(frame.kind, frame.found, frame.advice)
            yield frame
    except msgspec.DecodeError as error:
        raise SandboxFailed(f"The reader of the file answered nonsense ({error}).") from error
    raise SandboxFailed(_why(child.wait(), complaints))


def _why(status: int, complaints: BinaryIO) -> str:
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        return "Reading this file took more processor time than a file of its size may take."
    if status == -signal.SIGXFSZ:
        return "Reading this file needed more temporary space than a file of its size may take."
    if status in (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS):  # libraries that are refused memory
        return "Reading this file took more memory than a file may take."
    complaints.seek(0)
    lines = complaints.read().decode(errors="replace").strip().splitlines()
    reason = lines[-1][:200] if lines else f"it ended with status {status}"
    if "MemoryError" in reason:
        return "Reading this file took more memory than a file may take."
    return f"The file could not be read ({reason})."
