"""A served installation, new, as its first user finds it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from logomesh_server.folder import Places
from tests.logomesh_server.processes import Serving, none_left


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    data = tmp_path_factory.mktemp("served") / "data"
    serving = Serving(data).until_ready()
    yield serving
    serving.end()
    shutil.rmtree(Places.of(data).run, ignore_errors=True)
    assert none_left(data)


@pytest.fixture
def first_link(served: Serving) -> str:
    """The link that `make run` prints on the first start."""
    return served.said.split("the link works once:\n")[1].split()[0]
