"""Served installations: one that is new, as its first user finds it, and one that several files share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from logomesh_server.folder import Places
from tests.logomesh_server.processes import Serving, none_left
from tests.pages.lab import Lab, make_lab


@contextmanager
def _serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    data = tmp_path_factory.mktemp("served") / "data"
    serving = Serving(data).until_ready()
    yield serving
    serving.end()
    shutil.rmtree(Places.of(data).run, ignore_errors=True)
    assert none_left(data)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with _serving(tmp_path_factory) as serving:
        yield serving


@pytest.fixture
def first_link(served: Serving) -> str:
    """The link that `make run` prints on the first start."""
    return served.said.split("the link works once:\n")[1].split()[0]


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server that takes a while to start, for all files that need a lab and no new installation.

    They are one group of pytest-xdist, so that one worker starts it.
    """
    with _serving(tmp_path_factory) as serving:
        yield serving


@pytest.fixture(scope="module")
def lab(shared_server: Serving, request: pytest.FixtureRequest) -> Lab:
    """A lab that no other file knows, on the shared server."""
    return make_lab(shared_server, request.module.__name__.rpartition("_")[2])


@pytest.fixture
def errors() -> Iterator[list[str]]:
    """What a page's scripts did wrong; none may be left."""
    found: list[str] = []
    yield found
    assert found == []
