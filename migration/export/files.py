"""Exports as files: written to the disk first, so that a slow reader holds no moment of the database."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Final
from uuid import UUID

from django.conf import settings

from migration import files
from migration.export.document import write_document
from migration.export.reading import Chosen
from migration.export.sqlite import write_sqlite
from migration.problems import DiskFull
from sync.pull.scope import ALL, Scope


@dataclass(frozen=True)
class Format:
    write: Callable[[Chosen, Path], None]
    suffix: str
    content_type: str


FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {
        "sqlite": Format(write_sqlite, "sqlite3", "application/vnd.sqlite3"),
        "json": Format(write_document, "json", "application/json"),
    }
)


def exported(space_id: UUID, scope: Scope, format_: str) -> tuple[BinaryIO, str]:
    """The open file of an export, which is gone when it is closed, and a name for it."""
    files.require_room(0)
    with tempfile.TemporaryDirectory(prefix="export-", dir=settings.UPLOADS_DIR) as folder:
        path = Path(folder) / "export"
        write_export(space_id, scope, format_, path)
        name = f"logomesh-export-{datetime.now(UTC):%Y-%m-%d}.{FORMATS[format_].suffix}"
        return path.open("rb"), name


def write_export(space_id: UUID, scope: Scope, format_: str, path: Path) -> None:
    """Write an export into a new file. Raises `DiskFull`."""
    try:
        FORMATS[format_].write(Chosen(space_id, scope), path)
    except (OSError, sqlite3.OperationalError) as error:
        path.unlink(missing_ok=True)
        raise DiskFull from error


__all__ = ["ALL", "FORMATS", "exported", "write_export"]
