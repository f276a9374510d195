"""Rows of a file as records, and records as the rows that LogoMesh would have written. Pure.

A `RowTable` is made once for each table of the file that holds records. Whether a person changed a row is
asked column by column: a cell that is what we would write for the agreed record says nothing new, however
the record came to be. So what a dialect cannot hold, and what an older version spelled in its own way, is
never taken for an edit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import orjson

from logomesh_client.file.cells import (
    NO_CELL,
    SAME,
    Cell,
    NoCell,
    RawText,
    Read,
    cell_of_original,
    is_vector,
    original_of,
    read_id,
    read_number,
    read_object,
    read_text,
    read_time,
    read_vector,
)
from logomesh_client.file.dialects import Dialect, Schema, TableShape, quoted
from logomesh_client.records import TYPES, Field, Kind, Record, RecordType, compose_id, empty_record

NO_TIME: Final = "1970-01-01T00:00:00.000Z"
"""LogoMesh cannot list thoughts of which one has no readable time."""
_OWN_ID: Final[Mapping[str, tuple[str, ...]]] = {
    "thoughts": ("thought_bubble_id", "id"),
    "segments": ("segment_id", "id"),
    "tags": ("tag_id",),
    "segment_fields": ("field_id",),
    "segment_related_context": ("context_id",),
    "segment_llm_history": ("history_id",),
}
_DERIVED_IDS: Final = {"thought_tags": ("thought_tag_id", "tt_"), "segment_tags": ("segment_tag_id", "st_")}
"""S3 gives its links an id made of both ends: where it is just that, nothing is lost without it."""
_SEAL: Final = "logomesh_server"
"""A column that exports of the server have: it repeats what the row says, for an import."""
_FIELDS_END: Final = "2025-07-11"
"""Until then LogoMesh stored a segment's fields in its column `metadata`."""
_TEXT_AFFINITY: Final = ("CHAR", "CLOB", "TEXT")

Key = tuple[Cell, ...]
"""The cells by which a row is found: its own id, or the ends of a link."""


class NoRecord(Exception):
    """A row that cannot be a record; the text is the reason, in the words of a migration."""


@dataclass(frozen=True, slots=True)
class Patch:
    """What to change in a record: `set` and `unset` as a push has them."""

    set: dict[str, Any]
    unset: list[str]

    def __bool__(self) -> bool:
        return bool(self.set or self.unset)

    def is_layout(self, type_: RecordType) -> bool:
        """Whether this says only where and how a record is drawn."""
        return all((known := type_.by_name.get(path)) and known.layout for path in (*self.set, *self.unset))


