"""Whatever the app does to its file, just the rows that are not as agreed any more become changes."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from logomesh_client.file import LogoMeshFile, SpaceLink
from logomesh_client.file.capture import triggers
from logomesh_client.file.rows import patched
from logomesh_client.records import compose_id
from tests.logomesh_files import NEW, SCHEMAS
from tests.logomesh_files import LogoMeshFile as NewFile

SPACE = "00000000-0000-7000-8000-000000000001"
_IDS = ("a", "b", "c/d", "é")
_VERBS = ("INSERT", "INSERT OR REPLACE", "INSERT OR IGNORE", "INSERT OR FAIL", "INSERT OR ROLLBACK")


class Agreed:
    """A server of a few lines: it takes every change as it is."""

    def __init__(self, file: LogoMeshFile) -> None:
        self.file, self.version = file, 0
        self.records: dict[tuple[str, str], dict[str, Any]] = {}
        file.advance(SPACE, cursor="c", epoch="e", head=0, more=False)

    def take_all(self) -> list[dict[str, Any]]:
        """Take what the file has to send. Returns the changes."""
        sent = []
        while (push := self.file.pending(SPACE)) is not None:
            self.version += 1
            results = []
            for change in push.changes:
                ref = (change["type"], change["id"])
                if change.get("delete"):
                    self.records.pop(ref, None)
                else:
                    self.records[ref] = patched(
                        ref[0], self.records.get(ref), change["set"], change.get("unset", [])
                    )
                results.append(
                    {"change_id": change["change_id"], "status": "applied", "version": self.version}
                )
            self.file.answered(SPACE, push, results)
            sent += push.changes
        self.file.advance(SPACE, cursor="c", epoch="e", head=self.version, more=False)
        return sent


def attached(path: Path, dialect: str = "S2x") -> tuple[LogoMeshFile, sqlite3.Connection, Agreed]:
    NewFile(path, dialect).close()
    file = LogoMeshFile.open(path)
    file.attach(SpaceLink(SPACE, "http://localhost"))
    app = sqlite3.connect(path, isolation_level=None)
    app.execute("PRAGMA synchronous = OFF")
    file._store.db.execute("PRAGMA synchronous = OFF")
    return file, app, Agreed(file)


def visible(app: sqlite3.Connection) -> dict[tuple[str, str], tuple[Any, ...]]:
    """The rows that hang on something that is there: what a server should have."""
    thoughts = {row[0]: row for row in app.execute("SELECT thought_bubble_id, title, color FROM thoughts")}
    tags = {row[0]: row for row in app.execute("SELECT tag_id, name, color FROM tags")}
    found: dict[tuple[str, str], tuple[Any, ...]] = {
        ("thoughts", id_): row[1:] for id_, row in thoughts.items()
    }
    found |= {("tags", id_): row[1:] for id_, row in tags.items()}
    for segment, thought, content in app.execute(
        "SELECT segment_id, thought_bubble_id, content FROM segments"
    ):
        if thought in thoughts:
            found["segments", segment] = (thought, content)
    for thought, tag in app.execute("SELECT thought_bubble_id, tag_id FROM thought_tags"):
        if thought in thoughts and tag in tags:
            found["thought_tags", compose_id([thought, tag])] = (thought, tag)
    return found


def agreed(records: dict[tuple[str, str], dict[str, Any]]) -> dict[tuple[str, str], tuple[Any, ...]]:
    names = {
        "thoughts": ("title", "color"),
        "tags": ("name", "color"),
        "segments": ("thought_id", "content"),
        "thought_tags": ("thought_id", "tag_id"),
    }
    return {ref: tuple(record[name] for name in names[ref[0]]) for ref, record in records.items()}


def act(rng: Random, app: sqlite3.Connection) -> None:
    """One write, of a kind that LogoMesh or a person with a SQL shell makes."""
    verb, one, other, text = (
        rng.choice(_VERBS), rng.choice(_IDS), rng.choice(_IDS), f"text {rng.randrange(9)}",
    )  # fmt: skip
    writes = (
        (f"{verb} INTO thoughts (thought_bubble_id, title, color, created_at, updated_at)"
         " VALUES (?, ?, 'red', ?, ?)", (one, text, NEW, NEW)),
        (f"{verb} INTO segments (segment_id, thought_bubble_id, title, content, created_at, updated_at)"
         " VALUES (?, ?, '', ?, ?, ?)", (one, other, text, NEW, NEW)),
        (f"{verb} INTO tags (tag_id, name, created_at) VALUES (?, ?, ?)", (one, rng.choice("xyz"), NEW)),
        (f"{verb} INTO thought_tags VALUES (?, ?, ?)", (one, other, NEW)),
        ("UPDATE thoughts SET title = ? WHERE thought_bubble_id = ?", (text, one)),
        ("UPDATE OR REPLACE thoughts SET thought_bubble_id = ? WHERE thought_bubble_id = ?", (one, other)),
        ("UPDATE OR REPLACE tags SET name = ? WHERE tag_id = ?", (rng.choice("xyz"), one)),
        ("UPDATE segments SET thought_bubble_id = ? WHERE segment_id = ?", (one, other)),
        ("UPDATE segments SET content = content || ?", (text,)),
        ("DELETE FROM thoughts WHERE thought_bubble_id = ?", (one,)),
        ("DELETE FROM segments WHERE segment_id = ?", (one,)),
        ("DELETE FROM thought_tags WHERE thought_bubble_id = ?", (one,)),
        ("DELETE FROM tags WHERE tag_id = ?", (one,)),
        ("INSERT INTO tags (tag_id, name, created_at) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET color = 'b'",
         (one, rng.choice("xyz"), NEW)),
    )  # fmt: skip
    query, values = rng.choice(writes)
    with suppress(sqlite3.IntegrityError):
        app.execute(query, values)


@settings(max_examples=10, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_random_writes_become_just_the_right_changes(seed: int, tmp_path_factory: Any) -> None:
    rng = Random(seed)
    file, app, server = attached(tmp_path_factory.mktemp("capture") / "app.sqlite3")
    for _ in range(12):
        in_transaction = rng.random() < 0.3
        if in_transaction:
            app.execute("BEGIN")
        for _ in range(rng.randrange(8)):
            act(rng, app)
        if in_transaction and app.in_transaction:
            app.execute(rng.choice(("COMMIT", "COMMIT", "ROLLBACK")))
        before = agreed(server.records)
        sent = server.take_all()
        # What hangs on something that was deleted goes with it, as on the real server.
        for ref, record in list(server.records.items()):
            parents = [("thoughts", record.get("thought_id")), ("tags", record.get("tag_id"))]
            if any(id_ is not None and (type_, id_) not in server.records for type_, id_ in parents):
                del server.records[ref]
                file.apply(
                    SPACE, [{"type": ref[0], "id": ref[1], "version": server.version, "deleted": True}]
                )
        server.take_all()
        now = visible(app)
        waiting = {(one.type, one.id) for one in file.waiting()}  # hung on what is not there
        there = {ref: row for ref, row in agreed(server.records).items() if ref not in waiting}
        assert there == {ref: row for ref, row in now.items() if ref not in waiting}, seed
        assert all(ref[0] in ("segments", "thought_tags") for ref in waiting)
        for change in sent:
            assert change.get("delete") or change["set"] or change.get("unset"), "nothing is sent for nothing"
        assert len(sent) <= 2 * len({*before, *now}) + 20
        assert not server.take_all()
    assert len(file.links()) == 1
    app.close()
    file.close()


@pytest.mark.parametrize("dialect", tuple(SCHEMAS))
def test_a_mark_is_found_by_its_key(dialect: str, tmp_path: Path) -> None:
    """Else every write would read all marks: a thousand of them, and the app crawls."""
    file, app, _ = attached(tmp_path / "app.sqlite3", dialect)
    for sql in triggers(file._store.tables).values():
        for part in sql.split("EXISTS (")[1:]:
            query = part.partition(");")[0].partition(" AND d.a")[0]
            assert query.startswith("SELECT 1 FROM logomesh_sync_dirty AS d WHERE d.kind = ")
    table = "thoughts"
    key = file._store.tables[table].key[0]
    plan = app.execute(
        f"EXPLAIN QUERY PLAN SELECT 1 FROM {table} AS NEW WHERE NOT EXISTS (SELECT 1 FROM logomesh_sync_dirty"
        f" AS d WHERE d.kind = 1 AND d.a = +NEW.{key} AND d.b = '' AND d.c = '')"
    ).fetchall()
    assert any("kind=? AND a=? AND b=? AND c=?" in str(row[3]) for row in plan), plan
    app.close()
    file.close()


def test_the_apps_answers_stay_the_same(tmp_path: Path) -> None:
    file, app, _ = attached(tmp_path / "app.sqlite3")
    values = ("t1", "x", NEW, NEW)
    done = app.execute(
        "INSERT INTO thoughts (thought_bubble_id, title, created_at, updated_at) VALUES (?, ?, ?, ?)", values
    )
    assert (done.rowcount, done.lastrowid) == (1, 1)
    assert app.execute("UPDATE thoughts SET title = 'y'").rowcount == 1
    assert app.execute("SELECT changes()").fetchone() == (1,)
    assert app.execute("DELETE FROM thoughts").rowcount == 1
    assert app.execute("SELECT count(*) FROM logomesh_sync_dirty").fetchone() == (1,)
    app.close()
    file.close()


def test_moves_alone_can_wait(tmp_path: Path) -> None:
    file, app, server = attached(tmp_path / "app.sqlite3")
    app.execute(
        "INSERT INTO thoughts (thought_bubble_id, title, created_at, updated_at) VALUES ('t', 'x', ?, ?)",
        (NEW, NEW),
    )
    server.take_all()
    before = app.execute("PRAGMA data_version").fetchone()
    app.execute("UPDATE thoughts SET position_x = 5, updated_at = '2025-10-20T10:00:00.000Z'")
    assert file.pending(SPACE, layout=False) is None
    assert app.execute("PRAGMA data_version").fetchone() == before, "looking writes nothing"
    (change,) = server.take_all()
    assert change["set"] == {"position_x": 5.0, "updated_at": "2025-10-20T10:00:00.000000Z"}
    app.close()
    file.close()


def test_a_row_without_a_key_is_let_be(tmp_path: Path) -> None:
    file, app, server = attached(tmp_path / "app.sqlite3")
    app.execute(
        "INSERT INTO thoughts (thought_bubble_id, title, created_at, updated_at) VALUES (NULL, 'x', ?, ?)",
        (NEW, NEW),
    )
    app.execute(
        "INSERT INTO thoughts (thought_bubble_id, title, created_at, updated_at) VALUES ('', 'x', ?, ?)",
        (NEW, NEW),
    )
    assert server.take_all() == []
    assert [(one.reason, one.refused) for one in file.waiting()] == [("no-id", False)]
    app.close()
    file.close()
