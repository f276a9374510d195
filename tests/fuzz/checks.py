"""What must hold whatever happened."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx

from tests.fuzz.device import Device
from tests.fuzz.kinds import KINDS, Ref
from tests.fuzz.oracle import Space
from tests.fuzz.world import Broken, Push, World

_TOKEN = re.compile(r"[a-z]+[0-9a-f]{8}\b")


def take_in_order(
    world: World, space: str, pushes: list[tuple[Push, httpx.Response | None]], *, struck: bool
) -> None:
    """Pushes that ran at the same time: let the oracle take them in the order of their versions."""
    oracle = world.oracles[space]
    by_name = {push.device.name: (push, answer) for push, answer in pushes}
    made = world.server.change_sets(space, oracle.head)
    versions = {name: version for version, name in made}
    order: list[tuple[int, int, str]] = []
    new = world.server.receipts(space).keys() - oracle.receipts.keys() if struck else set()
    for name, (push, answer) in by_name.items():
        if answer is not None and answer.status_code >= 500 and (not struck or answer.status_code != 503):
            raise Broken(f"A push was answered {answer.status_code}: {answer.text}")
        if name in versions:
            order.append((versions[name], 0, name))
        elif answer is not None and answer.status_code == 200:
            order.append((answer.json()["version"], 1, name))
        elif any((push.device.person, change["change_id"]) in new for change in push.body["changes"]):
            order.append((oracle.head + len(made), 2, name))
    for version, unchanged, name in sorted(order):
        push, answer = by_name[name]
        answered = answer is not None and answer.status_code == 200
        if answered:
            assert answer is not None
            world.take_answer(push, answer)
        else:
            world.expect(push, None)
        if oracle.head != version and not unchanged:
            raise Broken(f"Version {version} belongs to {name}, but the oracle is at {oracle.head}")


def all_of(world: World) -> None:
    """Raises `Broken`."""
    for space in world.spaces:
        _versions_have_no_holes(world, space)
        _each_change_was_taken_once(world, space)
        owner = world.token_of(world.owner(space))
        world.compare_digest(owner, space)
        expected = world.oracles[space].sectors()
        for device in world.devices:
            if not device.retired and world.role(device, space):
                world.compare(device, space)
                if world.own_sectors(device, space) != expected:
                    raise Broken(f"{device.name} computes another digest of {space}")
        _nothing_written_is_lost(world, owner, space)
    _nobody_holds_what_is_not_theirs(world)


def _versions_have_no_holes(world: World, space: str) -> None:
    versions = [version for version, _ in world.server.change_sets(space)]
    if versions != list(range(1, world.oracles[space].head + 1)):
        raise Broken(f"The versions of {space} are {versions}")


def _each_change_was_taken_once(world: World, space: str) -> None:
    """Acknowledged: there, once. Never sent: not there."""
    expected = {key: outcome.version for key, (_, outcome) in world.oracles[space].receipts.items()}
    found = world.server.receipts(space)
    if expected != found:
        raise Broken(f"Receipts differ: {expected.items() ^ found.items()}")


def _nothing_written_is_lost(world: World, token: str, space: str) -> None:
    """Every word of every change that was taken can be read: in the record, its history or a conflict."""
    oracle = world.oracles[space]
    written = words_written(oracle)
    disputes = world.good(token, "GET", f"/api/v1/spaces/{space}/conflicts", params={"limit": 10000})
    for ref, words in written.items():
        history = _history(world, token, space, ref)
        missing = words - {*_TOKEN.findall(json.dumps(history))}
        if missing:
            missing -= {*_TOKEN.findall(json.dumps(disputes))}
        if missing:
            said = [
                (change, outcome)
                for change, outcome in oracle.receipts.values()
                if (change["type"], change["id"]) == ref and missing & {*_TOKEN.findall(json.dumps(change))}
            ]
            raise Broken(f"Of {ref} in {space} nobody can read {missing} any more, of {said}\n{history}")
    world.count("words found again", sum(map(len, written.values())))


def words_written(space: Space) -> dict[Ref, set[str]]:
    """The words of every change that was taken, here and before the record came here."""
    written = {ref: set(words) for ref, words in space.arrived.items()}
    for change, outcome in space.receipts.values():
        forgotten = outcome.version <= space.purged.get((change["type"], change["id"]), 0)
        if change["type"] in KINDS and not change.get("delete") and not forgotten:
            kind = KINDS[change["type"]]
            lasting = {name: value for name, value in change["set"].items() if name not in kind.layout}
            words = _TOKEN.findall(json.dumps(lasting))
            written.setdefault((change["type"], change["id"]), set()).update(words)
    return written


def _history(world: World, token: str, space: str, ref: tuple[str, str]) -> list[Any]:
    entries: list[Any] = []
    query = {"type": ref[0], "id": ref[1], "limit": "1000"}
    while True:
        page = world.good(token, "GET", f"/api/v1/spaces/{space}/history", params=query)
        entries += page["entries"]
        if page["cursor"] is None:
            return entries
        query["cursor"] = page["cursor"]


def _nobody_holds_what_is_not_theirs(world: World) -> None:
    for device in world.devices:
        for space in world.spaces:
            if not device.retired and not world.role(device, space) and _holds(device, space):
                raise Broken(f"{device.name} ({device.person}) still holds records of {space}")


def _holds(device: Device, space: str) -> bool:
    return bool(device.copy_of(space).records)
