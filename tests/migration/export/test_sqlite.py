"""A space as LogoMesh's own file: the very same space when it is imported again."""

from __future__ import annotations

import json
import sqlite3
import struct
from pathlib import Path
from typing import Any

import pytest

from migration.export.document import write_document
from migration.export.reading import Chosen
from migration.export.sqlite import write_sqlite
from sync.pull.scope import Scope
from tests.logomesh_files import LogoMeshFile, full
from tests.migration.export.odd_pushes import odd_pushes
from tests.migration.importing import differences, digest_of, migrate, records_of
from tests.sync.devices import Device, change, make_device, make_space

pytestmark = pytest.mark.django_db
DIALECTS = ("S1", "S2", "S2x", "S3", "S4")


def again(space: Any, path: Path) -> Any:
    """The space that an export of a space becomes; both must have the same digest."""
    write_sqlite(Chosen(space.pk), path)
    copy = make_space()
    migrate(make_device(copy).caller, copy.pk, path)
    assert differences(space.pk, copy.pk) == []
    assert digest_of(copy.pk) == digest_of(space.pk)
    return copy


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_came_from_a_file_survives_the_way_there_and_back(
    dialect: str, space: Any, laptop: Device, tmp_path: Path
) -> None:
    migrate(laptop.caller, space.pk, full(tmp_path / "file.sqlite3", dialect))
    again(space, tmp_path / "export.sqlite3")


def test_whatever_devices_pushed_survives(space: Any, laptop: Device, tmp_path: Path) -> None:
    results = laptop.push(*odd_pushes())
    assert {result["status"] for result in results} == {"applied"}, results
    again(space, tmp_path / "export.sqlite3")


def test_an_imported_space_that_was_edited_survives(space: Any, laptop: Device, tmp_path: Path) -> None:
    with LogoMeshFile(tmp_path / "file.sqlite3", "S2x") as file:
        file.thought("t", created_at="yesterday", fields="not json", position_x=float("inf"), title="a\0b")
        for n in range(3):
            file.segment(f"s{n}", "t", metadata=None, content=b"\xff\xfe")
    migrate(laptop.caller, space.pk, tmp_path / "file.sqlite3")
    laptop.pull()
    laptop.push(
        change("thoughts", "t", laptop.version("thoughts", "t"), set={"position_x": 2.5, "fields": {"a": 1}}),
        change("segments", "s1", laptop.version("segments", "s1"), set={"content": "ok"}),
    )
    again(space, tmp_path / "export.sqlite3")


def test_cells_that_nobody_edited_are_written_as_they_were(
    space: Any, laptop: Device, tmp_path: Path
) -> None:
    odd = {
        "created_at": "yesterday",
        "fields": ' {"a" : 1e400} ',
        "metadata": "",
        "title": "a\0b",
        "description": b"\xff",
    }
    with LogoMeshFile(tmp_path / "file.sqlite3", "S2x") as file:
        file.db.execute("ALTER TABLE thoughts ADD COLUMN mood")
        file.thought("t", mood=b"\x01\x02", **odd)
        for n in range(3):
            file.segment(f"s{n}", "t", metadata='{"Location":"Lab"}', created_at="2025-06-01T10:00:00.000Z",
                         updated_at="2025-06-01T10:00:00.000Z")  # fmt: skip
    migrate(laptop.caller, space.pk, tmp_path / "file.sqlite3")
    again(space, tmp_path / "export.sqlite3")

    def content(path: Path) -> list[Any]:
        db = sqlite3.connect(path)
        found = [
            db.execute(
                "SELECT thought_bubble_id, title, description, created_at, updated_at, color, position_x,"
                " fields, metadata, mood FROM thoughts"
            ).fetchall(),
            db.execute(
                "SELECT segment_id, content, sort_order, metadata, created_at FROM segments ORDER BY rowid"
            ).fetchall(),
        ]
        db.close()
        return found

    assert content(tmp_path / "export.sqlite3") == content(tmp_path / "file.sqlite3")


def test_a_row_edited_in_logomesh_counts_as_it_is_there(space: Any, laptop: Device, tmp_path: Path) -> None:
    laptop.push(change("thoughts", "t", set={"title": None, "created_at": "2025-09-20T10:00:00.123456Z"}))
    write_sqlite(Chosen(space.pk), tmp_path / "export.sqlite3")
    db = sqlite3.connect(tmp_path / "export.sqlite3")
    db.execute("UPDATE thoughts SET title = 'Now it has one'")
    db.commit()
    db.close()
    copy = make_space()
    migrate(make_device(copy).caller, copy.pk, tmp_path / "export.sqlite3")
    assert records_of(copy.pk, "thoughts")["t"]["title"] == "Now it has one"


def test_the_schema_is_logomeshs_own(space: Any, laptop: Device, tmp_path: Path) -> None:
    laptop.push(change("thoughts", "t", set={
        "title": "T", "created_at": "2025-09-20T10:00:00.123Z", "updated_at": "2025-09-20T10:00:00.123Z"
    }))  # fmt: skip
    write_sqlite(Chosen(space.pk), tmp_path / "export.sqlite3")
    data = (tmp_path / "export.sqlite3").read_bytes()
    assert data[18:20] == b"\x01\x01", "not in WAL mode"
    db = sqlite3.connect(tmp_path / "export.sqlite3")
    assert db.execute("PRAGMA user_version").fetchone() == (0,)
    assert db.execute("PRAGMA encoding").fetchone() == ("UTF-8",)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert len(db.execute("SELECT 1 FROM sqlite_master WHERE name LIKE 'idx_%'").fetchall()) == 11
    columns = [row[1] for row in db.execute("PRAGMA table_info(thoughts)")]
    assert columns == ["thought_bubble_id", "title", "description", "created_at", "updated_at", "color",
                       "position_x", "position_y", "metadata", "fields"]  # fmt: skip
    assert db.execute("SELECT created_at FROM thoughts").fetchone() == ("2025-09-20T10:00:00.123Z",)


