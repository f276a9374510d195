"""A space as LogoMesh's own SQLite file, in its last schema (S2x), read back before it is handed out."""

from __future__ import annotations

import sqlite3
from base64 import b64decode
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import apsw

from migration.cells import Cell, RawText
from migration.dialects import recognise
from migration.export.reading import Chosen, hashes, kept_beside, one_moment, records, some
from migration.export.rows import COLUMNS, addable, added_cells, cells_of
from migration.mapping import read_alone
from migration.sandbox.frames import BEFORE_ALL
from migration.sandbox.opening import open_file, quoted, read_schema
from migration.sandbox.rows import Reader
from migration.sealing import SEAL, seal
from sync.core.records import key_of
from sync.core.sheets import hashes as hashes_of

_SCHEMA: Final = (Path(__file__).parent / "s2x.sql").read_text()
_TABLES, _INDEXES = _SCHEMA.split("-- indexes\n")
_BATCH: Final = 2_000
_BATCH_BYTES: Final = 4 * 1024**2
_LARGEST_ROW: Final = 1_000_000_000
_FEW: Final = 20
"""Records that are held at a time: each may be large."""
_VECTORS: Final = "embedding_vector"
_EMBEDDINGS: Final = f"""CREATE TABLE embeddings (owner_type TEXT NOT NULL, owner_id TEXT NOT NULL,
    model TEXT NOT NULL, dimensions INTEGER, {_VECTORS} BLOB, PRIMARY KEY (owner_id, model))"""


def write_sqlite(chosen: Chosen, path: Path) -> None:
    """Write the file (`path` must not exist). What its rows cannot say stands in seals beside them."""
    with one_moment():
        db = sqlite3.connect(path, isolation_level=None)
        try:
            _write(db, chosen)
        finally:
            db.close()
        seals = path.with_name(f"{path.name}.seals")
        try:
            if _read_back(chosen, path, seals):
                _put_seals(path, seals)
        finally:
            seals.unlink(missing_ok=True)


def _write(db: sqlite3.Connection, chosen: Chosen) -> None:
    for setting in ("page_size = 4096", "journal_mode = OFF", "synchronous = OFF", "cache_size = -32000"):
        db.execute(f"PRAGMA {setting}")
    db.executescript(_TABLES)
    db.execute("BEGIN")
    for type_ in COLUMNS:
        added = addable(kept_beside(chosen, type_), type_)
        for column in added:
            db.execute(f"ALTER TABLE {type_} ADD COLUMN {quoted(column)}")
        for id_, record in records(chosen, type_):
            _insert(
                db,
                type_,
                cells_of(type_, id_, record) | dict(zip(added, added_cells(record, added), strict=True)),
            )
    _write_vectors(db, chosen)
    db.execute("COMMIT")
    db.executescript(_INDEXES)
    db.execute("PRAGMA journal_mode = DELETE")


def _insert(db: sqlite3.Connection, type_: str, row: dict[str, Cell]) -> None:
    marks = ", ".join("CAST(? AS TEXT)" if isinstance(cell, RawText) else "?" for cell in row.values())
    names = ", ".join(map(quoted, row))
    values = [cell.data if isinstance(cell, RawText) else cell for cell in row.values()]
    statement = f"INSERT INTO {type_} ({names}) VALUES ({marks})"
    try:
        db.execute(statement, values)
    except sqlite3.IntegrityError:
        if type_ != "tags":
            raise
        _insert(db, type_, row | {"name": _free_name(db, str(row["name"]))})


def _free_name(db: sqlite3.Connection, name: str) -> str:
    """LogoMesh has each tag name once: a second one gets a number, and a seal says what it is."""
    number = 2
    while db.execute("SELECT 1 FROM tags WHERE name = ?", (f"{name} ({number})",)).fetchone():
        number += 1
    return f"{name} ({number})"


