"""Backups: the database as pg_dump writes it, the uploaded files, and a list of what must be in them.

A backup is a folder. `restore` puts one into an empty database and checks it against its list. Clients that
had pulled what the backup does not have notice by themselves (`rolled-back`) and bring it back.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
from django.conf import settings

from .database import moving
from .database.profile import Profile, quoted
from .embedded import postgres_program
from .folder import POSTGRES_MAJOR
from .version import NAME, VERSION

DUMP: Final = "database.dump"
FILES: Final = "uploads.tar"
LIST: Final = "backup.json"
_MADE: Final = "last-backup"
_BLOCK: Final = 1024**2
_NEWER: Final = 10  # versions of PostgreSQL: a newer pg_dump reads an older server


class BackupFailed(Exception):
    """No backup was made, or one cannot be restored; the message says why and what to do."""


def backup(target: Path) -> dict[str, Any]:
    """Make a backup in a new folder and return its list. Raises BackupFailed; the folder is then gone."""
    database: Profile = settings.DATABASE
    try:
        target.mkdir(parents=True, mode=0o700)
    except FileExistsError:
        raise BackupFailed(f"{target} exists already: a backup goes into a folder of its own.") from None
    except OSError as error:
        raise BackupFailed(f"{target} cannot be made: {error.strerror}.") from None
    try:
        with _side(database) as source, source.connection.transaction():
            # The list is of the very moment that the dump is of.
            source("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            [(snapshot,)] = source("SELECT pg_export_snapshot()")
            spaces = moving.digests(source)
            _dump(database, source.schema, snapshot, target / DUMP)
        _pack(settings.UPLOADS_DIR, target / FILES)
        listed: dict[str, Any] = {
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "product": f"{NAME} {VERSION}",
            "schema": source.schema,
            "spaces": {str(space): _digest_json(digest) for space, digest in spaces.items()},
            "sha256": {name: _sha256(target / name) for name in (DUMP, FILES)},
        }
        (target / LIST).write_text(json.dumps(listed, indent=1) + "\n")
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    (settings.DATA_DIR / _MADE).write_text(listed["made"])
    return listed


def restore(source: Path) -> dict[str, Any]:
    """Bring a backup into the configured database, which must be empty. Raises BackupFailed."""
    try:
        listed: dict[str, Any] = json.loads((source / LIST).read_text())
    except (OSError, ValueError) as error:
        raise BackupFailed(f"{source} is no backup: {error}.") from None
    for name, expected in listed["sha256"].items():
        if _sha256(source / name) != expected:
            raise BackupFailed(f"{source / name} is not what was written: take another backup.")
    database: Profile = settings.DATABASE
    with _side(database) as target:
        if moving.table_names(target):
            raise BackupFailed(f"{database.address} is not empty: restore into an empty schema or database.")
        if target.schema != listed["schema"]:
            raise BackupFailed(
                f"The backup is of the schema {listed['schema']}, and this one is {target.schema}: set"
                f" LOGOMESH_DB_SCHEMA={listed['schema']}, in an empty database."
            )
        _load(database, source / DUMP)
        found = {str(space): _digest_json(digest) for space, digest in moving.digests(target).items()}
    if found != listed["spaces"]:
        raise BackupFailed("The restored spaces are not those of the backup's list.")
    _unpack(source / FILES, settings.UPLOADS_DIR)
    return listed


@contextlib.contextmanager
def _side(database: Profile) -> Iterator[moving.Side]:
    try:
        with moving.side(database) as side:
            yield side
    except moving.CannotMove as error:
        raise BackupFailed(str(error)) from None


def last_backup(data: Path) -> timedelta | None:
    """How long ago the last backup was made; None if never."""
    with contextlib.suppress(OSError, ValueError):
        return datetime.now(UTC) - datetime.fromisoformat((data / _MADE).read_text().strip())
    return None


def _digest_json(digest: tuple[Any, ...]) -> list[Any]:
    return [str(value) if isinstance(value, UUID) else value for value in digest]


# --- programs -------------------------------------------------------------------------------------------


def _dump(database: Profile, schema: str, snapshot: str, file: Path) -> None:
    _run(
        database,
        "pg_dump", "--format=custom", "--compress=6", "--no-owner", "--no-privileges",
        f"--schema={quoted(schema)}", f"--snapshot={snapshot}", f"--file={file}",
        f"--dbname={database.url()}",
    )  # fmt: skip


def _load(database: Profile, file: Path) -> None:
    # The schema itself is there already: an ordinary role often may not make it.
    listing = _run(database, "pg_restore", "--list", str(file))
    wanted = [
        line for line in listing.splitlines() if " SCHEMA - " not in line and " COMMENT - SCHEMA" not in line
    ]
    chosen = file.with_name("restore.list")
    chosen.write_text("\n".join(wanted) + "\n")
    try:
        _run(
            database,
            "pg_restore", "--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction",
            f"--use-list={chosen}", f"--dbname={database.url()}", str(file),
        )  # fmt: skip
    finally:
        chosen.unlink()


def _run(database: Profile, program: str, *arguments: str) -> str:
    path = _program(program, database)
    done = subprocess.run(
        [path, *arguments], env=database.program_environment(), capture_output=True, text=True
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise BackupFailed(f"{program} failed: {said}")
    return done.stdout


def _program(name: str, database: Profile) -> str:
    """The one of the server's own version where this machine has it, else a newer one: ours, or another.

    Ours speaks no TLS.
    """
    with psycopg.connect(**database.libpq()) as connection:
        version, tls = connection.info.server_version // 10000, connection.pgconn.ssl_in_use
    ours = None if tls or version > POSTGRES_MAJOR else postgres_program(name)
    newer = [Path(f"/usr/lib/postgresql/{it}/bin/{name}") for it in range(version, version + _NEWER)]
    for path in (newer[0], ours, *newer[1:]):
        if path is not None and path.exists():
            return str(path)
    if (found := shutil.which(name)) and _version_of(found) >= version:
        return found
    raise BackupFailed(
        f"There is no {name} for PostgreSQL {version}{' that speaks TLS' if tls else ''}: install"
        f" postgresql-client-{version}."
    )


def _version_of(program: str) -> int:
    """The major version of a program of PostgreSQL; 0 where it does not say."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    return int(found[1]) if (found := re.search(r" (\d+)", said)) else 0


# --- files ----------------------------------------------------------------------------------------------


def _pack(folder: Path, file: Path) -> None:
    with tarfile.open(file, "w") as archive:
        if folder.is_dir():
            archive.add(
                folder, arcname=".", filter=lambda entry: entry if entry.isreg() or entry.isdir() else None
            )


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return entry if entry.isreg() or entry.isdir() else None


def _unpack(file: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file) as archive:
        archive.extractall(folder, filter="data")


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise BackupFailed(f"{file} cannot be read: {error.strerror}.") from None
