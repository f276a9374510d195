"""What a record is: its types and fields, its id, its canonical bytes, its hash and its sector.

Client and server agree on every byte here; `docs/vectors/records.json` of the server's project holds
the golden cases that both test suites run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote, unquote

import orjson
import rfc8785

Record = dict[str, Any]
"""The fields of a record in feed form; ``extra`` only where it is not empty. No type, id or version."""

MAX_INTEGER: Final = 2**53 - 1
"""Beyond it, JSON readers disagree about the number."""
MAX_ID_CHARACTERS: Final = 1_024
MAX_DEPTH: Final = 100
CONFLICTS: Final = "conflicts"
"""The type under which the feed brings conflicts. They are no records: they have no hash."""


class Kind(Enum):
    """What a field's value is, in feed form."""

    TEXT = "text"  # str or null
    NUMBER = "number"  # finite double or null
    TIME = "time"  # "YYYY-MM-DDTHH:MM:SS.ffffffZ" or null
    OBJECT = "object"  # JSON object; empty is {}, never null; each key merges by itself
    BYTES = "bytes"  # base64 text or null


@dataclass(frozen=True)
class Field:
    name: str
    kind: Kind = Kind.TEXT
    columns: tuple[str, ...] = ()
    """Names that LogoMesh's SQLite dialects give this field, as in ``extra.originals``."""
    layout: bool = False
    """Says only where and how a record is drawn, or that it was just moved: noise to a person's history."""


@dataclass(frozen=True, eq=False)
class RecordType:
    name: str
    number: int
    """Stands for the type in the tables that the client keeps inside a file. Never changes."""
    fields: tuple[Field, ...]
    identity: tuple[str, ...] = ()
    """Fields whose percent-encoded values, joined by "/", are the id. Empty: LogoMesh's own text."""
    own_id: bool = True
    """Whether the id may be chosen freely (then ``identity`` is only an alternative)."""
    parents: Mapping[str, str] = field(default_factory=dict)
    """Field that names a parent -> the parent's record type. A record hangs on each of them."""
    hashed: bool = True
    """Whether the digest counts it. The others are only sent to a client that asks for them."""

    @property
    def by_name(self) -> Mapping[str, Field]:
        return _BY_NAME[self.name]


def _text(name: str, *columns: str) -> Field:
    return Field(name, Kind.TEXT, columns or (name,))


def _number(name: str, *columns: str) -> Field:
    return Field(name, Kind.NUMBER, columns or (name,))


def _layout(name: str, *columns: str, kind: Kind = Kind.NUMBER) -> Field:
    return Field(name, kind, columns or (name,), layout=True)


_COLOR = _layout("color", kind=Kind.TEXT)
_FIELDS = Field("fields", Kind.OBJECT, ("fields",))
_METADATA = Field("metadata", Kind.OBJECT, ("metadata",))
_CREATED = Field("created_at", Kind.TIME, ("created_at", "createdAt"))
_UPDATED = Field("updated_at", Kind.TIME, ("updated_at", "updatedAt"), layout=True)

_TYPES: Final = (
    RecordType(
        "thoughts",
        1,
        (
            _text("title"),
            _text("description"),
            _COLOR,
            _layout("position_x"),
            _layout("position_y"),
            _FIELDS,
            _METADATA,
            _CREATED,
            _UPDATED,
        ),
    ),
    RecordType(
        "segments",
        2,
        (
            _text("thought_id", "thought_bubble_id", "thoughtId"),
            _text("title"),
            _text("content"),
            _text("content_type", "content_type", "segment_type"),
            _text("asset_path"),
            _text("abstraction_level"),
            _layout("local_priority"),
            _text("cluster_id"),
            _layout("sort_order", "sort_order", "position_in_thought"),
            _FIELDS,
            _METADATA,
            _CREATED,
            _UPDATED,
        ),
        parents={"thought_id": "thoughts"},
    ),
    RecordType("tags", 3, (_text("name", "name", "tag_name"), _COLOR, _CREATED)),
    RecordType(
        "thought_tags",
        4,
        (_text("thought_id", "thought_bubble_id", "thought_id"), _text("tag_id"), _CREATED),
        identity=("thought_id", "tag_id"),
        own_id=False,
        parents={"thought_id": "thoughts", "tag_id": "tags"},
    ),
    RecordType(
        "segment_tags",
        5,
        (_text("segment_id"), _text("tag_id"), _CREATED),
        identity=("segment_id", "tag_id"),
        own_id=False,
        parents={"segment_id": "segments", "tag_id": "tags"},
    ),
    RecordType(
        "segment_fields",
        6,
        (
            _text("segment_id"),
            _text("name", "field_name", "field_key", "name"),
            _text("value", "field_value", "value"),
            _text("value_type", "field_type", "type"),
            _CREATED,
        ),
        identity=("segment_id", "name"),
        parents={"segment_id": "segments"},
    ),
    RecordType(
        "segment_neighbors",
        7,
        (
            _text("source_id", "source_segment_id"),
            _text("target_id", "target_segment_id"),
            _text("relationship_type"),
            _number("strength", "strength", "weight"),
            _METADATA,
            _CREATED,
        ),
        identity=("source_id", "target_id", "relationship_type"),
        own_id=False,
        parents={"source_id": "segments", "target_id": "segments"},
    ),
    RecordType(
        "segment_related_context",
        8,
        (
            _text("segment_id"),
            _text("context_type"),
            _text("data", "context_data"),
            _text("source"),
            _number("relevance", "relevance_score"),
            Field("expires_at", Kind.TIME, ("expires_at",)),
            _CREATED,
        ),
        identity=("segment_id", "context_type"),
        parents={"segment_id": "segments"},
    ),
    RecordType(
        "segment_llm_history",
        9,
        (
            _text("segment_id"),
            _text("prompt"),
            _text("response"),
            _text("llm_model", "llm_model", "llm_executor"),
            _text("interaction_type"),
            _METADATA,
            Field("created_at", Kind.TIME, ("created_at", "timestamp")),
        ),
        parents={"segment_id": "segments"},
    ),
    RecordType(
        "embeddings",
        10,
        (
            _text("owner_type"),
            _text("owner_id"),
            _text("model"),
            _number("dimensions"),
            Field("vector", Kind.BYTES, ("embedding_vector",)),
        ),
        identity=("owner_id", "model"),
        own_id=False,
        hashed=False,
    ),
)