class RowTable:
    """A table of a file that holds records of one type."""

    def __init__(self, shape: TableShape, dialect: Dialect, utf8: bool = True) -> None:
        """Raises `NoRecord` if the table lacks the columns that make its records."""
        self.shape = shape
        self._utf8 = utf8
        self.dialect = dialect
        self.type = TYPES[shape.name.lower()]
        self.columns = tuple(column.name for column in shape.stored)
        self._place = {name: place for place, name in enumerate(self.columns)}
        self.id_column = _first(shape, _OWN_ID.get(self.type.name, ()))
        self.column_of = {
            field.name: column
            for field in self.type.fields
            if (column := _first(shape, tuple(name.lower() for name in field.columns)))
        }
        needed = {*self.type.parents, *(() if self.id_column else self.type.identity or ("id",))}
        if not needed <= self.column_of.keys():
            raise NoRecord(f"{shape.name} has other columns")
        self.key = (self.id_column,) if self.id_column else self._identity_columns()
        self.keyed = bool(self.id_column or not self.type.own_id) and any(
            set(index) <= set(self.key) for index in shape.unique
        )
        """Whether SQLite itself refuses a second row for a record."""
        self.any_order = self.keyed and all(set(index) <= set(self.key) for index in shape.unique)
        """Whether no row can take another's place, nor shows in the order in which rows were written."""
        if self.type.name == "segments":
            self.any_order &= {"sort_order", "created_at"} <= self.column_of.keys()
        self._vector = self._place_of("embedding_vector") if self.type.name == "segments" else None
        known = {self.id_column, *self.column_of.values()}
        self.unknown = tuple(
            (place, name)
            for place, name in enumerate(self.columns)
            if name not in known and name.lower() not in (_SEAL, "embedding_vector")
        )
        derived, self._prefix = _DERIVED_IDS.get(self.type.name, ("", ""))
        self._derived = self._place_of(derived)
        self._metadata_is_fields = (
            self.type.name == "segments"
            and dialect in (Dialect.S2, Dialect.S2X)
            and "fields" not in self.column_of
            and "metadata" in self.column_of
        )
        self._readers = [
            (field.name, column, self._place[column], self._reader(field))
            for field in self.type.fields
            if (column := self.column_of.get(field.name))
        ]
        self._field_at = {place: name for name, _, place, _ in self._readers}
        self._writers = [self._writer(column) for column in shape.stored]
        self.blank = empty_record(self.type.name)
        self._objects = tuple(f.name for f in self.type.fields if f.kind is Kind.OBJECT)

    def _identity_columns(self) -> tuple[str, ...]:
        return tuple(self.column_of[name] for name in self.type.identity)

    def _place_of(self, name: str) -> int | None:
        column = self.shape.column(name) if name else None
        return None if column is None else self._place[column]

    # A row as a record

    def key_cells(self, row: Sequence[Cell]) -> Key:
        return tuple(row[self._place[name]] for name in self.key)

    def id_of_key(self, key: Sequence[Cell]) -> str:
        """The id of the record whose row has this key. Raises `NoRecord`."""
        parts = []
        for cell in key[: len(self.key)]:
            part, reason = (cell, "") if cell.__class__ is str and 0 < len(cell) < 1024 else read_id(cell)
            if part is None:
                raise NoRecord(reason)
            parts.append(str(part))
        return parts[0] if self.id_column else compose_id(parts)

    def known_id(self, key: Sequence[Cell]) -> str | None:
        """The id of the record whose row has this key; None where it can have none."""
        try:
            return self.id_of_key(key)
        except NoRecord:
            return None

    def read(self, row: Sequence[Cell], like: Record | None = None) -> Record:
        """The record that a row is. `like`: the agreed record, which tells what a shared column holds."""
        record = dict(self.blank)
        for name in self._objects:
            record[name] = {}
        originals: dict[str, Any] = {}
        for name, column, place, read in self._readers:
            record[name], original = read(row[place])
            if original is not SAME:
                originals[column] = original
        if self.id_column and (cell := row[self._place[self.id_column]]).__class__ is not str:
            originals[self.id_column] = original_of(cell)
        for name in self.type.parents:
            parent, _ = read_id(row[self._place[self.column_of[name]]])
            record[name] = parent if parent is not None else record[name]
        if self._metadata_is_fields and record["metadata"]:
            self._share_metadata(record, like)
        if self._vector is not None and (cell := row[self._vector]) is not None:
            known, exact = is_vector(cell)
            if not (known and exact):
                originals[self.columns[self._vector]] = original_of(cell)
        if record.get("context_type") == "embedding" and self.type.name == "segment_related_context":
            column = self.column_of.get("data", "")
            if column and isinstance(row[self._place[column]], bytes):
                record["data"] = None  # the bytes are in `originals`: as text they would say nothing
        extra: dict[str, Any] = {}
        for place, name in self.unknown:
            cell = row[place]
            if cell is None or (place == self._derived and cell == self._derived_id(record)):
                continue
            extra[name if name != "originals" else "column:originals"] = original_of(cell)
        if originals:
            extra["originals"] = originals
        if extra:
            record["extra"] = extra
        return record

    def _reader(self, field: Field) -> Callable[[Cell], Read]:
        if field.kind is Kind.TIME:
            return partial(read_time, sqlite_default=self.dialect is Dialect.S1)
        return _READERS[field.kind]

    def _share_metadata(self, record: Record, like: Record | None) -> None:
        """Tell apart what LogoMesh puts into one column: a segment's fields and its metadata."""
        held = record["metadata"]
        if like and like["fields"]:
            if isinstance(held.get("fields"), dict) and "fields" not in like["metadata"]:
                record["fields"] = held["fields"]
                record["metadata"] = {name: value for name, value in held.items() if name != "fields"}
            elif not like["metadata"]:
                record["fields"], record["metadata"] = held, {}
            else:
                record["fields"] = like["fields"]
            return
        if like and like["metadata"]:
            return
        if self.dialect is Dialect.S2X:
            written = (record["created_at"], record["updated_at"])
            if not all(time and time < _FIELDS_END for time in written):
                return
        record["fields"], record["metadata"] = held, {}

    def _derived_id(self, record: Record) -> str:
        first, second = self.type.identity
        return f"{self._prefix}{record[first]}_{record[second]}"

    # A record as a row

    def write(self, id_: str, record: Record) -> list[Cell]:
        """The cells of the row, in the order of `columns`."""
        return [write(id_, record) for write in self._writers]

    def _writer(self, column: Any) -> Callable[[str, Record], Cell]:
        name = column.name
        if name == self.id_column:
            return self._write_id(name)
        field = next((f for f in self.type.fields if self.column_of.get(f.name) == name), None)
        if field is None:
            return self._write_unknown(name, column.required)
        kept = self._kept(name, field)
        if self._metadata_is_fields and field.name == "metadata":
            return lambda _, record: _first_cell(kept(record), self._shared_metadata, record)
        if field.kind is Kind.OBJECT:
            return lambda _, record: (
                _first_cell(kept(record), _json_of, record[field.name])
                if "extra" in record
                else _json_of(record[field.name])
            )
        if field.kind is Kind.TIME:
            return partial(_write_time, field.name, column.required, self.dialect is Dialect.S1)
        if field.kind is Kind.NUMBER and any(word in column.declared.upper() for word in _TEXT_AFFINITY):
            return lambda _, record: _first_cell(kept(record), _number_text, record[field.name])
        needed = self._needed(field, column.required)
        name = field.name
        return lambda _, record: (
            _first_plain(record, name, kept, needed)
            if "extra" in record or record[name] is None
            else record[name]
        )

    def _needed(self, field: Field, required: bool) -> Cell:
        if not required and (self.type.name, field.name) not in _ALWAYS_TEXT:
            return None
        return 0 if field.kind is Kind.NUMBER else ""

    def _kept(self, column: str, field: Field) -> Callable[[Record], Any]:
        """What the file had there when the record was made, where the app can read it."""

        def kept(record: Record) -> Any:
            if (extra := record.get("extra")) is None or not isinstance(extra.get("originals"), dict):
                return NO_CELL
            originals = extra["originals"]
            if field.name == "sort_order":
                return NO_CELL  # our value says what the file's rowids said
            for name in field.columns:
                if name in originals:
                    if field.kind is Kind.OBJECT and originals[name] is not None:
                        return NO_CELL  # the app's reader dies of what is no JSON
                    return self._cell_of(originals[name])
            return NO_CELL

        return kept

    def _cell_of(self, original: Any) -> Cell | NoCell:
        """The cell that an original describes, as far as this file can hold it."""
        cell = cell_of_original(original)
        return str(cell) if isinstance(cell, RawText) and not self._utf8 else cell

    def _write_id(self, column: str) -> Callable[[str, Record], Cell]:
        def write(id_: str, record: Record) -> Cell:
            if "extra" not in record:
                return id_
            originals = record["extra"].get("originals")
            if isinstance(originals, dict) and column in originals:
                cell = self._cell_of(originals[column])
                if cell is not NO_CELL and read_id(cell)[0] == id_:  # type: ignore[arg-type]
                    return cell  # type: ignore[return-value]
            return id_

        return write

    def _write_unknown(self, column: str, required: bool) -> Callable[[str, Record], Cell]:
        derived = self._derived is not None and self.columns[self._derived] == column
        key = column if column != "originals" else "column:originals"
        needed = "" if required else None
        sealed = column.lower() in (_SEAL, "embedding_vector")

        def write(id_: str, record: Record) -> Cell:
            extra = record.get("extra")
            if extra and key in extra and not sealed:
                cell = self._cell_of(extra[key])
                if cell is not NO_CELL and cell is not None:
                    return cell  # type: ignore[return-value]
            if sealed and extra and isinstance(extra.get("originals"), dict):
                cell = self._cell_of(extra["originals"].get(column))
                return None if cell is NO_CELL else cell  # type: ignore[return-value]
            return self._derived_id(record) if derived else needed

        return write

    def _shared_metadata(self, record: Record) -> str:
        fields, metadata = record["fields"], record["metadata"]
        if not fields:
            return _json_of(metadata)
        if not metadata:
            times = (record["created_at"], record["updated_at"])
            if self.dialect is Dialect.S2 or all(time and time < _FIELDS_END for time in times):
                return _json_of(fields)
        return _json_of({**metadata, "fields": fields})

    # What a person changed

    def edits(self, id_: str, agreed: Record, row: Sequence[Cell], aliases: Mapping[str, Cell]) -> Patch:
        """What the row says that the agreed record does not. `aliases`: cells that we wrote otherwise."""
        ours = self.as_written(id_, agreed, aliases)
        changed = self.changed_places(agreed, ours, row)
        if not changed:
            return Patch({}, [])
        now = self.read([row[n] if n in changed else ours[n] for n in range(len(ours))], agreed)
        then = self.read(ours, agreed)
        return self._difference(then, now, agreed, {self.columns[n] for n in changed})

    def as_written(self, id_: str, record: Record, aliases: Mapping[str, Cell]) -> list[Cell]:
        cells = self.write(id_, record)
        for column, cell in aliases.items():
            if column in self._place:
                cells[self._place[column]] = cell
        return cells

    def still_aliased(
        self, id_: str, before: Record, after: Record, aliases: Mapping[str, Cell]
    ) -> dict[str, Cell] | None:
        """The aliases of those columns for which both records say the same."""
        old, new = self.write(id_, before), self.write(id_, after)
        kept = {
            name: cell for name, cell in aliases.items() if old[self._place[name]] == new[self._place[name]]
        }
        return kept or None

    def changed_places(self, agreed: Record, ours: Sequence[Cell], row: Sequence[Cell]) -> set[int]:
        """The columns of a row that are not as agreed: neither what we write nor what was there at first."""
        changed = {n for n, (mine, there) in enumerate(zip(ours, row, strict=True)) if not same(mine, there)}
        if changed and (originals := agreed.get("extra", {}).get("originals")):
            changed -= {
                n
                for n in changed
                if isinstance(originals, dict)
                and self.columns[n] in originals
                and same(self._cell_of(originals[self.columns[n]]), row[n])
            }
        changed -= {n for n in changed if row[n] is None and not self._says(agreed, n)}
        for n in (self._vector, self._place_of(_SEAL)):
            if n is not None and not (n == self._vector and row[n] is not None and not is_vector(row[n])[1]):
                changed.discard(n)
        return changed

    def _says(self, agreed: Record, n: int) -> bool:
        """Whether the agreed record has anything for a column."""
        if n in self._field_at:
            return agreed.get(self._field_at[n]) is not None
        key = self.columns[n]
        return (key if key != "originals" else "column:originals") in agreed.get("extra", {})

    def _difference(self, then: Record, now: Record, agreed: Record, columns: set[str]) -> Patch:
        to_set: dict[str, Any] = {}
        unset: list[str] = []
        touched: set[str] = set()
        for field in self.type.fields:
            before, after = then[field.name], now[field.name]
            if _same_json(before, after):
                continue
            touched.update(field.columns)
            if field.kind is not Kind.OBJECT:
                to_set[field.name] = after
                continue
            changed = {k: v for k, v in after.items() if k not in before or not _same_json(before[k], v)}
            if changed:
                to_set[field.name] = changed
            unset += [f"{field.name}.{key}" for key in before if key not in after]
        extra: dict[str, Any] = {}
        before, after = then.get("extra", {}), now.get("extra", {})
        for key in (before.keys() | after.keys()) - {"originals"}:
            if key not in after:
                unset.append(f"extra.{key}")
            elif key not in before or not _same_json(before[key], after[key]):
                extra[key] = after[key]
        had = agreed.get("extra", {}).get("originals", {})
        if isinstance(had, dict):
            found = now.get("extra", {}).get("originals", {})
            wanted = {c: v for c, v in had.items() if c not in columns}
            wanted |= {column: found[column] for column in columns if column in found}
            if not _same_json(wanted, {c: v for c, v in had.items() if c not in touched}):
                if wanted:
                    extra["originals"] = wanted
                else:
                    unset.append("extra.originals")
        if extra:
            to_set["extra"] = extra
        return Patch(to_set, unset)


