"""A space and two devices of its owner. (Imports are late: settings are chosen after this is read.)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.sync.devices import Device
    from workspaces.models import Space


@pytest.fixture
def space(db: Any) -> Space:
    from tests.sync.devices import make_space

    return make_space()


@pytest.fixture
def laptop(space: Space) -> Device:
    from tests.sync.devices import make_device

    return make_device(space, "laptop")


@pytest.fixture
def desk(space: Space) -> Device:
    from tests.sync.devices import make_device

    return make_device(space, "desk")
