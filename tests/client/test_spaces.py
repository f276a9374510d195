"""One file, several spaces; several dialects in one space; what a restored server or a copied file needs."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.client.steps import in_step

if TYPE_CHECKING:
    from tests.client.lab import Laptop
    from tests.people import People

Make = Callable[..., "Laptop"]


# Several spaces in one file


def test_new_thoughts_go_home_and_children_to_their_thought(laptop: Make, people: People) -> None:
    home, shared = people.private, people.space
    b = laptop(people.ben)
    b.thought("theirs")
    b.synced()
    a = laptop(people.eva, home, shared)
    a.synced()
    a.thought("mine")
    a.segment("s1", "mine")
    a.segment("s2", "theirs")
    a.tag("tag_c")
    a.link("mine", "tag_c")
    a.link("theirs", "tag_c")
    a.synced()
    assert {ref for ref in a.records() if ref[0] != "tags"} == {
        ("thoughts", "mine"), ("segments", "s1"), ("thought_tags", "mine/tag_c"),
    }  # fmt: skip
    assert a.file.space_of("segments", "s2") == str(shared.pk)
    b.synced()
    assert set(b.records()) == {
        ("thoughts", "theirs"), ("segments", "s2"), ("thought_tags", "theirs/tag_c"), ("tags", "tag_c"),
    }  # fmt: skip
    assert b"mine" not in b.path.read_bytes()  # private is private
    a.sql("UPDATE tags SET color = 'red'")  # one row serves both
    a.synced()
    b.synced()
    assert b.sql("SELECT color FROM tags") == [("red",)]
    assert a.records()["tags", "tag_c"]["color"] == "red"


def test_a_link_into_another_space_stays_local(laptop: Make, people: People) -> None:
    a = laptop(people.eva, people.private, people.space)
    b = laptop(people.ben)
    b.thought("theirs")
    b.segment("s2", "theirs")
    b.synced()
    a.thought("mine")
    a.segment("s1", "mine")
    a.synced()
    a.sql("INSERT INTO segment_neighbors (source_segment_id, target_segment_id, created_at)"
          " VALUES ('s1', 's2', '2025-09-20T10:00:00.000Z')")  # fmt: skip
    a.synced()
    assert [(one.type, one.reason) for one in a.file.waiting()] == [("segment_neighbors", "other-space")]
    assert a.sql("SELECT count(*) FROM segment_neighbors") == [(1,)]


def test_the_same_id_in_two_spaces_is_never_mixed(laptop: Make, people: People) -> None:
    b = laptop(people.ben)
    b.thought("same", title="Ben's")
    b.segment("s_ben", "same")
    b.synced()
    a = laptop(people.eva, people.private, people.space)
    a.thought("same", title="Eva's")
    a.file.detach()
    from tests.client.lab import ADDRESS, SpaceLink

    a.file.attach(SpaceLink(str(people.private.pk), ADDRESS))
    a.synced()
    a.file.attach(SpaceLink(str(people.private.pk), ADDRESS), [SpaceLink(str(people.space.pk), ADDRESS)])
    a.synced()
    assert a.sql("SELECT title FROM thoughts") == [("Eva's",)]
    assert a.sql("SELECT count(*) FROM segments") == [(0,)]
    assert {(type_, id_) for _, type_, id_ in a.file.hidden()} == {
        ("thoughts", "same"),
        ("segments", "s_ben"),
    }
    b.sql("UPDATE thoughts SET title = 'Ben still'")
    b.synced()
    a.sql("UPDATE thoughts SET title = 'Eva still'")
    a.synced()
    b.synced()
    assert b.sql("SELECT title FROM thoughts") == [("Ben still",)]
    a.sql("DELETE FROM thoughts")
    a.synced()
    assert a.sql("SELECT title FROM thoughts") == [("Ben still",)]


def test_a_thought_that_moves_changes_its_space_in_the_file(laptop: Make, people: People) -> None:
    a = laptop(people.eva, people.private, people.space)
    b = laptop(people.ben)
    a.thought("t1")
    a.segment("s1", "t1")
    a.synced()
    a.wire.post(f"/spaces/{people.private.pk}/move", {"thoughts": ["t1"], "to": str(people.space.pk)})
    a.synced()
    b.synced()
    assert a.file.space_of("thoughts", "t1") == a.file.space_of("segments", "s1") == str(people.space.pk)
    assert a.sql("SELECT segment_id FROM segments") == b.sql("SELECT segment_id FROM segments") == [("s1",)]
    assert not a.records(str(people.private.pk))


def test_access_that_is_taken_away(laptop: Make, people: People) -> None:
    from workspaces import actions

    a = laptop(people.eva)
    b = laptop(people.ben, people.space)
    a.thought("t1")
    a.tag("tag_c")
    a.link("t1", "tag_c")
    in_step(a, b)
    actions.unshare_with_person(people.space.pk, people.ben.email, by=people.eva.person)
    b.sql("UPDATE thoughts SET title = 'Unsent'")
    b.segment("s1", "t1", content="Unsent too")
    report = b.sync()
    assert report.state.value == "access-lost"
    for table in ("thoughts", "segments", "tags", "thought_tags"):
        assert b.sql(f"SELECT count(*) FROM {table}") == [(0,)]
    saved = b.file.rescue()
    assert {one.get("title") for one in saved} >= {"Unsent"}
    assert any(one.get("content") == "Unsent too" for one in saved)
    assert b.file.link(b.space).state.value == "access-lost"
    assert b.sync().spaces == []  # nobody asks again and again


def test_a_reader_may_not_write_and_goes_on_reading(laptop: Make, people: People) -> None:
    a, c = laptop(people.eva), laptop(people.cai)
    a.thought("t1")
    in_step(a, c)
    c.sql("UPDATE thoughts SET title = 'Mine'")
    a.thought("t2")
    a.synced()
    report = c.sync()
    assert report.state.value == "degraded" and "read" in report.spaces[0].reason
    assert len(c.sql("SELECT * FROM thoughts")) == 2
    assert c.sql("SELECT title FROM thoughts WHERE thought_bubble_id = 't1'") == [("Mine",)]


# Several dialects in one space


@pytest.mark.parametrize("dialect", ["S1", "S2", "S3", "S4"])
def test_a_file_of_another_dialect_is_in_step_with_the_last(
    dialect: str, laptop: Make, tmp_path: Path
) -> None:
    from tests.logomesh_files import full

    a = laptop(path=full(tmp_path / "old.sqlite3", dialect))
    b = laptop()
    b.thought("new", title="New", color="red", fields='{"a":1}', metadata='{"b":2}')
    b.segment("new_s", "new", metadata='{"fields":{"x":"y"},"z":1}')
    b.tag("tag_new", "fresh")
    b.link("new", "tag_new")
    b.sql("INSERT INTO segment_fields VALUES ('f', 'new_s', 'n', 'v', 'text', '2025-09-20T10:00:00.000Z')")
    records = in_step(a, b)
    key = "id" if dialect == "S4" else "thought_bubble_id"
    a.sql(f"UPDATE thoughts SET title = 'Old hand' WHERE {key} = 'new'")
    records = in_step(a, b)
    assert records["thoughts", "new"]["title"] == "Old hand"
    assert records["thoughts", "new"]["fields"] == {"a": 1}
    assert b.sql("SELECT title, color, fields, metadata FROM thoughts WHERE thought_bubble_id = 'new'") == [
        ("Old hand", "red", '{"a":1}', '{"b":2}')
    ]
    a.sql(f"DELETE FROM thoughts WHERE {key} = 'new'")
    records = in_step(a, b)
    assert not any(id_.startswith("new") for type_, id_ in records if type_ != "tags")


def test_cascades_of_an_app_with_foreign_keys(laptop: Make) -> None:
    a = laptop(dialect="S4")
    b = laptop()
    b.thought("t1")
    b.segment("s1", "t1")
    b.segment("s2", "t1")
    in_step(a, b)
    a.sql("PRAGMA foreign_keys = ON")
    a.sql("DELETE FROM thoughts")
    assert a.sql("SELECT count(*) FROM segments") == [(0,)]
    assert in_step(a, b) == {}
    assert b.sql("SELECT count(*) FROM segments") == [(0,)]


def test_two_tags_of_one_name(laptop: Make) -> None:
    a, b = laptop(), laptop()
    a.tag("tag_a", "Memory")
    b.tag("tag_b", "Memory")
    in_step(a, b)
    for one in (a, b):
        assert {name for (name,) in one.sql("SELECT name FROM tags")} == {"Memory", "Memory (2)"}
        one.sql("UPDATE tags SET color = 'red'")
    records = in_step(a, b)
    assert {record["name"] for record in records.values()} == {"Memory"}
    a.sql("UPDATE tags SET name = 'Recall' WHERE tag_id = 'tag_b'")
    in_step(a, b)
    assert b.sql("SELECT name FROM tags ORDER BY tag_id") == [("Memory (2)",), ("Recall",)]


# What goes wrong elsewhere


def test_a_copied_file_takes_an_identity_of_its_own(laptop: Make, people: People, tmp_path: Path) -> None:
    from tests.client.lab import Laptop, Wire
    from workspaces import actions

    a = laptop()
    a.thought("t1")
    a.synced()
    a.sql("UPDATE thoughts SET title = 'On its way'")
    a.wire.lose_answers = True
    a.sync()
    a.wire.lose_answers = False
    a.app.execute("BEGIN IMMEDIATE")
    shutil.copy(a.path, tmp_path / "copy.sqlite3")
    a.app.execute("COMMIT")
    a.thought("t2")
    a.synced()
    a.synced()  # now the server has seen a later cursor than the copy's
    twin = Laptop(tmp_path / "copy.sqlite3", a.wire.token, a.space)
    twin.thought("t3")
    made: list[Any] = []

    def new_identity() -> Wire:
        _, token = actions.issue_device(people.eva.id, "twin", by=people.eva.caller)
        made.append(token)
        twin.wire = Wire(token)
        return twin.wire

    assert twin.sync(new_identity=new_identity).proved
    assert len(made) == 1
    assert {id_ for _, id_ in in_step(a, twin)} == {"t1", "t2", "t3"}
    assert a.file.conflicts(a.space) == []
    twin.close()


def test_a_server_that_was_restored(laptop: Make, people: People) -> None:
    from django.db import transaction

    a, b = laptop(), laptop()
    a.thought("t1", title="Kept")
    in_step(a, b)
    backup = transaction.savepoint()
    a.sql("UPDATE thoughts SET title = 'Lost'")
    a.thought("t2", title="Lost too")
    in_step(a, b)
    transaction.savepoint_rollback(backup)
    a.thought("t3", title="Unsent")
    a.sql("UPDATE thoughts SET description = 'Unsent' WHERE thought_bubble_id = 't1'")
    records = in_step(a, b)
    assert {id_ for _, id_ in records} == {"t1", "t3"}
    assert records["thoughts", "t1"]["description"] == "Unsent"
    saved = [one for one in a.file.rescue() if one["reason"] == "server-restored"]
    assert {one["title"] for one in saved} >= {"Lost too"}


def test_a_difference_is_found_and_mended_once(laptop: Make) -> None:
    a = laptop()
    a.thought("t1")
    a.thought("t2")
    a.synced()
    db = sqlite3.connect(a.path, isolation_level=None)
    db.execute("DELETE FROM logomesh_sync_records WHERE id = 't1'")
    db.execute("UPDATE logomesh_sync_spaces SET sectors = zeroblob(2048), records = 0")
    db.close()
    report = a.sync()
    assert report.proved
    assert set(a.records()) == {("thoughts", "t1"), ("thoughts", "t2")}
    assert a.synced().proved


# Selective sync


def test_a_scope_brings_and_takes_thoughts_with_what_hangs_on_them(laptop: Make) -> None:
    from tests.client.lab import ADDRESS, SpaceLink

    a = laptop()
    for number, tag in enumerate(("tag_a", "tag_b")):
        a.tag(tag)
        a.thought(f"t{number}")
        a.segment(f"s{number}", f"t{number}")
        a.link(f"t{number}", tag)
    a.synced()
    b = laptop(None, "none")
    b.file.detach()
    b.file.attach(SpaceLink(a.space, ADDRESS, scope={"tag": ["tag_a"]}))
    b.spaces = [a.space]
    b.synced()
    assert b.sql("SELECT segment_id FROM segments") == [("s0",)]
    b.file.set_scope(b.space, {"tag": ["tag_b"]})
    b.synced()
    assert b.sql("SELECT segment_id FROM segments") == [("s1",)]
    a.sql("DELETE FROM thought_tags WHERE thought_bubble_id = 't1'")
    a.synced()
    b.synced()
    assert b.sql("SELECT count(*) FROM segments") == [(0,)]
    b.file.set_scope(b.space, {})
    b.synced()
    assert len(b.sql("SELECT * FROM segments")) == 2


def test_a_column_that_is_added_to_an_attached_file_is_no_edit(laptop: Make) -> None:
    a, b = laptop(dialect="S2"), laptop()
    b.thought("t1", fields='{"a":1}')
    b.segment("s1", "t1", content_type="text", cluster_id="c")
    in_step(a, b)
    a.sql("ALTER TABLE segments ADD COLUMN content_type TEXT")
    a.sql("ALTER TABLE segments ADD COLUMN cluster_id TEXT")
    a.sql("ALTER TABLE thoughts ADD COLUMN fields TEXT")
    a.sql("UPDATE segments SET content = 'Edited.', cluster_id = 'mine'")
    records = in_step(a, b)
    assert records["segments", "s1"]["content_type"] == "text"
    assert records["segments", "s1"]["cluster_id"] == "mine"
    assert b.sql("SELECT fields FROM thoughts") == [('{"a":1}',)]
    assert a.sql("SELECT content_type, content FROM segments") == [("text", "Edited.")]


def test_access_that_is_given_back(laptop: Make, people: People) -> None:
    from tests.client.lab import ADDRESS, SpaceLink
    from workspaces import actions

    a, b = laptop(people.eva), laptop(people.ben)
    a.thought("t1")
    in_step(a, b)
    actions.unshare_with_person(people.space.pk, people.ben.email, by=people.eva.person)
    b.sync()
    actions.share_with_person(people.space.pk, people.ben.email, "editor", by=people.eva.person)
    b.file.attach(SpaceLink(b.space, ADDRESS))
    b.synced()
    assert b.sql("SELECT thought_bubble_id FROM thoughts") == [("t1",)]
