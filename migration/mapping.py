"""From a row of a LogoMesh table to a record, or to the reason why it cannot be one. Pure.

`source_of` says once per table which column is which field; `map_row` turns one row.
Rules: nothing is dropped, nothing is invented, every deviation is named.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from migration.cells import (
    SAME,
    Cell,
    Read,
    original_of,
    read_id,
    read_number,
    read_object,
    read_text,
    read_time,
    read_vector,
)
from migration.dialects import Dialect, Schema, Table
from migration.embeddings import Vector, recognise_vector
from migration.sealing import SEAL, opened
from sync.core.records import Record, compose_id, empty_record
from sync.core.schema import RECORD_TYPES, Field, Kind, RecordType

ORDER: Final = (
    "thoughts",
    "segments",
    "tags",
    "thought_tags",
    "segment_tags",
    "segment_fields",
    "segment_neighbors",
    "segment_related_context",
    "segment_llm_history",
    "embeddings",
)
"""The tables that become records, parents first."""

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
_FIELDS_END: Final = "2025-07-11"
"""Until then LogoMesh stored a segment's fields in its column `metadata`."""

COUNTED: Final = frozenset(
    {
        "json-null",
        "time-without-milliseconds",
        "time-as-sqlite-writes-it",
        "fields-from-metadata",
        "embedding",
        "derived-id",
        "sealed",
        "unknown-column",
    }
)
"""Deviations that lose nothing and are counted, not listed row by row."""


@dataclass(frozen=True)
class Source:
    """A table of the file and what its columns become."""

    table: Table
    type: RecordType
    dialect: Dialect
    id_column: str | None
    """None: the id is composed of the identity fields."""
    fields: tuple[tuple[Field, str], ...]
    """Field -> column, as the file spells it."""
    vector_column: str | None
    seal_column: str | None
    """Holds what an export of ours could not write otherwise."""
    unknown: tuple[str, ...]
    metadata_is_fields: bool
    """Whether `metadata` may really hold `fields` (segments without a column for them)."""

    @property
    def name(self) -> str:
        return self.table.name.lower()

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.table.stored)

    def column_of(self, field_name: str) -> str | None:
        return next((column for field, column in self.fields if field.name == field_name), None)


def sources(schema: Schema, dialect: Dialect) -> tuple[Source, ...]:
    """The tables of a recognised file that become records, parents first."""
    found = (source_of(schema.tables[name], dialect) for name in ORDER if name in schema.tables)
    return tuple(source for source in found if source is not None)


def source_of(table: Table, dialect: Dialect) -> Source | None:
    """What becomes of a table; None if it lacks the columns that would make its records."""
    type_ = RECORD_TYPES[table.name.lower()]
    id_column = _first(table, _OWN_ID.get(type_.name, ()))
    fields = tuple(
        (field, column)
        for field in type_.fields
        if (column := _first(table, tuple(name.lower() for name in field.columns)))
    )
    names = {field.name for field, _ in fields}
    needed = {*type_.parents, *(() if id_column else type_.identity or ("id",))}
    if type_.opt_in:
        needed = {field.name for field in type_.fields}
    if not needed <= names:
        return None
    vector_column = _first(table, ("embedding_vector",)) if type_.name == "segments" else None
    seal_column = _first(table, (SEAL,))
    known = {id_column, vector_column, seal_column, *(column for _, column in fields)}
    return Source(
        table,
        type_,
        dialect,
        id_column,
        fields,
        vector_column,
        seal_column,
        tuple(column.name for column in table.stored if column.name not in known),
        type_.name == "segments" and dialect in (Dialect.S2, Dialect.S2X) and "fields" not in names,
    )


def unknown_source(table: Table, dialect: Dialect) -> Source:
    """A table of which no row becomes a record."""
    columns = tuple(column.name for column in table.stored)
    return Source(table, RecordType(table.name, ()), dialect, None, (), None, None, columns, False)


