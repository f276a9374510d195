"""SQL of the record tables, made once from ``sync.core.schema``: no query is built per record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from sync.core.schema import RECORD_TYPES, Kind, RecordType

_ARRAYS: Final = {
    Kind.TEXT: "text",
    Kind.NUMBER: "float8",
    Kind.TIME: "timestamptz",
    Kind.OBJECT: "jsonb",
    Kind.BYTES: "bytea",
}

BOOKKEEPING: Final = (
    ("key", "bytea"),
    ("id", "text"),
    ("version", "int8"),
    ("born", "int8"),
    ("deleted", "bool"),
    ("cascaded", "bool"),
    ("field_versions", "jsonb"),
    ("hash", "int8"),
    ("sector", "int2"),
    ("extra", "jsonb"),
)


@cache
def parent_keys(type_: RecordType) -> tuple[tuple[str, str], ...]:
    """(field that names a parent, column with the parent's key)."""
    named = tuple((name, f"{name.removesuffix('_id')}_key") for name in type_.parents)
    return named or ((("owner_id", "owner_key"),) if type_.name == "embeddings" else ())


@dataclass(frozen=True)
class Table:
    """One record type's table and the SQL texts about it."""

    type: RecordType
    name: str
    columns: Mapping[str, str]
    """Column -> SQL type, in the order of COPY; `space_id` is apart."""
    load: str
    """Parameters: space, keys. Key, bookkeeping and the fields of each record."""
    record_json: str
    """SQL expression (alias t): the record as answers carry it (type, id and version in it), as JSON text."""
    feed_json: str
    """SQL expression (alias t): one change of the feed, as JSON text."""


def time_json(column: str) -> str:
    """SQL for a time as the feed spells it."""
    return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


def _record_json(type_: RecordType, *before: str) -> str:
    """SQL for a record's JSON text; `before` are select items that come before the fields."""
    columns = ", ".join(
        [
            *before,
            *(
                f"{time_json(f't.{field.name}')} AS {field.name}"
                if field.kind is Kind.TIME
                else f"translate(encode(t.{field.name}, 'base64'), E'\\n', '') AS {field.name}"
                if field.kind is Kind.BYTES
                else f"t.{field.name}"
                for field in type_.fields
            ),
        ]
    )
    record = f"(SELECT row_to_json(r)::text FROM (SELECT {columns}) r)"
    return (
        f"CASE WHEN t.extra = '{{}}' THEN {record}"
        f""" ELSE left({record}, -1) || ',"extra":' || t.extra::text || '}}' END"""
    )


def _table(type_: RecordType) -> Table:
    columns = {
        **dict(BOOKKEEPING),
        **{field.name: _ARRAYS[field.kind] for field in type_.fields},
        **{column: "bytea" for _, column in parent_keys(type_)},
    }
    name = f"sync_{type_.name}"
    bare = _record_json(type_)
    record = _record_json(type_, f"'{type_.name}' AS type", "t.id", "t.version")
    return Table(
        type=type_,
        name=name,
        columns=columns,
        load=(
            "SELECT t.key, t.version, t.born, t.deleted, t.cascaded, t.field_versions::text, t.id,"
            f" {bare} FROM {name} t WHERE t.space_id = %b AND t.key = ANY(%b)"
        ),
        record_json=record,
        feed_json=(
            f"""concat('{{"type":"{type_.name}","id":', to_json(t.id), ',"version":', t.version,"""
            f""" CASE WHEN t.deleted THEN ',"deleted":true' ELSE ',"record":' || {record} END, '}}')"""
        ),
    )


TABLES: Final[Mapping[str, Table]] = {name: _table(type_) for name, type_ in RECORD_TYPES.items()}

CONFLICT_JSON: Final = """(SELECT row_to_json(r)::text FROM (
    SELECT 'conflicts' AS type, t.id, t.version, t.record_type, t.record_id, t.kind,
    t.fields, t.proposal, t.server, t.client, t.state, t.resolution,
    to_char(t.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS created_at) r)"""

CONFLICT_FEED_JSON: Final = (
    """concat('{"type":"conflicts","id":"', t.id, '","version":', t.version,"""
    f""" ',"record":', {CONFLICT_JSON}, '}}')"""
)
