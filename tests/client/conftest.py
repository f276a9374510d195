"""Gives the tests of the client a real server: one for all of them in a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client.serving import Lab
from tests.client.serving import lab as started


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Four people with a device and a space each (see tests/client/serving.py)."""
    with started() as made:
        yield made