def _first(table: Table, names: tuple[str, ...]) -> str | None:
    return next((column for name in names if (column := table.column(name))), None)


class World(Protocol):
    """What a row must know of the rest of its file."""

    def lives(self, type_: str, id_: str) -> bool:
        """Whether the file has a record of this type and id that is taken itself."""
        ...

    def is_first(self, source: Source, id_: str, position: int) -> bool:
        """Whether this row is the first of its table with this id."""
        ...

    def is_first_vector(self, segment_id: str, position: int) -> bool:
        """Whether this context row is the first embedding of its segment."""
        ...

    def sort_order(self, position: int) -> int | float | None:
        """The `sort_order` that keeps a segment's place where only rowids decided it; else None."""
        ...

    def new_id(self, source: Source, position: int) -> str | None:
        """The id for a row whose own cannot be used, if rows are to be given ids."""
        ...

    def renamed(self, type_: str, cell: Cell) -> str | None:
        """The new id of the row whose own id this cell spells, if it was given one and is taken."""
        ...

    def instead(self, source: Source, parent: str, id_: str | None) -> Made | None:
        """The record that is made in place of a parent that the file does not have, if one is to be."""
        ...


@dataclass(frozen=True, slots=True)
class Made:
    """A record that no row of the file stands for: what rows hang on instead of what is missing."""

    type: str
    id: str
    record: Record


@dataclass(frozen=True, slots=True)
class Deviation:
    """Something that is not as the file had it, or not where."""

    kind: str
    column: str


@dataclass(frozen=True, slots=True)
class Taken:
    """A row that becomes a record, perhaps with an embedding beside it."""

    id: str
    record: Record
    deviations: tuple[Deviation, ...]
    embedding: tuple[str, Record] | None = None
    made: tuple[Made, ...] = ()


@dataclass(frozen=True, slots=True)
class SetAside:
    """A row that cannot be a record. It is kept as it is."""

    reason: str
    missing: str = ""
    """The id of what it hangs on and the file does not have."""


_READERS: Final[Mapping[Kind, Callable[[Cell], Read]]] = {
    Kind.TEXT: read_text,
    Kind.NUMBER: read_number,
    Kind.OBJECT: read_object,
    Kind.BYTES: read_vector,
}


@dataclass(slots=True)
class _Draft:
    record: Record = field(default_factory=dict)
    originals: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    deviations: list[Deviation] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)

    def put(self, name: str, column: str, read: Read) -> None:
        self.record[name] = read.value
        if read.original is not SAME:
            self.originals[column] = read.original
        if read.deviation:
            self.note(read.deviation, column)

    def note(self, kind: str, column: str) -> None:
        self.deviations.append(Deviation(kind, column))

    def whole(self) -> Record:
        """The record with what is kept beside its fields."""
        extra = self.extra | ({"originals": self.originals} if self.originals else {})
        return self.record | ({"extra": extra} if extra else {})


