"""Servers that forgot, were restored, or became others: what only a device still has is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.client.steps import in_step

if TYPE_CHECKING:
    from tests.client.lab import Laptop

Make = Callable[..., "Laptop"]


def purge() -> None:
    """Half a year goes by on the server."""
    from sync.purging import purge_tombstones

    assert purge_tombstones(-1)


@pytest.fixture
def another_key(settings: Any) -> Callable[[], None]:
    """The server runs with another secret key from now on: it cannot read the cursors it gave."""

    def change() -> None:
        settings.SECRET_KEY = "another " * 8

    return change


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Whether the server is of a later version, whose cursors this one does not know."""
    from sync.pull import cursors

    def change(later: bool) -> None:
        monkeypatch.setattr(cursors, "_VERSION", 2 if later else 1)

    return change


# Purged: deletions that nobody can tell of any more


def test_what_was_deleted_and_forgotten_goes_and_nothing_else(laptop: Make) -> None:
    a, b = laptop(), laptop()
    for number in range(3):
        a.thought(f"t{number}")
        a.segment(f"s{number}", f"t{number}")
    in_step(a, b)
    b.sql("DELETE FROM thoughts WHERE thought_bubble_id = 't0'")
    b.synced()
    purge()
    a.thought("t9", title="Unsent")
    a.sql("UPDATE thoughts SET title = 'Edited' WHERE thought_bubble_id = 't1'")
    report = a.sync()
    assert report.proved
    records = in_step(a, b)
    assert {id_ for _, id_ in records} == {"t1", "s1", "t2", "s2", "t9"}
    assert records["thoughts", "t1"]["title"] == "Edited"
    assert a.file.link(a.space).anew == ""


def test_what_was_typed_into_a_thought_whose_deletion_is_forgotten_keeps_the_thought(laptop: Make) -> None:
    a, b = laptop(), laptop()
    a.thought("t1", title="Kept")
    a.segment("s1", "t1", content="Old.")
    a.thought("t2")
    a.segment("s2", "t2", content="Old.")
    in_step(a, b)
    b.sql("DELETE FROM thoughts")
    b.synced()
    purge()
    a.segment("s3", "t1", content="Typed meanwhile.")
    a.sql("UPDATE segments SET content = 'Edited meanwhile.' WHERE segment_id = 's2'")
    in_step(a, b)
    assert b.sql("SELECT title FROM thoughts WHERE thought_bubble_id = 't1'") == [("Kept",)]
    assert {content for (content,) in b.sql("SELECT content FROM segments")} >= {
        "Typed meanwhile.",
        "Edited meanwhile.",
    }
    assert a.file.waiting() == []


# Restored


def test_a_text_that_the_restored_server_lost_is_kept_though_somebody_wrote_another(laptop: Make) -> None:
    from django.db import transaction

    a, b = laptop(), laptop()
    a.thought("t1", title="Old")
    in_step(a, b)
    backup = transaction.savepoint()
    a.sql("UPDATE thoughts SET title = 'Only on this laptop'")
    a.synced()
    transaction.savepoint_rollback(backup)
    for number in range(3):
        b.sql("UPDATE thoughts SET title = ?", f"Ben {number}")
        b.synced()
    in_step(a, b)
    assert a.sql("SELECT title FROM thoughts") == [("Ben 2",)]
    assert "Only on this laptop" in {one.get("title") for one in a.file.rescue()}


def test_an_edit_after_a_restore_of_a_record_that_looks_the_same_is_taken(laptop: Make) -> None:
    from django.db import transaction

    a, b = laptop(), laptop()
    a.thought("t1", title="Old")
    in_step(a, b)
    backup = transaction.savepoint()
    for title in ("New", "Old"):
        a.sql("UPDATE thoughts SET title = ?", title)
        a.synced()
    transaction.savepoint_rollback(backup)
    a.synced()
    a.sql("UPDATE thoughts SET title = 'After'")
    a.synced()
    assert a.file.waiting() == []
    assert in_step(a, b)["thoughts", "t1"]["title"] == "After"


