"""A row read by the client is the record that a migration of the same file makes, and goes back as it was."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from logomesh_client.file import Dialect, NotLogoMesh, recognise
from logomesh_client.file.cells import RawText, text_of
from logomesh_client.file.dialects import dialect_of, read_schema
from logomesh_client.file.rows import NoRecord, RowTable, creation, patched, row_tables
from migration.dialects import recognise as recognised_by_server
from migration.mapping import read_alone
from migration.sandbox.opening import open_file
from migration.sandbox.opening import read_schema as schema_of_server
from migration.sandbox.rows import Reader
from tests.logomesh_files import SCHEMAS, LogoMeshFile, full

DIALECTS = tuple(SCHEMAS)
_USUAL = ("2025-06-01T10:00:00.000Z", "2025-09-20T10:00:00.123Z", "2025-07-10T23:59:59Z")
_ODD = (
    None, "", "yesterday", "2025-06-01 10:00:00", "1717236000000", 1717236000000, 1717236000.5, "2025-06-01",
    "2025-06-01T10:00:00+02:00", b"2025", "before\x00after", '{"a":1}', '{ "b" : [1, 2.0] }', '{"a":1,"a":2}',
    '{"x":1e400}', "[1,2]", "null", "{", '{"fields":{"a":"b"}}', '{"n":12345678901234567890}', "0.5", 7, -0.0,
    float("inf"), 1e308, b"\xff\xfe", 2**60, "ünï 😀", RawText(b"caf\xe9"),
)  # fmt: skip


def tables_of(path: Path) -> dict[str, RowTable]:
    db = sqlite3.connect(path)
    try:
        schema = read_schema(db)
        return row_tables(schema, dialect_of(schema))
    finally:
        db.close()


def rows_of(path: Path, table: RowTable) -> list[list[Any]]:
    db = sqlite3.connect(path)
    db.text_factory = text_of
    names = ", ".join(f'"{name}"' for name in table.columns)
    try:
        return [list(row) for row in db.execute(f"SELECT {names} FROM {table.shape.name} ORDER BY rowid")]
    finally:
        db.close()


def as_the_server_reads(path: Path, name: str) -> list[Any]:
    """The record of each row of a table by the rules of a migration, each row for itself; None: no record."""
    db = open_file(path)
    schema = schema_of_server(db)
    reader = Reader(db, schema, recognised_by_server(schema).dialect)
    source = reader.sources[name]
    found = []
    for position, cells in reader._cells(source, "TRUE"):
        try:
            found.append(read_alone(source, position, cells))
        except AssertionError:
            found.append(None)
    db.close()
    return found


def check(path: Path) -> int:
    """Compare all rows of a file. Returns how many there were."""
    compared = 0
    for name, table in tables_of(path).items():
        theirs = as_the_server_reads(path, name)
        rows = rows_of(path, table)
        assert len(theirs) == len(rows)
        for row, record in zip(rows, theirs, strict=True):
            try:
                id_ = table.id_of_key(table.key_cells(row))
            except NoRecord:
                assert record is None
                continue
            if record is None:
                continue
            mine = table.read(row)
            assert mine == record, (name, row)
            compared += 1
            assert not table.edits(id_, mine, row, {}), "the row says nothing new about its own record"
            written = table.write(id_, mine)
            assert not table.edits(id_, mine, written, {}), "what we write says nothing new"
            made = creation(mine)
            assert patched(table.type.name, None, made.set, made.unset) == mine
    return compared


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_file_of_each_dialect(dialect: str, tmp_path: Path) -> None:
    path = full(tmp_path / "full.sqlite3", dialect)
    assert recognise(path).value == dialect
    assert check(path) > 15


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=12, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_whatever_stands_in_the_cells(dialect: str, tmp_path_factory: Any, seed: int) -> None:
    path = tmp_path_factory.mktemp("rows") / "odd.sqlite3"
    rng = Random(seed)
    file = LogoMeshFile(path, dialect)
    file.db.execute("COMMIT")
    file.db.executescript("PRAGMA synchronous = OFF; BEGIN")
    for name, table in tables_of(path).items():
        for number in range(6):
            cells = {}
            for column in table.shape.stored:
                if column.name in table.key:
                    cells[column.name] = f"{name} {number}"
                else:
                    cell = rng.choice(_USUAL) if rng.random() < 0.3 else rng.choice(_ODD)
                    cells[column.name] = "" if cell is None and column.required else cell
            if name == "tags":
                cells[table.column_of["name"]] = f"tag {number}"
            if name in ("thought_tags", "segment_tags") and dialect == "S3":
                cells[table.columns[0]] = f"link {number}"
            marks = ", ".join("CAST(? AS TEXT)" if isinstance(c, RawText) else "?" for c in cells.values())
            file.db.execute(
                f"INSERT INTO {name} ({', '.join(cells)}) VALUES ({marks})",
                [c.data if isinstance(c, RawText) else c for c in cells.values()],
            )
    file.close()
    check(path)


def test_an_edit_says_only_what_changed(tmp_path: Path) -> None:
    path = full(tmp_path / "full.sqlite3", "S2x")
    table = tables_of(path)["thoughts"]
    row = rows_of(path, table)[0]
    agreed = table.read(row)
    agreed["fields"] = {"kept": 1, "old": 2}
    agreed["extra"] = {"originals": {"metadata": None}, "mood": "calm"}  # the dialect cannot hold `mood`
    cells = table.write("t0", agreed)
    place = {name: number for number, name in enumerate(table.columns)}
    cells[place["title"]] = "Another"
    cells[place["fields"]] = '{"kept": 1, "new": [true]}'
    patch = table.edits("t0", agreed, cells, {})
    assert patch.set == {"title": "Another", "fields": {"new": [True]}}
    assert patch.unset == ["fields.old"]
    cells[place["metadata"]] = '{"a":1}'
    patch = table.edits("t0", agreed, cells, {})
    assert patch.set == {"title": "Another", "fields": {"new": [True]}, "metadata": {"a": 1}}


@pytest.mark.parametrize("dialect", ["S2", "S2x"])
def test_fields_stay_fields_in_the_column_they_share_with_metadata(dialect: str, tmp_path: Path) -> None:
    path = full(tmp_path / "full.sqlite3", dialect)
    table = tables_of(path)["segments"]
    place = {name: number for number, name in enumerate(table.columns)}
    for fields, metadata in (({"a": "b"}, {}), ({"a": "b"}, {"m": 1}), ({}, {"m": 1})):
        agreed = {**table.read(rows_of(path, table)[0]), "fields": fields, "metadata": metadata}
        agreed.pop("extra", None)
        cells = table.write("s", agreed)
        cells[place["updated_at"]] = "2025-10-20T10:00:00.000Z"
        assert table.edits("s", agreed, cells, {}).set == {"updated_at": "2025-10-20T10:00:00.000000Z"}


def test_other_files_are_not_recognised(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite3"
    for ddl, kind in (
        ("", "empty"),
        ("CREATE TABLE migrations (id)", "ledger-only"),
        ("CREATE TABLE battles (id)", "foreign"),
        ("CREATE TABLE thoughts (a)", "unknown-dialect"),
    ):
        path.unlink(missing_ok=True)
        db = sqlite3.connect(path)
        db.executescript(ddl or "VACUUM")
        db.close()
        with pytest.raises(NotLogoMesh) as refused:
            recognise(path)
        assert refused.value.kind == kind
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(NotLogoMesh):
        recognise(path)
    assert Dialect("S4") is Dialect.S4
