"""Search finds what one may read: at once, by words in any language, and nothing that is gone."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from sync import indexing, searching
from sync.models import SearchEntry, SearchIndex
from sync.sql import cursor
from tests.people import Member, People
from tests.sync.devices import Device, change, make_device, make_space

pytestmark = pytest.mark.django_db


@pytest.fixture
def device() -> Device:
    return make_device(make_space())


def thought(device: Device, id_: str, title: str, description: str = "", base: int = 0) -> dict[str, Any]:
    return device.push(
        change("thoughts", id_, base, set={"title": title, "description": description}), seen=base
    )[0]


def found(device: Device, text: str) -> list[str]:
    return [hit.id for hit in searching.search([device.space_id], text)[0]]


@pytest.mark.parametrize("indexed", [False, True], ids=["not indexed yet", "indexed"])
def test_finds_words(device: Device, indexed: bool) -> None:
    thought(device, "t1", "Working memory", "The hippocampus holds it for a while. See notes/encoding.md")
    thought(device, "t2", "Long-term memory", "Память живёт долго; 記憶 too")
    device.push(
        change("segments", "s1", set={"thought_id": "t2", "title": "Dose", "content": "10 mg/day of water"})
    )
    if indexed:
        indexing.catch_up(device.space_id)
        assert SearchEntry.objects.filter(space_id=device.space_id).count() == 3
    assert set(found(device, "memory")) == {"t1", "t2"}
    assert found(device, "memory hippo") == ["t1"]  # the last word is unfinished
    assert found(device, '"holds it"') == ["t1"]
    assert found(device, '"it holds"') == []
    assert found(device, "memory -working") == ["t2"]
    assert found(device, "память") == ["t2"]
    assert found(device, "記憶") == ["t2"]
    assert found(device, "encoding") == ["t1"]
    assert found(device, "day") == ["s1"]
    assert found(device, "…!") == []


def test_titles_come_before_texts_and_pages_follow_each_other(device: Device) -> None:
    thought(device, "text", "Something", "a heron among many words")
    thought(device, "title", "Heron")
    indexing.catch_up(device.space_id)
    first, more = searching.search([device.space_id], "heron", limit=1)
    assert [hit.id for hit in first] == ["title"]
    assert more == 1
    second, more = searching.search([device.space_id], "heron", limit=1, offset=1)
    assert [hit.id for hit in second] == ["text"]
    assert more is None
    assert ("heron", True) in second[0].parts
    assert second[0].plain == "a heron among many words"


def test_follows_edits_and_deletions_at_once(device: Device) -> None:
    made = thought(device, "t1", "Heron")
    indexing.catch_up(device.space_id)
    edited = thought(device, "t1", "Crane", base=made["version"])
    assert found(device, "heron") == []
    assert found(device, "crane") == ["t1"]
    indexing.catch_up(device.space_id)
    assert found(device, "crane") == ["t1"]
    device.push(change("thoughts", "t1", edited["version"], delete=True), seen=edited["version"])
    assert found(device, "crane") == []
    indexing.catch_up(device.space_id)
    assert found(device, "crane") == []
    assert not SearchEntry.objects.filter(space_id=device.space_id).exists()


def test_indexes_in_batches_to_the_head(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "BATCH", 3)
    for number in range(10):
        device.push(*(change("thoughts", f"t{number}-{n}", set={"title": "Heron"}) for n in range(2)))
    assert indexing.lagging() == []  # somebody has just written
    indexing.catch_up(device.space_id)
    assert SearchIndex.objects.get(space_id=device.space_id).upto == 10
    assert SearchEntry.objects.filter(space_id=device.space_id).count() == 20


def test_waits_while_other_work_on_the_space_asks_for_it(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    thought(device, "t1", "Heron")
    sql = "UPDATE sync_changeset SET at = at - interval '1 minute' WHERE space_id = %b"
    cursor().execute(sql, (device.space_id,))
    assert indexing.lagging() == [device.space_id]
    indexing.postpone(device.space_id)
    assert indexing.lagging() == []
    monkeypatch.setattr(indexing, "BATCH", 1)
    for id_ in ("t2", "t3"):
        thought(device, id_, "Heron")
    indexing.catch_up(device.space_id)  # whoever is at it already ends with the batch
    assert SearchIndex.objects.get(space_id=device.space_id).upto == 2


def test_takes_texts_of_any_length_and_kind(device: Device) -> None:
    thought(device, "long", "Heron", " ".join(f"слово{number}" for number in range(300_000)))
    thought(device, "one-word", "Heron", "x" * 3_000_000)
    thought(device, "operators", "Heron", "& | ! <-> ( ' \\ : * \"")
    indexing.catch_up(device.space_id)
    assert set(found(device, "heron")) == {"long", "one-word", "operators"}
    for text in ["'", '"', "\\", "a & | b", "':*", "(", "a:*b", "-", "or", "<->", "\ue000"]:
        found(device, text)


def test_a_thief_of_an_id_finds_nothing(device: Device) -> None:
    """The index holds the space as a word: it must not work as one to search for."""
    other = make_device(make_space())
    thought(other, "t1", "Secret")
    indexing.catch_up(other.space_id)
    assert found(device, str(other.space_id)) == []
    assert found(device, f'"{other.space_id}"') == []


def ask(member: Member, **query: str) -> Any:
    return Client().get("/api/v1/search", query, headers=member.headers)


def test_only_what_one_may_read(people: People) -> None:
    for by, space in ((people.eva, people.space), (people.eva, people.private)):
        device = Device(by.caller, space.pk)
        device.push(change("thoughts", "t1", set={"title": "Heron", "description": space.name}))
    assert {hit["space"] for hit in ask(people.eva, q="heron").json()["results"]} == {
        str(people.space.pk),
        str(people.private.pk),
    }
    assert [hit["space"] for hit in ask(people.cai, q="heron").json()["results"]] == [str(people.space.pk)]
    for nobody in (people.ana, people.dan, people.root):
        assert ask(nobody, q="heron").json() == {"results": [], "cursor": None}
    assert ask(people.cai, q="heron", space=str(people.private.pk)).status_code == 404
    assert ask(people.ana, q="heron", space=str(people.space.pk)).status_code == 403
    assert ask(people.cai, q="heron", space=str(people.space.pk)).json()["results"][0] == {
        "type": "thoughts",
        "id": "t1",
        "space": str(people.space.pk),
        "version": 1,
        "thought": "t1",
        "title": "Heron",
        "snippet": "Memory study",
        "rank": pytest.approx(0.6, abs=0.4),
    }


def test_says_what_is_wrong_with_a_question(people: People) -> None:
    for query in ({}, {"q": " "}, {"q": "x" * 501}, {"q": "x", "cursor": "y"}, {"q": "a\0b"}):
        answer = ask(people.cai, **query)
        assert answer.status_code == 400
        assert answer.json()["type"].endswith("invalid-parameter")
