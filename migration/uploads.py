"""Uploads that survive a broken link: tus 1.0, the part that has nothing to do with HTTP.

The offset in the database is the truth. Bytes are written and synced before it moves, so what
was acknowledged is on the disk, and what a killed process wrote beyond it is written again.
A piece is whole when it gets here (`logomesh_server.intake`): a client on a bad link sends
pieces of a few megabytes, and loses at most one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from migration import files
from migration.models import Upload
from migration.problems import (
    ChecksumMismatch,
    DiskFull,
    UploadIncomplete,
    UploadLocked,
    UploadTooLarge,
    WrongOffset,
)
from workspaces.access import Caller
from workspaces.problems import InvalidValue, NotFound

KEPT: Final = timedelta(days=7)
"""How long an upload waits for its next piece."""
CHECKSUMS: Final = ("sha256", "sha1")
_PIECE: Final = 1024**2
_DATA: Final = "data"


def create(caller: Caller, length: int, metadata: Mapping[str, str]) -> Upload:
    """Begin an upload of so many bytes. Raises `UploadTooLarge` past the quota, `DiskFull`."""
    role = metadata.get("role") or "file"
    if role not in files.PARTS:
        raise InvalidValue(f"role must be one of: {', '.join(files.PARTS)}.", pointer="/role")
    mine = Upload.objects.filter(person_id=caller.person_id, expires_at__gt=timezone.now())
    waiting = mine.aggregate(bytes=Sum("length"))["bytes"] or 0
    if waiting + length > settings.MAX_UPLOAD_BYTES:
        raise UploadTooLarge(
            f"Uploads of one person may have {settings.MAX_UPLOAD_BYTES:,} bytes together; this one has"
            f" {length:,}, others that wait {waiting:,}. Import or remove these first."
        )
    files.require_room(length)
    made = Upload.objects.create(
        person_id=caller.person_id,
        file_name=metadata.get("filename", "")[:1000],
        role=role,
        set=metadata.get("set", "")[:200],
        length=length,
        expires_at=timezone.now() + KEPT,
    )
    files.write(_path(made), [])
    return made


def find(caller: Caller, id_: str | UUID) -> Upload:
    """An upload that the caller began. Raises `NotFound` for all others."""
    try:
        found = Upload.objects.filter(id=UUID(str(id_)), person_id=caller.person_id).first()
    except ValueError:
        raise NotFound from None
    if found is None or found.expires_at < timezone.now():
        raise NotFound
    return found


@dataclass(frozen=True, slots=True)
class Waiting:
    """An upload that was begun and not imported: half sent, or whole."""

    id: UUID
    file_name: str
    role: str
    set: str
    offset: int
    length: int

    @property
    def percent(self) -> int:
        """Rounded down: 100 is said only of what is whole."""
        return 100 * self.offset // self.length if self.length else 100

    @property
    def whole(self) -> bool:
        return self.offset == self.length


def waiting_of(caller: Caller) -> list[Waiting]:
    """The caller's uploads that wait for their next piece or for being imported, newest first."""
    mine = Upload.objects.filter(person_id=caller.person_id, expires_at__gt=timezone.now())
    columns = ("id", "file_name", "role", "set", "offset", "length")
    return [Waiting(*row) for row in mine.order_by("-created_at").values_list(*columns)[:50]]


def append(upload: Upload, offset: int, piece: BinaryIO, checksum: tuple[str, bytes] | None = None) -> int:
    """Take the next bytes, all or none, and return the new offset.

    Raises `WrongOffset`, `UploadTooLarge`, `ChecksumMismatch`, `UploadLocked`, `DiskFull`.
    """
    with _locked(_path(upload)) as file:
        upload.refresh_from_db()
        if offset != upload.offset:
            raise WrongOffset(f"It has {upload.offset:,} bytes; the next piece must begin there.")
        try:
            end = _write(file, upload, piece, checksum)
        except OSError as error:
            raise DiskFull from error
        upload.offset, upload.expires_at = end, timezone.now() + KEPT
        upload.save(update_fields=["offset", "expires_at"])
        return end


