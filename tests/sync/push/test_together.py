"""What holds when several push, pull, are turned away or listen in the same moment."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connection, transaction

from sync import push as pushing
from sync.announcing import HEADS
from sync.models import ChangeSet, Origin
from sync.pull import reading
from sync.push import receiving, validating
from sync.writing import Author, change_set
from tests.sync.devices import Device, change, make_device, make_space
from workspaces import actions
from workspaces.models import Space
from workspaces.problems import ReadOnly

WRITERS = 6
PUSHES = 8


@pytest.fixture
def committing(transactional_db: Any) -> Space:
    """A space whose changes are really committed, so that other connections see them."""
    return make_space()


def at_once(*acts: Any) -> list[Any]:
    """Run each in a thread with a connection of its own."""

    def run(act: Any) -> Any:
        try:
            return act()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def test_writers_at_once_take_turns_and_no_reader_skips_any(committing: Space) -> None:
    writers = [make_device(committing, f"device {number}") for number in range(WRITERS)]
    reader = make_device(committing, "reader")

    def write(number: int) -> None:
        for step in range(PUSHES):
            writers[number].push(
                change("thoughts", f"{number}-{step}", set={"title": "T"}),
                change("tags", f"{number}-{step}", set={"name": "G"}),
            )

    def read() -> None:
        for _ in range(PUSHES * 2):
            reader.pull(limit=3)

    at_once(*(lambda number=number: write(number) for number in range(WRITERS)), read)
    reader.pull()
    versions = list(
        ChangeSet.objects.filter(space=committing).order_by("version").values_list("version", flat=True)
    )
    assert versions == list(range(1, WRITERS * PUSHES + 1))
    assert len(reader.records) == 2 * WRITERS * PUSHES


def test_edits_of_one_record_at_once_all_count(committing: Space) -> None:
    writers = [make_device(committing, f"device {number}") for number in range(WRITERS)]
    writers[0].push(change("thoughts", "t", set={"title": "T"}))
    at_once(
        *(
            lambda number=number: writers[number].push(
                change("thoughts", "t", 1, set={"fields": {f"key {number}": number}})
            )
            for number in range(WRITERS)
        )
    )
    writers[0].pull()
    assert writers[0].records["thoughts", "t"]["fields"] == {f"key {n}": n for n in range(WRITERS)}


def test_the_same_push_many_times_at_once_counts_once(committing: Space) -> None:
    device = make_device(committing)
    sent = change("thoughts", "t", set={"title": "T"})
    results = at_once(*[lambda: device.push(sent)] * WRITERS)
    assert sorted(result["status"] for [result] in results) == ["applied", *["duplicate"] * (WRITERS - 1)]
    assert ChangeSet.objects.filter(space=committing).count() == 1


def test_a_change_that_is_committed_while_a_page_is_read_comes_with_the_next(
    laptop: Device, desk: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop.push(change("thoughts", "a", set={}))
    read = reading._piece

    def read_and_then_others_push(*arguments: Any) -> Any:
        found = read(*arguments)
        monkeypatch.setattr(reading, "_piece", read)
        laptop.push(change("thoughts", "b", set={}))
        return found

    monkeypatch.setattr(reading, "_piece", read_and_then_others_push)
    desk.pull()
    desk.pull()
    assert {id_ for _, id_ in desk.records} == {"a", "b"}


def test_a_change_set_that_is_committed_amid_the_reading_comes_whole(
    laptop: Device, desk: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between finding out which types have changed and reading those."""
    laptop.push(change("thoughts", "a", set={}))
    query = reading._query

    def others_push_and_then(*arguments: Any) -> str:
        monkeypatch.setattr(reading, "_query", query)
        laptop.push(change("thoughts", "b", set={}), change("tags", "g", set={}))
        return query(*arguments)

    monkeypatch.setattr(reading, "_query", others_push_and_then)
    desk.pull()
    desk.pull()
    assert {id_ for _, id_ in desk.records} == {"a", "b", "g"}


def test_the_right_to_write_is_asked_for_once_the_space_is_held(people: Any) -> None:
    """Whoever lost it between the first look and the lock changes nothing."""
    body = json.dumps({"seen": 0, "changes": [change("thoughts", "t", set={})]}).encode()
    validated = validating.validate(receiving.receive(body))
    actions.share_with_person(people.space.pk, people.ben.email, "viewer", by=people.eva.person)
    with pytest.raises(ReadOnly):
        pushing.accept(people.ben.caller, people.space.pk, validated, Origin.PUSH)


def test_others_hear_of_a_change_set_after_its_commit_and_only_then(committing: Space) -> None:
    client = redis.Redis.from_url(settings.REDIS_URL)
    listener = client.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(f"{HEADS}{committing.pk}")  # what Redis passes on knows no databases
    listener.get_message(timeout=1)
    author = Author(committing.owner_id)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        with change_set(committing.pk, author=author, origin=Origin.PUSH) as changes:
            changes.changed = True
        raise ZeroDivisionError
    with change_set(committing.pk, author=author, origin=Origin.PUSH) as changes:
        changes.changed = True
    heard = listener.get_message(timeout=5)
    assert heard is not None
    assert json.loads(heard["data"]) == {"space": str(committing.pk), "version": 1}
    assert listener.get_message(timeout=0.3) is None
    listener.close()
    client.close()


def test_what_a_device_saw_of_the_children_does_not_stop_its_deletion(laptop: Device, desk: Device) -> None:
    """`base` counts for the record itself, `seen` for all that hangs on it."""
    laptop.push(
        change("thoughts", "t", set={}),
        change("segments", "s", set={"thought_id": "t"}),
    )
    desk.push(change("segments", "s", 1, set={"title": "new"}))
    [result] = laptop.push(change("thoughts", "t", 1, delete=True), seen=2)
    assert result["status"] == "applied"
