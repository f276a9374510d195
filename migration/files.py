"""Where uploaded files lie: each in a folder of its own under UPLOADS_DIR, under our own names.

The name that a person's browser gave is only ever shown, never a path.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from django.conf import settings

from migration.problems import DiskFull

FILE = "file.sqlite3"
PARTS = {"file": FILE, "wal": f"{FILE}-wal", "journal": f"{FILE}-journal"}
"""Role of an uploaded part -> its name in the folder of the import."""
_RESERVE = 256 * 1024**2
"""Bytes of disk that uploads leave free for the database."""


def folder_of(id_: UUID) -> Path:
    """The folder of an import or an upload, made if need be, readable to nobody else."""
    folder = Path(settings.UPLOADS_DIR) / str(id_)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def remove(id_: UUID) -> None:
    """Forget the folder of an import or an upload."""
    shutil.rmtree(Path(settings.UPLOADS_DIR) / str(id_), ignore_errors=True)


def write(path: Path, chunks: Iterable[bytes]) -> bytes:
    """Write a file of ours, and give its SHA-256. Raises `DiskFull`."""
    digest = sha256()
    try:
        with open(path, "xb", opener=_private) as file:
            for chunk in chunks:
                file.write(chunk)
                digest.update(chunk)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise DiskFull from error
    return digest.digest()


def require_room(size: int) -> None:
    """Raise `DiskFull` where a file of this size would leave too little."""
    Path(settings.UPLOADS_DIR).mkdir(mode=0o700, parents=True, exist_ok=True)
    if shutil.disk_usage(settings.UPLOADS_DIR).free - size < _RESERVE:
        raise DiskFull


def checksum(path: Path) -> bytes:
    """SHA-256 of a file."""
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(1024**2):
            digest.update(chunk)
    return digest.digest()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
