"""New records in PostgreSQL's binary COPY format, made without a database.

Whoever has many records to add (an import reads them in a process of its own) packs each
once; `ChangeSet.copy_packed` adds what only the transaction knows and hands the bytes on.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import repeat
from struct import Struct
from typing import Any, Final
from uuid import UUID

from sync.core.schema import RECORD_TYPES, Kind
from sync.core.sheets import Sheet, hashes, key_digests
from sync.tables import TABLES, parent_keys

SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"
_HEAD: Final = ("space_id", "version", "born", "deleted", "cascaded", "field_versions")
"""The columns in which all new records of a change set agree."""
_OWN: Final = ("key", "id", "hash", "sector", "extra")

_LENGTH: Final = Struct("!i").pack
_NULL: Final = _LENGTH(-1)
_NUMBER: Final = Struct("!id").pack
_MOMENT: Final = Struct("!iq").pack
_SECTOR: Final = Struct("!ih").pack
_HEAD_ROW: Final = Struct("!hi16siqiqi?i?i3s").pack
_EPOCH: Final = datetime(2000, 1, 1)  # noqa: DTZ001 (both sides of the subtraction are UTC)


def pack(sheet: Sheet) -> list[bytes]:
    """Each record as a row of COPY, all but its head."""
    keys = key_digests(sheet.type, sheet.ids)
    cells: list[Iterable[bytes]] = [
        repeat(_LENGTH(16)),
        [digest[:16] for digest in keys],
        *_texts(sheet.ids),
        repeat(_LENGTH(8)),
        hashes(sheet),
        [_SECTOR(2, digest[31]) for digest in keys],
        *_objects(sheet.columns["extra"]),
    ]
    for field in RECORD_TYPES[sheet.type].fields:
        cells += _BY_KIND[field.kind](sheet.columns[field.name])
    for name, _ in parent_keys(RECORD_TYPES[sheet.type]):
        cells.append(_parents(sheet, name))
    return list(map(b"".join, zip(*cells, strict=False)))


def key_in(packed: bytes) -> bytes:
    """The key of a packed record."""
    return packed[4:20]


def copy_statement(type_: str) -> str:
    table = TABLES[type_]
    columns = [name for name in table.columns if name not in _HEAD and name not in _OWN]
    return f"COPY {table.name} ({', '.join((*_HEAD, *_OWN, *columns))}) FROM STDIN (FORMAT binary)"


def rows(type_: str, packed: Iterable[bytes], space_id: UUID, version: int) -> bytes:
    """Packed records as they go into COPY, between `SIGNATURE` and `TRAILER`."""
    columns = len(TABLES[type_].columns) + 1
    head = _HEAD_ROW(columns, 16, space_id.bytes, 8, version, 8, version, 1, False, 1, False, 3, b"\x01{}")
    return head + head.join(packed)


# Cells of one column: their lengths and their bytes apart, for `join` puts them together anyway.


def _texts(values: Sequence[str | None]) -> list[Iterable[bytes]]:
    if None in values:
        return _nullable([None if value is None else value.encode() for value in values])
    return _sized(list(map(str.encode, values)))  # type: ignore[arg-type]


def _objects(values: Sequence[bytes]) -> list[Iterable[bytes]]:
    return [[_LENGTH(len(value) + 1) + b"\x01" for value in values], values]


def _bytes(values: Sequence[str | None]) -> list[Iterable[bytes]]:
    return _nullable([None if value is None else b64decode(value) for value in values])


def _sized(values: Sequence[bytes]) -> list[Iterable[bytes]]:
    return [map(_LENGTH, map(len, values)), values]


def _nullable(values: Sequence[bytes | None]) -> list[Iterable[bytes]]:
    if not any(value is not None for value in values):
        return [repeat(_NULL)]
    return [
        [_NULL if value is None else _LENGTH(len(value)) for value in values],
        [value or b"" for value in values],
    ]


def _numbers(values: Sequence[float | None]) -> list[Iterable[bytes]]:
    return [[_NULL if value is None else _NUMBER(8, value) for value in values]]


def _times(values: Sequence[str | None]) -> list[Iterable[bytes]]:
    return [[_NULL if value is None else _MOMENT(8, _microseconds(value)) for value in values]]


def _microseconds(time: str) -> int:
    since = datetime.fromisoformat(time[:-1]) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _parents(sheet: Sheet, name: str) -> Iterable[bytes]:
    """The keys of the records that a field names. Many name the same: each is hashed once."""
    fixed = RECORD_TYPES[sheet.type].parents.get(name)
    ids = sheet.columns[name]
    if fixed:
        return map(_parent_cells(fixed, ids).__getitem__, ids)
    types = sheet.columns["owner_type"]
    return [_parent_cells(type_, [id_])[id_] for type_, id_ in zip(types, ids, strict=True)]


def _parent_cells(type_: str, ids: Sequence[str | None]) -> dict[str | None, bytes]:
    named = [id_ for id_ in set(ids) if id_ is not None]
    digests = zip(named, key_digests(type_, named), strict=True)
    return {None: _NULL, **{id_: _PARENT + digest[:16] for id_, digest in digests}}


_PARENT: Final = _LENGTH(16)
_BY_KIND: Final[Mapping[Kind, Callable[[Any], list[Iterable[bytes]]]]] = {
    Kind.TEXT: _texts,
    Kind.NUMBER: _numbers,
    Kind.TIME: _times,
    Kind.OBJECT: _objects,
    Kind.BYTES: _bytes,
}