_BY_NAME: Final = {type_.name: MappingProxyType({f.name: f for f in type_.fields}) for type_ in _TYPES}
TYPES: Final[Mapping[str, RecordType]] = MappingProxyType({type_.name: type_ for type_ in _TYPES})
"""The record types by name, parents first; their fields in feed order."""

_BLANK: Final = {
    name: {f.name: None for f in type_.fields if f.kind is not Kind.OBJECT} for name, type_ in TYPES.items()
}
_OBJECTS: Final = {
    name: tuple(f.name for f in type_.fields if f.kind is Kind.OBJECT) for name, type_ in TYPES.items()
}
_UNEVEN: Final = {
    name: (*(f.name for f in type_.fields if f.kind in (Kind.NUMBER, Kind.OBJECT)), "extra")
    for name, type_ in TYPES.items()
}
"""The fields that may hold what orjson would spell differently from RFC 8785."""
_is_unreserved: Final = re.compile(r"[A-Za-z0-9\-._~]*").fullmatch


def empty_record(type_: str) -> Record:
    """A record of this type in which nothing is set."""
    return {**_BLANK[type_], **{name: {} for name in _OBJECTS[type_]}}


def record_id(type_: str, parts: Sequence[str]) -> str:
    """The composed id of a record: its parts, percent-encoded where need be, joined by "/"."""
    assert len(parts) == len(TYPES[type_].identity), f"{type_} has other parts"
    return compose_id(parts)


def compose_id(parts: Sequence[str]) -> str:
    """Join the parts of a composed id."""
    return "/".join(part if _is_unreserved(part) else quote(part, safe="-._~") for part in parts)


def split_id(id_: str) -> list[str] | None:
    """The parts of a composed id; None if it is not spelled as `compose_id` spells it."""
    try:
        parts = [unquote(part, errors="strict") for part in id_.split("/")]
    except UnicodeDecodeError:
        return None
    return parts if compose_id(parts) == id_ else None


def sector(type_: str, id_: str) -> int:
    """The sector (0-255) of the digest in which a record counts."""
    return sha256(f"{type_}/{id_}".encode()).digest()[31]


def canonical(type_: str, id_: str, record: Record) -> bytes:
    """The RFC 8785 bytes of ``{"type", "id", …fields}``.

    orjson writes them about forty times faster than a canonicaliser in Python and is right for all but
    some spellings of numbers and keys outside the BMP; those few records go through rfc8785.
    """
    document = {"type": type_, "id": id_, **record}
    try:
        for name in _UNEVEN[type_]:
            value = document.get(name)
            if value or value == 0:
                document[name] = _even(value)
        return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    except _NotEven:
        return rfc8785.dumps(_doubles({"type": type_, "id": id_, **record}))


def digest(type_: str, id_: str, record: Record) -> int:
    """The hash of a record: the first 8 bytes of the SHA-256 of its canonical form, big-endian."""
    return int.from_bytes(sha256(canonical(type_, id_, record)).digest()[:8], "big")


class _NotEven(Exception):
    """orjson would spell this differently from RFC 8785."""


def _even(value: Any) -> Any:
    """The value with integral doubles as integers, as ECMAScript spells them."""
    kind = value.__class__
    if kind is str or value is None or kind is bool:
        return value
    if kind is float:
        if value.is_integer() and abs(value) <= MAX_INTEGER:
            return int(value)
        if 1e-4 <= abs(value) < 1e15:
            return value
        raise _NotEven
    if kind is int:
        if -MAX_INTEGER <= value <= MAX_INTEGER:
            return value
        raise _NotEven
    if kind is dict:
        if value and max(value) > "\uffff":
            raise _NotEven  # RFC 8785 sorts by UTF-16 units, which differs from code points up there
        return {key: item if item.__class__ is str else _even(item) for key, item in value.items()}
    return [_even(item) for item in value]


def _doubles(value: Any) -> Any:
    """The value with every number that JSON readers see as a double written as one."""
    if isinstance(value, dict):
        return {key: _doubles(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_doubles(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_INTEGER:
        return float(value)
    return value
