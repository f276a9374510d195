"""One cell of a LogoMesh file in, one value in feed form out, and back. Pure.

SQLite lets any cell hold any storage class, and text may hold NUL or bytes that are no UTF-8. Each reader
here gives the nearest value that the server can store and, where that is not what the file has, the original
as JSON. The rules are those of a migration, so that a file which was migrated and a file which is attached
give the same records.
"""

from __future__ import annotations

import json
import re
import struct
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, Final

import orjson

from logomesh_client.records import MAX_DEPTH, MAX_ID_CHARACTERS, MAX_INTEGER

NUL_SIGN: Final = "\u2400"
_MAX_DOUBLE: Final = 1.7976931348623157e308


@dataclass(frozen=True, slots=True)
class RawText:
    """A cell of storage class TEXT whose bytes are not valid UTF-8."""

    data: bytes

    def __str__(self) -> str:
        return self.data.decode(errors="replace")


Cell = None | int | float | str | bytes | RawText
"""NULL, INTEGER, REAL, TEXT, BLOB, and TEXT that cannot be decoded."""


class _Same:
    """The file had exactly what the value says: there is no original to keep."""


SAME: Final = _Same()


Read = tuple[Any, Any]
"""What became of a cell: the value, and what the file really had (`SAME` if just that)."""


def original_of(cell: Cell) -> Any:
    """The cell itself as JSON, exact in storage class and bytes.

    Text and numbers are themselves; what JSON or PostgreSQL cannot hold is ``{"base64": …}``
    (with ``"type": "blob"`` for a BLOB) or ``{"type": …, "value": …}``.
    """
    if isinstance(cell, RawText):
        return {"base64": _base64(cell.data)}
    if isinstance(cell, bytes):
        return {"base64": _base64(cell), "type": "blob"}
    if isinstance(cell, str):
        return {"base64": _base64(cell.encode())} if "\0" in cell else cell
    if isinstance(cell, float) and not isfinite(cell):
        return {"type": "real", "value": "Infinity" if cell > 0 else "-Infinity"}
    if isinstance(cell, int) and abs(cell) > MAX_INTEGER:
        return {"type": "integer", "value": str(cell)}
    return cell


def read_text(cell: Cell) -> Read:
    """Text unchanged; NUL becomes U+2400, what is no UTF-8 U+FFFD, numbers and BLOBs their text."""
    if cell is None:
        return (None, SAME)
    if isinstance(cell, str):
        if "\0" not in cell:
            return (cell, SAME)
        return (cell.replace("\0", NUL_SIGN), original_of(cell))
    if isinstance(cell, RawText):
        return (str(cell).replace("\0", NUL_SIGN), original_of(cell))
    if isinstance(cell, bytes):
        text = cell.decode(errors="replace").replace("\0", NUL_SIGN)
        return (text, original_of(cell))
    return (_number_text(cell), original_of(cell))


def read_number(cell: Cell) -> Read:
    """A finite double; what is none becomes null, or the number that a text spells."""
    if cell is None:
        return (None, SAME)
    if isinstance(cell, int):
        if abs(cell) <= MAX_INTEGER:
            return (cell, SAME)
        return (float(cell), original_of(cell))
    if isinstance(cell, float):
        return (cell, SAME) if isfinite(cell) else (None, original_of(cell))
    text = cell if isinstance(cell, str) else str(cell) if isinstance(cell, RawText) else ""
    if re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", text, re.ASCII) and len(text) < 400:
        number = float(text)
        if isfinite(number):
            return (number, original_of(cell))
    return (None, original_of(cell))


def read_vector(cell: Cell) -> Read:
    """Little-endian float32 numbers, as base64."""
    if isinstance(cell, bytes) and len(cell) % 4 == 0:
        return (_base64(cell), SAME)
    return (None, SAME if cell is None else original_of(cell))


_USUAL_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_WHOLE_SECONDS: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_SQLITE_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", re.ASCII)
_ISO_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d([T ].*)?", re.ASCII)
_EPOCH: Final = re.compile(r"-?\d{8,15}(\.\d{1,9})?", re.ASCII)


