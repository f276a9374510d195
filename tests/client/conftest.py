"""A real server for the tests of the client, and laptops of people in the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.client.serving import Lab
from tests.client.serving import lab as started

if TYPE_CHECKING:
    from tests.client.lab import Laptop
    from tests.people import Member, People


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Four people with a device and a space each (see tests/client/serving.py)."""
    with started() as made:
        yield made


@pytest.fixture
def laptop(tmp_path: Path, people: People) -> Iterator[Callable[..., Laptop]]:
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
