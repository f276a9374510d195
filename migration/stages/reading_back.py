"""SQL that computes a record's hash from the columns of its row, not from the hash stored beside them.

PostgreSQL spells texts, times and most numbers just as RFC 8785 does. Where it does not (JSON
with something in it, numbers that are very large or small) the row says so and is read whole.
"""

from __future__ import annotations

import json
from itertools import combinations
from typing import Final

from sync.core.limits import MAX_INTEGER
from sync.core.schema import RECORD_TYPES, Field, Kind, RecordType
from sync.tables import TABLES

_TIME: Final = r"""\"YYYY-MM-DD"T"HH24:MI:SS.US"Z"\""""
UNKNOWN: Final = bytes(8)
"""Stands for the hash of a row that is not there, or has to be read whole."""


def _spelled(field: Field) -> str:
    column = f"t.{field.name}"
    if field.kind is Kind.TEXT:
        return f"coalesce(to_json({column}), 'null')"
    if field.kind is Kind.TIME:
        return f"""coalesce(to_char({column} AT TIME ZONE 'UTC', '{_TIME}'), 'null')"""
    if field.kind is Kind.NUMBER:
        return (
            f"CASE WHEN {column} IS NULL THEN 'null' WHEN {column} = trunc({column})"
            f" THEN {column}::int8::text ELSE {column}::text END"
        )
    if field.kind is Kind.BYTES:
        return f"coalesce('\"' || translate(encode({column}, 'base64'), E'\\n', '') || '\"', 'null')"
    return "'{}'"


def _is_simple(field: Field) -> str | None:
    column = f"t.{field.name}"
    if field.kind is Kind.OBJECT:
        return f"{column} = '{{}}'"
    if field.kind is Kind.NUMBER:
        return (
            f"({column} IS NULL OR {column} = trunc({column}) AND abs({column}) <= {MAX_INTEGER}"
            f" OR abs({column}) BETWEEN 1e-4 AND 1e14)"
        )
    return None


def _usual_extras(type_: RecordType) -> dict[str, str]:
    """jsonb text -> canonical text of the values of `extra` that are usual: NULL in a JSON column."""
    names = [field.name for field in type_.fields if field.kind is Kind.OBJECT]
    extras = {"{}": ""}
    for size in range(1, len(names) + 1):
        for chosen in combinations(sorted(names), size):
            text = json.dumps({"originals": dict.fromkeys(chosen)}, separators=(",", ":"))
            extras[text] = f'"extra":{text},'
    return extras


def _hash_query(type_: RecordType) -> str:
    pieces = {field.name: _spelled(field) for field in type_.fields}
    pieces |= {"id": "to_json(t.id)", "type": f"'\"{type_.name}\"'"}
    extras = _usual_extras(type_)
    extra = " ".join(f"WHEN '{text}'::jsonb THEN '{spelled}'" for text, spelled in extras.items())
    document, separator = [], "{"  # pieces for one `concat`: each `||` would copy a long text once more
    for name in sorted({*pieces, "extra"}):
        if name == "extra":
            document.append(f"'{separator}', CASE t.extra {extra} END")
            separator = ""
        else:
            document.append(f"'{separator}\"{name}\":', {pieces[name]}")
            separator = ","
    simple = [test for field in type_.fields if (test := _is_simple(field))]
    usual = ", ".join(f"'{text}'" for text in extras)
    simple.append(f"t.extra IN ({usual})")
    # LIMIT 1: ask the index for each key. Else PostgreSQL may read the whole table for every chunk.
    hashed = f"substr(sha256(convert_to(concat({', '.join(document)}, '}}'), 'UTF8')), 1, 8)"
    return f"""
        SELECT string_agg(coalesce(h.hash, '\\x{UNKNOWN.hex()}'), '' ORDER BY w.n)
        FROM unnest(%(keys)b::bytea[]) WITH ORDINALITY AS w(key, n)
        LEFT JOIN LATERAL (
            SELECT CASE WHEN {" AND ".join(simple)} THEN {hashed} END AS hash
            FROM {TABLES[type_.name].name} t
            WHERE t.space_id = %(space)b AND t.key = w.key AND NOT t.deleted LIMIT 1) h ON true"""


HASHES: Final = {name: _hash_query(type_) for name, type_ in RECORD_TYPES.items()}
"""Record type -> query for the hashes of some keys, in their order, as one value."""

WHOLE: Final = {
    name: f"SELECT t.key, t.id, t.version, {TABLES[name].record_json} FROM {TABLES[name].name} t"
    " WHERE t.space_id = %(space)b AND t.key = ANY(%(keys)b) AND NOT t.deleted"
    for name in RECORD_TYPES
}
"""Record type -> query for whole records by key."""
