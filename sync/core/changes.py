"""What a client may ask for: strict decoding of a push, change by change.

`parse` refuses a body that is no JSON that all readers agree on (`Malformed`: nothing of
the push is applied). `read_change` refuses one change (`Refused`: the others go on).
Both name the place.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from binascii import Error as NotBase64
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from math import isfinite
from typing import Any, Final, NoReturn
from uuid import UUID

import orjson

from sync.core.limits import MAX_DEPTH, MAX_ID_CHARACTERS, MAX_INTEGER
from sync.core.merging import GONE
from sync.core.records import compose_id, key_and_sector, split_id
from sync.core.schema import RECORD_TYPES, Field, Kind, RecordType

CONFLICTS: Final = "conflicts"
_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?([Zz]|[+-]\d\d(:?\d\d)?)?", re.ASCII
)
# As JavaScript writes it, and as the feed does.
_USUAL_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(\d{3})?Z", re.ASCII)
_MEMBERS: Final = frozenset({"change_id", "type", "id", "base", "set", "unset", "delete"})
_RESERVED: Final = frozenset({"type", "id", "version"})


class Malformed(Exception):
    """The body is not JSON on which all readers agree. The text says where and why."""


class Refused(Exception):
    """One change cannot be taken."""

    def __init__(self, type_: str, title: str, detail: str, pointer: str = "") -> None:
        super().__init__(detail)
        self.type = type_
        self.title = title
        self.detail = detail
        self.pointer = pointer
        """JSON pointer inside the change, such as "/set/title"."""


@dataclass(frozen=True, slots=True)
class Change:
    """One edit that a client asks for, checked in all that can be checked without the database."""

    change_id: UUID
    type: str
    id: str
    key: bytes
    sector: int
    base: int
    patch: dict[str, Any]
    delete: bool
    body_hash: bytes
    unset_objects: tuple[str, ...] = ()
    """Objects (fields, metadata) of which every key is to go."""
    bases: dict[str, Any] | None = None
    """The values on which the edit was made, where whoever makes it knows them and no version says them:
    path -> value, none for a path of which nobody knows. Never from a device."""


def parse(body: bytes) -> Any:
    """Decode JSON strictly: UTF-8, no NaN, no key twice, at most 100 levels deep."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"The body is not UTF-8: byte {error.start} cannot be read.") from None
    try:
        document = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_integer
        )
        _check_depth(document, MAX_DEPTH)
    except RecursionError:
        raise Malformed(f"The body is nested more than {MAX_DEPTH} levels deep.") from None
    except json.JSONDecodeError as error:
        raise Malformed(
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise Malformed(f"The key {json.dumps(twice[:80])} stands twice in one object.")
    return found


def _no_constant(name: str) -> NoReturn:
    raise Malformed(f"{name} is not JSON.")


def _integer(digits: str) -> int | float:
    """An integer of any length; those that are too long to be taken become infinite, cheaply."""
    return int(digits) if len(digits) < 300 else float("inf")


def _check_depth(value: Any, left: int) -> None:
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return
    if not left:
        raise Malformed(f"The body is nested more than {MAX_DEPTH} levels deep.")
    for item in value:
        if item.__class__ is dict or item.__class__ is list:
            _check_depth(item, left - 1)


def read_change(raw: Any) -> Change:
    """Check one change of a push. Raises `Refused`."""
    if not isinstance(raw, dict):
        raise _invalid("A change must be an object.", "")
    change_id = _change_id(raw.get("change_id"))
    type_name = raw.get("type")
    if not isinstance(type_name, str) or (type_name != CONFLICTS and type_name not in RECORD_TYPES):
        raise Refused(
            "unknown-type",
            "Unknown record type",
            f"This server knows no record type {_shown(type_name)}.",
            "/type",
        )
    id_ = _id(raw.get("id"))
    base = raw.get("base", 0)
    if not _is_version(base):
        raise _invalid("base must be a version: a whole number, 0 or more.", "/base")
    if unknown := raw.keys() - _MEMBERS:
        member = min(unknown)
        raise _invalid(f"A change has no member {_shown(member)}.", f"/{_escaped(member)}")
    delete = raw.get("delete", False)
    if not isinstance(delete, bool):
        raise _invalid("delete must be true or false.", "/delete")
    to_set = raw.get("set", {})
    if not isinstance(to_set, dict):
        raise _invalid("set must be an object of fields and their new values.", "/set")
    to_unset = raw.get("unset", [])
    if not isinstance(to_unset, list):
        raise _invalid("unset must be a list of field names.", "/unset")
    if delete and (to_set or to_unset):
        raise _invalid("A change deletes a record or edits it, not both.", "/delete")
    if not delete and "set" not in raw and "unset" not in raw:
        raise _invalid("A change needs set, unset or delete.", "")
    if type_name == CONFLICTS:
        patch: dict[str, Any] = _resolution(to_set, delete)
        unset_objects: tuple[str, ...] = ()
    else:
        type_ = RECORD_TYPES[type_name]
        patch = read_patch(type_, to_set)
        unset_objects = _unset(type_, to_unset, patch)
        _check_identity(type_, id_, patch)
    key, sector = key_and_sector(type_name, id_)
    return Change(change_id, type_name, id_, key, sector, base, patch, delete, _body_hash(raw), unset_objects)


def time_in_feed_form(text: str) -> str | None:
    """An ISO 8601 time as the feed spells it (UTC, microseconds, Z); None if it cannot be read.

    A time without a zone is UTC.
    """
    usual = _USUAL_TIME.fullmatch(text)
    if not usual and not _TIME.fullmatch(text):
        return None
    try:
        if usual:
            datetime.fromisoformat(text)
            return text if usual[1] else f"{text[:23]}000Z"
        moment = datetime.fromisoformat(text.upper().replace(",", "."))
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return f"{moment.isoformat(timespec='microseconds')[:26]}Z"


def _change_id(value: Any) -> UUID:
    if isinstance(value, str) and len(value) == 36:
        try:
            return UUID(value)
        except ValueError:
            pass
    raise _invalid("change_id must be a UUID, such as a UUIDv7.", "/change_id")


def _id(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _invalid_id("An id must be a text that is not empty.")
    if len(value) > MAX_ID_CHARACTERS and "/" not in value:
        raise _invalid_id(
            f"An id may have at most {MAX_ID_CHARACTERS} characters; this one has {len(value)}."
        )
    if problem := _text_problem(value):
        raise _invalid_id(f"The id {problem}.")
    return value


def _check_identity(type_: RecordType, id_: str, patch: dict[str, Any]) -> None:
    """A composed id and its parts must say the same; parts that are not sent follow from the id."""
    if type_.own_id:
        if len(id_) > MAX_ID_CHARACTERS and not _is_composed(type_, id_, patch):
            raise _too_long(id_)
        return
    parts = split_id(id_)
    if parts is None or len(parts) != len(type_.identity) or not all(parts):
        raise _invalid_id(f"The id of {type_.name} is made of {' / '.join(type_.identity)}, percent-encoded.")
    for name, part in zip(type_.identity, parts, strict=True):
        if len(part) > MAX_ID_CHARACTERS:
            raise _invalid_id(f"The part {name} of the id has more than {MAX_ID_CHARACTERS} characters.")
        if problem := _text_problem(part):
            raise _invalid_id(f"The part {name} of the id {problem}.")
        if patch.setdefault(name, part) != part:
            raise _invalid_id(f"The id says that {name} is {_shown(part)}, the change sets another.")


def _is_composed(type_: RecordType, id_: str, patch: dict[str, Any]) -> bool:
    parts = [patch.get(name) for name in type_.identity]
    return (
        bool(parts)
        and all(isinstance(part, str) and len(part) <= MAX_ID_CHARACTERS for part in parts)
        and compose_id([str(part) for part in parts]) == id_
    )


def read_patch(type_: RecordType, to_set: dict[str, Any]) -> dict[str, Any]:
    """Check a `set` and spread it into paths. Raises `Refused`."""
    patch: dict[str, Any] = {}
    readers = _READERS_OF[type_.name]
    for name, value in to_set.items():
        if (read := readers.get(name)) is not None:
            patch[name] = read(value, name)
        elif name in _OBJECTS_OF[type_.name]:
            if not isinstance(value, dict):
                raise _invalid(f"{name} must be an object.", f"/set/{name}")
            for key, item in value.items():
                patch[f"{name}.{key}"] = _json(item, f"/set/{name}/{_escaped(key)}", key)
        elif name in _RESERVED:
            raise _invalid(f"{name} cannot be set.", f"/set/{name}")
        else:
            patch[f"extra.{name}"] = _json(value, f"/set/{_escaped(name)}", name)
    return patch


def _unset(type_: RecordType, to_unset: list[Any], patch: dict[str, Any]) -> tuple[str, ...]:
    """Add what is to be removed to the patch; returns the objects that are to be emptied."""
    whole = []
    for number, path in enumerate(to_unset):
        if not isinstance(path, str) or not path:
            raise _invalid("unset lists the names of fields.", f"/unset/{number}")
        if problem := _text_problem(path):
            raise _invalid(f"The field name {problem}.", f"/unset/{number}")
        name, dot, _ = path.partition(".")
        known = type_.by_name.get(path)
        if known is not None and known.kind is Kind.OBJECT:
            whole.append(path)
            continue
        if known is None and not (dot and (name == "extra" or _is_object(type_.by_name.get(name)))):
            path = f"extra.{path}"
        if path in patch:
            raise _invalid(f"{path} is both set and unset.", f"/unset/{number}")
        patch[path] = None if known is not None else GONE
    return tuple(whole)


def _is_object(known: Field | None) -> bool:
    return known is not None and known.kind is Kind.OBJECT


def _resolution(to_set: dict[str, Any], delete: bool) -> dict[str, Any]:
    if delete or to_set.keys() - {"take", "set"} or len(to_set) != 1:
        raise _invalid('A conflict is resolved with {"take": …} or {"set": {…}}.', "/set")
    _json(to_set, "/set", "")
    return to_set


def _read_text(value: Any, name: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise _invalid(f"{name} must be a text or null.", f"/set/{name}")
    if problem := _text_problem(value):
        raise _invalid(f"{name} {problem}.", f"/set/{name}")
    return value


def _read_number(value: Any, name: str) -> int | float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _invalid(f"{name} must be a number or null.", f"/set/{name}")
    if problem := _number_problem(value):
        raise _invalid(f"{name} {problem}.", f"/set/{name}")
    return value


def _read_time(value: Any, name: str) -> str | None:
    if value is None:
        return None
    moment = time_in_feed_form(value) if isinstance(value, str) else None
    if moment is None:
        raise _invalid(
            f"{name} must be a time such as 2025-06-08T09:30:00.000000Z; {_shown(value)} cannot be read.",
            f"/set/{name}",
        )
    return moment


def _read_bytes(value: Any, name: str) -> str | None:
    if value is None:
        return None
    try:
        if isinstance(value, str) and value.isascii() and len(b64decode(value, validate=True)) % 4 == 0:
            return value
    except NotBase64:
        pass
    raise _invalid(f"{name} must be base64 of little-endian float32 numbers.", f"/set/{name}")


_READERS: Final = {
    Kind.TEXT: _read_text,
    Kind.NUMBER: _read_number,
    Kind.TIME: _read_time,
    Kind.BYTES: _read_bytes,
}
_READERS_OF: Final = {
    name: {field.name: _READERS[field.kind] for field in type_.fields if field.kind in _READERS}
    for name, type_ in RECORD_TYPES.items()
}
_OBJECTS_OF: Final = {
    name: {field.name for field in type_.fields if field.kind is Kind.OBJECT} | {"extra"}
    for name, type_ in RECORD_TYPES.items()
}


def _json(value: Any, pointer: str, key: str) -> Any:
    """Check a JSON value that is kept as it is, with the key it stands under."""
    if problem := _text_problem(key):
        raise _invalid(f"A key {problem}.", pointer.rpartition("/")[0])
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        if problem := _text_problem(value):
            raise _invalid(f"The text {problem}.", pointer)
    elif isinstance(value, dict):
        for name, item in value.items():
            _json(item, f"{pointer}/{_escaped(name)}", name)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _json(item, f"{pointer}/{number}", "")
    elif problem := _number_problem(value):
        raise _invalid(f"The number {problem}.", pointer)
    return value


def _text_problem(text: str) -> str | None:
    if "\0" in text:
        return "holds a NUL character, which PostgreSQL cannot store"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "holds half of a surrogate pair, which is no character"
    return None


def _number_problem(number: int | float) -> str | None:
    if isinstance(number, float):
        return None if isfinite(number) else "is too large"
    if abs(number) > MAX_INTEGER:
        return "is an integer beyond ±(2^53 − 1), on which JSON readers disagree; send it as a text"
    return None


def _body_hash(raw: dict[str, Any]) -> bytes:
    body = {key: value for key, value in raw.items() if key != "change_id"}
    return sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest()[:16]


def _is_version(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER


def _invalid(detail: str, pointer: str) -> Refused:
    return Refused("invalid-value", "A value cannot be stored", detail, pointer)


def _invalid_id(detail: str) -> Refused:
    return Refused("invalid-id", "The id cannot be used", detail, "/id")


def _too_long(id_: str) -> Refused:
    return _invalid_id(f"An id may have at most {MAX_ID_CHARACTERS} characters; this one has {len(id_)}.")


def _escaped(key: str) -> str:
    """A key as a part of a JSON pointer (RFC 6901)."""
    shown = key.encode("utf-8", "replace").decode()[:200]
    return shown.replace("~", "~0").replace("/", "~1")


def _shown(value: Any) -> str:
    """A client's value in a message: short, and always storable."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
