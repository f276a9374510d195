"""Old tombstones and old history go; what lives, and what somebody may still need, stays."""

from __future__ import annotations

import threading
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.utils.timezone import now

from sync import history, purging, tasks
from sync.models import ChangeSet, History, SpaceHead
from sync.problems import CursorExpired
from sync.sql import cursor
from sync.tables import TABLES
from tests.sync.devices import Device, change
from workspaces.models import Space
from workspaces.problems import NotFound


def age(space: Space, version: int, days: int) -> None:
    """Let the versions up to this one be so old. (Cursors remember the time: those that are old stay.)"""
    then = now() - timedelta(days=days)
    ChangeSet.objects.filter(space=space, version__lte=version, at__gt=then).update(at=then)


def rows(type_: str, space: Space) -> int:
    found = cursor().execute(f"SELECT count(*) FROM {TABLES[type_].name} WHERE space_id = %b", (space.pk,))
    return int(found.fetchone()[0])  # type: ignore[index]


def purge(*arguments: str) -> str:
    out = StringIO()
    call_command("purge_tombstones", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def deleted(space: Space, laptop: Device, desk: Device) -> Space:
    """Version 1 made a, b and what hangs on them; 2 deleted a; 3 deleted b. 2 is 200 days old."""
    laptop.push(
        change("thoughts", "a", set={"title": "A"}),
        change("segments", "s", set={"thought_id": "a"}),
        change("thoughts", "b", set={"title": "B"}),
        change("thoughts", "c", set={"title": "C"}),
    )
    age(space, 1, 300)
    laptop.pull()
    desk.pull()
    laptop.push(change("thoughts", "a", 1, delete=True), seen=1)
    laptop.push(change("thoughts", "b", 1, delete=True), seen=2)
    age(space, 2, 200)
    return space


def test_a_dry_run_only_counts(deleted: Space) -> None:
    assert purge("--dry-run") == f"{deleted.pk} 2\n"
    assert (rows("thoughts", deleted), rows("segments", deleted)) == (3, 1)
    assert SpaceHead.objects.get(space=deleted).purged_before == 0


def test_only_old_tombstones_go(deleted: Space, laptop: Device, desk: Device) -> None:
    assert purge() == f"{deleted.pk} 2\n"
    assert (rows("thoughts", deleted), rows("segments", deleted)) == (2, 0)
    assert SpaceHead.objects.get(space=deleted).purged_before == 2
    assert purge() == ""
    assert purge("--days", "1000") == ""
    with pytest.raises(CursorExpired) as expired:
        desk.pull()
    assert expired.value.extra == {"reason": "purged"}
    fresh = Device(desk.caller, deleted.pk)
    fresh.pull()
    assert set(fresh.records) == {("thoughts", "c")}
    with pytest.raises(NotFound):
        history.entries(deleted.pk, "thoughts", "a")
    [again] = laptop.push(change("thoughts", "a", set={"title": "again"}))
    assert again["status"] == "applied"


@pytest.mark.django_db(transaction=True)
def test_a_space_that_somebody_holds_is_left_for_the_next_time(deleted: Space) -> None:
    said: list[str] = []

    def run() -> None:
        said.append(purge())
        connection.close()

    with transaction.atomic():
        SpaceHead.objects.select_for_update().get(space=deleted)
        purger = threading.Thread(target=run)
        purger.start()
        purger.join()
    assert said == [""]
    assert purge() == f"{deleted.pk} 2\n"


def test_a_tombstone_waits_for_an_open_conflict(space: Space, laptop: Device, desk: Device) -> None:
    laptop.push(change("thoughts", "t", set={"title": "T"}))
    laptop.push(change("thoughts", "t", 1, set={"title": "Laptop"}), seen=1)
    [result] = desk.push(change("thoughts", "t", 1, set={"title": "Desk"}), seen=1)
    age(space, 99, 300)
    desk.pull()
    laptop.push(change("thoughts", "t", 2, delete=True), seen=desk.seen)
    age(space, 99, 200)
    assert purge() == ""
    [taken] = desk.push(change("conflicts", result["conflict"], set={"take": "client"}))
    assert taken["status"] == "applied"
    desk.pull()
    assert desk.records["thoughts", "t"]["title"] == "Desk"


def test_what_a_disputed_record_hangs_on_waits_with_it(space: Space, laptop: Device, desk: Device) -> None:
    laptop.push(
        change("thoughts", "t", set={"title": "T"}),
        change("segments", "s", set={"thought_id": "t", "title": "S"}),
    )
    laptop.push(change("segments", "s", 1, set={"title": "Laptop"}), seen=1)
    [result] = desk.push(change("segments", "s", 1, set={"title": "Desk"}), seen=1)
    age(space, 99, 300)
    desk.pull()
    laptop.push(change("thoughts", "t", 1, delete=True), seen=desk.seen)
    age(space, 99, 200)
    assert purge() == ""
    [taken] = desk.push(change("conflicts", result["conflict"], set={"take": "client"}))
    assert taken["status"] == "applied"
    desk.pull()
    assert desk.records["segments", "s"]["title"] == "Desk"
    assert desk.records["thoughts", "t"]["title"] == "T"


def test_history_goes_only_where_a_limit_is_set(space: Space, laptop: Device, settings: Any) -> None:
    laptop.push(change("segments", "s", set={"content": "x"}), change("thoughts", "t", set={"title": "1"}))
    for number in range(2, 5):
        laptop.push(change("thoughts", "t", number - 1, set={"title": str(number)}))
    age(space, 3, 400)
    tasks.forget()
    assert History.objects.count() == 3
    settings.HISTORY_DAYS = 7  # never younger than the tombstones
    tasks.forget()
    assert SpaceHead.objects.get(space=space).history_before == 3
    shown = history.entries(space.pk, "thoughts", "t")
    assert [entry["changes"] for entry in shown] == [{"title": {"old": "3", "new": "4"}}]
    with pytest.raises(NotFound):
        history.record_at(space.pk, "thoughts", "t", 1)


def test_a_base_that_nobody_remembers_is_a_conflict_not_a_guess(
    space: Space, laptop: Device, desk: Device
) -> None:
    laptop.push(change("thoughts", "t", set={"description": "One. Two. Three."}))
    desk.pull()
    laptop.push(change("thoughts", "t", 1, set={"description": "Uno. Two. Three."}))
    laptop.push(change("thoughts", "t", 2, set={"description": "Uno. Dos. Three."}))
    age(space, 2, 400)
    purging.purge_history(300)
    [result] = desk.push(change("thoughts", "t", 1, set={"description": "One. Two. Tres."}))
    assert result["status"] == "conflict"
    assert result["record"]["description"] == "Uno. Dos. Three."
