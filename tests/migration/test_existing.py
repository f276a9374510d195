"""Records that the space has already: keep, take, merge; newer copies of a file; what an undo took back."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.test import Client

from migration import imports, jobs
from migration.choosing import read_choices
from migration.models import Import, SetAsideRow
from sync.models import SpaceHead
from tests.logomesh_files import LogoMeshFile, full
from tests.migration.importing import assess, digest_of, records_of
from tests.people import People
from workspaces.ids import uuid7

pytestmark = pytest.mark.django_db(transaction=True)


def run(people: People, path: Path, **body: Any) -> Import:
    imported = assess(people.ben.caller, people.space.pk, path)
    assert imported.state == "ready", imported.problem
    imports.start(people.ben.caller, imported.pk, read_choices(body))
    jobs.run(imported.pk)
    imported.refresh_from_db()
    assert imported.problem is None, (imported.problem, imported.report)
    for name, counts in imported.report["tables"].items():
        whole = counts["migrated"] + counts["set_aside"] + counts["left_for_later"]
        assert counts["rows_in"] == whole, name
    if not body.get("dry_run"):
        assert imported.state == "done"
        assert imported.report["source_digest"] == imported.report["target_digest"]
    return imported


def undo(people: People, imported: Import) -> dict[str, Any]:
    imports.undo(people.ben.caller, imported.pk)
    jobs.run(imported.pk)
    imported.refresh_from_db()
    assert imported.state == "undone", imported.problem
    return dict(imported.report["undo"])


def push(people: People, *changes: dict[str, Any]) -> list[str]:
    """Eva edits in LogoMesh, having seen everything."""
    head = SpaceHead.objects.get(space_id=people.space.pk).head
    body = {"seen": head, "changes": [{"change_id": str(uuid7()), **change} for change in changes]}
    answer = Client().post(
        f"/api/v1/spaces/{people.space.pk}/changes",
        orjson.dumps(body),
        content_type="application/json",
        headers=people.eva.headers,
    )
    assert answer.status_code == 200, answer.content
    return [each["status"] for each in answer.json()["results"]]


def edit(people: People, type_: str, id_: str, **values: Any) -> None:
    version = records_of(people.space.pk, type_)[id_]["version"]
    assert push(people, {"type": type_, "id": id_, "base": version, "set": values})[0] in (
        "applied",
        "merged",
    )


def delete(people: People, type_: str, id_: str) -> None:
    version = records_of(people.space.pk, type_)[id_]["version"]
    assert push(people, {"type": type_, "id": id_, "base": version, "delete": True}) == ["applied"]


def conflicts(people: People) -> list[dict[str, Any]]:
    answer = Client().get(
        f"/api/v1/spaces/{people.space.pk}/conflicts?state=open", headers=people.eva.headers
    )
    return list(answer.json()["conflicts"])


def sql(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as db:
        for statement in statements:
            db.execute(statement)
    db.close()


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    with LogoMeshFile(tmp_path / "lab.sqlite3") as file:
        for n in range(4):
            file.thought(f"t{n}", title=f"Thought {n}", description="One. Two. Three.", position_x=n)
            file.segment(f"s{n}", f"t{n}", content="First sentence. Second sentence. Third sentence.")
        file.tag("tag_memory", name="Memory")
        file.add("thought_tags", thought_bubble_id="t0", tag_id="tag_memory", created_at="2025-06-01")
    return tmp_path / "lab.sqlite3"


def thought(people: People, id_: str) -> dict[str, Any]:
    return records_of(people.space.pk, "thoughts")[id_]


def segment(people: People, id_: str) -> dict[str, Any]:
    return records_of(people.space.pk, "segments")[id_]


def test_a_newer_copy_is_merged_with_what_the_space_did_meanwhile(people: People, lab: Path) -> None:
    first = run(people, lab)
    edit(people, "thoughts", "t0", title="Eva's title")
    edit(people, "segments", "s1", content="First sentence. Second sentence. Third, by Eva.")
    edit(people, "segments", "s2", content="First, by Eva. Second sentence. Third sentence.")
    edit(people, "thoughts", "t3", color="#eva")
    sql(
        lab,
        "UPDATE thoughts SET description = 'From the file.', position_x = 77 WHERE thought_bubble_id = 't0'",
        "UPDATE segments SET content = 'First, in the file. Second sentence. Third sentence.'"
        " WHERE segment_id IN ('s1', 's2', 's3')",
        "INSERT INTO thoughts (thought_bubble_id, title, created_at, updated_at)"
        " VALUES ('t9', 'New in the file', '2025-10-01T10:00:00.000Z', '2025-10-01T10:00:00.000Z')",
    )
    second = run(people, lab)
    assert (second.family, second.options["existing"]) == (first.family, "merge")
    assert first.family not in (first.pk, second.pk)  # members see it: it must not name an import of another
    assert second.assessment is not None
    assert (second.assessment["existing"], second.assessment["previous"]["same_file"]) == ("merge", False)
    mixed = thought(people, "t0")
    assert (mixed["title"], mixed["description"]) == ("Eva's title", "From the file.")
    assert mixed["position_x"] == 77
    assert segment(people, "s1")["content"] == "First, in the file. Second sentence. Third, by Eva."
    assert segment(people, "s2")["content"] == "First, by Eva. Second sentence. Third sentence."
    assert segment(people, "s3")["content"] == "First, in the file. Second sentence. Third sentence."
    assert thought(people, "t3")["color"] == "#eva"
    assert "t9" in records_of(people.space.pk, "thoughts")
    (conflict,) = conflicts(people)
    assert conflict["record_id"] == "s2"
    assert conflict["fields"]["content"] == {
        "base": "First sentence. Second sentence. Third sentence.",
        "server": "First, by Eva. Second sentence. Third sentence.",
        "client": "First, in the file. Second sentence. Third sentence.",
    }
    counted = second.report["tables"]["segments"]
    assert (counted["edited"], counted["conflicts"], counted["already_there"]) == (3, 1, 1)
    assert second.report["tables"]["thoughts"]["newer_in_space"] == 1
    assert second.report["merged"] == 4  # t0, t3, s1, s2

    # The same copy once more changes nothing: what it says was said already.
    head = SpaceHead.objects.get(space_id=people.space.pk).head
    third = run(people, lab)
    assert SpaceHead.objects.get(space_id=people.space.pk).head == head
    assert third.report["tables"]["segments"]["newer_in_space"] == 2

    # A third copy builds on the second, not on what the merge made of it.
    sql(lab, "UPDATE thoughts SET description = 'From the file, later.' WHERE thought_bubble_id = 't0'")
    run(people, lab)
    assert thought(people, "t0")["title"] == "Eva's title"
    assert thought(people, "t0")["description"] == "From the file, later."
    assert len(conflicts(people)) == 1


def test_undoing_a_merge_gives_back_what_was_there(people: People, lab: Path) -> None:
    run(people, lab)
    edit(people, "thoughts", "t0", title="Eva's title")
    edit(people, "segments", "s2", content="First, by Eva. Second sentence. Third sentence.")
    delete(people, "thoughts", "t3")
    before = {type_: _bare(people, type_) for type_ in ("thoughts", "segments", "thought_tags")}
    sql(
        lab,
        "UPDATE thoughts SET description = 'From the file.', color = '#123456'",
        "UPDATE segments SET content = 'First, in the file. Second sentence. Third sentence.'",
        "UPDATE segments SET thought_bubble_id = 't9' WHERE segment_id = 's1'",
        "INSERT INTO thoughts (thought_bubble_id, title, created_at, updated_at)"
        " VALUES ('t9', 'New in the file', '2025-10-01T10:00:00.000Z', '2025-10-01T10:00:00.000Z')",
    )
    second = run(people, lab)
    assert segment(people, "s1")["thought_id"] == "t9"
    assert {each["kind"] for each in conflicts(people)} == {"edit", "revive"}
    assert thought(people, "t3")["description"] == "From the file."
    edit(people, "thoughts", "t2", title="After the merge")
    undone = undo(people, second)
    after = {type_: _bare(people, type_) for type_ in before}
    assert after["thoughts"].pop("t2")["description"] == "From the file."
    before["thoughts"].pop("t2")
    assert after == before
    assert undone["listed"] == [{"type": "thoughts", "id": "t2", "reason": "changed-since"}]
    assert conflicts(people) == []
    again = run(people, lab)  # and what was undone can be had again
    assert thought(people, "t1")["description"] == "From the file."
    assert again.report["tables"]["thoughts"]["set_aside"] == 0


def _bare(people: People, type_: str) -> dict[str, dict[str, Any]]:
    found = records_of(people.space.pk, type_)
    return {id_: {**record, "version": None} for id_, record in found.items()}


@pytest.mark.parametrize("dialect", ["S1", "S2x"])
def test_after_an_undo_the_file_comes_again(people: People, tmp_path: Path, dialect: str) -> None:
    path = full(tmp_path / "lab.sqlite3", dialect)
    first = run(people, path)
    whole = digest_of(people.space.pk)
    vectors = len(records_of(people.space.pk, "embeddings"))
    undo(people, first)
    assert digest_of(people.space.pk)[1] == 0
    rehearsed = run(people, path, dry_run=True)
    second = run(people, path)
    assert digest_of(people.space.pk) == whole
    assert second.report["tables"] == rehearsed.report["tables"]
    assert sum(each["set_aside"] for each in second.report["tables"].values()) == sum(
        each["set_aside"] for each in first.report["tables"].values()
    )
    undo(people, second)
    assert digest_of(people.space.pk)[1] == 0
    sql(path, "UPDATE thoughts SET title = 'Another' WHERE title LIKE 'Thought 1%'")
    run(people, path, existing="keep")
    assert digest_of(people.space.pk)[1] == whole[1]
    assert len(records_of(people.space.pk, "embeddings")) == vectors


def test_what_somebody_deleted_stays_deleted_unless_the_file_has_news(people: People, lab: Path) -> None:
    run(people, lab)
    delete(people, "thoughts", "t0")
    delete(people, "thoughts", "t1")
    sql(lab, "UPDATE segments SET content = 'Only in the file' WHERE segment_id = 's1'")
    done = run(people, lab)
    assert set(records_of(people.space.pk, "thoughts")) == {"t1", "t2", "t3"}
    assert segment(people, "s1")["content"] == "Only in the file"
    assert done.report["tables"]["thoughts"]["reasons"] == {"deleted-in-space": 2}
    assert [each["kind"] for each in conflicts(people)] == ["revive"]


def test_nothing_new_hangs_on_what_was_deleted(people: People, lab: Path) -> None:
    run(people, lab)
    delete(people, "thoughts", "t0")
    sql(
        lab,
        "INSERT INTO segments (segment_id, thought_bubble_id, title, content, created_at, updated_at) VALUES"
        " ('s9', 't0', '', 'New', '2025-10-01T10:00:00.000Z', '2025-10-01T10:00:00.000Z')",
        "INSERT INTO segment_tags VALUES ('s9', 'tag_memory', '2025-10-01T10:00:00.000Z')",
    )
    kept = run(people, lab, existing="keep")
    assert kept.report["tables"]["segments"]["reasons"] == {"deleted-in-space": 1, "hangs-on-deleted": 1}
    assert kept.report["tables"]["segment_tags"]["reasons"] == {"hangs-on-deleted": 1}
    assert set(SetAsideRow.objects.filter(imported_by=kept).values_list("reason", flat=True)) == {
        "deleted-in-space", "hangs-on-deleted",
    }  # fmt: skip
    assert "t0" not in records_of(people.space.pk, "thoughts")
    rehearsed = run(people, lab, existing="merge", dry_run=True)
    merged = run(people, lab, existing="merge")
    assert merged.report["tables"]["segments"] == rehearsed.report["tables"]["segments"]
    assert {"t0"} < set(records_of(people.space.pk, "thoughts"))
    assert {"s0", "s9"} < set(records_of(people.space.pk, "segments"))
    assert "s9/tag_memory" in records_of(people.space.pk, "segment_tags")
    assert [each["kind"] for each in conflicts(people)] == ["revive"]


def test_keep_and_take(people: People, lab: Path) -> None:
    run(people, lab)
    edit(people, "thoughts", "t0", title="Eva's title", fields={"mine": 1})
    delete(people, "thoughts", "t1")
    kept = run(people, lab, existing="keep")
    assert kept.report["tables"]["thoughts"]["reasons"] == {"differs-from-existing": 1, "deleted-in-space": 1}
    assert thought(people, "t0")["title"] == "Eva's title"
    taken = run(people, lab, existing="take")
    assert taken.report["tables"]["thoughts"]["edited"] == 2
    assert taken.report["merged"] == 0
    assert (thought(people, "t0")["title"], thought(people, "t0")["fields"]) == ("Thought 0", {})
    assert {"t1"} < set(records_of(people.space.pk, "thoughts"))
    assert segment(people, "s1")["content"].startswith("First")
    assert conflicts(people) == []
    undo(people, taken)
    assert (thought(people, "t0")["title"], thought(people, "t0")["fields"]) == ("Eva's title", {"mine": 1})
    assert "t1" not in records_of(people.space.pk, "thoughts")


def test_a_strangers_file_is_no_newer_copy(people: People, lab: Path, tmp_path: Path) -> None:
    push(people, {"type": "thoughts", "id": "t0", "base": 0, "set": {"title": "Made by hand"}})
    assert run(people, lab).options["existing"] == "keep"
    assert thought(people, "t0")["title"] == "Made by hand"
    with LogoMeshFile(tmp_path / "other.sqlite3") as file:
        file.tag("tag_memory", name="Memory", color="#other")
        for n in range(6):
            file.thought(f"x{n}")
        file.thought("t1", title="Also here")
    other = run(people, tmp_path / "other.sqlite3")
    assert other.options["existing"] == "keep"
    assert other.assessment is not None
    assert other.assessment["previous"] is None
    assert other.report["tables"]["tags"]["reasons"] == {"differs-from-existing": 1}


def test_merged_without_a_previous_copy_nothing_is_lost(people: People, lab: Path) -> None:
    push(people, {"type": "thoughts", "id": "t0", "base": 0, "set": {"title": "Mine", "color": None}})
    done = run(people, lab, existing="merge")
    merged = thought(people, "t0")
    assert (merged["title"], merged["description"]) == ("Mine", "One. Two. Three.")
    (conflict,) = conflicts(people)
    assert conflict["fields"] == {"title": {"base": None, "server": "Mine", "client": "Thought 0"}}
    undo(people, done)
    assert thought(people, "t0")["description"] is None


@pytest.mark.parametrize("seed", range(2))
def test_no_edit_of_either_side_is_lost(people: People, tmp_path: Path, seed: int) -> None:
    """Whatever both sides did: each edit is in the record, or in a conflict that names it."""
    rng = random.Random(seed)
    path = tmp_path / "lab.sqlite3"
    with LogoMeshFile(path) as file:
        for n in range(12):
            file.thought(f"t{n}", title=f"Thought {n}", color="#000000")
            file.segment(f"s{n}", f"t{n}", abstraction_level="Fact", cluster_id="one")
    run(people, path)
    said = {f"s{n}": {"abstraction_level": "Fact", "cluster_id": "one"} for n in range(12)}
    for round_ in range(3):
        there = records_of(people.space.pk, "segments")
        wanted: dict[tuple[str, str], set[str]] = {}
        before_of: dict[tuple[str, str], str] = {}
        for id_ in said:
            for field in ("abstraction_level", "cluster_id"):
                before, in_file = there[id_][field], said[id_][field]
                if rng.random() < 0.4:
                    edit(people, "segments", id_, **{field: f"eva {round_} {id_}"})
                    wanted.setdefault((id_, field), set()).add(f"eva {round_} {id_}")
                if rng.random() < 0.4:
                    said[id_][field] = f"file {round_} {id_}"
                    sql(
                        path,
                        f"UPDATE segments SET {field} = 'file {round_} {id_}' WHERE segment_id = '{id_}'",
                    )
                    wanted.setdefault((id_, field), set()).add(f"file {round_} {id_}")
                if before != in_file or (id_, field) not in wanted:
                    wanted.setdefault((id_, field), set()).add(before)
                before_of[id_, field] = before
        run(people, path)
        now = records_of(people.space.pk, "segments")
        in_conflict: dict[tuple[str, str], set[str]] = {}
        for conflict in conflicts(people):
            for field, sides in conflict["fields"].items():
                named = in_conflict.setdefault((conflict["record_id"], field), set())
                named |= {sides["server"], sides["client"]}
        for (id_, field), values in wanted.items():
            kept = {now[id_][field], *in_conflict.get((id_, field), ())}
            assert values - {before_of[id_, field]} <= kept, (id_, field)
            if len(values) == 1:
                assert now[id_][field] == values.pop()


def test_what_was_kept_is_not_overwritten_by_the_next_copy(people: People, lab: Path) -> None:
    """The space had these records before the file came: no import knows them as they are."""
    thought_ = {"type": "thoughts", "base": 0}
    assert (
        push(
            people,
            {**thought_, "id": "t0", "set": {"title": "Eva's", "description": "Eva's own."}},
            {**thought_, "id": "t1", "set": {"title": "Eva's, too", "description": "Eva's own."}},
            {**thought_, "id": "t8", "set": {"title": "Not in the first copy", "description": "Eva's own."}},
        )
        == ["applied"] * 3
    )
    first = run(people, lab)
    assert first.report["tables"]["thoughts"]["reasons"] == {"differs-from-existing": 2}
    sql(
        lab,
        "UPDATE thoughts SET description = 'From the file.' WHERE thought_bubble_id = 't1'",
        "INSERT INTO thoughts (thought_bubble_id, title, created_at, updated_at)"
        " VALUES ('t8', 'In the file', '2025-10-01T10:00:00.000Z', '2025-10-01T10:00:00.000Z')",
    )
    second = run(people, lab)
    assert second.options["existing"] == "merge"
    assert (thought(people, "t0")["title"], thought(people, "t0")["description"]) == ("Eva's", "Eva's own.")
    assert thought(people, "t1")["title"] == "Eva's, too"
    listed = {each["record_id"]: set(each["fields"]) for each in conflicts(people)}
    assert listed.keys() == {"t1", "t8"}
    assert listed["t1"] == {"description"}
    assert "title" in listed["t8"]


def test_an_undo_leaves_the_thought_of_somebody_elses_embedding(people: People, lab: Path) -> None:
    done = run(people, lab)
    vector = {
        "owner_type": "thoughts",
        "owner_id": "t3",
        "model": "eva",
        "dimensions": 1,
        "vector": "AACAPw==",
    }
    assert push(people, {"type": "embeddings", "id": "t3/eva", "base": 0, "set": vector}) == ["applied"]
    report = undo(people, done)
    assert report["listed"] == [{"type": "thoughts", "id": "t3", "reason": "something-hangs-on-it"}]
    assert records_of(people.space.pk, "thoughts").keys() == {"t3"}
    assert records_of(people.space.pk, "embeddings").keys() == {"t3/eva"}
