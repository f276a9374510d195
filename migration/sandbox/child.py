"""The child process: the only place that opens somebody else's file.

    python -m migration.sandbox.child < request

It limits itself before it touches the file, and answers in frames on standard output.
"""

from __future__ import annotations

import gc
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from struct import Struct
from typing import Any

import apsw
import msgspec
import orjson

from migration.cells import Cell, described
from migration.dialects import NotLogoMesh, Schema, Table, recognise
from migration.mapping import COUNTED, SetAside, Source
from migration.sandbox.choosing import Remainder, offered
from migration.sandbox.documents import Document, convert, looks_like_json, read_document
from migration.sandbox.frames import (
    BEFORE_ALL,
    UNKNOWN_TABLE,
    Aside,
    Chunk,
    Described,
    Finished,
    Found,
    Frame,
    Listed,
    Refused,
    Request,
    Surveyed,
    write_frame,
)
from migration.sandbox.limits import LONGEST_CELL, confine
from migration.sandbox.opening import open_file, quoted, read_schema
from migration.sandbox.rows import Batch, Odd, Reader
from migration.sandbox.salvaging import salvage
from migration.sandbox.surveying import Survey
from sync.core.records import Record
from sync.core.sheets import Sheet, hashes, key_digests, sheet_of
from sync.packing import pack

Form = Callable[[Sheet], list[bytes]]
"""What becomes of records: rows of COPY, or only keys and hashes."""

_PLACE = Struct("<qd")
_PLACES = "places"
_ALL_PLAIN = "all-plain"
"""What the survey leaves behind for the children that copy and verify."""
CONVERTED = "converted.sqlite3"
_HARMLESS = ("NULL value in ", "CHECK constraint failed", "TEXT value in ", "NUMERIC value in ")
"""What `quick_check` says of values that the file's own rules forbid: they are still rows."""


def main() -> None:
    gc.disable()  # a child makes no cycles and ends soon
    request = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Request)
    path, scratch = Path(request.path), Path(request.scratch)
    os.environ["SQLITE_TMPDIR"] = request.scratch
    size = path.stat().st_size * (4 if looks_like_json(path) else 1)  # it becomes tables first
    confine(size, 2 * size + 64 * 1024**2)
    out = sys.stdout.buffer
    try:
        for frame in _ACTS[request.act](path, scratch, request):
            write_frame(out, frame)
    except NotLogoMesh as refusal:
        write_frame(out, Refused(refusal.kind, refusal.found, refusal.advice))
    except (apsw.Error, MemoryError, UnicodeDecodeError) as error:
        write_frame(out, _damaged(error))
    write_frame(out, Finished())
    out.flush()


def _inspect(path: Path, scratch: Path, request: Request) -> Iterator[Frame]:
    """Say what the file is, then survey it: chunks without records."""
    (scratch / CONVERTED).unlink(missing_ok=True)
    document = _converted(path, scratch) if looks_like_json(path) else None
    db = open_file(_readable(path, scratch))
    db.execute("PRAGMA ignore_check_constraints = ON")
    schema = read_schema(db)
    recognised = recognise(schema)
    damage = _damage(db, schema)
    reader = Reader(db, schema, recognised.dialect)
    if request.salvage and not document:
        damage = damage or ["SQLite finds nothing wrong until it reads the rows"]
    elif damage:
        yield Found(
            recognised.dialect.value, list(recognised.because), schema.encoding, {}, {}, {}, damage, 0
        )
        return
    if request.salvage and not document:
        salvage(reader, schema, scratch / CONVERTED)
        db = open_file(scratch / CONVERTED)
        reader = Reader(db, sound := read_schema(db), recognise(sound).dialect)
    replaced = 0
    with (scratch / _PLACES).open("wb") as file:
        for position, sort_order in reader.find_places():
            file.write(_PLACE.pack(position, sort_order))
            replaced += 1
    tables = {name: reader.count(name) for name in reader.sources}
    unknown = {source.table.name: reader.count(name) for name, source in reader.unknown.items()}
    yield Found(
        document.format if document else recognised.dialect.value,
        document.because if document else list(recognised.because),
        schema.encoding, tables | unknown, unknown, document.unread if document else dict(schema.unread),
        damage, replaced, offered(reader),
    )  # fmt: skip
    _recall_places(reader, scratch)
    yield from _chunks(reader, request, None)
    (scratch / _ALL_PLAIN).write_bytes(orjson.dumps(sorted(reader.sources.keys() - reader.with_odd)))


