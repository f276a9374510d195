"""Turns a JSON document of LogoMesh into a SQLite file of ours that the other stages read. Only in the child.

The tables have LogoMesh's names and no rules: a row for each thought, segment, tag and link.
"""

from __future__ import annotations

import json
from base64 import b64decode
from binascii import Error as NotBase64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from migration.cells import Cell, RawText
from migration.dialects import NotLogoMesh
from migration.documents import (
    SEGMENT_COLUMNS,
    THOUGHT_COLUMNS,
    Members,
    cell_of,
    items_of,
    members_of,
    plain,
    segment_cells,
    spelled,
    tag_id_of,
    thought_cells,
    with_halves_marked,
)
from migration.export.rows import ID_COLUMNS, NO_CELL, cell_of_original
from migration.mapping import ORDER
from migration.sandbox.opening import quoted
from migration.sealing import SEAL, whole_seal
from sync.core.records import split_id
from sync.core.schema import RECORD_TYPES

LARGEST: Final = 64 * 1024**2
"""Bytes of a document: it is read as a whole."""
_MOST_COLUMNS: Final = 500
_SECRETS: Final = frozenset({"database_config", "auth_token", "auth_user"})
_STORED: Final[tuple[str, ...]] = (
    "thought-web-data", "thoughtweb-nodes", "thoughtweb-relationships", "thoughtweb-state",
    "thoughtweb-thoughts",
)  # fmt: skip
"""Keys of the browser's localStorage that hold LogoMesh's data."""
_BESIDE: Final = ("nodes", "relationships", "fieldTypes", *_STORED[1:4])


@dataclass
class Document:
    """What a document is, and where its thoughts are."""

    format: str
    because: list[str]
    thoughts: list[msgspec.Raw]
    beside: dict[str, msgspec.Raw] = field(default_factory=dict)
    """Member -> what of it is no thought, kept as an unknown table."""
    ours: Members = field(default_factory=dict)
    """Table -> records that LogoMesh's own shape has no place for, as our exports add them."""
    unread: dict[str, str] = field(default_factory=dict)


