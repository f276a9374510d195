"""What every reader of the feed relies on: its order, its cursor, and a digest of what lives."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from django.db import connection
from django.db.backends.utils import CursorWrapper

from sync import digest
from sync.problems import CursorExpired
from sync.pull import reading
from sync.pull.continuing import continued
from tests.sync.devices import Device, change
from workspaces.models import Space


def test_it_comes_in_the_order_of_the_versions_whatever_the_ids(laptop: Device, desk: Device) -> None:
    for number in range(30):
        laptop.push(
            change("thoughts", f"t{number}", set={"title": "T"}),
            change("tags", f"g{number}", set={"name": "G"}),
        )
    came = desk.pull(limit=3)
    versions = [found["version"] for found in came]
    assert versions == sorted(versions)
    assert len(desk.records) == 60


def test_a_first_pull_reads_each_row_once_however_often_its_connection_asked(
    laptop: Device, space: Space
) -> None:
    """PostgreSQL plans a statement that it was often asked for any values, not for these."""
    rows = 15_000
    for first in range(0, rows, 1000):
        laptop.push(
            *(
                change("thoughts", f"t{number}", set={"title": "x" * 900})
                for number in range(first, first + 1000)
            )
        )
    head = reading.read_head(space.pk)
    with connection.cursor() as db:
        db.execute("ANALYZE sync_thoughts")
        for _ in range(2):
            before = _rows_read(db)
            steps = reading.steps(reading.start(space.pk, head), head.head, None)
            assert sum(len(step.changes) for step in steps) == rows
            assert _rows_read(db) - before < 2 * rows


def _rows_read(db: CursorWrapper) -> int:
    db.execute("SELECT idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'sync_thoughts'")
    return int(db.fetchone()[0])


def test_a_cursor_that_somebody_changed_is_not_believed(laptop: Device) -> None:
    laptop.push(change("thoughts", "t", set={}))
    laptop.pull()
    assert laptop.cursor is not None
    raw = bytearray(urlsafe_b64decode(laptop.cursor + "=" * (-len(laptop.cursor) % 4)))
    for place in range(len(raw)):
        forged = bytearray(raw)
        forged[place] ^= 1
        with pytest.raises(CursorExpired) as refused:
            continued(laptop.space_id, laptop.caller.device_id, urlsafe_b64encode(forged).decode())
        assert refused.value.extra["reason"] == "foreign", place


def test_what_is_deleted_is_in_no_digest(laptop: Device, space: Space) -> None:
    laptop.push(change("thoughts", "t", set={}), change("segments", "s", set={"thought_id": "t"}))
    before = digest.digest(space.pk)
    laptop.push(change("tags", "g", set={"name": "G"}), change("segments", "s2", set={"thought_id": "t"}))
    assert digest.digest(space.pk).sectors != before.sectors
    laptop.push(change("tags", "g", 2, delete=True), change("segments", "s2", 2, delete=True))
    after = digest.digest(space.pk)
    assert (after.sectors, after.records) == (before.sectors, 2)