def test_conflicts_that_a_restored_server_forgot_are_gone_and_others_open_again(laptop: Make) -> None:
    from django.db import transaction

    a, b = laptop(), laptop()
    for id_ in ("t1", "t2"):
        a.thought(id_, title="Old")
    in_step(a, b)

    def quarrel(id_: str) -> None:
        for one, title in ((a, "Ana"), (b, "Ben")):
            one.sql("UPDATE thoughts SET title = ? WHERE thought_bubble_id = ?", title, id_)
        in_step(a, b)

    quarrel("t1")
    (first,) = a.file.conflicts(a.space)
    backup = transaction.savepoint()
    a.file.resolve(a.space, first["id"], {"take": "client"})
    quarrel("t2")
    assert [one["record_id"] for one in a.file.conflicts(a.space)] == ["t2"]
    transaction.savepoint_rollback(backup)
    in_step(a, b)
    assert [one["record_id"] for one in a.file.conflicts(a.space)] == ["t1"]


def test_a_decision_that_was_not_sent_before_a_restore_is_put_aside(laptop: Make) -> None:
    from django.db import transaction

    a, b = laptop(), laptop()
    a.thought("t1", title="Old")
    in_step(a, b)
    backup = transaction.savepoint()
    for one, title in ((a, "Ana"), (b, "Ben")):
        one.sql("UPDATE thoughts SET title = ?", title)
    in_step(a, b)
    (conflict,) = a.file.conflicts(a.space)
    a.file.resolve(a.space, conflict["id"], {"set": {"title": "Words of a decision"}})
    transaction.savepoint_rollback(backup)
    in_step(a, b)
    assert "Words of a decision" in str(a.file.rescue())


# Foreign: restored elsewhere, with another secret key


@pytest.mark.parametrize("unsent", [True, False])
def test_a_server_restored_with_another_key_loses_nothing(
    unsent: bool, laptop: Make, another_key: Callable[[], None]
) -> None:
    from django.db import transaction

    a = laptop()
    a.thought("t1", title="Kept")
    a.thought("t3", title="Old")
    a.synced()
    backup = transaction.savepoint()
    a.sql("UPDATE thoughts SET title = 'Lost' WHERE thought_bubble_id = 't3'")
    a.thought("t2", title="Lost too")
    a.synced()
    transaction.savepoint_rollback(backup)
    another_key()
    if unsent:
        a.sql("UPDATE thoughts SET title = 'Unsent' WHERE thought_bubble_id = 't1'")
    a.sync()
    a.synced()
    assert a.records()["thoughts", "t1"]["title"] == ("Unsent" if unsent else "Kept")
    assert {one["title"] for one in a.file.rescue()} == {"Lost", "Lost too"}
    a.sql("UPDATE thoughts SET title = 'After' WHERE thought_bubble_id = 't3'")
    a.synced()
    assert a.file.waiting() == []


def test_another_key_alone_costs_nothing(laptop: Make, another_key: Callable[[], None]) -> None:
    a, b = laptop(), laptop()
    a.thought("t1")
    a.segment("s1", "t1")
    in_step(a, b)
    another_key()
    b.thought("t2")
    b.synced()
    a.sql("UPDATE segments SET content = 'Unsent.'")
    records = in_step(a, b)
    assert records["segments", "s1"]["content"] == "Unsent."
    assert a.file.rescue() == b.file.rescue() == []
    assert a.file.conflicts(a.space) == []


# Future: a server that went back to an earlier version


def test_a_server_of_an_earlier_version_is_asked_anew(laptop: Make, newer: Callable[[bool], None]) -> None:
    a, b = laptop(), laptop()
    newer(True)
    a.thought("t1")
    in_step(a, b)
    newer(False)
    b.sql("DELETE FROM thoughts")
    b.thought("t2")
    b.synced()
    a.thought("t3")
    records = in_step(a, b)
    assert {id_ for _, id_ in records} == {"t2", "t3"}
    assert [one["id"] for one in a.file.rescue()] == ["t1"]  # deleted, or forgotten: nobody can tell