def remove(upload: Upload) -> None:
    """Forget an upload and its bytes."""
    id_ = upload.id  # deleting the row takes it from the object
    upload.delete()
    files.remove(id_)


def remove_expired() -> None:
    """Forget uploads that nobody has gone on with."""
    for upload in Upload.objects.filter(expires_at__lt=timezone.now()):
        remove(upload)


def complete_set(caller: Caller, id_: str | UUID) -> list[Upload]:
    """The upload and those of its set, one of each role, the file first. Raises `UploadIncomplete`."""
    chosen = find(caller, id_)
    found = [chosen]
    if chosen.set:
        beside = Upload.objects.filter(person_id=caller.person_id, set=chosen.set).exclude(id=chosen.id)
        found += beside.order_by("created_at")
    by_role = {upload.role: upload for upload in reversed(found)}
    if "file" not in by_role:
        raise InvalidValue(
            "This is only what lay beside the database. Upload the database itself in the same set.",
            pointer="/upload",
        )
    for upload in by_role.values():
        if upload.offset < upload.length:
            raise UploadIncomplete(
                f"{upload.file_name or upload.role} has {upload.offset:,} of {upload.length:,} bytes."
                " Send the rest first."
            )
    return [by_role[role] for role in files.PARTS if role in by_role]


def hand_over(uploads: list[Upload], folder: Path) -> None:
    """Move complete uploads into the folder of an import, and forget them once that is committed."""
    for upload in uploads:
        _path(upload).replace(folder / files.PARTS[upload.role])
        upload_id = upload.id
        upload.delete()
        transaction.on_commit(lambda id_=upload_id: files.remove(id_))  # type: ignore[misc]


def parsed_metadata(header: str) -> dict[str, str]:
    """The pairs of an `Upload-Metadata` header. Raises `InvalidValue`."""
    found = {}
    for pair in filter(None, map(str.strip, header.split(","))):
        name, _, value = pair.partition(" ")
        try:
            found[name] = b64decode(value.strip(), validate=True).decode().replace("\0", "")
        except ValueError:
            raise InvalidValue(
                f"The value of {name[:60]} in Upload-Metadata is not Base64 of UTF-8."
            ) from None
    return found


def parsed_checksum(header: str) -> tuple[str, bytes] | None:
    """Algorithm and digest of an `Upload-Checksum` header. Raises `InvalidValue`."""
    if not header:
        return None
    algorithm, _, value = header.strip().partition(" ")
    try:
        digest = b64decode(value.strip(), validate=True)
    except ValueError:
        digest = b""
    if algorithm not in CHECKSUMS or not digest:
        raise InvalidValue(f"Upload-Checksum must be one of {', '.join(CHECKSUMS)}, a space, and Base64.")
    return algorithm, digest


def _write(file: BinaryIO, upload: Upload, piece: BinaryIO, checksum: tuple[str, bytes] | None) -> int:
    digest: Any = hashlib.new(checksum[0] if checksum else "sha256", usedforsecurity=False)
    file.seek(upload.offset)
    end = upload.offset
    while data := piece.read(_PIECE):
        end += len(data)
        if end > upload.length:
            file.truncate(upload.offset)
            raise UploadTooLarge(f"The piece goes beyond the {upload.length:,} bytes that were announced.")
        digest.update(data)
        file.write(data)
    if checksum and digest.digest() != checksum[1]:
        file.truncate(upload.offset)
        raise ChecksumMismatch
    file.flush()
    os.fsync(file.fileno())
    return end


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("r+b")
    except FileNotFoundError:
        raise NotFound from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UploadLocked from None
        yield file


def _path(upload: Upload) -> Path:
    return files.folder_of(upload.id) / _DATA
