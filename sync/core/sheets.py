"""Many records of one type, column by column: made for imports and large pushes.

Each step runs over a whole column inside the interpreter, and nothing is made for a single
record but its bytes. What comes out is byte by byte what `sync.core.records` says of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import repeat
from typing import Any, Final

import orjson

from sync.core.records import Record, canonical_number, canonical_object
from sync.core.schema import RECORD_TYPES, Kind

_HASH_BYTES: Final = 8
_SHA256: Final = sha256()  # copying one is faster than having OpenSSL look it up each time


@dataclass(frozen=True, slots=True)
class Sheet:
    """Records of one type as columns, all of the same length."""

    type: str
    ids: Sequence[str]
    columns: Mapping[str, Sequence[Any]]
    """Field -> values in feed form; but objects as JSON. `extra` is one of them."""
    spelled: Mapping[str, Sequence[bytes]]
    """Objects and `extra` -> their canonical form; an `extra` with nothing in it is empty here."""

    def __len__(self) -> int:
        return len(self.ids)


def sheet_of(type_: str, records: Sequence[tuple[str, Record]]) -> Sheet:
    """The columns of records that are whole."""
    columns: dict[str, Sequence[Any]] = {}
    spelled: dict[str, Sequence[bytes]] = {}
    for field in RECORD_TYPES[type_].fields:
        values = [record[field.name] for _, record in records]
        if field.kind is Kind.OBJECT:
            spelled[field.name] = list(map(canonical_object, values))
            columns[field.name] = list(map(orjson.dumps, values))
        else:
            columns[field.name] = values
    extras = [record.get("extra") or {} for _, record in records]
    columns["extra"] = list(map(orjson.dumps, extras))
    spelled["extra"] = [canonical_object(extra) if extra else b"" for extra in extras]
    return Sheet(type_, [id_ for id_, _ in records], columns, spelled)


def canonicals(sheet: Sheet) -> list[bytes]:
    """`records.canonical` of each record."""
    pieces: list[Iterable[bytes]] = []
    for name, before in _LAYOUTS[sheet.type]:
        if before:
            pieces.append(repeat(before))
        if name in sheet.spelled:
            pieces.append(sheet.spelled[name] if name != "extra" else _named_extras(sheet.spelled[name]))
        elif name:
            kind = RECORD_TYPES[sheet.type].by_name[name].kind if name != "id" else Kind.TEXT
            pieces.append(_SPELLERS[kind](sheet.ids if name == "id" else sheet.columns[name]))
    return list(map(b"".join, zip(*pieces, strict=False)))


def hashes(sheet: Sheet) -> list[bytes]:
    """`records.hash_of` of each record."""
    found = []
    for document in canonicals(sheet):
        hashed = _SHA256.copy()
        hashed.update(document)
        found.append(hashed.digest()[:_HASH_BYTES])
    return found


def key_digests(type_: str, ids: Iterable[str]) -> list[bytes]:
    """SHA-256 of each record's type and id: the first 16 bytes are its key, the last is its sector."""
    start = sha256(f"{type_}/".encode())
    found = []
    for id_ in ids:
        hashed = start.copy()
        hashed.update(id_.encode())
        found.append(hashed.digest())
    return found


def _texts(values: Sequence[str | None]) -> Iterable[bytes]:
    return map(orjson.dumps, values)


def _numbers(values: Sequence[float | None]) -> Iterable[bytes]:
    spelled = {value: canonical_number(value) for value in set(values)}
    return map(spelled.__getitem__, values)


def _named_extras(spelled: Sequence[bytes]) -> Iterable[bytes]:
    if not any(spelled):
        return repeat(b"")
    return [b',"extra":' + extra if extra else b"" for extra in spelled]


_SPELLERS: Final[Mapping[Kind, Callable[[Sequence[Any]], Iterable[bytes]]]] = {
    Kind.TEXT: _texts,
    Kind.TIME: _texts,
    Kind.BYTES: _texts,
    Kind.NUMBER: _numbers,
}


def _layout(type_: str) -> list[tuple[str, bytes]]:
    """(field, what stands before its value) in canonical order. `extra` stands with its own name."""
    names = {"id", "type", "extra"} | {field.name for field in RECORD_TYPES[type_].fields}
    layout, before = [], "{"
    for name in sorted(names):
        if name == "type":
            before += f'"type":"{type_}",'
        elif name == "extra":  # never the first
            layout.append((name, before.removesuffix(",").encode()))
            before = ","
        else:
            layout.append((name, f'{before}"{name}":'.encode()))
            before = ","
    return [*layout, ("", before.removesuffix(",").encode() + b"}")]


_LAYOUTS: Final = {name: _layout(name) for name in RECORD_TYPES}
