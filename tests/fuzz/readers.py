"""Devices that take only a part of each space, by filters that they change at any time.

A reader never writes. Whatever the others do, once it has pulled to the end it holds just what its filter
chooses from the oracle's records, and nothing that it left behind.
"""

from __future__ import annotations

from random import Random
from typing import Any

from tests.fuzz.device import Copy, Device
from tests.fuzz.kinds import Ref
from tests.fuzz.oracle import sectors_of
from tests.fuzz.scopes import ALL, FOLLOWS, Scope, any_scope
from tests.fuzz.world import Broken, World


def read(world: World, reader: Device, space: str, chance: Random, *, to_the_end: bool = False) -> None:
    """Pull, perhaps with another filter than before, perhaps only some pages."""
    copy = reader.copy_of(space)
    scope: Scope = copy.scope or ALL
    query: list[tuple[str, str]] = []
    if copy.cursor is None or chance.random() < 0.3:
        scope = any_scope(chance)
        query = scope.query()
        world.count("filters changed")
    limit = chance.choice((2, 7, 50, 1000))
    while True:
        place = [("cursor", copy.cursor)] if copy.cursor else []
        pairs = [*query, *place, ("limit", str(limit))]
        answer = world.told(reader.token, "GET", f"/api/v1/spaces/{space}/changes", params=pairs)
        world.count("pulls through a filter")
        if world.is_refused(reader, space, answer):
            return
        if answer.status_code == 410:
            reason = answer.json()["reason"]
            if reason not in {"rolled-back", "purged"} or (reason == "rolled-back" and not world.restored):
                raise Broken(f"{reader.name} was told that its cursor is {reason}")
            reader.copies[space] = Copy()
            read(world, reader, space, chance, to_the_end=to_the_end)
            return
        if answer.status_code != 200:
            raise Broken(f"A pull was answered {answer.status_code}: {answer.text}")
        page = answer.json()
        for change in page["changes"]:
            _take(copy, change)
        copy.cursor, copy.seen, copy.scope = page["cursor"], page["head"], scope
        query = []
        if not page["more"]:
            break
        if not to_the_end and chance.random() < 0.15:
            return
    _compare(world, reader, space)


def _take(copy: Copy, change: dict[str, Any]) -> None:
    ref = (change["type"], change["id"])
    if change.get("deleted"):
        copy.records.pop(ref, None)
    elif change.get("out_of_scope"):
        _drop(copy, ref)
    else:
        copy.records[ref] = change["record"]


def _drop(copy: Copy, ref: Ref) -> None:
    """Drop a record, and all that follows it."""
    copy.records.pop(ref, None)
    below = [
        (type_, id_)
        for (type_, id_), record in copy.records.items()
        if type_ in FOLLOWS and (FOLLOWS[type_][0], record.get(FOLLOWS[type_][1])) == ref
    ]
    for it in below:
        _drop(copy, it)


def _compare(world: World, reader: Device, space: str) -> None:
    scope: Scope = reader.copy_of(space).scope
    expected = scope.chosen(world.oracles[space])
    world.compare(reader, space, expected)
    answer = world.good(reader.token, "GET", f"/api/v1/spaces/{space}/digest", params=scope.query())
    if answer["sectors"] != [f"{sector:016x}" for sector in sectors_of(expected.values())]:
        raise Broken(f"The digest of {space} through {scope} is not that of what it chooses")
    world.count("records seen through a filter", len(expected))