def _readable(path: Path, scratch: Path) -> Path:
    """The file itself, or what was made of a document or a damaged file when it was inspected."""
    converted = scratch / CONVERTED
    return converted if converted.exists() else path


def _damage(db: apsw.Connection, schema: Schema) -> list[str]:
    """What SQLite finds wrong with the file, without what can only be found by executing it."""
    try:
        found = db.execute("PRAGMA main.quick_check(20)").fetchall()
    except apsw.CorruptError as error:
        return [str(error)]
    except (apsw.AuthError, apsw.TooBigError):  # a virtual table, or an expression that computes something
        found = [row for table in schema.tables.values() for row in _checked(db, table)]
    messages = [str(message) for (message,) in found if message != "ok"]
    return [message for message in messages if not message.startswith(_HARMLESS)][:20]


def _checked(db: apsw.Connection, table: Table) -> list[tuple[Any, ...]]:
    try:
        return db.execute(f"PRAGMA main.quick_check({quoted(table.name)})").fetchall()
    except (apsw.AuthError, apsw.TooBigError):
        return []  # its rows are read all the same, and what cannot be read is told then


def _converted(path: Path, scratch: Path) -> Document:
    document = read_document(path)
    convert(document, scratch / CONVERTED)
    return document


def _records(path: Path, scratch: Path, request: Request) -> Iterator[Frame]:
    reader = _reader(path, scratch)
    reader.recovered, reader.missing_tags = request.recovered, request.missing_tags
    reader.new_ids = request.new_ids
    if request.filters:
        reader.left = Remainder(reader, request.filters).has
    yield from _chunks(reader, request, pack if request.act == "pack" else _keys_and_hashes)


def _rows(path: Path, scratch: Path, request: Request) -> Iterator[Frame]:
    reader = _reader(path, scratch)
    source = reader.sources.get(request.table) or reader.unknown[request.table.lower()]
    for position in request.positions:
        yield Described(position, _exact(reader.cells(source, position)))


_ACTS: dict[str, Callable[[Path, Path, Request], Iterator[Frame]]] = {
    "inspect": _inspect,
    "pack": _records,
    "hash": _records,
    "rows": _rows,
}


def _reader(path: Path, scratch: Path) -> Reader:
    db = open_file(_readable(path, scratch))
    schema = read_schema(db)
    reader = Reader(db, schema, recognise(schema).dialect)
    _recall_places(reader, scratch)
    if (seen := scratch / _ALL_PLAIN).exists():
        reader.all_plain.update(orjson.loads(seen.read_bytes()))
    return reader


def _recall_places(reader: Reader, scratch: Path) -> None:
    data = (scratch / _PLACES).read_bytes()
    reader.keep_places((position, order) for position, order in _PLACE.iter_unpack(data))


def _keys_and_hashes(sheet: Sheet) -> list[bytes]:
    keys = key_digests(sheet.type, sheet.ids)
    return [key[:16] + hash_ for key, hash_ in zip(keys, hashes(sheet), strict=True)]


def _chunks(reader: Reader, request: Request, form: Form | None) -> Iterator[Chunk | Surveyed]:
    """The rows of all tables, and without a form what a survey tells of each."""
    tables = {**reader.sources, **{source.table.name: source for source in reader.unknown.values()}}
    names = list(tables)
    start = names.index(request.table) if request.table else 0
    for name in names[start:]:
        after = request.after if name == request.table else BEFORE_ALL
        if name in reader.sources:
            yield from _table_chunks(reader, tables[name], after, request, form)
        else:
            yield from _unknown_chunks(reader, tables[name], after, request, form)


def _table_chunks(
    reader: Reader, source: Source, after: int, request: Request, form: Form | None
) -> Iterator[Chunk | Surveyed]:
    survey = Survey(source)
    for batch in reader.batches(source, after, request.chunk_rows, request.chunk_bytes):
        draft = _Draft(batch.rows, batch.left, batch.size)
        draft.note(batch.plain.noted)
        for position, odd in batch.odd:
            draft.take(position, odd)
        if form is not None:
            draft.form(batch, form)
        else:
            survey.add(batch)
        yield draft.chunk(source.name, batch.last)
    if form is None:
        yield survey.found()


