"""LogoMesh's JSON documents: a thought or a segment in one as the cells of a row. Pure.

An import turns a document into rows of tables like LogoMesh's own, and these follow the rules
of every other file. Members keep their bytes until a cell is made of them: no number and no
escape is respelled on the way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, Final

import msgspec

from migration.cells import Cell, RawText
from migration.dialects import Column, Dialect, Table
from migration.mapping import Source, source_of
from migration.sealing import SEAL

Members = dict[str, msgspec.Raw]
"""An object of a document: member -> its JSON, unread."""

FURTHER: Final = "further_members"
"""Column for members whose names cannot be columns, as one JSON object."""
THOUGHT_COLUMNS: Final = (
    "thought_bubble_id", "title", "description", "created_at", "updated_at", "color", "position_x",
    "position_y", "metadata", "fields",
)  # fmt: skip
SEGMENT_COLUMNS: Final = (
    "segment_id", "thought_bubble_id", "title", "content", "created_at", "updated_at", "sort_order",
    "metadata", "content_type", "abstraction_level", "local_priority", "cluster_id",
)  # fmt: skip
_SEGMENT_EXTRAS: Final = frozenset({"fields", "asset_path", "embedding_vector"})
_OBJECTS: Final = frozenset({"fields", "metadata"})
_TELLING: Final = frozenset(
    {"rowid", "_rowid_", "oid", "originals", "createdat", "thoughtid", "position_in_thought", FURTHER}
)
"""Names of columns that would tell something else than "unknown column"."""
_members: Final = msgspec.json.Decoder(Members)
_list: Final = msgspec.json.Decoder(list[msgspec.Raw])


def members_of(raw: msgspec.Raw | bytes) -> Members | None:
    """The members of an object; None for another value. Of a name that stands twice, the last one counts."""
    try:
        return _members.decode(raw)
    except msgspec.ValidationError:
        return None


def items_of(raw: msgspec.Raw | bytes) -> list[msgspec.Raw] | None:
    """The items of an array; None for another value."""
    try:
        return _list.decode(raw)
    except msgspec.ValidationError:
        return None


def with_halves_marked(data: bytes) -> bytes:
    """The document with escapes of half a surrogate pair written as a mark and a number.

    JavaScript writes such escapes and our reader of JSON refuses them. The mark, a code point that is
    no character, is nowhere else an escape: where the document spells it as one it is written out.
    """
    return _HALVES.sub(_marked, data) if b"\\u" in data else data


def spelled(raw: msgspec.Raw) -> bytes:
    """The JSON as the document has it."""
    text = bytes(raw)
    return _MARKS.sub(_unmarked, text) if b"\\ufdd" in text else text


def thought_cells(members: Members) -> dict[str, Cell]:
    """The row of a thought, without its segments and tags."""
    row = _Row(THOUGHT_COLUMNS)
    rest = {name: raw for name, raw in members.items() if name not in ("segments", "tags")}
    row.take_id(rest, "thought_bubble_id", ("id", "thought_bubble_id"))
    if (position := members_of(rest.get("position", _NULL))) is not None:
        del rest["position"]
        for axis in ("x", "y"):
            if axis in position:
                row.cells[f"position_{axis}"] = cell_of(position.pop(axis))
        row.keep({f"position.{name}": raw for name, raw in position.items()})
    row.take(rest)
    return row.done()


def segment_cells(members: Members, thought_id: Cell) -> dict[str, Cell]:
    """The row of a segment. It hangs on the thought in which it stands."""
    row = _Row(SEGMENT_COLUMNS)
    rest = dict(members)
    row.take_id(rest, "segment_id", ("segment_id", "id"))
    if "thought_bubble_id" in rest and cell_of(rest["thought_bubble_id"]) == thought_id:
        del rest["thought_bubble_id"]
    row.cells["thought_bubble_id"] = thought_id
    row.keep({"thought_bubble_id": rest.pop("thought_bubble_id")} if "thought_bubble_id" in rest else {})
    if bytes(rest.get("embedding_vector", b"")).strip() in (b"[]", b"null"):
        del rest["embedding_vector"]
    for name in _SEGMENT_EXTRAS & rest.keys():
        row.cells[name] = _object_cell(rest.pop(name)) if name == "fields" else cell_of(rest.pop(name))
    row.take(rest)
    return row.done()


def source_like(name: str, columns: Iterable[str]) -> Source:
    """How rows with these columns are read."""
    source = source_of(Table(name, tuple(Column(column) for column in columns)), Dialect.S2X)
    assert source is not None
    return source


def cell_of(raw: msgspec.Raw) -> Cell:
    """Texts and numbers as they are, null as NULL; the rest as its JSON text."""
    text = spelled(raw)
    if text[:1] in b'{[tf"':
        return _text(text) if text[:1] != b'"' else _decoded(json.loads(text))
    if text == b"null":
        return None
    return _number(text.decode())


def tag_id_of(name: str, taken: Mapping[str, str]) -> str:
    """The id that LogoMesh would give a tag, or one of its own where that id stands for another name.

    `taken`: id -> name.
    """
    slug = re.sub(r"[^a-z0-9_]", "", re.sub(r"\s+", "_", name.lower()))
    if slug and taken.get(f"tag_{slug}", name) == name:
        return f"tag_{slug}"
    mark = sha256(name.encode(errors="surrogatepass")).hexdigest()[:12]
    return f"tag_{slug}_{mark}" if slug else f"tag_{mark}"


def _number(text: str) -> int | float:
    """A number of any length: one that SQLite holds as an integer, else the nearest double."""
    if len(text) < 20 and text.lstrip("-").isdigit() and abs(int(text)) < 2**63:
        return int(text)
    return float(text)


class _Row:
    def __init__(self, columns: tuple[str, ...]) -> None:
        self.cells: dict[str, Cell] = {name: "{}" if name in _OBJECTS else None for name in columns}
        self.further: dict[str, msgspec.Raw] = {}

    def take_id(self, members: Members, column: str, names: tuple[str, ...]) -> None:
        """The id stands under one of these names; where several differ, the first counts."""
        found = [(name, cell_of(members.pop(name))) for name in names if name in members]
        if found:
            self.cells[column] = found[0][1]
        for name, cell in found[1:]:
            if cell != found[0][1]:
                self.further[name] = msgspec.Raw(json.dumps(cell).encode())

    def take(self, members: Members) -> None:
        lower = {name.lower() for name in self.cells}
        for name, raw in members.items():
            if name in self.cells:
                self.cells[name] = _object_cell(raw) if name in _OBJECTS else cell_of(raw)
            elif (
                name.lower() in lower
                or name.lower() in _TELLING
                or not 0 < len(name) <= 60
                or not name.isprintable()
            ):
                self.further[name] = raw
            elif name == SEAL:
                self.cells[name] = _text(spelled(raw))
            else:
                self.cells[name] = cell_of(raw)
                lower.add(name.lower())

    def keep(self, members: Members) -> None:
        self.further |= members

    def done(self) -> dict[str, Cell]:
        if self.further:
            self.cells[FURTHER] = _text(spelled(msgspec.Raw(msgspec.json.encode(self.further))))
        return self.cells


_PAIR: Final = rb"u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_HALVES: Final = re.compile(
    rb"\\(?:" + _PAIR + rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|(u[fF][dD][dD][01])|.)", re.DOTALL
)
_MARKS: Final = re.compile(rb"\\(?:ufdd([01])\\u(0[0-7][0-9a-f]{2})|.)", re.DOTALL)


def _marked(match: re.Match[bytes]) -> bytes:
    half, mark = match.groups()
    if mark:
        return chr(int(mark[1:], 16)).encode()
    if half is None:
        return match[0]
    return b"\\ufdd%d\\u%04x" % (half != half.lower(), int(half[1:], 16) - 0xD800)


def _unmarked(match: re.Match[bytes]) -> bytes:
    upper, number = match.groups()
    if number is None:
        return match[0]
    half = b"%04x" % (int(number, 16) + 0xD800)
    return b"\\u" + (half.upper() if upper == b"1" else half)


_NULL: Final = msgspec.Raw(b"null")


def _object_cell(raw: msgspec.Raw) -> Cell:
    text = spelled(raw)
    return None if text == b"null" else _text(text)


def _text(data: bytes) -> str | RawText:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return RawText(data)


def _decoded(text: str) -> str | RawText:
    """Half of a surrogate pair cannot be UTF-8: its bytes are kept."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return RawText(text.encode(errors="surrogatepass"))
    return text


def plain(raw: msgspec.Raw) -> Any:
    """The value of a small piece of JSON."""
    return json.loads(spelled(raw), parse_int=_number)
