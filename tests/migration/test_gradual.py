"""Taking a file bit by bit: by tag, cluster and date, run after run, until nothing is left."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
from django.core.management import CommandError, call_command

from migration import imports, jobs
from migration.choosing import read_choices
from migration.models import Import
from migration.stages.copying import copy
from tests.logomesh_files import LogoMeshFile, full
from tests.migration.importing import assess, differences, digest_of, migrate, records_of
from tests.people import People
from workspaces.problems import InvalidValue

pytestmark = pytest.mark.django_db(transaction=True)


def run(people: People, path: Path, **body: Any) -> Import:
    """One run with these choices, to its end."""
    imported = assess(people.ben.caller, people.space.pk, path)
    assert imported.state == "ready", imported.problem
    imports.start(people.ben.caller, imported.pk, read_choices(body))
    jobs.run(imported.pk)
    imported.refresh_from_db()
    assert imported.problem is None, (imported.problem, imported.report)
    for name, counts in imported.report["tables"].items():
        assert counts["rows_in"] == counts["migrated"] + counts["set_aside"] + counts["left_for_later"], name
    return imported


def gradually(people: People, path: Path, **filters: Any) -> Import:
    done = run(people, path, strategy="gradual", filters=filters)
    assert done.state == "done"
    assert done.report["source_digest"] == done.report["target_digest"]
    return done


def left(done: Import) -> dict[str, int]:
    return {name: counts["left_for_later"] for name, counts in done.report["tables"].items()}


def lab(path: Path, dialect: str = "S2x") -> Path:
    """Four thoughts: two with a tag each, one in a cluster, one with nothing; links between them."""
    with LogoMeshFile(path, dialect) as file:
        file.tag("tag_memory", name="Memory")
        file.tag("tag_sleep", name="Sleep")
        for n, day in enumerate(("2025-06-01", "2025-07-01", "2025-08-01", "2025-09-01"), 1):
            file.thought(f"t{n}", updated_at=f"{day}T10:00:00.000Z")
            file.segment(f"s{n}", f"t{n}", **({"cluster_id": "night"} if n == 3 else {}))
            file.add("segment_tags", segment_id=f"s{n}", tag_id="tag_sleep", created_at="2025-06-01")
        for thought, tag in (("t1", "tag_memory"), ("t2", "tag_sleep")):
            file.add("thought_tags", thought_bubble_id=thought, tag_id=tag, created_at="2025-06-01")
        for one, other in (("s1", "s2"), ("s2", "s1"), ("s3", "s4"), ("s1", "s1")):
            file.add(
                "segment_neighbors", source_segment_id=one, target_segment_id=other, created_at="2025-06-01"
            )
        file.segment("stray", "gone")
        file.add("segments", segment_id="", thought_bubble_id="t4", title="", created_at="x", updated_at="x")
    return path


def test_run_by_run_nothing_is_left(people: People, tmp_path: Path) -> None:
    path = lab(tmp_path / "lab.sqlite3")
    done = gradually(people, path, tags=["Memory"])
    assert set(records_of(people.space.pk, "thoughts")) == {"t1"}
    assert set(records_of(people.space.pk, "segments")) == {"s1"}
    assert set(records_of(people.space.pk, "tags")) == {"tag_memory", "tag_sleep"}
    assert set(records_of(people.space.pk, "segment_neighbors")) == {"s1/s1/related"}
    assert left(done) | {"thoughts": 3, "segments": 4, "segment_tags": 3, "segment_neighbors": 3} == left(
        done
    )
    assert done.report["tables"]["segments"]["reasons"] == {"missing-thought": 1}

    done = gradually(people, path, clusters=["night"])
    assert set(records_of(people.space.pk, "thoughts")) == {"t1", "t3"}
    assert left(done)["thoughts"] == 2
    assert done.report["tables"]["thoughts"]["already_there"] == 1

    done = gradually(people, path, after="2025-06-15", before="2025-07-15T00:00:00Z")
    assert set(records_of(people.space.pk, "thoughts")) == {"t1", "t2", "t3"}
    # A link comes as soon as both its ends are there, whichever run brought the other end.
    assert {"s1/s2/related", "s2/s1/related"} <= set(records_of(people.space.pk, "segment_neighbors"))
    assert left(done)["segment_neighbors"] == 1

    done = gradually(people, path)
    assert set(left(done).values()) == {0}
    assert done.report["tables"]["segments"]["reasons"] == {"missing-thought": 1, "no-id": 1}
    whole = digest_of(people.space.pk)
    head = done.report
    assert whole[1] == 4 + 4 + 2 + 2 + 4 + 4, head


def test_a_day_is_taken_from_its_first_moment_on() -> None:
    choices = read_choices(
        {"strategy": "gradual", "filters": {"after": "2025-06-15", "before": "2025-06-16"}}
    )
    assert choices.filters == {
        "after": "2025-06-14T23:59:59.999999Z",
        "before": "2025-06-16T00:00:00.000000Z",
    }


def test_runs_side_by_side_do_not_disturb_each_other(people: People, tmp_path: Path) -> None:
    """One ends while the other has copied, and not yet verified, its part."""
    path = lab(tmp_path / "lab.sqlite3")
    first, second = (assess(people.ben.caller, people.space.pk, path) for _ in range(2))
    for each, filters in (
        (first, {"tags": ["Memory"]}),
        (second, {"before": "2025-07-15", "tags": ["tag_sleep"]}),
    ):
        imports.start(people.ben.caller, each.pk, read_choices({"strategy": "gradual", "filters": filters}))
    job = jobs.Job(second.pk, uuid4())
    Import.objects.filter(pk=second.pk).update(lease=job.lease)
    copy(job)
    Import.objects.filter(pk=second.pk).update(lease=None, leased_until=None)
    for each in (first, second):
        jobs.run(each.pk)
        each.refresh_from_db()
        assert (each.state, each.problem) == ("done", None)


def test_the_kept_file_is_taken_again_with_its_log(people: People, tmp_path: Path) -> None:
    """LogoMesh was running: a part of the rows is in the log only."""
    path = lab(tmp_path / "lab.sqlite3")
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("UPDATE thoughts SET title = 'From the log'")
        db.commit()
        first = gradually(people, path, tags=["tag_memory"])
    again = imports.create_import_again(people.ben.caller, first.pk)
    jobs.run(again.pk)
    chosen = {"strategy": "gradual", "filters": {"tags": ["tag_sleep"]}}
    imports.start(people.ben.caller, again.pk, read_choices(chosen))
    jobs.run(again.pk)
    again.refresh_from_db()
    assert (again.state, bytes(again.sha256)) == ("done", bytes(first.sha256))
    titles = {id_: each["title"] for id_, each in records_of(people.space.pk, "thoughts").items()}
    assert titles == dict.fromkeys(("t1", "t2"), "From the log")
    assert {"s1/s2/related", "s2/s1/related"} <= records_of(people.space.pk, "segment_neighbors").keys()


def test_several_kinds_must_all_agree_and_of_one_kind_any(people: People, tmp_path: Path) -> None:
    path = lab(tmp_path / "lab.sqlite3")
    gradually(people, path, tags=["tag_memory", "tag_sleep"], after="2025-06-15")
    assert set(records_of(people.space.pk, "thoughts")) == {"t2"}


@pytest.mark.parametrize("dialect", ["S1", "S3", "S4"])
def test_the_runs_make_what_one_import_makes(people: People, tmp_path: Path, dialect: str) -> None:
    path = full(tmp_path / "lab.sqlite3", dialect)
    gradually(people, path, before="2025-01-01")
    if dialect != "S4":
        assert digest_of(people.space.pk)[1] == len(records_of(people.space.pk, "tags"))
        gradually(people, path, tags=["tag_c"])
    gradually(people, path)
    migrate(people.eva.caller, people.private.pk, path)
    assert differences(people.space.pk, people.private.pk) == []


def test_what_can_be_chosen_is_offered(people: People, tmp_path: Path) -> None:
    imported = assess(people.ben.caller, people.space.pk, lab(tmp_path / "lab.sqlite3"))
    assert imported.assessment is not None
    assert imported.assessment["choices"] == {
        "tags": [
            {"id": "tag_memory", "name": "Memory", "thoughts": 1},
            {"id": "tag_sleep", "name": "Sleep", "thoughts": 1},
        ],
        "clusters": [{"id": "night", "name": "night", "thoughts": 1}],
        "more_tags": False,
        "more_clusters": False,
        "first": "2025-06-01T10:00:00.000000Z",
        "last": "2025-09-01T10:00:00.000000Z",
    }
    with pytest.raises(InvalidValue, match="No thought of the file has the tag Dreams"):
        choices = read_choices({"strategy": "gradual", "filters": {"tags": ["Memory", "Dreams"]}})
        imports.start(people.ben.caller, imported.pk, choices)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"filters": {"tags": ["a"]}}, "/filters"),
        ({"strategy": "hybrid", "filters": {"after": "2025-01-01"}}, "/filters"),
        ({"strategy": "gradual", "filters": []}, None),
        ({"strategy": "gradual", "filters": [1]}, "/filters"),
        ({"strategy": "gradual", "filters": {"tag": ["a"]}}, "/filters/tag"),
        ({"strategy": "gradual", "filters": {"tags": "a"}}, "/filters/tags"),
        ({"strategy": "gradual", "filters": {"tags": ["a", 1]}}, "/filters/tags/1"),
        ({"strategy": "gradual", "filters": {"tags": ["a", "\ud800"]}}, "/filters/tags/1"),
        ({"strategy": "gradual", "filters": {"clusters": ["a\0"]}}, "/filters/clusters/0"),
        ({"strategy": "gradual", "filters": {"clusters": [""]}}, "/filters/clusters/0"),
        ({"strategy": "gradual", "filters": {"after": "soon"}}, "/filters/after"),
        (
            {"strategy": "gradual", "filters": {"after": "2025-02-02", "before": "2025-02-02"}},
            "/filters/before",
        ),
        ({"strategy": "some"}, "/strategy"),
        ({"existing": "drop"}, "/existing"),
        ({"orphans": "recover!"}, "/orphans"),
        ({"missing_tags": True}, "/missing_tags"),
        ({"ids": None}, "/ids"),
        ({"speed": "high"}, "/speed"),
        ({"dry_run": "yes"}, "/dry_run"),
    ],
)
def test_choices_that_make_no_sense_are_named(body: dict[str, Any], pointer: str | None) -> None:
    if pointer is None:
        assert read_choices(body).filters == {}
        return
    with pytest.raises(InvalidValue) as refused:
        read_choices(body)
    assert refused.value.pointer == pointer


def test_the_command_takes_a_part(people: People, tmp_path: Path, capsys: Any) -> None:
    path = lab(tmp_path / "lab.sqlite3")
    say = ["--space", str(people.space.pk), "--as", people.ben.email, "--strategy", "gradual", "--json"]
    call_command("import_sqlite", str(path), *say, "--tag", "Memory", "--after", "2025-05-01")
    report = orjson.loads(capsys.readouterr().out)
    assert report["state"] == "done"
    assert report["tables"]["thoughts"] | {"migrated": 1, "left_for_later": 3} == report["tables"]["thoughts"]
    with pytest.raises(CommandError, match="No thought of the file has the tag Dreams"):
        call_command("import_sqlite", str(path), *say, "--tag", "Dreams")
    with pytest.raises(CommandError, match="filters choose what a gradual import takes"):
        call_command("import_sqlite", str(path), *say[:4], "--tag", "Memory")


def test_odd_tags_and_clusters_do_no_harm(people: People, tmp_path: Path) -> None:
    times = [1_700_000_000_000, "soon", "", b"x", "2025-06-01", 5.5, "9999"]
    with LogoMeshFile(tmp_path / "f.sqlite3") as file:
        for n, cluster in enumerate(["a\0b", "x" * 5000, b"\xff\xfe", 7, "", "zero\u200dwidth", None]):
            file.thought(f"t{n}", updated_at=times[n])
            file.segment(f"s{n}", f"t{n}", cluster_id=cluster)
        file.add("thought_tags", thought_bubble_id="t0", tag_id=b"\xff", created_at="x")
    imported = assess(people.ben.caller, people.space.pk, tmp_path / "f.sqlite3")
    assert imported.assessment is not None
    chosen = imported.assessment["choices"]
    assert {each["id"] for each in chosen["clusters"]} >= {"zero\u200dwidth"}
    assert chosen["last"] >= "2025-06-01"
    done = gradually(people, tmp_path / "f.sqlite3", clusters=["zero\u200dwidth"])
    assert set(records_of(people.space.pk, "thoughts")) == {"t5"}
    assert left(done)["thoughts"] == 6