def _unknown_chunks(
    reader: Reader, source: Source, after: int, request: Request, form: Form | None
) -> Iterator[Chunk | Surveyed]:
    """The rows of a table that LogoMesh does not know: all of them are kept as they are."""
    survey = Survey(source, is_known=False)
    draft = _Draft()
    position = 0
    for position, cells in reader.rows_as_they_are(source, after):
        draft.rows += 1
        if form is None:
            survey.add_rows((cells,))
        draft.keep(Aside(position, UNKNOWN_TABLE, "", _exact(cells)))
        if draft.rows >= request.chunk_rows or draft.kept >= request.chunk_bytes:
            yield draft.chunk(source.table.name, position)
            draft = _Draft()
    if draft.rows:
        yield draft.chunk(source.table.name, position)
    if form is None:
        yield survey.found()


class _Draft:
    """A chunk in the making."""

    def __init__(self, rows: int = 0, left: int = 0, read: int = 0) -> None:
        self.rows = rows
        self.left = left
        self.read = read
        self.kept = 0
        """Bytes of the rows set aside."""
        self.records: list[bytes] = []
        self.positions: list[int] = []
        self.embeddings: list[bytes] = []
        self.aside: list[Aside] = []
        self.listed: list[Listed] = []
        self.counted: Counter[str] = Counter()
        self.made: dict[str, list[bytes]] = {}
        self._vectors: list[tuple[str, Record]] = []
        self._made: dict[str, dict[str, Record]] = {}

    def keep(self, row: Aside) -> None:
        self.aside.append(row)
        self.kept += len(row.columns)

    def note(self, deviations: Mapping[tuple[str, str], int]) -> None:
        for (kind, column), count in deviations.items():
            self.counted[f"{kind}/{column}"] += count

    def take(self, position: int, odd: Odd) -> None:
        outcome = odd.outcome
        if isinstance(outcome, SetAside):
            self.keep(Aside(position, outcome.reason, outcome.missing, _exact(odd.cells)))
            return
        if outcome.embedding:
            self._vectors.append(outcome.embedding)
        for made in outcome.made:
            self._made.setdefault(made.type, {})[made.id] = made.record
        for deviation in outcome.deviations:
            if deviation.kind in COUNTED:
                self.counted[f"{deviation.kind}/{deviation.column}"] += 1
            else:
                self.listed.append(Listed(position, outcome.id, deviation.column, deviation.kind))

    def form(self, batch: Batch, form: Form) -> None:
        """Give all records of a batch the form that was asked for."""
        for positions, sheet in batch.sheets():
            self.records += form(sheet)
            self.positions += positions
        if self._vectors:
            self.embeddings = form(sheet_of("embeddings", self._vectors))
        self.made = {name: form(sheet_of(name, list(made.items()))) for name, made in self._made.items()}

    def chunk(self, name: str, last: int) -> Chunk:
        return Chunk(
            name, last, self.rows, self.records, self.positions, self.embeddings, self.aside, self.listed,
            dict(self.counted), self.left, self.made, self.read,
        )  # fmt: skip


def _exact(cells: Mapping[str, Cell]) -> bytes:
    return orjson.dumps({name: described(cell) for name, cell in cells.items()})


def _damaged(error: Exception) -> Refused:
    if isinstance(error, apsw.TooBigError | apsw.NoMemError | MemoryError):
        return Refused(
            "too-big",
            f"A single value or row of this file is larger than {LONGEST_CELL // 1024**2} MB.",
            "LogoMesh writes none of that size; if the value matters, take it out of the file and keep it.",
        )
    if isinstance(error, UnicodeDecodeError):
        error = ValueError("a name in its schema is no text")
    return Refused(
        "damaged",
        f"The file is damaged: SQLite cannot read all of it ({error}).",
        "Use a backup, or recover the file with the command `sqlite3 FILE .recover`.",
    )


if __name__ == "__main__":
    main()
