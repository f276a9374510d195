"""The record types as the protocol's table has them, written down once more for the oracle."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

Ref = tuple[str, str]
"""A record's type and id."""


@dataclass(frozen=True)
class Kind:
    plain: tuple[str, ...] = ()
    prose: tuple[str, ...] = ()
    layout: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    identity: tuple[str, ...] = ()
    """Fields of which the id is composed: the first value stays."""
    times: tuple[str, ...] = ("created_at",)
    parents: dict[str, str] = field(default_factory=dict)
    """Field -> type of the record that it names."""

    @property
    def fields(self) -> tuple[str, ...]:
        return (
            *self.plain, *self.prose, *self.layout, *self.objects, *self.identity, *self.times,
        )  # fmt: skip


_BOTH_TIMES = ("created_at", "updated_at")
KINDS: Final = {
    "thoughts": Kind(
        plain=("title",), prose=("description",), layout=("color", "position_x", "position_y"),
        objects=("fields", "metadata"), times=_BOTH_TIMES,
    ),
    "tags": Kind(plain=("name",), layout=("color",)),
    "segments": Kind(
        plain=("thought_id", "title", "content_type", "asset_path", "abstraction_level", "cluster_id"),
        prose=("content",), layout=("local_priority", "sort_order"), objects=("fields", "metadata"),
        times=_BOTH_TIMES, parents={"thought_id": "thoughts"},
    ),
    "thought_tags": Kind(
        identity=("thought_id", "tag_id"), parents={"thought_id": "thoughts", "tag_id": "tags"}
    ),
    "segment_tags": Kind(
        identity=("segment_id", "tag_id"), parents={"segment_id": "segments", "tag_id": "tags"}
    ),
    "segment_fields": Kind(
        plain=("segment_id", "name", "value", "value_type"), parents={"segment_id": "segments"}
    ),
    "segment_neighbors": Kind(
        plain=("strength",), objects=("metadata",), identity=("source_id", "target_id", "relationship_type"),
        parents={"source_id": "segments", "target_id": "segments"},
    ),
    "segment_related_context": Kind(
        plain=("segment_id", "context_type", "data", "source", "relevance", "expires_at"),
        parents={"segment_id": "segments"},
    ),
    "segment_llm_history": Kind(
        plain=("segment_id", "llm_model", "interaction_type"), prose=("prompt", "response"),
        objects=("metadata",), parents={"segment_id": "segments"},
    ),
}  # fmt: skip
"""Parents come before what hangs on them."""
