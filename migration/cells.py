"""One cell of somebody's SQLite file in, one value in feed form out. Pure.

SQLite lets any cell hold any storage class, and text may hold NUL or bytes that are no
UTF-8. Each reader here gives the nearest value that can be stored, what the file really
had (`original`, only where it differs) and a word for the deviation.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, Final

import orjson

from sync.core.limits import MAX_DEPTH, MAX_ID_CHARACTERS, MAX_INTEGER

NUL_SIGN: Final = "\u2400"
_MAX_DOUBLE: Final = 1.7976931348623157e308


@dataclass(frozen=True, slots=True)
class RawText:
    """A cell of storage class TEXT whose bytes are not valid in the file's encoding."""

    data: bytes
    encoding: str = "utf-8"

    def __str__(self) -> str:
        return self.data.decode(self.encoding, errors="replace")


Cell = None | int | float | str | bytes | RawText
"""NULL, INTEGER, REAL, TEXT, BLOB, and TEXT that cannot be decoded."""


class _Same:
    """The file had exactly what the value says: there is no original to keep."""


SAME: Final = _Same()


@dataclass(frozen=True, slots=True)
class Read:
    """What became of a cell."""

    value: Any
    original: Any = SAME
    deviation: str = ""
    """A word for what had to be done, "" if the cell was taken as it was."""


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


def described(cell: Cell) -> dict[str, Any]:
    """The cell as `set-aside` lists it: storage class, and bytes or value, exact."""
    if cell is None:
        return {"type": "null", "value": None}
    if isinstance(cell, RawText):
        return {"type": "text", "base64": _base64(cell.data)}
    if isinstance(cell, str):
        return {"type": "text", "base64": _base64(cell.encode())}
    if isinstance(cell, bytes):
        return {"type": "blob", "base64": _base64(cell)}
    if isinstance(cell, int):
        return {"type": "integer", "value": cell}
    if isfinite(cell):
        return {"type": "real", "value": cell}
    return {"type": "real", "value": "Infinity" if cell > 0 else "-Infinity"}


def read_text(cell: Cell) -> Read:
    """Text unchanged; NUL becomes U+2400, what is no UTF-8 U+FFFD, numbers and BLOBs their text."""
    if cell is None:
        return Read(None)
    if isinstance(cell, str):
        if "\0" not in cell:
            return Read(cell)
        return Read(cell.replace("\0", NUL_SIGN), original_of(cell), "nul")
    if isinstance(cell, RawText):
        return Read(str(cell).replace("\0", NUL_SIGN), original_of(cell), "invalid-utf8")
    if isinstance(cell, bytes):
        text = cell.decode(errors="replace").replace("\0", NUL_SIGN)
        return Read(text, original_of(cell), "blob-in-text")
    return Read(_number_text(cell), original_of(cell), "number-in-text")


def read_number(cell: Cell) -> Read:
    """A finite double; what is none becomes null, or the number that a text spells."""
    if cell is None:
        return Read(None)
    if isinstance(cell, int):
        if abs(cell) <= MAX_INTEGER:
            return Read(cell)
        return Read(float(cell), original_of(cell), "number-rounded")
    if isinstance(cell, float):
        return Read(cell) if isfinite(cell) else Read(None, original_of(cell), "number-infinite")
    text = cell if isinstance(cell, str) else str(cell) if isinstance(cell, RawText) else ""
    if re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", text, re.ASCII) and len(text) < 400:
        number = float(text)
        if isfinite(number):
            return Read(number, original_of(cell), "text-in-number")
    return Read(None, original_of(cell), "not-a-number")


def read_vector(cell: Cell) -> Read:
    """Little-endian float32 numbers, as base64."""
    if isinstance(cell, bytes) and len(cell) % 4 == 0:
        return Read(_base64(cell))
    return Read(None, SAME if cell is None else original_of(cell), "" if cell is None else "opaque-embedding")


_USUAL_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_WHOLE_SECONDS: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_SQLITE_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", re.ASCII)
_ISO_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d([T ].*)?", re.ASCII)
_EPOCH: Final = re.compile(r"-?\d{8,15}(\.\d{1,9})?", re.ASCII)


def read_time(cell: Cell, sqlite_default: bool = False) -> Read:
    """A point in time, in feed form. `sqlite_default`: the dialect itself writes SQLite's own form.

    `Date.toISOString()` is taken as it is; ISO without milliseconds is taken and counted;
    all else that is readable is taken with the original beside it; the rest becomes null.
    """
    if cell is None:
        return Read(None)
    if isinstance(cell, str):
        if is_usual_time(cell):
            return Read(f"{cell[:23]}000Z")
        if _WHOLE_SECONDS.fullmatch(cell) and (moment := _moment(cell)):
            return Read(moment, SAME, "time-without-milliseconds")
        if _SQLITE_TIME.fullmatch(cell) and (moment := _moment(cell)):
            if sqlite_default:
                return Read(moment, SAME, "time-as-sqlite-writes-it")
            return Read(moment, cell, "time-without-zone")
        text = cell.strip()
        if _ISO_DATE.fullmatch(text) and (moment := _moment(text)):
            zoned = re.search(r"([Zz]|[+-]\d\d(:?\d\d)?)$", text[10:])
            return Read(moment, original_of(cell), "time-in-another-form" if zoned else "time-without-zone")
        if _EPOCH.fullmatch(text) and (moment := _epoch(float(text))):
            return Read(moment, original_of(cell), "time-as-epoch")
        if re.match(r"[A-Za-z]{3},? ", text) and (moment := _rfc_date(text)):
            return Read(moment, original_of(cell), "time-in-another-form")
    elif isinstance(cell, int | float) and isfinite(cell) and (moment := _epoch(cell)):
        return Read(moment, original_of(cell), "time-as-epoch")
    return Read(None, original_of(cell), "time-unreadable")


def is_usual_time(text: str) -> bool:
    """Whether a text is a time as `Date.toISOString()` writes it."""
    return _USUAL_TIME.fullmatch(text) is not None and _moment(text) is not None


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
        return Read({}, None, "json-null")
    if isinstance(cell, str) and (plain := plain_object(cell)) is not None:
        return Read(plain)
    text = read_text(cell)
    original = text.original if text.original is not SAME else original_of(cell)
    if text.value.strip() == "":
        return Read({}, original, "json-empty")
    exact = _Exactness()
    try:
        value = exact.object(text.value)
    except _TooDeep:
        return Read({}, original, "json-too-deep")
    except (ValueError, RecursionError):
        return Read({}, original, "json-invalid")
    if not isinstance(value, dict):
        return Read({}, original, "json-not-an-object")
    if exact.changed or text.original is not SAME:
        return Read(value, original, "json-adjusted")
    return Read(value)


_DOUBTFUL: Final = re.compile(r"\d{16}|\.0[,\]}]|\d[eE][-+]?\d|\\u0000|[:\[,]-0[,\]}]", re.ASCII)


def plain_object(text: str) -> dict[str, Any] | None:
    """The object, if the text is spelled just as it will be stored; None where a closer look is due.

    A text that comes back byte by byte has no key twice, no escape and no number that changes,
    but for the few that the pattern names.
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


def plain_object_spelled(text: str) -> bytes | None:
    """The canonical form of `plain_object`; None where a closer look is due."""
    if text == "{}":
        return b"{}"
    value = plain_object(text)
    if value is None or not (text.isascii() or max(text) <= "\uffff"):
        return None  # keys beyond U+FFFF have an order of their own
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


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
