"""What LogoMesh's own columns cannot hold travels beside them, in a column of our own. Pure.

An export writes a record as LogoMesh would. Where reading that row back by the rules of an
import would give another record (a time with microseconds, a title that is null, nested
extras), the row gets a seal: the hash of what the row reads as, and the fields that the record
really has. An import opens the seal while the row still reads as it did. Where somebody has
edited the row since, what they see in it counts, and the seal stays as an unknown column.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from sync.core.changes import Refused, read_patch
from sync.core.limits import MAX_INTEGER
from sync.core.records import Record, hash_of
from sync.core.schema import RECORD_TYPES

SEAL: Final = "logomesh_server"
"""The column (in JSON the member) that holds a seal."""


def seal(type_: str, id_: str, read: Record, record: Record) -> str:
    """The seal of a row that reads as one record and stands for another."""
    really = {name: value for name, value in record.items() if name not in read or read[name] != value}
    really |= {name: {} for name in read if name not in record}
    return orjson.dumps({"was": hash_of(type_, id_, read).hex(), "is": _exact(really)}).decode()


def whole_seal(type_: str, record: Record) -> str:
    """The seal of a row that says nothing but which record it is."""
    fixed = {*RECORD_TYPES[type_].parents, *_composing(type_)}
    really = {name: value for name, value in record.items() if name not in fixed}
    return orjson.dumps({"was": None, "is": _exact(really)}).decode()


def opened(type_: str, id_: str, read: Record, text: Any) -> Record | None:
    """The record that a sealed row stands for; None where there is no seal, or not of this row."""
    if not isinstance(text, str):
        return None
    try:
        found = orjson.loads(text)
        really = found["is"]
        if found["was"] not in (None, hash_of(type_, id_, read).hex()) or not _is_sound(type_, really):
            return None
    except (orjson.JSONDecodeError, TypeError, KeyError, AttributeError):
        return None
    record: Record = read | really
    if not record.get("extra"):
        record.pop("extra", None)
    return record


def _is_sound(type_: str, really: dict[str, Any]) -> bool:
    """Whether these are values that the fields of the type may have, as a device could push them."""
    known = RECORD_TYPES[type_]
    if really.keys() - {*known.by_name, "extra"} or really.keys() & {*known.parents, *_composing(type_)}:
        return False
    try:
        values = read_patch(known, really)
    except (Refused, RecursionError):
        return False
    return all(values[name] == value for name, value in really.items() if not isinstance(value, dict))


def _composing(type_: str) -> tuple[str, ...]:
    known = RECORD_TYPES[type_]
    return () if known.own_id else known.identity


def _exact(value: Any) -> Any:
    """The value with integers on which JSON readers disagree as the doubles that they are."""
    if isinstance(value, dict):
        return {name: _exact(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_exact(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_INTEGER:
        return float(value)
    return value
