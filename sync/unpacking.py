"""The way back from `sync.packing`: the record that a row of COPY stands for."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from struct import Struct
from typing import Any, Final

import orjson

from sync.core.limits import MAX_INTEGER
from sync.core.records import Record
from sync.core.schema import RECORD_TYPES, Kind

_NUMBER: Final = Struct("!d").unpack
_EPOCH: Final = datetime(2000, 1, 1)  # noqa: DTZ001 (it is only ever added to)


def unpack(type_: str, packed: bytes) -> tuple[str, Record]:
    """Id and record of a packed row."""
    _, id_, _, _, extra, *cells = _cells(packed)
    assert id_ is not None
    record = {
        field.name: _BY_KIND[field.kind](cell) if cell is not None else None
        for field, cell in zip(RECORD_TYPES[type_].fields, cells, strict=False)
    }
    if extra is not None and (beside := _object(extra)):
        record["extra"] = beside
    return id_.decode(), record


def hash_in(packed: bytes) -> int:
    """The hash in a packed record, signed as the tables hold it: it follows the key and the id."""
    start = 24 + int.from_bytes(packed[20:24]) + 4
    return int.from_bytes(packed[start : start + 8], signed=True)


def parent_keys_in(packed: bytes, count: int) -> list[bytes]:
    """The keys at the end of a packed record, for a type whose records hang on so many others."""
    return [packed[len(packed) - 20 * n + 4 : len(packed) - 20 * (n - 1)] for n in range(count, 0, -1)]


def _cells(packed: bytes) -> Iterator[bytes | None]:
    at = 0
    while at < len(packed):
        size = int.from_bytes(packed[at : at + 4], signed=True)
        at += 4
        yield None if size < 0 else packed[at : at + size]
        at += max(size, 0)


def _number(cell: bytes) -> int | float:
    (value,) = _NUMBER(cell)
    return int(value) if value.is_integer() and abs(value) <= MAX_INTEGER else float(value)


def _time(cell: bytes) -> str:
    moment = _EPOCH + timedelta(microseconds=int.from_bytes(cell, signed=True))
    return f"{moment.isoformat(timespec='microseconds')}Z"


def _object(cell: bytes) -> Any:
    return orjson.loads(cell[1:])


_BY_KIND: Final[Mapping[Kind, Callable[[bytes], Any]]] = {
    Kind.TEXT: bytes.decode,
    Kind.NUMBER: _number,
    Kind.TIME: _time,
    Kind.OBJECT: _object,
    Kind.BYTES: lambda cell: b64encode(cell).decode(),
}