# What LogoMesh's adapter asks of a file, and what it makes of the answers.
_THOUGHTS = """
    SELECT t.*, group_concat(DISTINCT g.name || '::' || g.color) AS tags FROM thoughts t
    LEFT JOIN thought_tags l ON t.thought_bubble_id = l.thought_bubble_id
    LEFT JOIN tags g ON l.tag_id = g.tag_id
    GROUP BY t.thought_bubble_id ORDER BY t.created_at DESC"""
_SEGMENTS = "SELECT * FROM segments WHERE thought_bubble_id = ? ORDER BY sort_order, created_at"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_logomesh_asks_of_its_file_is_answered(
    dialect: str, space: Any, laptop: Device, tmp_path: Path
) -> None:
    migrate(laptop.caller, space.pk, full(tmp_path / "file.sqlite3", dialect))
    write_sqlite(Chosen(space.pk), tmp_path / "export.sqlite3")
    db = sqlite3.connect(tmp_path / "export.sqlite3")
    db.row_factory = sqlite3.Row
    thoughts = db.execute(_THOUGHTS).fetchall()
    tags = {row["thought_bubble_id"]: row["tags"] for row in thoughts}
    assert set(tags) == {"t0", "t1", "t2", "t3", "t4"}
    if dialect != "S4":  # it has no tags
        names = {id_: tag["name"] for id_, tag in records_of(space.pk, "tags").items()}
        assert tags["t0"].split("::")[0] == names["tag_c"]
        assert tags["t1"].split("::")[0] == names["tag_память"]
    for thought in thoughts:
        assert isinstance(thought["title"], str)
        assert isinstance(thought["created_at"], str)
        segments = db.execute(_SEGMENTS, (thought["thought_bubble_id"],)).fetchall()
        number = thought["thought_bubble_id"][1:]
        assert [row["content"] for row in segments] == [f"Content {number}.{n}" for n in range(3)]
        for row in (thought, *segments):
            for column in ("metadata", "fields"):  # each is parsed where there is something in it
                if column in row.keys() and row[column]:  # noqa: SIM118 (a Row has only keys())
                    assert isinstance(json.loads(row[column]), dict)
    # It writes as it does into its own.
    now = "2025-10-01T10:00:00.000Z"
    db.execute(
        "INSERT OR IGNORE INTO tags (tag_id, name, color, created_at) VALUES ('tag_n', 'n', '#fff', ?)",
        (now,),
    )
    db.execute(
        "INSERT OR IGNORE INTO thought_tags (tag_id, thought_bubble_id, created_at)"
        " VALUES ('tag_n', 't0', ?)",
        (now,),
    )
    db.execute("UPDATE thoughts SET title = 'New', fields = '{}' WHERE thought_bubble_id = 't0'")
    db.execute("DELETE FROM thoughts WHERE thought_bubble_id = 't4'")
    db.commit()
    db.close()


def test_a_scope_chooses_thoughts_and_what_hangs_on_them(space: Any, laptop: Device, tmp_path: Path) -> None:
    migrate(laptop.caller, space.pk, full(tmp_path / "file.sqlite3", "S2x"))
    write_sqlite(Chosen(space.pk, Scope(tags=("tag_c",))), tmp_path / "export.sqlite3")
    db = sqlite3.connect(tmp_path / "export.sqlite3")
    assert db.execute("SELECT thought_bubble_id FROM thoughts").fetchall() == [("t0",)]
    assert db.execute("SELECT count(*) FROM segments").fetchone() == (3,)


def test_embeddings_go_back_into_the_file(space: Any, laptop: Device, tmp_path: Path) -> None:
    vector = struct.pack("<4f", 0.5, -0.25, 1.0, 0.125)
    with LogoMeshFile(tmp_path / "file.sqlite3", "S1") as file:
        file.thought("t")
        file.segment("s", "t", embedding_vector=vector)
    migrate(laptop.caller, space.pk, tmp_path / "file.sqlite3")
    copy = again(space, tmp_path / "export.sqlite3")
    db = sqlite3.connect(tmp_path / "export.sqlite3")
    assert db.execute("SELECT embedding_vector FROM segments").fetchone() == (vector,)
    assert (
        records_of(copy.pk, "embeddings").keys() == records_of(space.pk, "embeddings").keys() == {"s/unknown"}
    )


def test_embeddings_of_any_model_survive(space: Any, laptop: Device, tmp_path: Path) -> None:
    laptop.push(change("thoughts", "t", set={"title": "T"}), change("segments", "s", set={"thought_id": "t"}))
    vector = {"dimensions": 2, "vector": "AACAPwAAAEA="}
    laptop.push(
        change("embeddings", "t/nomic", set={"owner_type": "thoughts", **vector}),
        change("embeddings", "s/unknown", set={"owner_type": "segments", **vector}),
    )
    for write, name in ((write_sqlite, "export.sqlite3"), (write_document, "export.json")):
        write(Chosen(space.pk), tmp_path / name)
        copy = make_space()
        migrate(make_device(copy).caller, copy.pk, tmp_path / name)
        found = records_of(copy.pk, "embeddings")
        assert {id_: each["vector"] for id_, each in found.items()} == {
            "t/nomic": vector["vector"], "s/unknown": vector["vector"]
        }  # fmt: skip