def map_row(source: Source, position: int, row: Mapping[str, Cell], world: World) -> Taken | SetAside:
    """The record that a row becomes by the rules. `position`: rowid, or place in the table."""
    id_: str | None = None
    draft = _Draft()
    is_new = False
    if source.id_column:
        id_, reason = read_id(row[source.id_column])
        if id_ is None:
            id_, is_new = world.new_id(source, position), True
            if id_ is None:
                return SetAside(reason)
            draft.originals[source.id_column] = original_of(row[source.id_column])
            draft.note("new-id", source.id_column)
    for known in source.type.fields:
        draft.record[known.name] = {} if known.kind is Kind.OBJECT else None
    for known, column in source.fields:
        draft.put(known.name, column, _read(source, known, row[column]))
    if id_ is None:
        parts, reason = _identity(source, row, world)
        if parts is None:
            return SetAside(reason)
        id_ = compose_id(parts)
    elif source.id_column and not is_new and id_ != row[source.id_column]:
        draft.originals[source.id_column] = original_of(row[source.id_column])
        draft.note("number-in-text", source.id_column)
    if not is_new and not world.is_first(source, id_, position):
        return SetAside("duplicate-id")
    for name, parent in source.type.parents.items():
        column = source.column_of(name) or name
        parent_id, _ = read_id(row[column])
        if parent_id is None and (parent_id := world.renamed(parent, row[column])):
            draft.originals[column] = original_of(row[column])
            draft.note("new-id", column)
        elif parent_id is None or not world.lives(parent, parent_id):
            made = world.instead(source, parent, parent_id)
            if made is None:
                missing = str(read_text(row[column]).value or "")
                return SetAside(f"missing-{parent.removesuffix('s')}", missing)
            _hang_on(made, name, column, row[column], draft)
            parent_id = made.id
        draft.record[name] = parent_id
    embedding = None
    if source.name == "embeddings" and not world.lives(
        str(draft.record["owner_type"]), draft.record["owner_id"]
    ):
        return SetAside("missing-owner", draft.record["owner_id"])
    if source.name == "segments":
        if move_fields(source, draft.record):
            draft.note("fields-from-metadata", source.column_of("metadata") or "")
        embedding = _segment_embedding(source, id_, row, draft)
    elif source.name == "segment_related_context":
        embedding = _context_embedding(source, row, draft, world, position)
    _keep_unknown(source, row, draft)
    if source.seal_column:
        sealed = opened(source.name, id_, draft.whole(), row[source.seal_column])
        if sealed is not None:
            noted = (Deviation("sealed", source.seal_column),)
            return Taken(id_, sealed, noted, embedding, tuple(draft.made))
        _keep_cell(source.seal_column, row, draft)
    if source.name == "segments":
        _keep_order(source, position, draft, world)
    return Taken(id_, draft.whole(), tuple(draft.deviations), embedding, tuple(draft.made))


def recovered_thought(id_: str) -> Made:
    """The thought under which an import gathers segments whose own thought is missing."""
    record = empty_record("thoughts") | {"title": "Recovered items", "extra": {"recovered": True}}
    return Made("thoughts", id_, record)


def missing_tag(id_: str) -> Made:
    """A tag that links name and the file does not have: of its name nothing is left but the slug."""
    record = empty_record("tags") | {"name": id_.removeprefix("tag_") or id_, "extra": {"recovered": True}}
    return Made("tags", id_, record)


def _hang_on(made: Made, name: str, column: str, cell: Cell, draft: _Draft) -> None:
    """Let a row hang on what was made for it; what it named is kept."""
    draft.made.append(made)
    draft.note("orphan-recovered" if made.type == "thoughts" else "tag-created", column)
    if made.type == "thoughts":
        draft.originals[name] = original_of(cell)


class _Alone:
    """A world in which every row stands for itself."""

    def lives(self, type_: str, id_: str) -> bool:
        return True

    def is_first(self, source: Source, id_: str, position: int) -> bool:
        return True

    def is_first_vector(self, segment_id: str, position: int) -> bool:
        return False

    def sort_order(self, position: int) -> int | float | None:
        return None

    def new_id(self, source: Source, position: int) -> str | None:
        return None

    def renamed(self, type_: str, cell: Cell) -> str | None:
        return None

    def instead(self, source: Source, parent: str, id_: str | None) -> Made | None:
        return None


def read_alone(source: Source, position: int, row: Mapping[str, Cell]) -> Record:
    """What a sound row reads as by itself: what a seal vouches for."""
    outcome = map_row(source, position, row, _Alone())
    assert isinstance(outcome, Taken), "an export writes only rows that have an id"
    return outcome.record


def _read(source: Source, known: Field, cell: Cell) -> Read:
    if known.kind is Kind.TIME:
        return read_time(cell, source.dialect is Dialect.S1)
    return _READERS[known.kind](cell)