def creation(record: Record) -> Patch:
    """The patch that makes a record out of nothing."""
    return Patch({name: value for name, value in record.items() if value is not None and value != {}}, [])


def patched(type_: str, record: Record | None, to_set: Mapping[str, Any], unset: Sequence[str]) -> Record:
    """The record after a push that the server took just as it was."""
    now = empty_record(type_) if record is None else dict(record)
    known = TYPES[type_].by_name
    for name, value in to_set.items():
        if isinstance(value, dict):
            now[name] = {**now.get(name, {}), **value}
        else:
            now[name] = value
    for path in unset:
        if path in known:
            now[path] = {} if known[path].kind is Kind.OBJECT else None
            continue
        name, _, key = path.partition(".")
        now[name] = {k: v for k, v in now.get(name, {}).items() if k != key}
    if not now.get("extra", True):
        del now["extra"]
    return now


def row_tables(schema: Schema, dialect: Dialect) -> dict[str, RowTable]:
    """Type -> table, for the tables of the file that hold records; parents first."""
    found = {}
    for name in TYPES:
        if name in schema.tables and TYPES[name].hashed:
            try:
                found[name] = RowTable(schema.tables[name], dialect, schema.utf8)
            except NoRecord:
                continue
    return found


def same(mine: Any, there: Any) -> bool:
    """Whether two cells hold the same: 1 and 1.0 do, "1" and 1 do not."""
    if mine is NO_CELL:
        return False
    return bool(mine == there)


