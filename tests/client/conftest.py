"""A real server for the tests of the client, and laptops of people in the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.client.machine import PASSWORD, Machine
from tests.client.serving import Lab
from tests.client.serving import lab as started
from tests.logomesh_server.processes import Serving, manage

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


@pytest.fixture(scope="session")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """`manage.py serve`, with ana, who manages a workspace, and ben, who is in it."""
    made = Serving(tmp_path_factory.mktemp("served") / "data").until_ready()
    for name in ("ana", "ben"):
        role = ("--workspace", "Lab", "--role", "manager" if name == "ana" else "member")
        done = manage(made.data, "account", f"{name}@lab.example", *role, "--password-stdin", given=PASSWORD)
        assert done.returncode == 0, done.stderr
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def machine(serving: Serving, tmp_path: Path) -> Iterator[Any]:
    """Makes machines on which somebody is signed in."""

    def made(name: str, person: str = "ana") -> Machine:
        home = tmp_path / name
        home.mkdir()
        one = Machine(home, serving.url)
        one.run("login", serving.url, "--name", "lab", "--email", f"{person}@lab.example", "--password-stdin",
                "--device", name, given=PASSWORD + "\n")  # fmt: skip
        return one

    return made
