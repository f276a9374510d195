"""The record types, as one literal: everything that knows a field by name reads it here.

Models, SQL, validation, merging, the feed, digests, the migration's column mapping
and the API documentation are all derived from ``RECORD_TYPES``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final


class Kind(Enum):
    """What a field's value is, in feed form."""

    TEXT = "text"  # str or null
    NUMBER = "number"  # finite double (an integral one is written without ".0") or null
    TIME = "time"  # "YYYY-MM-DDTHH:MM:SS.ffffffZ" or null
    OBJECT = "object"  # JSON object; empty is {}, never null; each key merges by itself
    BYTES = "bytes"  # base64 text or null


class Merge(Enum):
    """What happens to a field that two devices changed at the same time."""

    PLAIN = "plain"  # a conflict; the value that was first stays
    LAYOUT = "layout"  # the push wins: layout is noisy, history keeps both
    PROSE = "prose"  # three-way text merge; the same sentence twice is a conflict
    LATEST = "latest"  # the later time wins
    FIRST = "first"  # the first value stays


@dataclass(frozen=True)
class Field:
    name: str
    kind: Kind = Kind.TEXT
    merge: Merge = Merge.PLAIN
    columns: tuple[str, ...] = ()
    """Names that LogoMesh's SQLite dialects give this field, as in ``extra.originals``."""


@dataclass(frozen=True, eq=False)
class RecordType:
    name: str
    fields: tuple[Field, ...]
    identity: tuple[str, ...] = ()
    """Fields whose percent-encoded values, joined by "/", are the id. Empty: the client's own text."""
    own_id: bool = True
    """Whether the client may choose the id freely (then ``identity`` is only an alternative)."""
    parents: Mapping[str, str] = field(default_factory=dict)
    """Field that names a parent -> the parent's record type. A record hangs on each of them."""
    opt_in: bool = False
    """Sent only to a client that asks for it; outside the digest."""

    @property
    def by_name(self) -> Mapping[str, Field]:
        return _FIELDS_BY_NAME[self.name]


def _text(name: str, *columns: str, merge: Merge = Merge.PLAIN) -> Field:
    return Field(name, Kind.TEXT, merge, columns or (name,))


def _prose(name: str, *columns: str) -> Field:
    return _text(name, *columns, merge=Merge.PROSE)


def _identity(name: str, *columns: str) -> Field:
    return _text(name, *columns, merge=Merge.FIRST)


def _number(name: str, *columns: str, merge: Merge = Merge.PLAIN) -> Field:
    return Field(name, Kind.NUMBER, merge, columns or (name,))


def _layout(name: str, *columns: str) -> Field:
    return _number(name, *columns, merge=Merge.LAYOUT)


_FIELDS = Field("fields", Kind.OBJECT, Merge.PLAIN, ("fields",))
_METADATA = Field("metadata", Kind.OBJECT, Merge.PLAIN, ("metadata",))
_CREATED = Field("created_at", Kind.TIME, Merge.FIRST, ("created_at", "createdAt"))
_UPDATED = Field("updated_at", Kind.TIME, Merge.LATEST, ("updated_at", "updatedAt"))

_TYPES: Final = (
    RecordType(
        "thoughts",
        (
            _text("title"),
            _prose("description"),
            _text("color", merge=Merge.LAYOUT),
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
        (
            _text("thought_id", "thought_bubble_id", "thoughtId"),
            _text("title"),
            _prose("content"),
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
    RecordType(
        "tags",
        (_text("name", "name", "tag_name"), _text("color", merge=Merge.LAYOUT), _CREATED),
    ),
    RecordType(
        "thought_tags",
        (
            _identity("thought_id", "thought_bubble_id", "thought_id"),
            _identity("tag_id"),
            _CREATED,
        ),
        identity=("thought_id", "tag_id"),
        own_id=False,
        parents={"thought_id": "thoughts", "tag_id": "tags"},
    ),
    RecordType(
        "segment_tags",
        (_identity("segment_id"), _identity("tag_id"), _CREATED),
        identity=("segment_id", "tag_id"),
        own_id=False,
        parents={"segment_id": "segments", "tag_id": "tags"},
    ),
    RecordType(
        "segment_fields",
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
        (
            _identity("source_id", "source_segment_id"),
            _identity("target_id", "target_segment_id"),
            _identity("relationship_type"),
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
        (
            _text("segment_id"),
            _text("context_type"),
            _text("data", "context_data"),
            _text("source"),
            _number("relevance", "relevance_score"),
            Field("expires_at", Kind.TIME, Merge.PLAIN, ("expires_at",)),
            _CREATED,
        ),
        identity=("segment_id", "context_type"),
        parents={"segment_id": "segments"},
    ),
    RecordType(
        "segment_llm_history",
        (
            _text("segment_id"),
            _prose("prompt"),
            _prose("response"),
            _text("llm_model", "llm_model", "llm_executor"),
            _text("interaction_type"),
            _METADATA,
            Field("created_at", Kind.TIME, Merge.FIRST, ("created_at", "timestamp")),
        ),
        parents={"segment_id": "segments"},
    ),
    RecordType(
        "embeddings",
        (
            _text("owner_type"),
            _identity("owner_id"),
            _identity("model"),
            _number("dimensions"),
            Field("vector", Kind.BYTES, Merge.PLAIN, ("embedding_vector",)),
        ),
        identity=("owner_id", "model"),
        own_id=False,
        opt_in=True,
    ),
)

_FIELDS_BY_NAME: Final = {
    kind.name: MappingProxyType({field.name: field for field in kind.fields}) for kind in _TYPES
}

RECORD_TYPES: Final[Mapping[str, RecordType]] = MappingProxyType({kind.name: kind for kind in _TYPES})
