"""The parent's side: starts the child, reads its frames, says why it was stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Full, Queue
from typing import BinaryIO, cast

import msgspec

from migration.dialects import NotLogoMesh
from migration.sandbox.frames import Finished, Frame, Refused, Request, read_frames

_AHEAD = 2
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
            env={"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"},
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
    """Receive in a thread, two frames ahead: the child works while the parent writes."""
    waiting: Queue[Frame | Exception | None] = Queue(_AHEAD)
    over = threading.Event()

    def put(item: Frame | Exception | None) -> None:
        while not over.is_set():
            try:
                waiting.put(item, timeout=0.5)
            except Full:
                continue
            return

    def receive() -> None:
        try:
            for frame in frames:
                put(frame)
                if over.is_set():
                    return
            put(None)
        except Exception as error:  # handed to whoever iterates
            put(error)

    def take() -> Iterator[Frame]:
        while (item := waiting.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    thread = threading.Thread(target=receive, name="sandbox", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        over.set()
        child.kill()
        thread.join()


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
