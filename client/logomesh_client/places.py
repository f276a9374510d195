"""Where this client keeps its own things on each platform, and how it writes them."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import platformdirs

_PAUSE: Final = 0.05


def config_folder() -> Path:
    """Profiles; and secrets where there is no keychain. `LOGOMESH_CONFIG_DIR` moves it."""
    return Path(os.environ.get("LOGOMESH_CONFIG_DIR") or platformdirs.user_config_path("logomesh"))


def data_folder() -> Path:
    """What must last but is nobody's setting: migrations under way, work that was rescued."""
    return Path(os.environ.get("LOGOMESH_CLIENT_DATA_DIR") or platformdirs.user_data_path("logomesh-client"))


def log_folder() -> Path:
    return Path(os.environ.get("LOGOMESH_CLIENT_LOG_DIR") or platformdirs.user_log_path("logomesh-client"))


class Taken(Exception):
    """Another process, or thread, is just doing this."""


@contextmanager
def only_one(lock: Path, wait: bool = True) -> Iterator[None]:
    """Keep all other processes and threads of this machine out, by a file that stands for what is done.

    Waits for its turn, or else raises `Taken`. The lock is the operating system's: it ends with whoever holds
    it, also when that is killed. Nobody may ask for one that they hold.
    """
    lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with lock.open("ab") as file:
        while not _locked(file):
            if not wait:
                raise Taken
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


def write_atomically(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Put a file in place whole, or not at all, also when the machine stops in between."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)  # noqa: PTH101
        os.replace(name, path)  # noqa: PTH105
    except BaseException:
        os.unlink(name)  # noqa: PTH108
        raise