def read_time(cell: Cell, sqlite_default: bool = False) -> Read:
    """A point in time, in feed form. `sqlite_default`: the dialect itself writes SQLite's own form.

    What `Date.toISOString()` writes is taken, with or without milliseconds; all else that is readable is
    taken with the original beside it; the rest becomes null.
    """
    if cell is None:
        return (None, SAME)
    if isinstance(cell, str):
        if _USUAL_TIME.fullmatch(cell) and _is_moment(cell):
            return (f"{cell[:23]}000Z", SAME)
        if _WHOLE_SECONDS.fullmatch(cell) and (moment := _moment(cell)):
            return (moment, SAME)
        if _SQLITE_TIME.fullmatch(cell) and (moment := _moment(cell)):
            if sqlite_default:
                return (moment, SAME)
            return (moment, cell)
        text = cell.strip()
        if _ISO_DATE.fullmatch(text) and (moment := _moment(text)):
            return (moment, original_of(cell))
        if _EPOCH.fullmatch(text) and (moment := _epoch(float(text))):
            return (moment, original_of(cell))
        if re.match(r"[A-Za-z]{3},? ", text) and (moment := _rfc_date(text)):
            return (moment, original_of(cell))
    elif isinstance(cell, int | float) and isfinite(cell) and (moment := _epoch(cell)):
        return (moment, original_of(cell))
    return (None, original_of(cell))


def _is_moment(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _moment(text: str) -> str | None:
    try:
        return _feed_time(datetime.fromisoformat(text.replace("z", "Z").replace(",", ".")))
    except (ValueError, OverflowError):
        return None


def _feed_time(moment: datetime) -> str:
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return f"{moment.isoformat(timespec='microseconds')[:26]}Z"


def _epoch(number: float) -> str | None:
    """Seconds from 1973 to 5138, milliseconds from 1973 on: the sizes do not overlap."""
    if 1e8 <= abs(number) < 1e11:
        seconds = number
    elif 1e11 <= abs(number) < 2.5e14:
        seconds = number / 1000
    else:
        return None
    try:
        return _feed_time(datetime.fromtimestamp(seconds, UTC))
    except (ValueError, OverflowError, OSError):
        return None


def _rfc_date(text: str) -> str | None:
    try:
        return _feed_time(parsedate_to_datetime(text))
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def read_object(cell: Cell) -> Read:
    """A JSON object; what is none becomes ``{}`` with the original text beside it."""
    if cell is None:
        return ({}, None)
    if isinstance(cell, str) and (plain := plain_object(cell)) is not None:
        return (plain, SAME)
    text, original = read_text(cell)
    changed = original is not SAME
    original = original if changed else original_of(cell)
    exact = _Exactness()
    try:
        value = exact.object(text)
    except (ValueError, RecursionError):
        return ({}, original)
    if not isinstance(value, dict):
        return ({}, original)
    return (value, original if exact.changed or changed else SAME)


_DOUBTFUL: Final = re.compile(r"\d{16}|\.0[,\]}]|\d[eE][-+]?\d|\\u0000|[:\[,]-0[,\]}]", re.ASCII)


def plain_object(text: str) -> dict[str, Any] | None:
    """The object, if the text is spelled just as it will be stored; None where a closer look is due.

    A text that comes back byte by byte has no key twice, no escape and no number that changes, but for the
    few that the pattern names.
    """
    if text == "{}":
        return {}
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict) or text.count("{") + text.count("[") > MAX_DEPTH:
        return None
    return value if orjson.dumps(value) == text.encode() and not _DOUBTFUL.search(text) else None


class _TooDeep(ValueError):
    pass