def _first(shape: TableShape, names: tuple[str, ...]) -> str | None:
    return next((column for name in names if (column := shape.column(name))), None)


def _first_cell(kept: Any, otherwise: Callable[[Any], Cell], value: Any) -> Cell:
    return otherwise(value) if kept is NO_CELL else kept


def _first_plain(record: Record, name: str, kept: Callable[[Record], Any], needed: Cell) -> Cell:
    if (cell := kept(record)) is not NO_CELL:
        return cell  # type: ignore[no-any-return]
    value: Cell = record[name]
    return needed if value is None else value


def _write_time(name: str, required: bool, sqlite_form: bool, _: str, record: Record) -> Cell:
    value: str | None = record[name]
    if value is None:
        return None if name == "expires_at" and not required else NO_TIME
    if sqlite_form and value.endswith(".000000Z"):
        return f"{value[:10]} {value[11:19]}"
    return f"{value[:23]}Z" if value.endswith("000Z") else value


def _number_text(value: Any) -> Cell:
    return None if value is None else str(value)


def _json_of(value: Mapping[str, Any]) -> str:
    return orjson.dumps(value).decode() if value else "{}"


def _same_json(a: Any, b: Any) -> bool:
    """JSON equality: unlike in Python, true is not 1."""
    if a is b or a.__class__ is str:
        return bool(a == b)
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same_json(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same_json, a, b))
    return bool(a == b)


_READERS: Final[Mapping[Kind, Callable[[Cell], Read]]] = {
    Kind.TEXT: read_text,
    Kind.NUMBER: read_number,
    Kind.OBJECT: read_object,
    Kind.BYTES: read_vector,
}
_ALWAYS_TEXT: Final = frozenset(
    {
        ("thoughts", "title"),
        ("segments", "title"),
        ("tags", "name"),
        ("segment_fields", "name"),
        ("segment_related_context", "context_type"),
        ("segment_llm_history", "prompt"),
        ("segment_llm_history", "llm_model"),
    }
)
"""LogoMesh's readers expect a text there."""

__all__ = ["Key", "NoRecord", "Patch", "RowTable", "creation", "patched", "quoted", "row_tables", "same"]
