"""Records as the objects that LogoMesh's programs know, and what they ask for as records. Pure."""

from __future__ import annotations

import re
import secrets
import time
import uuid
from collections.abc import Callable, Container, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast

import orjson

from logomesh_client.adapters.checking import require_segment, require_thought
from logomesh_client.adapters.contract import NewSegment, NewThought, Segment, Tag, Thought
from logomesh_client.records import Record, empty_record

THOUGHT_COLOR: Final = "#3b82f6"
TAG_COLOR: Final = "#ffffff"
_NO_TIME: Final = "1970-01-01T00:00:00.000000Z"
_PLAIN: Final = ("title", "content_type", "asset_path", "abstraction_level", "local_priority", "cluster_id")


# From records


def thought_of(id_: str, record: Record, tags: Iterable[Record], segments: list[Segment]) -> Thought:
    """A thought as LogoMesh shows it."""
    thought: dict[str, Any] = {
        "id": id_,
        "title": record["title"] or "",
        "created_at": shown_time(record["created_at"]),
        "updated_at": shown_time(record["updated_at"]),
        "tags": [_tag_of(tag) for tag in tags],
        "segments": segments,
        "fields": record["fields"],
        "metadata": record["metadata"],
    }
    for name in ("description", "color"):
        if record[name] is not None:
            thought[name] = record[name]
    if record["position_x"] is not None and record["position_y"] is not None:
        thought["position"] = {"x": record["position_x"], "y": record["position_y"]}
    return cast(Thought, thought)


def segment_of(id_: str, record: Record, rows: Iterable[Record] = ()) -> Segment:
    """A segment as LogoMesh shows it. `rows`: its records of type `segment_fields`."""
    fields, metadata = told_apart(record)
    segment: dict[str, Any] = {
        "segment_id": id_,
        "thought_bubble_id": record["thought_id"] or "",
        "content": record["content"] or "",
        "created_at": shown_time(record["created_at"]),
        "updated_at": shown_time(record["updated_at"]),
        "fields": {row["name"]: typed_value(row) for row in rows} | fields,
        "metadata": metadata,
    }
    for name in (*_PLAIN, "sort_order"):
        if record[name] is not None:
            segment[name] = record[name]
    return cast(Segment, segment)


def told_apart(record: Record) -> tuple[dict[str, Any], dict[str, Any]]:
    """A segment's fields and its metadata, in which an object `fields` is its fields, as to LogoMesh."""
    fields, metadata = record["fields"], record["metadata"]
    if not fields and isinstance(metadata.get("fields"), dict):
        return metadata["fields"], {key: value for key, value in metadata.items() if key != "fields"}
    return fields, metadata


def typed_value(row: Record) -> Any:
    """The value of a field that is a row of its own, by its type; its text where that does not fit."""
    text = row["value"]
    try:
        match row["value_type"]:
            case "number" if text is not None:
                number = float(text)
                return int(number) if number.is_integer() else number
            case "boolean":
                return text == "true"
            case "string[]" | "number[]" if text is not None:
                return orjson.loads(text)
    except ValueError:
        pass
    return text


def value_and_type(value: Any) -> tuple[str, str]:
    """A field's value as the side branch of May 2025 wrote it into a row."""
    if isinstance(value, bool):
        return ("true" if value else "false"), "boolean"
    if isinstance(value, int | float):
        return str(value), "number"
    if isinstance(value, list):
        numbers = bool(value) and all(isinstance(it, int | float) for it in value)
        return orjson.dumps(value).decode(), "number[]" if numbers else "string[]"
    return (value if isinstance(value, str) else orjson.dumps(value).decode()), "string"


def in_order(segments: Iterable[tuple[str, Record]]) -> list[tuple[str, Record]]:
    """As LogoMesh lists the segments of a thought: by `sort_order`, then oldest first."""
    return sorted(segments, key=lambda item: (item[1]["sort_order"] or 0, item[1]["created_at"] or _NO_TIME))


def newest_first(thoughts: Iterable[tuple[str, Record]]) -> list[tuple[str, Record]]:
    return sorted(thoughts, key=lambda item: item[1]["created_at"] or _NO_TIME, reverse=True)


def tags_in_order(links: Iterable[Record], tags: Mapping[str, Record]) -> list[Record]:
    """The tags of a thought, oldest link first. Links to tags that are not there say nothing."""
    ordered = sorted(links, key=lambda link: (link["created_at"] or _NO_TIME, link["tag_id"]))
    return [tags[link["tag_id"]] for link in ordered if link["tag_id"] in tags]