class _Exactness:
    """Reads JSON and notices what cannot be stored exactly."""

    def __init__(self) -> None:
        self.changed = False

    def object(self, text: str) -> Any:
        value = json.loads(
            text,
            object_pairs_hook=self._pairs,
            parse_int=self._integer,
            parse_float=self._double,
            parse_constant=self._constant,
        )
        return self._storable(value, MAX_DEPTH)

    def _pairs(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            self.changed = True
        return found

    def _integer(self, digits: str) -> int | float:
        if len(digits) < 17 and abs(int(digits)) <= MAX_INTEGER:
            return int(digits)
        return self._double(digits)

    def _double(self, digits: str) -> int | float:
        number = float(digits)
        if not isfinite(number):
            self.changed = True
            return _MAX_DOUBLE if number > 0 else -_MAX_DOUBLE
        if len(digits) > 400 or Decimal(digits) != Decimal(repr(number)):
            self.changed = True
        return int(number) if number.is_integer() and abs(number) <= MAX_INTEGER else number

    def _constant(self, name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    def _storable(self, value: Any, left: int) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            if not left:
                raise _TooDeep
            return {self._text(key): self._storable(item, left - 1) for key, item in value.items()}
        if isinstance(value, list):
            if not left:
                raise _TooDeep
            return [self._storable(item, left - 1) for item in value]
        return value

    def _text(self, text: str) -> str:
        if "\0" not in text:
            try:
                text.encode()
            except UnicodeEncodeError:
                pass
            else:
                return text
        self.changed = True
        return text.replace("\0", NUL_SIGN).encode(errors="surrogatepass").decode(errors="replace")


def read_id(cell: Cell) -> tuple[str | None, str]:
    """An id as it is, or (None, the reason why it cannot be one)."""
    if cell is None or cell == "":
        return None, "no-id"
    if isinstance(cell, bytes):
        return None, "id-is-a-blob"
    if isinstance(cell, RawText):
        return None, "id-is-not-utf8"
    text = cell if isinstance(cell, str) else _number_text(cell)
    if "\0" in text:
        return None, "id-with-nul"
    if len(text) > MAX_ID_CHARACTERS:
        return None, "id-too-long"
    return text, ""


def _number_text(number: int | float) -> str:
    return str(number)


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


class NoCell:
    """No cell can be this value."""


NO_CELL: Final = NoCell()


def cell_of_original(original: Any) -> Cell | NoCell:
    """The cell that `original_of` described."""
    kind = original.__class__
    if original is None or kind is str or kind is float or (kind is int and abs(original) < 2**63):
        cell: Cell = original
        return cell
    if kind is not dict:
        return NO_CELL
    try:
        match original:
            case {"base64": str(data), "type": "blob"}:
                return b64decode(data, validate=True)
            case {"base64": str(data), **rest} if not rest:
                return text_of(b64decode(data, validate=True))
            case {"type": "real", "value": "Infinity" | "-Infinity" as value}:
                return float(value)
            case {"type": "integer", "value": str(value)} if -(2**63) <= int(value) < 2**63:
                return int(value)
    except (NotBase64, ValueError):
        pass
    return NO_CELL


def text_of(data: bytes) -> str | RawText:
    """A cell of storage class TEXT with these bytes."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return RawText(data)


def readable_text(data: bytes) -> str:
    """A cell of a file in UTF-16, in which no bytes are no UTF-8."""
    return data.decode(errors="replace")


_SMALLEST, _LARGEST = 1e-12, 1e6
"""Components of embeddings lie between these in size; bytes read in the wrong width do not."""


def is_vector(cell: Cell) -> tuple[bool, bool]:
    """Whether a cell is an embedding (float32-LE, float64-LE or a JSON array), and one of just float32-LE."""
    if isinstance(cell, str):
        return _is_json_vector(cell.encode()), False
    if not isinstance(cell, bytes) or not cell:
        return False, False
    if len(cell) % 4 == 0 and _is_single(struct.unpack(f"<{len(cell) // 4}f", cell)):
        return True, True
    if len(cell) % 8 == 0 and _plausible(numbers := struct.unpack(f"<{len(cell) // 8}d", cell)):
        return _fits(numbers), False
    return _is_json_vector(cell), False


def _is_json_vector(text: bytes) -> bool:
    if not text.lstrip().startswith(b"["):
        return False
    try:
        numbers = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return bool(numbers) and all(type(n) in (int, float) for n in numbers) and _fits(tuple(numbers))


def _fits(numbers: tuple[float, ...]) -> bool:
    try:
        struct.pack(f"<{len(numbers)}f", *numbers)
    except (OverflowError, struct.error):
        return False
    return True


def _is_single(numbers: tuple[float, ...]) -> bool:
    """Round doubles look like singles of which every other one is 0."""
    return _plausible(numbers) and (len(numbers) % 2 == 1 or any(numbers[::2]))


def _plausible(numbers: tuple[float, ...]) -> bool:
    return all(isfinite(n) and (n == 0 or _SMALLEST < abs(n) < _LARGEST) for n in numbers) and any(numbers)
