"""New records in PostgreSQL's binary COPY format, made without a database.

Whoever has many records to add (an import reads them in a process of its own) packs each
once; `ChangeSet.copy_packed` adds what only the transaction knows and hands the bytes on.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from struct import Struct
from typing import Any, Final
from uuid import UUID

import orjson

from sync.core.records import Record, canonical, key_and_sector, key_of
from sync.core.schema import RECORD_TYPES, Kind
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
_KEY_AND_ID: Final = Struct("!i16si").pack
_HASH_AND_SECTOR: Final = Struct("!i8sih").pack
_HEAD_ROW: Final = Struct("!hi16siqiqi?i?i3s").pack
_EPOCH: Final = datetime(2000, 1, 1)  # noqa: DTZ001 (both sides of the subtraction are UTC)
_NO_OBJECT: Final = _LENGTH(3) + b"\x01{}"


def pack(type_: str, id_: str, record: Record) -> bytes:
    """One record as a row of COPY, all but its head."""
    key, sector = key_and_sector(type_, id_)
    name = id_.encode()
    parts = [
        _KEY_AND_ID(16, key, len(name)),
        name,
        _HASH_AND_SECTOR(8, sha256(canonical(type_, id_, record)).digest()[:8], 2, sector),
        _object(record.get("extra")),
    ]
    columns, parents = _ENCODERS[type_]
    for column, encode in columns:
        value = record[column]
        parts.append(_NULL if value is None else encode(value))
    for column, parent in parents:
        parent_id = record[column]
        parts.append(
            _NULL if parent_id is None else _PARENT + key_of(parent or record["owner_type"], parent_id)
        )
    return b"".join(parts)


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


def _text(value: str) -> bytes:
    data = value.encode()
    return _LENGTH(len(data)) + data


def _double(value: float) -> bytes:
    return _NUMBER(8, value)


def _time(value: str) -> bytes:
    since = datetime.fromisoformat(value[:-1]) - _EPOCH
    return _MOMENT(8, (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)


def _object(value: Mapping[str, Any] | None) -> bytes:
    if not value:
        return _NO_OBJECT
    data = orjson.dumps(value)
    return _LENGTH(len(data) + 1) + b"\x01" + data


def _bytes(value: str) -> bytes:
    data = b64decode(value)
    return _LENGTH(len(data)) + data


_PARENT: Final = _LENGTH(16)
_BY_KIND: Final[Mapping[Kind, Callable[[Any], bytes]]] = {
    Kind.TEXT: _text,
    Kind.NUMBER: _double,
    Kind.TIME: _time,
    Kind.OBJECT: _object,
    Kind.BYTES: _bytes,
}
_ENCODERS: Final = {
    name: (
        [(field.name, _BY_KIND[field.kind]) for field in type_.fields],
        [(field, type_.parents.get(field)) for field, _ in parent_keys(type_)],
    )
    for name, type_ in RECORD_TYPES.items()
}
