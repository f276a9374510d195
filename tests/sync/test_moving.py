"""Thoughts that go from one space to another take along what hangs on them, and their history."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection

from sync import digest, history, moving
from sync.models import SpaceHead
from sync.problems import AlreadyThere, NoSuchThought, StillInConflict
from tests.people import People
from tests.sync.devices import Device, change
from workspaces import actions
from workspaces.models import AuditEntry, Space
from workspaces.problems import NotFound, ReadOnly


@pytest.fixture
def other(people: People) -> Space:
    return actions.create_space(people.workspace.pk, "Sleep study", "shared", by=people.eva.person)


def device(people: People, space: Space) -> Device:
    return Device(people.eva.caller, space.pk)


def filled(people: People) -> Device:
    here = device(people, people.space)
    results = here.push(
        change("thoughts", "t", set={"title": "one", "mood": "calm", "fields": {"a": 1}}),
        change("thoughts", "stays", set={"title": "stays"}),
        change("segments", "s", set={"thought_id": "t", "content": "text"}),
        change("segments", "s2", set={"thought_id": "stays"}),
        change("segment_fields", "f", set={"segment_id": "s", "name": "n", "value": "v"}),
        change("tags", "g", set={"name": "G"}),
        change("thought_tags", "t/g", set={}),
        change("segment_neighbors", "s/s2/cites", set={}),
        change("embeddings", "s/m", set={"owner_type": "segments", "vector": "AACAPw==", "dimensions": 1}),
    )
    assert {result["status"] for result in results} == {"applied"}
    here.push(change("thoughts", "t", 1, set={"title": "two"}))
    here.pull()
    return here


def test_all_that_hangs_on_a_thought_goes_along(people: People, other: Space) -> None:
    here, there = filled(people), device(people, other)
    before = {ref: record for ref, record in here.records.items() if ref[1] not in ("stays", "s2")}
    moved = moving.move(people.eva.caller, people.space.pk, other.pk, ["t"])
    assert (moved.version, moved.arrived) == (3, 1)
    assert moved.counts == {
        "thoughts": 1, "segments": 1, "segment_fields": 1, "thought_tags": 1, "embeddings": 1,
    }  # fmt: skip
    assert moved.left == [("segment_neighbors", "s/s2/cites")]
    here.pull()
    there.pull()
    assert set(here.records) == {("thoughts", "stays"), ("segments", "s2"), ("tags", "g")}
    before.pop(("segment_neighbors", "s/s2/cites"))
    assert {ref: {**record, "version": 0} for ref, record in there.records.items()} == {
        ref: {**record, "version": 0} for ref, record in before.items()
    }
    assert SpaceHead.objects.get(space=other).counts["embeddings"] == 1
    assert digest.digest(other.pk).records == 5


def test_the_history_goes_along_there_and_back(people: People, other: Space) -> None:
    here, there = filled(people), device(people, other)
    moving.move(people.eva.caller, people.space.pk, other.pk, ["t"])
    there.pull()
    there.push(change("thoughts", "t", 1, set={"title": "three"}))
    shown = history.entries(other.pk, "thoughts", "t")
    assert [(it["act"], it["origin"], it.get("moves_ago", 0)) for it in shown] == [
        ("edit", "push", 0), ("move", "move", 0), ("edit", "push", 1), ("create", "push", 1),
    ]  # fmt: skip
    assert [it["changes"].get("title") for it in shown] == [
        {"old": "two", "new": "three"}, None, {"old": "one", "new": "two"}, {"old": None, "new": "one"},
    ]  # fmt: skip
    assert history.record_at(other.pk, "thoughts", "t", 1, moves_ago=1)["title"] == "one"
    moving.move(people.eva.caller, other.pk, people.space.pk, ["t"])
    here.pull()
    assert here.records["thoughts", "t"]["title"] == "three"
    shown = history.entries(people.space.pk, "thoughts", "t")
    assert [(it["act"], it.get("moves_ago", 0)) for it in shown] == [
        ("move", 0), ("edit", 1), ("move", 1), ("edit", 2), ("create", 2),
    ]  # fmt: skip
    assert history.record_at(people.space.pk, "thoughts", "t", 2, moves_ago=2)["title"] == "two"


def test_nothing_moves_where_something_is_wrong(people: People, other: Space) -> None:
    filled(people)
    device(people, other).push(
        change("thoughts", "t", set={}), change("segments", "s", set={"thought_id": "t"})
    )
    with pytest.raises(AlreadyThere) as taken:
        moving.move(people.eva.caller, people.space.pk, other.pk, ["t"])
    assert sorted(taken.value.extra["ids"]) == [["segments", "s"], ["thoughts", "t"]]
    with pytest.raises(NoSuchThought):
        moving.move(people.eva.caller, people.space.pk, other.pk, ["stays", "nowhere"])
    with pytest.raises(NotFound):
        moving.move(people.ben.caller, people.space.pk, other.pk, ["stays"])
    actions.share_with_person(other.pk, people.ben.email, "viewer", by=people.eva.person)
    with pytest.raises(ReadOnly):
        moving.move(people.ben.caller, people.space.pk, other.pk, ["stays"])
    assert SpaceHead.objects.get(space=people.space).head == 2
    assert SpaceHead.objects.get(space=other).head == 1


def test_what_is_in_conflict_does_not_move(people: People, other: Space) -> None:
    here = filled(people)
    [result] = here.push(change("thoughts", "t", 1, set={"title": "three"}))
    with pytest.raises(StillInConflict) as undecided:
        moving.move(people.eva.caller, people.space.pk, other.pk, ["t"])
    assert undecided.value.extra == {"conflicts": [result["conflict"]]}
    here.push(change("conflicts", result["conflict"], set={"take": "server"}))
    assert moving.move(people.eva.caller, people.space.pk, other.pk, ["t"]).counts["thoughts"] == 1


def test_neither_audit_trail_names_the_other_space(people: People) -> None:
    filled(people)
    moving.move(people.eva.caller, people.space.pk, people.private.pk, ["stays"])
    entry = AuditEntry.objects.get(act="thoughts-moved-away")
    assert entry.space_id == people.space.pk and entry.details["thoughts"] == 1
    assert str(people.private.pk) not in str(entry.details)
    assert AuditEntry.objects.get(act="thoughts-moved-here").private


def test_over_http(people: People, other: Space, client: Any) -> None:
    filled(people)
    address = f"/api/v1/spaces/{people.space.pk}/move"
    ask = {"headers": people.eva.headers, "content_type": "application/json"}
    for body, status in [
        ({"thoughts": [], "to": str(other.pk)}, 400),
        ({"thoughts": "t", "to": str(other.pk)}, 400),
        ({"thoughts": [7], "to": str(other.pk)}, 400),
        ({"thoughts": ["t"]}, 400),
        ({"thoughts": ["t"], "to": str(people.space.pk)}, 400),
        ({"thoughts": ["t"], "to": "x"}, 404),
        ({"thoughts": ["x"], "to": str(other.pk)}, 404),
    ]:
        assert client.post(address, body, **ask).status_code == status, body
    answer = client.post(address, {"thoughts": ["t", "t"], "to": str(other.pk)}, **ask)
    assert answer.json()["to"] == {"space": str(other.pk), "version": 1}
    page = client.get(
        f"/api/v1/spaces/{other.pk}/history?type=thoughts&id=t&limit=2", headers=people.eva.headers
    ).json()
    assert [it["act"] for it in page["entries"]] == ["move", "edit"]
    restore = {"type": "thoughts", "id": "t", "version": 1, "moves_ago": 1}
    answer = client.post(f"/api/v1/spaces/{other.pk}/restore", restore, **ask)
    assert answer.json()["record"]["title"] == "one"


@pytest.mark.django_db(transaction=True)
def test_moves_in_opposite_directions_do_not_block_each_other(people: People, other: Space) -> None:
    here, there = device(people, people.space), device(people, other)
    here.push(*[change("thoughts", f"a{n}", set={}) for n in range(10)])
    there.push(*[change("thoughts", f"b{n}", set={}) for n in range(10)])
    failed: list[Exception] = []

    def carry(source: Space, target: Space, letter: str) -> None:
        try:
            for n in range(10):
                moving.move(people.eva.caller, source.pk, target.pk, [f"{letter}{n}"])
        except Exception as error:
            failed.append(error)
        finally:
            connection.close()

    carriers = [
        threading.Thread(target=carry, args=(people.space, other, "a")),
        threading.Thread(target=carry, args=(other, people.space, "b")),
    ]
    for carrier in carriers:
        carrier.start()
    for carrier in carriers:
        carrier.join()
    assert failed == []
    here.pull()
    there.pull()
    assert {id_ for _, id_ in here.records} == {f"b{n}" for n in range(10)}
    assert {id_ for _, id_ in there.records} == {f"a{n}" for n in range(10)}
