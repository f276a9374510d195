"""One round at a time for a file: an agent, a command and a program may all want one."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final

import platformdirs

_PAUSE: Final = 0.05


@contextmanager
def turn(file_id: str) -> Iterator[None]:
    """Wait until no other process or thread of this machine is in a round of this file.

    The lock is the operating system's: it ends with whoever holds it, also when that is killed.
    """
    folder = platformdirs.user_cache_path("logomesh") / "turns"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{file_id}.lock").open("ab") as lock:
        while not _locked(lock):
            time.sleep(_PAUSE)
        yield


if sys.platform == "win32":
    import msvcrt

    def _locked(lock: IO[bytes]) -> bool:
        lock.seek(0)
        try:
            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _locked(lock: IO[bytes]) -> bool:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
