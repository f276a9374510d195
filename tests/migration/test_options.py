"""What may be chosen for rows that are no records by themselves: orphans, missing tags, unusable ids."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from migration.models import Deviation, Import, SetAsideRow
from sync.models import SpaceHead
from tests.logomesh_files import LogoMeshFile, full
from tests.migration.importing import digest_of, records_of
from tests.migration.test_existing import edit, run, sql, undo
from tests.people import People

pytestmark = pytest.mark.django_db(transaction=True)

AT = "2025-06-01T10:00:00.000Z"


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    with LogoMeshFile(tmp_path / "odd.sqlite3") as file:
        file.thought("t1")
        file.segment("s1", "t1")
        file.segment("stray", "gone")
        file.segment("other", "gone too")
        file.add("segment_tags", segment_id="stray", tag_id="tag_theory_of_mind", created_at=AT)
        file.add("segment_neighbors", source_segment_id="stray", target_segment_id="s1", created_at=AT)
        for n in range(3):
            file.add("thought_tags", thought_bubble_id="t1", tag_id=f"tag_{n % 2}{n}", created_at=AT)
        file.add("thought_tags", thought_bubble_id="gone", tag_id="tag_00", created_at=AT)
        file.thought("", title="Without an id")
        file.thought("x" * 1100, title="Too long")
        file.segment("under", "x" * 1100)
        file.segment("", "t1", title="Nameless")
        file.add("segment_tags", segment_id="", tag_id="tag_00", created_at=AT)
        file.add("segment_fields", field_id=None, segment_id="s1", field_name="a", created_at=AT)
    return tmp_path / "odd.sqlite3"


def listed(done: Import, what: str) -> list[tuple[str, str]]:
    rows = Deviation.objects.filter(imported_by=done, kind=what).order_by("table", "position")
    return [(row.table, row.column) for row in rows]


def test_orphans_are_gathered_under_a_thought(people: People, odd: Path) -> None:
    done = run(people, odd, orphans="recover")
    (thought,) = (
        each
        for each in records_of(people.space.pk, "thoughts").values()
        if each["title"] == "Recovered items"
    )
    assert thought["extra"] == {"recovered": True}
    segments = records_of(people.space.pk, "segments")
    assert segments["stray"]["thought_id"] == segments["other"]["thought_id"] == thought["id"]
    assert segments["stray"]["extra"]["originals"]["thought_id"] == "gone"
    assert "stray/s1/related" in records_of(people.space.pk, "segment_neighbors")
    assert listed(done, "orphan-recovered") == [("segments", "thought_bubble_id")] * 3
    counts = done.report["tables"]["segments"]
    assert (counts["made"], counts["migrated"], counts["reasons"]) == (1, 4, {"no-id": 1})
    assert done.report["source_digest"] == digest_of(people.space.pk)[0]

    head = SpaceHead.objects.get(space_id=people.space.pk).head
    edit(people, "thoughts", thought["id"], title="My finds")
    again = run(people, odd, orphans="recover")
    assert SpaceHead.objects.get(space_id=people.space.pk).head == head + 1
    assert again.report["tables"]["segments"]["made"] == 0
    sql(
        odd,
        "INSERT INTO thoughts (thought_bubble_id, title, created_at, updated_at) VALUES ('n', '', 'x', 'x')",
    )
    run(people, odd, orphans="recover")  # a newer copy finds the same thought
    assert records_of(people.space.pk, "segments")["stray"]["thought_id"] == thought["id"]


def test_missing_tags_are_made_of_their_ids(people: People, odd: Path) -> None:
    done = run(people, odd, missing_tags="create")
    tags = records_of(people.space.pk, "tags")
    assert {tag["name"] for tag in tags.values()} == {"00", "11", "02"}
    assert tags["tag_00"]["extra"] == {"recovered": True}
    assert done.report["tables"]["thought_tags"]["reasons"] == {"missing-thought": 1}
    assert done.report["tables"]["segment_tags"]["reasons"] == {"missing-segment": 2}
    assert listed(done, "tag-created") == [("thought_tags", "tag_id")] * 3
    undo(people, done)
    assert digest_of(people.space.pk)[1] == 0
    run(people, odd, missing_tags="create")
    assert records_of(people.space.pk, "tags").keys() == tags.keys()


def test_rows_without_a_usable_id_get_one(people: People, odd: Path) -> None:
    done = run(people, odd, ids="new")
    thoughts = {each["title"]: each for each in records_of(people.space.pk, "thoughts").values()}
    assert thoughts["Without an id"]["id"].startswith("new_")
    assert thoughts["Without an id"]["extra"]["originals"]["thought_bubble_id"] == ""
    segments = records_of(people.space.pk, "segments")
    assert segments["under"]["thought_id"] == thoughts["Too long"]["id"]
    assert segments["under"]["extra"]["originals"]["thought_bubble_id"] == "x" * 1100
    assert len(records_of(people.space.pk, "segment_fields")) == 1
    assert not SetAsideRow.objects.filter(imported_by=done, reason__in=["no-id", "id-too-long"]).exists()
    head = SpaceHead.objects.get(space_id=people.space.pk).head
    run(people, odd, ids="new")
    assert SpaceHead.objects.get(space_id=people.space.pk).head == head


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_row_is_accounted_for_whatever_is_chosen(
    people: People, tmp_path: Path, odd: Path, seed: int
) -> None:
    """A rehearsal, runs with filters and a last one: the numbers add up, and the rehearsal was right."""
    rng = random.Random(seed)
    path = odd if seed % 2 else full(tmp_path / "full.sqlite3", rng.choice(["S1", "S2", "S2x", "S3"]))
    options: dict[str, Any] = {
        "orphans": rng.choice(["set-aside", "recover"]),
        "missing_tags": rng.choice(["set-aside", "create"]),
        "ids": rng.choice(["keep", "new"]),
        "existing": rng.choice(["keep", "take", "merge", None]),
    }
    filters = rng.choice([{"after": "2025-09-01"}, {"before": "2025-09-21"}, {"after": "2030-01-01"}])
    rehearsed = run(people, path, strategy="gradual", filters=filters, dry_run=True, **options)
    assert digest_of(people.space.pk)[1] == 0
    part = run(people, path, strategy="gradual", filters=filters, **options)
    # A rehearsal makes what is missing with each chunk that needs it.
    for name, counts in part.report["tables"].items():
        told = rehearsed.report["tables"][name]
        assert {**counts, "made": 0} == {**told, "made": 0}, name
    rest = run(people, path, strategy="gradual", **options)
    assert not any(counts["left_for_later"] for counts in rest.report["tables"].values())
    assert rest.report["source_digest"] == digest_of(people.space.pk)[0]
    undo(people, rest)
    undo(people, part)
    assert digest_of(people.space.pk)[1] == 0