def shown_time(feed_time: str | None) -> str:
    """A time of the feed as JavaScript writes it."""
    return f"{(feed_time or _NO_TIME)[:23]}Z"


def _tag_of(record: Record) -> Tag:
    return {"name": record["name"] or "", "color": record["color"] or TAG_COLOR}


# To records


def now() -> str:
    """This moment in feed form, to the millisecond: more LogoMesh does not write."""
    moment = datetime.now(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}000Z"


def new_thought(data: NewThought) -> Record:
    """The record that LogoMesh would make. Raises `InvalidValue`; ValueError without a title."""
    require_thought(data)
    if not data.get("title"):
        raise ValueError("A thought needs a title.")
    moment, position = now(), data.get("position") or {}
    return {
        **empty_record("thoughts"),
        "title": data["title"],
        "description": data.get("description") or None,
        "color": data.get("color") or THOUGHT_COLOR,
        "position_x": position.get("x") or 0,
        "position_y": position.get("y") or 0,
        "fields": data.get("fields") or {},
        "metadata": data.get("metadata") or {},
        "created_at": moment,
        "updated_at": moment,
    }


def new_segment(thought_id: str, data: NewSegment) -> Record:
    """The record that LogoMesh would make. Raises `InvalidValue`; ValueError without content."""
    require_segment(data)
    if not data.get("content"):
        raise ValueError("A segment needs content.")
    moment = now()
    return {
        **empty_record("segments"),
        "thought_id": thought_id,
        "title": data.get("title") or "",
        "content": data["content"],
        "content_type": data.get("content_type") or "text",
        "asset_path": data.get("asset_path"),
        "abstraction_level": data.get("abstraction_level") or "Fact",
        "local_priority": data.get("local_priority", 0.5),
        "cluster_id": data.get("cluster_id") or "uncategorized",
        "sort_order": 0,
        "fields": data.get("fields") or {},
        "metadata": data.get("metadata") or {},
        "created_at": moment,
        "updated_at": moment,
    }


def changes_of_thought(updates: NewThought) -> Record:
    """Field -> new value, for what is named; tags are not among them. Raises `InvalidValue`."""
    require_thought(updates)
    changes: Record = {name: updates[name] for name in ("title", "description", "color") if name in updates}
    if (position := updates.get("position")) is not None:
        changes |= {"position_x": position.get("x"), "position_y": position.get("y")}
    for name in ("fields", "metadata"):
        if name in updates:
            changes[name] = updates[name] or {}
    return changes


def changes_of_segment(updates: NewSegment) -> Record:
    """Field -> new value, for what is named. Raises `InvalidValue`."""
    require_segment(updates)
    changes: Record = {name: updates[name] for name in (*_PLAIN, "content") if name in updates}
    for name in ("fields", "metadata"):
        if name in updates:
            changes[name] = updates[name] or {}
    return changes


# Ids


def tag_id(name: str, taken: Container[str]) -> str:
    """The id that LogoMesh makes of a tag's name; another one where that belongs to another tag.

    LogoMesh itself would hang the thought on that other tag: `C`, `C++` and `C#` are all `tag_c`.
    """
    slug = "tag_" + re.sub(r"\s+", "_", name.lower())
    plain = "tag_" + re.sub(r"[^a-z0-9_]", "", slug.removeprefix("tag_"))
    for candidate in (plain, slug):
        if candidate not in taken:
            return candidate
    return f"{plain}_{secrets.token_hex(4)}"


def ulid() -> str:
    """Milliseconds since 1970 and 80 random bits, in Crockford's base 32."""
    number = time.time_ns() // 1_000_000 << 80 | secrets.randbits(80)
    return "".join("0123456789ABCDEFGHJKMNPQRSTVWXYZ"[number >> shift & 31] for shift in range(125, -1, -5))


def _stamped(prefix: str) -> str:
    return f"{prefix}_{time.time_ns() // 1_000_000}_{secrets.token_hex(4)[:7]}"


NEW_IDS: Final[Mapping[str, tuple[Callable[[], str], Callable[[], str]]]] = {
    "S1": (lambda: f"tb_{ulid()}", lambda: f"seg_{ulid()}"),
    "S2": (lambda: f"thought_{uuid.uuid4()}", lambda: f"segment_{uuid.uuid4()}"),
    "S2x": (lambda: f"thought_{uuid.uuid4()}", lambda: f"segment_{uuid.uuid4()}"),
    "S3": (lambda: _stamped("tb"), lambda: _stamped("seg")),
    "S4": (ulid, ulid),
}
"""Dialect -> what makes the ids of its thoughts and segments."""
