"""From a record to the row that LogoMesh would have written for it. Pure; `migration.mapping` backwards."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import orjson

from migration.cells import Cell, RawText
from migration.sealing import SEAL
from sync.core.records import Record
from sync.core.schema import RECORD_TYPES, Field, Kind

NO_TIME: Final = "1970-01-01T00:00:00.000Z"
"""LogoMesh cannot list thoughts of which one has no readable time."""
_FIELDS_END: Final = "2025-07-11"
_UNTIMED: Final = frozenset({"expires_at"})
_NOT_NULL: Final = frozenset(
    {
        ("thoughts", "title"),
        ("segments", "title"),
        ("tags", "name"),
        ("segment_fields", "name"),
        ("segment_related_context", "context_type"),
        ("segment_llm_history", "prompt"),
        ("segment_llm_history", "llm_model"),
    }
)

ID_COLUMNS: Final = MappingProxyType(
    {
        "thoughts": "thought_bubble_id",
        "segments": "segment_id",
        "tags": "tag_id",
        "segment_fields": "field_id",
        "segment_related_context": "context_id",
        "segment_llm_history": "history_id",
    }
)
COLUMNS: Final = MappingProxyType(
    {
        name: {
            field.name: field.columns[0] for field in RECORD_TYPES[name].fields if field.name not in left_out
        }
        for name, left_out in {
            "thoughts": (),
            "segments": ("asset_path", "fields"),
            "tags": (),
            "thought_tags": (),
            "segment_tags": (),
            "segment_fields": (),
            "segment_neighbors": (),
            "segment_related_context": ("relevance",),
            "segment_llm_history": (),
        }.items()
    }
)
"""Type -> field -> column of LogoMesh's last schema (S2x); the fields left out have none there."""
_TELLING: Final = (
    {
        "id",
        "rowid",
        "_rowid_",
        "oid",
        "thought_tag_id",
        "segment_tag_id",
        "embedding_vector",
        "originals",
        SEAL,
    }
    | {name.lower() for known in RECORD_TYPES.values() for field in known.fields for name in field.columns}
) - {"updated_at"}
"""Names that would tell an import something else than "unknown column"."""
_MOST_ADDED: Final = 100


def cells_of(type_: str, id_: str, record: Record) -> dict[str, Cell]:
    """Column -> cell, without the columns of `added_cells`."""
    columns = COLUMNS[type_]
    originals = record.get("extra", {}).get("originals")
    originals = originals if isinstance(originals, dict) else {}
    row: dict[str, Cell] = {ID_COLUMNS[type_]: id_} if type_ in ID_COLUMNS else {}
    for field in RECORD_TYPES[type_].fields:
        if field.name in columns:
            kept = next(
                (cell_of_original(originals[name]) for name in field.columns if name in originals), NO_CELL
            )
            row[columns[field.name]] = kept if kept is not NO_CELL else _native(type_, field, record)  # type: ignore[assignment]
    return row


def addable(names: Iterable[str], type_: str) -> tuple[str, ...]:
    """Those of the keys of `extra` that a column of that name can hold."""
    own = {column.lower() for column in COLUMNS[type_].values()}
    found: dict[str, str] = {}
    for name in sorted(names):
        lower = name.lower()
        if lower not in _TELLING and lower not in own and 0 < len(name) <= 60 and name.isprintable():
            found.setdefault(lower, name)
    return tuple(found.values())[:_MOST_ADDED]


def added_cells(record: Record, columns: Iterable[str]) -> list[Cell]:
    """The cells of the columns that LogoMesh does not know; NULL for what is no cell."""
    extra = record.get("extra", {})
    cells = [cell_of_original(extra.get(column)) for column in columns]
    return [None if cell is NO_CELL else cell for cell in cells]  # type: ignore[misc]


class _NoCell:
    """No cell can be this value."""


NO_CELL: Final = _NoCell()


def _native(type_: str, field: Field, record: Record) -> Cell:
    value = record[field.name]
    if type_ == "segments" and field.name == "metadata":
        return _segment_metadata(record)
    if field.kind is Kind.OBJECT:
        return _json(value)
    if field.kind is Kind.TIME:
        if value is None:
            return None if field.name in _UNTIMED else NO_TIME
        return f"{value[:23]}Z" if value.endswith("000Z") else str(value)
    if value is None and (type_, field.name) in _NOT_NULL:
        return ""
    cell: Cell = value
    return cell


def _segment_metadata(record: Record) -> str:
    """LogoMesh keeps a segment's fields in its metadata: as all of it until 2025-07-11, then under a key."""
    fields, metadata = record["fields"], record["metadata"]
    if not fields:
        return _json(metadata)
    times = (record["created_at"], record["updated_at"])
    if not metadata and all(time and time < _FIELDS_END for time in times):
        return _json(fields)
    return _json(metadata | {"fields": fields})


def _json(value: Mapping[str, Any]) -> str:
    return orjson.dumps(value).decode()


def cell_of_original(original: Any) -> Cell | _NoCell:
    """The cell that `migration.cells.original_of` described."""
    if original is None or isinstance(original, str) or (
        isinstance(original, int | float) and not isinstance(original, bool) and abs(original) < 2**63
    ):  # fmt: skip
        return original
    if not isinstance(original, dict):
        return NO_CELL
    try:
        match original:
            case {"base64": str(data), "type": "blob"}:
                return b64decode(data, validate=True)
            case {"base64": str(data), **rest} if not rest:
                return _text(b64decode(data, validate=True))
            case {"type": "real", "value": "Infinity" | "-Infinity" as value}:
                return float(value)
            case {"type": "integer", "value": str(value)} if -(2**63) <= int(value) < 2**63:
                return int(value)
    except (NotBase64, ValueError):
        pass
    return NO_CELL


def _text(data: bytes) -> str | RawText:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return RawText(data)