def _write_vectors(db: sqlite3.Connection, chosen: Chosen) -> None:
    """Embeddings that no context row carries: with the segment, as S1 has them, or in a table of our own."""
    with_segments = in_table = False
    for _, record in records(chosen, "embeddings"):
        data = b64decode(record["vector"] or "")
        if (record["owner_type"], record["model"]) == ("segments", "unknown"):
            if not with_segments:
                db.execute(f"ALTER TABLE segments ADD COLUMN {_VECTORS} BLOB")
                with_segments = True
            owner = record["owner_id"]
            db.execute(f"UPDATE segments SET {_VECTORS} = ? WHERE segment_id = ?", (data, owner))
            continue
        if not in_table:
            db.execute(_EMBEDDINGS)
            in_table = True
        names = ("owner_type", "owner_id", "model", "dimensions")
        values = [*(record[name] for name in names), data]
        db.execute("INSERT INTO embeddings VALUES (?, ?, ?, ?, ?)", values)


def _read_back(chosen: Chosen, path: Path, seals: Path) -> bool:
    """Read the file as an import would, and note a seal for each row that gives another record."""
    source = open_file(path)
    source.limit(apsw.SQLITE_LIMIT_LENGTH, _LARGEST_ROW)  # the file is ours: no row is too large
    schema = read_schema(source)
    reader = Reader(source, schema, recognise(schema).dialect)
    reader.keep_places(list(reader.find_places()))
    notes = sqlite3.connect(seals, isolation_level=None)
    try:
        for setting in ("journal_mode = OFF", "synchronous = OFF"):
            notes.execute(f"PRAGMA {setting}")
        notes.execute(
            "CREATE TABLE seals (type TEXT, position INTEGER, seal TEXT, PRIMARY KEY (type, position))"
        )
        notes.execute("BEGIN")
        for type_ in COLUMNS:
            notes.executemany("INSERT INTO seals VALUES (?, ?, ?)", _seals(chosen, type_, reader))
        notes.execute("COMMIT")
        found: int = notes.execute("SELECT count(*) FROM seals").fetchone()[0]
        return found > 0
    finally:
        notes.close()
        source.close()


def _wrong(chosen: Chosen, type_: str, reader: Reader) -> Iterator[tuple[int, str]]:
    """(position, id) of each row that would not give the record that it stands for.

    A link out of the scope is no record.
    """
    for batch in reader.batches(reader.sources[type_], BEFORE_ALL, _BATCH, _BATCH_BYTES):
        for positions, sheet in batch.sheets():
            there = hashes(chosen.space_id, type_, sheet.ids)
            for position, id_, read in zip(positions, sheet.ids, hashes_of(sheet), strict=True):
                hash_ = int.from_bytes(read, signed=True)
                if there.get(key_of(type_, id_), hash_) != hash_:
                    yield position, id_


def _seals(chosen: Chosen, type_: str, reader: Reader) -> Iterator[tuple[str, int, str]]:
    wrong = _wrong(chosen, type_, reader)
    source = reader.sources[type_]
    while few := {id_: position for position, id_ in islice(wrong, _FEW)}:
        for id_, record in some(chosen.space_id, type_, list(few)).items():
            read = read_alone(source, few[id_], reader.cells(source, few[id_]))
            yield type_, few[id_], seal(type_, id_, read, record)


def _put_seals(path: Path, seals: Path) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("ATTACH ? AS notes", (str(seals),))
        types = [type_ for (type_,) in db.execute("SELECT DISTINCT type FROM notes.seals")]
        db.execute("BEGIN")
        for type_ in types:
            db.execute(f"ALTER TABLE main.{type_} ADD COLUMN {SEAL} TEXT")
            db.execute(
                f"UPDATE main.{type_} AS t SET {SEAL} = s.seal FROM notes.seals AS s"
                " WHERE s.type = ? AND s.position = t.rowid",
                (type_,),
            )
        db.execute("COMMIT")
    finally:
        db.close()