def looks_like_json(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(64)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        start = start[2:].replace(b"\0", b"")
    return start.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")[:1] in (b"{", b"[")


def read_document(path: Path) -> Document:
    """Recognise a document. Raises `NotLogoMesh`."""
    if path.stat().st_size > LARGEST:
        raise NotLogoMesh(
            "too-big",
            f"A JSON document may have at most {LARGEST // 1024**2} MB.",
            "Migrate the SQLite file itself: it may be of any size.",
        )
    try:
        return _recognised(_utf8(path.read_bytes()))
    except (msgspec.DecodeError, UnicodeError, json.JSONDecodeError) as error:
        raise NotLogoMesh(
            "not-json",
            f"The file begins like JSON but is none: {error}.",
            "It may be cut off: export it again.",
        ) from None
    except RecursionError:
        raise NotLogoMesh(
            "not-json", "The document is nested too deep.", "LogoMesh writes no such file."
        ) from None


def convert(document: Document, target: Path) -> None:
    """Write the tables. Raises `NotLogoMesh` for a document that is broken inside."""
    target.unlink(missing_ok=True)
    db = apsw.Connection(str(target))
    for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -16000"):
        db.execute(f"PRAGMA {setting}")
    try:
        with db:
            _Writer(db).write(document)
    except (msgspec.DecodeError, UnicodeError, json.JSONDecodeError, RecursionError) as error:
        raise NotLogoMesh(
            "not-json", f"The document cannot be read to its end: {error}.", "Export it again."
        ) from None
    finally:
        db.close()


def _utf8(data: bytes) -> bytes:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        data = data.decode("utf-16").encode()
    return with_halves_marked(data.removeprefix(b"\xef\xbb\xbf"))


def _recognised(data: bytes) -> Document:
    if (items := items_of(data)) is not None:
        if items and not any(_is_thought(item) for item in items[:100]):
            raise _foreign("The document is an array, but not of thoughts.")
        return Document("J0", ["an array of thoughts"], items)
    members = members_of(data) or {}
    wrapped = members_of(members["data"]) if "data" in members else None
    inner = wrapped if wrapped is not None and "thoughts" in wrapped else members
    because = ["data.thoughts" if inner is wrapped else "thoughts"]
    if stored := [name for name in _STORED if name in members]:
        return _from_storage(members, stored)
    thoughts = items_of(inner["thoughts"]) if "thoughts" in inner else None
    if thoughts is None and "thoughts" in inner and bytes(inner["thoughts"])[:1] == b'"':
        return _from_storage(members, ["thoughts"])
    if thoughts is None:
        raise _foreign(f"The document has no thoughts, only {_listed(members)}.")
    format_, clue = _format(inner, thoughts, wrapped=inner is wrapped)
    found = Document(format_, [*because, *clue], thoughts)
    found.beside = {name: inner[name] for name in _BESIDE if name in inner}
    found.ours = _ours(members)
    return found


def _from_storage(members: Members, stored: list[str]) -> Document:
    """A dump of the browser's localStorage: its values are texts of JSON, or have been unpacked."""
    opened = {name: _unpacked(raw) for name, raw in members.items() if name in (*_STORED, "thoughts")}
    found = Document("localStorage", [f"key {name}" for name in stored], [])
    for name in ("thought-web-data", "thoughtweb-thoughts", "thoughts"):
        if name in opened:
            inner = members_of(opened[name])
            thoughts = (
                items_of(inner["thoughts"]) if inner and "thoughts" in inner else items_of(opened[name])
            )
            found.thoughts += thoughts or []
    found.beside = {name: opened[name] for name in _BESIDE if name in opened}
    found.unread = dict.fromkeys(_SECRETS & members.keys(), "secret, left in the file")
    return found


def _unpacked(raw: msgspec.Raw) -> msgspec.Raw:
    return msgspec.Raw(_utf8(json.loads(spelled(raw)).encode())) if bytes(raw)[:1] == b'"' else raw


def _format(inner: Members, thoughts: list[msgspec.Raw], *, wrapped: bool) -> tuple[str, list[str]]:
    first = next((members for raw in thoughts[:100] if (members := members_of(raw))), {})
    named = "id" if "id" in first and "thought_bubble_id" not in first else "thought_bubble_id"
    if "export_metadata" in inner:
        head = members_of(inner["export_metadata"]) or {}
        version = plain(head["version"]) if "version" in head else None
        if "nodes" in inner or "relationships" in inner:
            return "J2b", ["nodes"]
        if version == "0.5":
            return "J1", ["export_metadata.version 0.5"]
        if "thought_count" in head and "tool" not in head:
            return "localStorage", ["export_metadata.thought_count"]
        return "J2", [f"export_metadata.version {str(version)[:20]}"]
    if "nodes" in inner or "relationships" in inner:
        return "J2b", ["nodes"]
    if "metadata" not in inner:
        return "J0", ["no metadata"]
    if named == "id" or not first:
        return "J6", ["thoughts[].id"]
    if "color" in first or "fields" in first:
        return ("J4", ["data", "thoughts[].color"]) if wrapped else ("J3", ["thoughts[].color"])
    return "J5", ["thoughts[].thought_bubble_id", "no thoughts[].color"]


def _ours(members: Members) -> Members:
    found = members_of(members[SEAL]) if SEAL in members else None
    return (members_of(found["tables"]) or {}) if found and "tables" in found else {}


def _is_thought(raw: msgspec.Raw) -> bool:
    members = members_of(raw)
    return members is not None and bool(members.keys() & {"thought_bubble_id", "segments", "id", "title"})


class _Writer:
    def __init__(self, db: apsw.Connection) -> None:
        self.db = db
        self.columns: dict[str, dict[str, str]] = {}
        """Table -> lower-case column -> as the table spells it."""
        self.tags: dict[str, str] = {}
        """Name -> id."""
        self.named: dict[str, str] = {}
        """Id -> name."""
        self.colours: dict[str, Cell] = {}
        """Id -> colour; only of tags that the document's thoughts name."""
        self.known: set[str] = set()
        self.links: set[tuple[str, str]] = set()

    def write(self, document: Document) -> None:
        self._create("thoughts", THOUGHT_COLUMNS)
        self._create("segments", SEGMENT_COLUMNS)
        self._create("tags", ("tag_id", "name", "color", "created_at"))
        self._create("thought_tags", ("thought_bubble_id", "tag_id", "created_at"))
        for type_ in ORDER:
            if type_ in document.ours and type_ not in ("thoughts", "segments"):
                self._write_ours(type_, items_of(document.ours[type_]) or [])
        for raw in document.thoughts:
            self._write_thought(raw)
        for id_, colour in self.colours.items():
            self._insert(
                "tags", {"tag_id": id_, "name": self.named[id_], "color": colour, "created_at": None}
            )
        for name, raw in document.beside.items():
            self._write_beside(name, raw)

    def _write_thought(self, raw: msgspec.Raw) -> None:
        members = members_of(raw)
        if members is None:  # no thought: the row has no id and is set aside
            self._insert("thoughts", {"thought_bubble_id": None, "document": cell_of(raw)})
            return
        row = thought_cells(members)
        segments, tags = members.get("segments"), members.get("tags")
        for name, list_ in (("segments", segments), ("tags", tags)):
            if list_ is not None and items_of(list_) is None and bytes(list_) != b"null":
                row[name] = cell_of(list_)
        self._insert("thoughts", row)
        for item in (items_of(segments) if segments is not None else None) or []:
            self._write_segment(item, row["thought_bubble_id"])
        for item in (items_of(tags) if tags is not None else None) or []:
            self._write_tag(item, row["thought_bubble_id"])

    def _write_segment(self, raw: msgspec.Raw, thought_id: Cell) -> None:
        members = members_of(raw)
        if members is None:
            row: dict[str, Cell] = {
                "segment_id": None,
                "thought_bubble_id": thought_id,
                "document": cell_of(raw),
            }
            self._insert("segments", row)
        else:
            self._insert("segments", segment_cells(members, thought_id))

    def _write_tag(self, raw: msgspec.Raw, thought_id: Cell) -> None:
        """A tag of a thought: by its id where the document gives one, else by its name."""
        members = members_of(raw)
        rest = dict(members) if members is not None else {"name": raw}
        name = cell_of(rest.pop("name")) if "name" in rest else None
        given = cell_of(rest.pop("id")) if "id" in rest else None
        colour = cell_of(rest.pop("color")) if "color" in rest else None
        link: dict[str, Cell] = {"thought_bubble_id": thought_id, "tag_id": None, "created_at": None}
        if not isinstance(name, str) or (members is None and bytes(raw)[:1] != b'"'):
            self._insert("thought_tags", link | {"document": cell_of(raw)})
            return
        id_ = given if isinstance(given, str) and given else self._tag_id(name)
        link["tag_id"] = id_
        if self.named.setdefault(id_, name) != name:
            link["name"] = name
        if id_ not in self.known:
            self.known.add(id_)
            self.tags.setdefault(name, id_)
            self.colours[id_] = colour
        elif id_ in self.colours and self.colours[id_] is None:
            self.colours[id_] = colour
        if colour is not None and colour != self.colours.get(id_, colour):
            link["color"] = colour
        if (str(thought_id), id_) in self.links:
            return  # our own export names this link among its records
        self._insert("thought_tags", link | {key: cell_of(value) for key, value in rest.items()})

    def _tag_id(self, name: str) -> str:
        return self.tags.get(name) or tag_id_of(name, self.named)

    def _write_ours(self, type_: str, rows: list[msgspec.Raw]) -> None:
        known = RECORD_TYPES[type_]
        for raw in rows:
            found = plain(raw)
            id_, record = (found.get("id"), found.get("record")) if isinstance(found, dict) else (None, None)
            if not isinstance(id_, str) or not isinstance(record, dict):
                self._insert(f"document_{type_}", {"value": cell_of(raw)})
                continue
            if type_ == "embeddings":
                self._insert(type_, _embedding(record))
                continue
            row: dict[str, Cell] = {}
            if type_ in ID_COLUMNS:
                row[ID_COLUMNS[type_]] = id_
            for name, part in zip(known.identity, [] if known.own_id else split_id(id_) or [], strict=False):
                row[known.by_name[name].columns[0]] = part
            for name in known.parents:
                row[known.by_name[name].columns[0]] = _scalar(record.get(name))
            if type_ == "segment_related_context":  # of which an import makes an embedding
                row |= {
                    "context_type": _scalar(record.get("context_type")),
                    "context_data": _context_data(record),
                }
            row[SEAL] = whole_seal(type_, record)
            if type_ == "tags" and isinstance(record.get("name"), str):
                self.tags.setdefault(record["name"], id_)
                self.named[id_] = record["name"]
                self.known.add(id_)
            if type_ == "thought_tags":
                self.links.add((str(record.get("thought_id")), str(record.get("tag_id"))))
            self._insert(type_, row)

    def _write_beside(self, name: str, raw: msgspec.Raw) -> None:
        rows = items_of(raw)
        for item in [raw] if rows is None else rows:
            self._insert(f"document_{name}", {"value": cell_of(item)})

    def _create(self, table: str, columns: tuple[str, ...]) -> None:
        self.db.execute(f"CREATE TABLE {quoted(table)} ({', '.join(map(quoted, columns))})")
        self.columns[table] = {name.lower(): name for name in columns}

    def _insert(self, table: str, row: dict[str, Cell]) -> None:
        if table not in self.columns:
            self._create(table, tuple(row))
        known = self.columns[table]
        for name in row:
            if name.lower() not in known:
                self._add_column(table, name)
        marks = ", ".join("CAST(? AS TEXT)" if isinstance(cell, RawText) else "?" for cell in row.values())
        values = tuple(cell.data if isinstance(cell, RawText) else cell for cell in row.values())
        names = ", ".join(quoted(name) for name in row)
        self.db.execute(f"INSERT INTO {quoted(table)} ({names}) VALUES ({marks})", values)

    def _add_column(self, table: str, name: str) -> None:
        if len(self.columns[table]) >= _MOST_COLUMNS:
            raise NotLogoMesh(
                "too-many-members",
                f"The {table} of this document have more than {_MOST_COLUMNS} different members.",
                "LogoMesh writes about twenty: this document is not one of its own.",
            )
        default = " DEFAULT '{}'" if name == "fields" else ""
        self.db.execute(f"ALTER TABLE {quoted(table)} ADD COLUMN {quoted(name)}{default}")
        self.columns[table][name.lower()] = name


_OWNER: Final = ("owner_type", "owner_id", "model", "dimensions")


def _scalar(value: Any) -> Cell:
    return value if isinstance(value, str | int | float) else None


def _context_data(record: dict[str, Any]) -> Cell:
    extra = record.get("extra")
    originals = extra.get("originals") if isinstance(extra, dict) else None
    kept = originals.get("context_data") if isinstance(originals, dict) else None
    if kept is None or (cell := cell_of_original(kept)) is NO_CELL:
        return _scalar(record.get("data"))
    return cell  # type: ignore[return-value]


def _embedding(record: dict[str, Any]) -> dict[str, Cell]:
    row: dict[str, Cell] = {name: _scalar(record.get(name)) for name in _OWNER}
    try:
        return row | {"embedding_vector": b64decode(record.get("vector") or "")}
    except (NotBase64, TypeError, ValueError):
        return row | {"embedding_vector": str(record.get("vector"))}


def _foreign(found: str) -> NotLogoMesh:
    return NotLogoMesh(
        "foreign-document",
        f"This JSON is none of LogoMesh's exports. {found}",
        "Choose the file that LogoMesh saved (logomesh-export-….json), or its SQLite file.",
    )


def _listed(members: dict[str, Any]) -> str:
    names = [name[:40] for name in members]
    return ", ".join(names[:8]) + (" …" if len(names) > 8 else "") if names else "nothing"
