"""Laptops that write at the same time, offline or not, end with the same records, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.client.lab import Laptop
    from tests.people import Member, People

Make = Callable[..., "Laptop"]


@pytest.fixture
def laptop(tmp_path: Path, people: People) -> Iterator[Make]:
    """Makes laptops: of eva, attached to the shared space, unless told otherwise."""
    from tests.client.lab import Laptop
    from workspaces import actions

    made: list[Laptop] = []

    def make(who: Member | None = None, *spaces: Any, **options: Any) -> Laptop:
        member = who or people.eva
        _, token = actions.issue_device(member.id, name=f"laptop {len(made)}", by=member.caller)
        path = options.pop("path", tmp_path / f"{len(made)}.sqlite3")
        one = Laptop(path, token, *(spaces or (people.space,)), **options)
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()


def test_what_one_writes_the_other_has(laptop: Make) -> None:
    a, b = laptop(), laptop()
    a.thought("t1", title="Memory", position_x=1.5, fields='{"mood": "calm"}')
    a.segment("s1", "t1", content="One. Two.")
    a.tag("tag_memory", "memory")
    a.link("t1", "tag_memory")
    assert a.synced().sent == 4
    assert b.synced().received == 4
    assert b.sql("SELECT title, position_x, fields FROM thoughts") == [("Memory", 1.5, '{"mood":"calm"}')]
    assert b.sql("SELECT content, created_at FROM segments") == [("One. Two.", "2025-09-20T10:00:00.000Z")]
    assert b.sql("SELECT thought_bubble_id, tag_id FROM thought_tags") == [("t1", "tag_memory")]
    assert a.records() == b.records()
    assert a.synced().received == 0
