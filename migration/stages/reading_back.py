"""Hashes of stored records, computed from the columns of their rows, not from the hash stored beside them.

PostgreSQL spells texts, times and most numbers just as RFC 8785 does. Where it does not (JSON
with something in it, numbers that are very large or small) the row says so and is read whole.
So does a long row: PostgreSQL hashes a long text five times slower than it hands it over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, islice
from typing import Any, Final
from uuid import UUID

import orjson

from sync.core.limits import MAX_INTEGER
from sync.core.records import canonical_object
from sync.core.schema import RECORD_TYPES, Field, Kind, RecordType
from sync.core.sheets import Sheet, hashes
from sync.sql import cursor
from sync.tables import TABLES, time_json

_TIME: Final = r"""\"YYYY-MM-DD"T"HH24:MI:SS.US"Z"\""""
KEY_BYTES: Final = 16
HASH_BYTES: Final = 8
UNKNOWN: Final = bytes(HASH_BYTES)
"""Stands for the hash of a row that is not there, or has to be read whole."""
LONG: Final = b"\xff" * HASH_BYTES
"""The same for a row that is long besides: few are read at a time."""
_LONG_BYTES: Final = 8_000
_AT_A_TIME: Final = 200
_LONG_AT_A_TIME: Final = 4
_EACH_KEY: Final = f"generate_series(0, octet_length(%(keys)b::bytea) / {KEY_BYTES} - 1) AS w(n)"


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
    hashed = f"substr(sha256(convert_to(concat({', '.join(document)}, '}}'), 'UTF8')), 1, {HASH_BYTES})"
    return f"""
        SELECT string_agg(coalesce(h.hash, '\\x{UNKNOWN.hex()}'), '' ORDER BY w.n)
        FROM {_EACH_KEY}
        LEFT JOIN LATERAL (
            SELECT CASE WHEN {_length(type_)} > {_LONG_BYTES} THEN '\\x{LONG.hex()}'::bytea
                        WHEN {" AND ".join(simple)} THEN {hashed} END AS hash
            {_record_of_key(type_)}) h ON true"""


def _record_of_key(type_: RecordType) -> str:
    """SQL behind SELECT: the live record of one key.

    LIMIT 1: the index is asked for each key by itself. Else PostgreSQL may read the whole table, or, where
    it is given many keys at once, the whole index.
    """
    return (
        f"FROM {TABLES[type_.name].name} t WHERE t.space_id = %(space)b AND NOT t.deleted"
        f" AND t.key = substr(%(keys)b::bytea, {KEY_BYTES} * w.n + 1, {KEY_BYTES}) LIMIT 1"
    )


def _length(type_: RecordType) -> str:
    """SQL: about how many bytes a row has. What lies out of line is not read for it."""
    lengths = [
        f"{'pg_column_size' if field.kind is Kind.OBJECT else 'octet_length'}(t.{field.name})"
        for field in type_.fields
        if field.kind in (Kind.TEXT, Kind.BYTES, Kind.OBJECT)
    ]
    return " + ".join(f"coalesce({length}, 0)" for length in (*lengths, "pg_column_size(t.extra)"))


def _whole_query(type_: RecordType) -> str:
    columns = ", ".join(_as_in_feed(field) for field in type_.fields)
    return (
        f"SELECT t.key, t.version, t.id, {columns}, t.extra::text"
        f" FROM {_EACH_KEY} JOIN LATERAL (SELECT t.* {_record_of_key(type_)}) t ON true"
    )


def _as_in_feed(field: Field) -> str:
    column = f"t.{field.name}"
    if field.kind is Kind.TIME:
        return time_json(column)
    if field.kind is Kind.BYTES:
        return f"translate(encode({column}, 'base64'), E'\\n', '')"
    return f"{column}::text" if field.kind is Kind.OBJECT else column


_HASHES: Final = {name: _hash_query(type_) for name, type_ in RECORD_TYPES.items()}
_WHOLE: Final = {name: _whole_query(type_) for name, type_ in RECORD_TYPES.items()}


def stored_hashes(space_id: UUID, type_: str, keys: Sequence[bytes]) -> bytes:
    """The hashes of the live records with these keys, one after the other, `UNKNOWN` and `LONG` for some."""
    parameters = {"space": space_id, "keys": b"".join(keys)}
    row: tuple[bytes | None] | None = cursor().execute(_HASHES[type_], parameters).fetchone()
    return (row and row[0]) or b""


def whole_hashes(
    space_id: UUID, type_: str, keys: Sequence[bytes], *, long: bool = False
) -> Iterator[tuple[bytes, int, bytes]]:
    """(key, version, hash) of each of these records that lives, in any order; `long`: each may be large."""
    size = _LONG_AT_A_TIME if long else _AT_A_TIME
    rows = cursor().stream(_WHOLE[type_], {"space": space_id, "keys": b"".join(keys)}, size=size)
    while some := list(islice(rows, size)):
        found, versions, *columns = zip(*some, strict=True)
        yield from zip(found, versions, hashes(_sheet(type_, columns)), strict=True)


def _sheet(type_: str, read: Sequence[Sequence[Any]]) -> Sheet:
    """Records as columns: id, fields, `extra`, as `_whole_query` gives them."""
    ids, *values, extra = read
    fields = RECORD_TYPES[type_].fields
    columns = {field.name: column for field, column in zip(fields, values, strict=True)}
    spelled = {
        field.name: _spelled_objects(columns[field.name]) for field in fields if field.kind is Kind.OBJECT
    }
    spelled["extra"] = [b"" if text == b"{}" else text for text in _spelled_objects(extra)]
    return Sheet(type_, ids, columns, spelled)


def _spelled_objects(texts: Iterable[str]) -> list[bytes]:
    texts = list(texts)
    spelled = {text: canonical_object(orjson.loads(text)) for text in set(texts)}
    return [spelled[text] for text in texts]
