"""Killed at every named point of a push: what was acknowledged is there, once, and nothing by halves."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from tests.fuzz import checks, hands
from tests.fuzz.faults import POINTS, VICTIMS
from tests.fuzz.run import come_to_rest, sync
from tests.fuzz.server import Server
from tests.fuzz.world import Lost, World

pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.xdist_group("strikes")]
COMMITTED = {"before-announce": True, "before-answer": True}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with Server() as server:
        yield World.make(server, devices=3, spaces=1)


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("point", POINTS)
def test_a_push_that_is_struck_down_is_taken_once(world: World, point: str, victim: str) -> None:
    chance = Random(f"{point} {victim}")
    device, [space] = world.devices[0], world.spaces
    sync(world, device, space, chance)
    head = world.oracles[space].head
    while not device.copy_of(space).waiting():
        hands.work(device.copy_of(space), chance)
    push = world.next_push(device, space, chance)
    assert push is not None
    world.server.arm(point, victim)
    try:
        status = world.send(push).status_code
    except Lost:
        status = 0
    assert world.server.disarm()
    assert status in {0, 503} or (status == 200 and point in COMMITTED and victim == "database")
    world.server.until_ready()
    assert bool(world.server.change_sets(space, head)) == COMMITTED.get(point, False)
    world.settle(push)
    come_to_rest(world, chance)
    checks.all_of(world)
