"""What a record is in bytes: its key, its sector, its canonical form and its hash.

Client and server must agree on every byte here; ``docs/vectors/*.json`` holds cases
that both test suites run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote, unquote

import orjson
import rfc8785

from sync.core.limits import MAX_INTEGER
from sync.core.schema import RECORD_TYPES, Kind

Record = dict[str, Any]
"""A record in feed form: field name -> JSON value, ``extra`` only where it is not empty."""

_SAFE: Final = "-._~"
_is_unreserved: Final = re.compile(r"[A-Za-z0-9\-._~]*").fullmatch
_EVEN_FLOATS = 1e-4, 1e15
"""Between these magnitudes ECMAScript and orjson spell a double alike."""
_UNEVEN_FIELDS: Final = {
    name: (
        *(field.name for field in type_.fields if field.kind in (Kind.NUMBER, Kind.OBJECT)),
        "extra",
    )
    for name, type_ in RECORD_TYPES.items()
}
"""The fields that may hold what orjson would spell differently."""


def key_and_sector(type_: str, id_: str) -> tuple[bytes, int]:
    """The 16-byte key under which a record is stored, and its sector (0-255) in the digest.

    Ids may have 1,024 characters, too long for an index row, so the index holds a hash.
    """
    hashed = sha256(f"{type_}/{id_}".encode()).digest()
    return hashed[:16], hashed[31]


@lru_cache(maxsize=8192)
def key_of(type_: str, id_: str) -> bytes:
    """The key alone; remembered, because many records name the same parent."""
    return sha256(f"{type_}/{id_}".encode()).digest()[:16]


def compose_id(parts: list[str]) -> str:
    """Join the parts of a composed id, each percent-encoded but for unreserved characters."""
    # Nearly all parts have nothing to encode, and asking that is six times faster than `quote`.
    return "/".join(part if _is_unreserved(part) else quote(part, safe=_SAFE) for part in parts)


def compose_ids(parts: Sequence[Sequence[str]]) -> list[str]:
    """The same for many ids: first parts, second parts, and so on."""
    if all(_is_unreserved("".join(column)) for column in parts):
        return list(map("/".join, zip(*parts, strict=True)))
    return [compose_id(list(each)) for each in zip(*parts, strict=True)]


def split_id(id_: str) -> list[str] | None:
    """The parts of a composed id; None if it is not spelled as `compose_id` spells it."""
    try:
        parts = [unquote(part, errors="strict") for part in id_.split("/")]
    except UnicodeDecodeError:
        return None
    return parts if compose_id(parts) == id_ else None


def identity(type_: str, record: Record) -> str:
    """The id that a record's own fields give it (for types with a composed id)."""
    return compose_id([record[name] for name in RECORD_TYPES[type_].identity])


def empty_record(type_: str) -> Record:
    """A record of this type in which nothing is set."""
    return {field.name: {} if field.kind is Kind.OBJECT else None for field in RECORD_TYPES[type_].fields}


def canonical(type_: str, id_: str, record: Record) -> bytes:
    """RFC 8785 bytes of ``{"type", "id", …fields}``.

    orjson writes them about forty times faster than a canonicaliser in Python and is
    right for all but some spellings of numbers and keys outside the BMP; those few
    records go through rfc8785.
    """
    document = {"type": type_, "id": id_, **record}
    try:
        for name in _UNEVEN_FIELDS[type_]:
            value = document.get(name)
            if value or value == 0:  # 0.0 too; nothing to do for null and {}
                document[name] = _even(value)
        return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    except _Uneven:
        return rfc8785.dumps(_doubles({"type": type_, "id": id_, **record}))


def canonical_object(value: Mapping[str, Any]) -> bytes:
    """RFC 8785 bytes of an object inside a record."""
    if not value:
        return b"{}"
    try:
        return orjson.dumps(_even(value), option=orjson.OPT_SORT_KEYS)
    except _Uneven:
        return rfc8785.dumps(_doubles(value))


def canonical_number(value: float | None) -> bytes:
    """RFC 8785 bytes of a number inside a record."""
    if (
        value.__class__ is float
        and not value.is_integer()
        and _EVEN_FLOATS[0] <= abs(value) < _EVEN_FLOATS[1]
    ):
        return orjson.dumps(value)  # nearly all are such
    try:
        return orjson.dumps(_even(value))
    except _Uneven:
        return rfc8785.dumps(_doubles(value))


def hash_of(type_: str, id_: str, record: Record) -> bytes:
    """The first 8 bytes of the SHA-256 of the canonical form."""
    return sha256(canonical(type_, id_, record)).digest()[:8]


class _Uneven(Exception):
    """orjson would spell this differently from RFC 8785."""


def _even(value: Any) -> Any:
    """The value with integral doubles as integers, as ECMAScript spells them."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, dict):
        if value and max(value) > "\uffff":
            raise _Uneven  # RFC 8785 sorts by UTF-16 units, which differs from code points up there
        return {key: item if item.__class__ is str else _even(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_even(item) for item in value]
    if isinstance(value, int):
        if -MAX_INTEGER <= value <= MAX_INTEGER:
            return value
        raise _Uneven
    if value.is_integer() and abs(value) <= MAX_INTEGER:
        return int(value)
    if _EVEN_FLOATS[0] <= abs(value) < _EVEN_FLOATS[1]:
        return value
    raise _Uneven


def _doubles(value: Any) -> Any:
    """The value with every number that JSON readers see as a double written as one."""
    if isinstance(value, dict):
        return {key: _doubles(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_doubles(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_INTEGER:
        return float(value)
    return value