def _identity(source: Source, row: Mapping[str, Cell], world: World) -> tuple[list[str] | None, str]:
    parts = []
    for name in source.type.identity:
        part, reason = read_id(row[source.column_of(name) or name])
        parent = source.type.parents.get(name)
        if part is None and parent:
            part = world.renamed(parent, row[source.column_of(name) or name])
        if part is None:
            return None, f"missing-{parent.removesuffix('s')}" if parent else reason
        parts.append(part)
    return parts, ""


def move_fields(source: Source, record: Record) -> bool:
    """Put back into `fields` what LogoMesh stored in `metadata` before 2025-07-11."""
    if not source.metadata_is_fields or not record["metadata"]:
        return False
    if not are_fields(source, record["created_at"], record["updated_at"]):
        return False
    record["fields"], record["metadata"] = record["metadata"], {}
    return True


def are_fields(source: Source, created_at: str | None, updated_at: str | None) -> bool:
    """Whether the `metadata` of a segment of these times are really its `fields`.

    The adapters from that day on cannot add segments to a plain S2 file; in S2x the times tell.
    In doubt everything stays in `metadata`.
    """
    if source.dialect is not Dialect.S2X:
        return True
    return all(time and time < _FIELDS_END for time in (created_at, updated_at))


def _keep_order(source: Source, position: int, draft: _Draft, world: World) -> None:
    column = source.column_of("sort_order")
    place = world.sort_order(position)
    if place is None:
        return
    if column:
        draft.originals.setdefault(column, draft.record["sort_order"])
    draft.record["sort_order"] = place
    draft.note("order-kept", column or "sort_order")


def _segment_embedding(
    source: Source, id_: str, row: Mapping[str, Cell], draft: _Draft
) -> tuple[str, Record] | None:
    if source.vector_column is None or row[source.vector_column] is None:
        return None
    cell = row[source.vector_column]
    vector = recognise_vector(cell)
    if vector is None or not vector.exact:
        draft.originals[source.vector_column] = original_of(cell)
    draft.note("embedding" if vector else "opaque-embedding", source.vector_column)
    return _embedding(id_, vector) if vector else None


def _context_embedding(
    source: Source, row: Mapping[str, Cell], draft: _Draft, world: World, position: int
) -> tuple[str, Record] | None:
    column = source.column_of("data")
    if column is None or draft.record.get("context_type") != "embedding":
        return None
    cell = row[column]
    vector = recognise_vector(cell)
    if isinstance(cell, bytes):
        draft.deviations = [deviation for deviation in draft.deviations if deviation.column != column]
        draft.record["data"] = None  # the bytes are in `originals`: as text they would say nothing
        draft.note("embedding" if vector else "opaque-embedding", column)
    elif vector:
        draft.note("embedding", column)
    owner = draft.record["segment_id"]
    return _embedding(owner, vector) if vector and world.is_first_vector(owner, position) else None


def _embedding(owner: str, vector: Vector) -> tuple[str, Record]:
    record = {
        "owner_type": "segments",
        "owner_id": owner,
        "model": "unknown",
        "dimensions": vector.dimensions,
        "vector": b64encode(vector.data).decode("ascii"),
    }
    return compose_id([owner, "unknown"]), record


def _keep_unknown(source: Source, row: Mapping[str, Cell], draft: _Draft) -> None:
    derived, prefix = _DERIVED_IDS.get(source.name, ("", ""))
    for column in source.unknown:
        cell = row[column]
        if cell is None:
            continue
        if column.lower() == derived:
            first, second = source.type.identity
            if cell == f"{prefix}{draft.record[first]}_{draft.record[second]}":
                draft.note("derived-id", column)
                continue
        _keep_cell(column, row, draft)


def _keep_cell(column: str, row: Mapping[str, Cell], draft: _Draft) -> None:
    if row[column] is not None:
        draft.extra[column if column != "originals" else "column:originals"] = original_of(row[column])
        draft.note("unknown-column", column)
