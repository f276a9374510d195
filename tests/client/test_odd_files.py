"""Files that are not as LogoMesh makes them, or do not stay so: keys, encodings, schemas, backups."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from logomesh_client.file import NotAttached, SpaceLink
from logomesh_client.file.store import Pace, Store
from logomesh_client.sync import Agent
from logomesh_client.wire.errors import Unreachable
from tests.client.steps import in_step
from tests.logomesh_files import SCHEMAS

if TYPE_CHECKING:
    from tests.client.lab import Laptop
    from tests.people import People

Make = Callable[..., "Laptop"]
_AT = "2025-09-20T10:00:00.000Z"
_NO_UTF8 = "CAST(x'74ff31' AS TEXT)"


# Keys that are none


def test_ids_that_are_no_utf8_stop_nobody(laptop: Make) -> None:
    a, b = laptop(), laptop()
    a.thought("t1")
    a.sql(f"INSERT INTO thoughts (thought_bubble_id, title, created_at, updated_at)"
          f" VALUES ({_NO_UTF8}, 'odd', ?, ?)", _AT, _AT)  # fmt: skip
    a.sql(f"INSERT INTO thought_tags VALUES ('t1', {_NO_UTF8}, ?)", _AT)
    a.synced()
    assert {(one.type, one.reason) for one in a.file.waiting()} == {
        ("thoughts", "id-is-not-utf8"),
        ("thought_tags", "id-is-not-utf8"),
    }
    a.file.rescue()
    a.sql("UPDATE thoughts SET title = 'odd still'")
    a.sql("DELETE FROM thought_tags")
    in_step(a, b)
    assert b.sql("SELECT title FROM thoughts") == [("odd still",)]


@pytest.mark.parametrize("odd", ["NULL", "''", "x'0102'", _NO_UTF8])
def test_rows_without_a_usable_id_hang_on_a_thought_that_goes(odd: str, laptop: Make, people: People) -> None:
    from tests.client.lab import ADDRESS, SpaceLink
    from workspaces import actions

    a, b = laptop(people.eva), laptop(people.ben, "none")
    a.tag("tag_a")
    a.thought("t1")
    a.link("t1", "tag_a")
    a.synced()
    b.file.detach()
    b.file.attach(SpaceLink(a.space, ADDRESS, scope={"tag": ["tag_a"]}))
    b.spaces = [a.space]
    b.synced()
    b.sql(f"INSERT INTO segments (segment_id, thought_bubble_id, title, created_at, updated_at)"
          f" VALUES ({odd}, 't1', 'odd', ?, ?)", _AT, _AT)  # fmt: skip
    a.sql("DELETE FROM thought_tags")
    a.synced()
    b.synced()
    assert b.sql("SELECT count(*) FROM thoughts") == [(0,)]
    assert b.sql("SELECT title FROM segments") == [("odd",)]
    b.sql("UPDATE segments SET title = 'odd still'")
    actions.unshare_with_person(people.space.pk, people.ben.email, by=people.eva.person)
    monkey = b.file.pending
    b.file.pending = lambda *args: None  # type: ignore[method-assign]
    assert b.sync().state.value == "access-lost"
    b.file.pending = monkey  # type: ignore[method-assign]


# Schemas that change


def test_a_table_that_was_made_anew_is_looked_at_as_a_whole(laptop: Make) -> None:
    a, b = laptop(), laptop()
    for number in range(4):
        a.thought(f"t{number}")
    in_step(a, b)
    for sql in (
        "BEGIN",
        "CREATE TABLE new AS SELECT * FROM thoughts WHERE thought_bubble_id <> 't0'",
        "DROP TABLE thoughts",
        next(sql for sql in SCHEMAS["S2"].split(";") if "TABLE thoughts" in sql),
        "ALTER TABLE thoughts ADD COLUMN fields TEXT",
        "INSERT INTO thoughts SELECT * FROM new",
        "DROP TABLE new",
        "COMMIT",
    ):
        a.sql(sql)
    a.sql("UPDATE thoughts SET title = 'Edited' WHERE thought_bubble_id = 't1'")
    records = in_step(a, b)
    assert records["thoughts", "t1"]["title"] == "Edited"
    a.sql("UPDATE thoughts SET title = 'Noted' WHERE thought_bubble_id = 't2'")
    in_step(a, b)
    assert b.sql("SELECT title FROM thoughts ORDER BY thought_bubble_id")[1:3] == [("Edited",), ("Noted",)]
    assert a.sql("SELECT count(*) FROM thoughts") == b.sql("SELECT count(*) FROM thoughts")
    a.sql("DELETE FROM thoughts WHERE thought_bubble_id = 't3'")
    in_step(a, b)
    assert ("t3",) not in b.sql("SELECT thought_bubble_id FROM thoughts")


def test_tables_that_are_made_later_get_what_their_records_say(laptop: Make) -> None:
    a, b = laptop(dialect="S2x"), laptop()
    for table in ("tags", "thought_tags"):
        a.sql(f"DROP TABLE {table}")
    b.thought("t1")
    b.tag("tag_c", "Memory", color="red")
    b.link("t1", "tag_c")
    in_step(a, b)
    for table in ("TABLE tags", "TABLE thought_tags"):
        a.sql(next(sql for sql in SCHEMAS["S2"].split(";") if table in sql))
    in_step(a, b)
    assert a.sql("SELECT name, color FROM tags") == [("Memory", "red")]
    assert a.sql("SELECT tag_id FROM thought_tags") == [("tag_c",)]


def test_a_column_added_with_a_default_is_no_edit(laptop: Make) -> None:
    a, b = laptop(dialect="S2"), laptop()
    b.thought("t1")
    b.segment("s1", "t1", local_priority=0.9, abstraction_level="Idea")
    b.segment("s2", "t1")
    in_step(a, b)
    a.sql("ALTER TABLE segments ADD COLUMN local_priority REAL DEFAULT 0.5")
    a.sql("ALTER TABLE segments ADD COLUMN abstraction_level TEXT NOT NULL DEFAULT 'Fact'")
    a.sql("UPDATE segments SET content = 'Edited.'")
    records = in_step(a, b)
    assert records["segments", "s1"]["local_priority"] == 0.9
    assert records["segments", "s1"]["abstraction_level"] == "Idea"
    assert records["segments", "s2"]["local_priority"] is None
    assert a.sql("SELECT local_priority, abstraction_level FROM segments WHERE segment_id = 's1'") == [
        (0.9, "Idea")
    ]


def test_a_column_of_somebodys_own_that_is_emptied(laptop: Make) -> None:
    a, b = laptop(), laptop()
    a.sql("ALTER TABLE thoughts ADD COLUMN mood TEXT")
    a.sync()
    a.thought("t1", mood="calm", fields="{}", metadata="{}")
    assert in_step(a, b)["thoughts", "t1"]["extra"] == {"mood": "calm"}
    a.sql("UPDATE thoughts SET mood = NULL")
    assert "extra" not in in_step(a, b)["thoughts", "t1"]


def test_a_look_at_all_rows_that_was_cut_off_survives_a_rebuild_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.client.lab import ADDRESS, Laptop

    plain = Laptop(tmp_path / "big.sqlite3", "none")
    plain.app.execute("BEGIN")
    for number in range(8000):
        plain.thought(f"t{number:05}")
    plain.sql("DELETE FROM thoughts WHERE rowid <= 4000")
    plain.app.execute("COMMIT")

    class Killed(BaseException):
        pass

    set_note, left = Store.set_note, [2]

    def cut_off(store: Store, name: str, value: str | None) -> None:
        if name == "scan" and value != "{}":
            left[0] -= 1
            if not left[0]:
                raise Killed
        set_note(store, name, value)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Store, "set_note", cut_off)
        patch.setattr("logomesh_client.file.attached.Pace", lambda **_: Pace(1000, 1000))
        plain.file.attach(SpaceLink("00000000-0000-7000-8000-000000000001", ADDRESS))
    assert plain.sql("SELECT count(*) FROM logomesh_sync_dirty") != [(4000,)]
    rebuilt = sqlite3.connect(tmp_path / "rebuilt.sqlite3")
    rebuilt.executescript("\n".join(plain.app.iterdump()))  # the rows get other numbers
    rebuilt.close()
    plain.close()
    (tmp_path / "rebuilt.sqlite3").replace(plain.path)
    plain = Laptop(plain.path, "none")
    assert plain.sql("SELECT count(*) FROM logomesh_sync_dirty") == [(4000,)]
    plain.close()


# Encodings


def test_a_file_in_utf16_is_in_step_with_one_in_utf8(laptop: Make, tmp_path: Path) -> None:
    path = tmp_path / "utf16.sqlite3"
    db = sqlite3.connect(path)
    db.executescript(f"PRAGMA encoding = 'UTF-16le'; {SCHEMAS['S2']}")
    db.close()
    a, b = laptop(path=path), laptop()
    a.thought("tü1", title="Größe 😀", description="one")
    b.thought("t2", title="naïve", metadata='{"ключ":"значение"}')
    b.sql("INSERT INTO thoughts (thought_bubble_id, title, created_at, updated_at)"
          " VALUES ('t3', CAST(x'636166e9' AS TEXT), ?, ?)", _AT, _AT)  # fmt: skip
    in_step(a, b)
    assert a.sql("PRAGMA encoding") == [("UTF-16le",)]
    assert a.sql("SELECT title FROM thoughts WHERE thought_bubble_id = 't2'") == [("naïve",)]
    assert a.sql("SELECT title FROM thoughts WHERE thought_bubble_id = 't3'") == [("caf�",)]
    a.sql("UPDATE thoughts SET description = 'два' WHERE thought_bubble_id = 't3'")
    a.sql("DELETE FROM thoughts WHERE thought_bubble_id = 't2'")
    in_step(a, b)
    assert b.sql("SELECT description, hex(title) FROM thoughts WHERE thought_bubble_id = 't3'") == [
        ("два", "636166E9")
    ]
    assert b.sql("SELECT title FROM thoughts WHERE thought_bubble_id = 'tü1'") == [("Größe 😀",)]


# Backups


def test_a_backup_that_is_put_back_in_place_goes_on(laptop: Make, people: People, tmp_path: Path) -> None:
    from tests.client.lab import Wire
    from workspaces import actions

    a, b = laptop(), laptop()
    a.thought("t1", title="Old")
    in_step(a, b)
    a.sql("UPDATE thoughts SET title = 'In the backup'")
    shutil.copy(a.path, tmp_path / "backup.sqlite3")
    a.synced()
    a.sql("UPDATE thoughts SET title = 'After it'")
    a.thought("t2")
    a.synced()
    in_step(a, b)
    a.path.write_bytes((tmp_path / "backup.sqlite3").read_bytes())  # the same inode

    def new_identity() -> Wire:
        _, token = actions.issue_device(people.eva.id, "again", by=people.eva.caller)
        a.wire = Wire(token)
        return a.wire

    a.sync(new_identity=new_identity)
    in_step(a, b)
    assert len(a.sql("SELECT * FROM thoughts")) == 2


@pytest.mark.parametrize("in_place", [True, False])
def test_an_agent_whose_file_is_replaced_by_a_backup_from_before_says_so(
    in_place: bool, laptop: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = laptop()
    backup = tmp_path / "backup.sqlite3"
    with sqlite3.connect(backup) as db:
        db.executescript(SCHEMAS["S2x"])
    db.close()
    a.thought("t1")
    agent = Agent(a.path, a.wire)  # type: ignore[arg-type]

    def replaced(*_: Any, **__: Any) -> Any:
        if in_place:
            a.path.write_bytes(backup.read_bytes())
        else:
            shutil.copy(backup, tmp_path / "new.sqlite3")
            (tmp_path / "new.sqlite3").replace(a.path)
        raise Unreachable("no network")

    monkeypatch.setattr(a.wire, "changes", replaced)
    monkeypatch.setattr(a.wire, "live", lambda *_: iter(()), raising=False)
    watchdog = threading.Timer(20, agent.stop)
    watchdog.start()
    with pytest.raises(NotAttached):
        agent.run()
    watchdog.cancel()
