"""Thoughts in a LogoMesh file of any dialect, written as LogoMesh writes them. The app may run meanwhile."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from logomesh_client.adapters import entities
from logomesh_client.adapters.contract import (
    AlreadyThere,
    CannotHold,
    Health,
    NewSegment,
    NewThought,
    NoSuchThought,
    NotOpen,
    Segment,
    StorageAdapter,
    Tag,
    Thought,
)
from logomesh_client.file.cells import text_of
from logomesh_client.file.dialects import Dialect, NotLogoMesh, quoted, read_schema, recognise
from logomesh_client.file.rows import RowTable, row_tables
from logomesh_client.records import TYPES, Record, empty_record

_BUSY_SECONDS: Final = 5.0
_CHILDREN: Final = {
    parent: [
        (type_.name, field)
        for type_ in TYPES.values()
        for field, name in type_.parents.items()
        if name == parent
    ]
    for parent in ("thoughts", "segments")
}


class SQLiteStorageAdapter(StorageAdapter):
    """A file that LogoMesh wrote. What its version has no column for is refused (`CannotHold`)."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._open: sqlite3.Connection | None = None
        self._tables: dict[str, RowTable] = {}
        self.dialect = Dialect.S2X

    def initialize(self) -> None:
        """Raises `NotLogoMesh` where the file is none of LogoMesh's, or missing."""
        if self._open is not None:
            return
        self.dialect = recognise(self.path)
        db = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
        db.text_factory = text_of
        self._tables = row_tables(read_schema(db), self.dialect)
        self._open = db

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def health_check(self) -> Health:
        try:
            if self._open is None:
                return {"status": "error", "message": str(NotOpen())}
            recognise(self.path)
            self._open.execute("SELECT 1 FROM thoughts LIMIT 1").fetchall()
        except (sqlite3.Error, NotLogoMesh) as error:
            return {"status": "error", "message": str(error)}
        return {"status": "ok"}

    # Reading

    def get_all_thoughts(self) -> list[Thought]:
        with self._snapshot():
            segments = defaultdict(list)
            for id_, record in self._rows("segments"):
                segments[record["thought_id"]].append((id_, record))
            tags, fields = self._tags(), self._fields()
            return [
                entities.thought_of(
                    id_,
                    record,
                    tags[id_],
                    [
                        entities.segment_of(segment, found, fields[segment])
                        for segment, found in entities.in_order(segments[id_])
                    ],
                )
                for id_, record in entities.newest_first(self._rows("thoughts"))
            ]

    def get_thought_by_id(self, thought_id: str) -> Thought | None:
        with self._snapshot():
            if (record := self._row("thoughts", thought_id)) is None:
                return None
            segments = self.get_segments_for_thought(thought_id)
            return entities.thought_of(thought_id, record, self._tags(thought_id)[thought_id], segments)

    def get_segments_for_thought(self, thought_id: str) -> list[Segment]:
        found = entities.in_order(self._rows("segments", "thought_id", thought_id))
        return [entities.segment_of(id_, record, self._fields(id_)[id_]) for id_, record in found]

    def get_segment_by_id(self, segment_id: str) -> Segment | None:
        record = self._row("segments", segment_id)
        if record is None:
            return None
        return entities.segment_of(segment_id, record, self._fields(segment_id)[segment_id])

    # Writing

    def create_thought(self, data: NewThought) -> Thought:
        record = entities.new_thought(data)
        self._require("thoughts", data)
        id_ = data.get("id") or entities.NEW_IDS[self.dialect.value][0]()
        with self._writing():
            self._insert("thoughts", id_, record)
            self._replace_tags(id_, data.get("tags") or [])
        return self._thought(id_)

    def update_thought(self, thought_id: str, updates: NewThought) -> Thought | None:
        changes = entities.changes_of_thought(updates)
        self._require("thoughts", updates)
        with self._writing():
            if (record := self._row("thoughts", thought_id)) is None:
                return None
            if changes or "tags" in updates:
                self._update("thoughts", thought_id, record, changes)
            if "tags" in updates:
                self._replace_tags(thought_id, updates["tags"] or [])
        return self._thought(thought_id)

    def delete_thought(self, thought_id: str) -> bool:
        with self._writing():
            return self._delete("thoughts", thought_id)

    def create_segment(self, thought_id: str, data: NewSegment) -> Segment:
        record = entities.new_segment(thought_id, data)
        self._require("segments", data)
        id_ = data.get("id") or entities.NEW_IDS[self.dialect.value][1]()
        with self._writing():
            if self._row("thoughts", thought_id) is None:
                raise NoSuchThought(thought_id)
            self._insert("segments", id_, record)
            if self._fields_are_rows:
                self._replace_fields(id_, record["fields"])
        return self._segment(id_)

    def update_segment(self, thought_id: str, segment_id: str, updates: NewSegment) -> Segment | None:
        changes = entities.changes_of_segment(updates)
        self._require("segments", updates)
        with self._writing():
            record = self._row("segments", segment_id)
            if record is None or record["thought_id"] != thought_id:
                return None
            if self._fields_are_rows and "fields" in changes:
                self._replace_fields(segment_id, changes.pop("fields"))
                changes.setdefault("updated_at", entities.now())
            elif changes:
                # Both stand in one column, and how LogoMesh reads that depends on when it was written.
                fields, metadata = entities.told_apart(record)
                held = {"fields": fields, "metadata": metadata}
                changes = {**{name: value for name, value in held.items() if value}, **changes}
            if changes:
                self._update("segments", segment_id, record, changes)
        return self._segment(segment_id)

    def delete_segment(self, thought_id: str, segment_id: str) -> bool:
        with self._writing():
            record = self._row("segments", segment_id)
            if record is None or record["thought_id"] != thought_id:
                return False
            return self._delete("segments", segment_id)

    # Rows

    @property
    def _db(self) -> sqlite3.Connection:
        if self._open is None:
            raise NotOpen
        return self._open

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """What is read inside belongs together, whatever the app writes meanwhile."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _rows(self, type_: str, field: str = "", value: str = "") -> list[tuple[str, Record]]:
        """(id, record) of a table's rows in the order in which they were made; [] if there is no table."""
        if (table := self._tables.get(type_)) is None:
            self._db  # noqa: B018 - raises where nothing is open
            return []
        names = ", ".join(map(quoted, table.columns))
        where = f" WHERE {quoted(table.column_of[field])} = ?" if field else ""
        query = f"SELECT {names} FROM {quoted(table.shape.name)}{where}"
        if not table.shape.without_rowid:
            query += " ORDER BY rowid"
        found = []
        for row in self._db.execute(query, (value,) if field else ()).fetchall():
            key = table.key_cells(row)
            if all(isinstance(cell, str) and cell for cell in key):
                found.append((table.id_of_key(key), table.read(row)))
        return found

    def _row(self, type_: str, id_: str) -> Record | None:
        table = self._table(type_)
        names = ", ".join(map(quoted, table.columns))
        query = f"SELECT {names} FROM {quoted(table.shape.name)} WHERE {quoted(table.id_column or '')} = ?"
        row = self._db.execute(query, (id_,)).fetchone()
        return None if row is None else table.read(row)

    def _table(self, type_: str) -> RowTable:
        self._db  # noqa: B018 - raises where nothing is open
        return self._tables[type_]

    def _insert(self, type_: str, id_: str, record: Record) -> None:
        table = self._table(type_)
        cells = table.write(id_, self._as_dialect(record))
        names, marks = ", ".join(map(quoted, table.columns)), ", ".join("?" * len(table.columns))
        try:
            self._db.execute(f"INSERT INTO {quoted(table.shape.name)} ({names}) VALUES ({marks})", cells)
        except sqlite3.IntegrityError:
            raise AlreadyThere(type_.removesuffix("s"), id_) from None

    def _update(self, type_: str, id_: str, record: Record, changes: Record) -> None:
        """Write the columns of what changes, and the time."""
        table = self._table(type_)
        changed = self._as_dialect({**changes, "updated_at": changes.get("updated_at") or entities.now()})
        columns = {column for name in changed if (column := table.column_of.get(name))}
        if "fields" in changed and "fields" not in table.column_of:
            columns.add(table.column_of["metadata"])
        new = {**record, **changed}
        if (originals := new.get("extra", {}).get("originals")) is not None:
            left = {column: value for column, value in originals.items() if column not in columns}
            new["extra"] = {**new["extra"], "originals": left}
        cells = dict(zip(table.columns, table.write(id_, new), strict=True))
        names = ", ".join(f"{quoted(column)} = ?" for column in columns)
        self._db.execute(
            f"UPDATE {quoted(table.shape.name)} SET {names} WHERE {quoted(table.id_column or '')} = ?",
            (*(cells[column] for column in columns), id_),
        )

    def _as_dialect(self, record: Record) -> Record:
        """S1 counts time in seconds."""
        if self.dialect is not Dialect.S1:
            return record
        times = {n: v for n in ("created_at", "updated_at") if (v := record.get(n))}
        return record | {name: f"{value[:19]}.000000Z" for name, value in times.items()}

    def _delete(self, type_: str, id_: str) -> bool:
        """The row and all that hangs on it, as the schema says and only LogoMesh's last version did."""
        for child, field in _CHILDREN.get(type_, ()):
            if (table := self._tables.get(child)) is None:
                continue
            if child in _CHILDREN:
                for found, _ in self._rows(child, field, id_):
                    self._delete(child, found)
            self._db.execute(
                f"DELETE FROM {quoted(table.shape.name)} WHERE {quoted(table.column_of[field])} = ?", (id_,)
            )
        table = self._table(type_)
        query = f"DELETE FROM {quoted(table.shape.name)} WHERE {quoted(table.id_column or '')} = ?"
        return self._db.execute(query, (id_,)).rowcount > 0

    # Tags and fields

    def _tags(self, thought_id: str = "") -> defaultdict[str, list[Record]]:
        """Thought -> its tags."""
        tags = dict(self._rows("tags"))
        links = defaultdict(list)
        for _, link in self._rows("thought_tags", "thought_id" if thought_id else "", thought_id):
            links[link["thought_id"]].append(link)
        return defaultdict(list, {id_: entities.tags_in_order(some, tags) for id_, some in links.items()})

    def _replace_tags(self, thought_id: str, wanted: Iterable[Tag]) -> None:
        if "thought_tags" not in self._tables:
            return
        tags = dict(self._rows("tags"))
        ids = {record["name"]: id_ for id_, record in tags.items()}
        moment = entities.now()
        links: list[str] = []
        for tag in wanted:
            if (id_ := ids.get(tag["name"])) is None:
                id_ = ids[tag["name"]] = entities.tag_id(tag["name"], ids.values())
                self._insert("tags", id_, _new_tag(tag, moment))
            links.append(id_)
        had = {link["tag_id"] for _, link in self._rows("thought_tags", "thought_id", thought_id)}
        table = self._table("thought_tags")
        thought, tag_column = (quoted(table.column_of[name]) for name in ("thought_id", "tag_id"))
        for id_ in had - set(links):
            query = f"DELETE FROM {quoted(table.shape.name)} WHERE {thought} = ? AND {tag_column} = ?"
            self._db.execute(query, (thought_id, id_))
        for id_ in dict.fromkeys(links):
            if id_ not in had:
                link = {"thought_id": thought_id, "tag_id": id_, "created_at": moment}
                self._insert("thought_tags", "", {**empty_record("thought_tags"), **link})

    @property
    def _fields_are_rows(self) -> bool:
        """Whether a segment's fields stand in a table of their own, as in S1 and S3."""
        own = self._table("segments").column_of
        return "segment_fields" in self._tables and "fields" not in own and "metadata" not in own

    def _fields(self, segment_id: str = "") -> defaultdict[str, list[Record]]:
        """Segment -> its fields that are rows."""
        found: defaultdict[str, list[Record]] = defaultdict(list)
        for _, row in self._rows("segment_fields", "segment_id" if segment_id else "", segment_id):
            found[row["segment_id"]].append(row)
        return found

    def _replace_fields(self, segment_id: str, fields: dict[str, Any]) -> None:
        table = self._table("segment_fields")
        column = quoted(table.column_of["segment_id"])
        self._db.execute(f"DELETE FROM {quoted(table.shape.name)} WHERE {column} = ?", (segment_id,))
        moment = entities.now()
        for number, (name, value) in enumerate(fields.items()):
            text, kind = entities.value_and_type(value)
            row = {"segment_id": segment_id, "name": name, "value": text, "value_type": kind}
            extra = {"updated_at": entities.shown_time(moment)}
            record = {**empty_record("segment_fields"), **row, "created_at": moment, "extra": extra}
            self._insert("segment_fields", f"sf_{segment_id}_{number}_{entities.ulid()}", record)

    # What a dialect can hold

    def _require(self, type_: str, given: NewThought | NewSegment) -> None:
        """Raise `CannotHold` for what was given and has no column here."""
        held = set(self._table(type_).column_of) | {"id"}
        if {"position_x", "position_y"} <= held:
            held.add("position")
        if "thought_tags" in self._tables:
            held.add("tags")
        if type_ == "segments":
            if self._fields_are_rows or "metadata" in held:
                held.add("fields")
            if self.dialect is Dialect.S2:
                held.discard("metadata")  # the column of that name holds the fields
        if left := [name for name, value in given.items() if value and name not in held]:
            raise CannotHold(self.dialect.value, type_.removesuffix("s"), left)

    def _thought(self, id_: str) -> Thought:
        thought = self.get_thought_by_id(id_)
        if thought is None:
            raise NoSuchThought(id_)  # somebody deleted it in this moment
        return thought

    def _segment(self, id_: str) -> Segment:
        segment = self.get_segment_by_id(id_)
        if segment is None:
            raise LookupError(f"The segment {id_!r} was deleted in this moment.")
        return segment


def _new_tag(tag: Tag, moment: str) -> Record:
    color = tag.get("color") or entities.TAG_COLOR
    extra = {"updated_at": entities.shown_time(moment)}
    return {**empty_record("tags"), "name": tag["name"], "color": color, "created_at": moment, "extra": extra}
