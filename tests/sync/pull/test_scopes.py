"""Selective sync: a device that pulls a scope holds exactly what is in it, whatever happens."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from sync import digest
from sync.core.records import hash_of
from sync.core.schema import RECORD_TYPES
from sync.pull import reading
from sync.pull.continuing import continued
from sync.pull.cursors import encode
from sync.pull.scope import ALL, Scope
from tests.sync.devices import Device, change, make_device
from workspaces.models import Space

Ref = tuple[str, str]


class Reader:
    """A device that pulls a scope; what comes is all that it knows."""

    def __init__(self, device: Device, scope: Scope) -> None:
        self.device, self.scope = device, scope
        self.records: dict[Ref, dict[str, Any]] = {}
        self.cursor: str | None = None
        self.downloaded = 0
        self.named: list[str] = []

    def pull(self, limit: int = 1000) -> None:
        more = True
        while more:
            more = self.pull_page(limit)

    def pull_page(self, limit: int) -> bool:
        space = self.device.space_id
        if self.cursor is None:
            head = reading.read_head(space)
            cursor = reading.start(space, head, self.scope)
        else:
            cursor, head = continued(space, self.device.caller.device_id, self.cursor)
            cursor = reading.rescoped(cursor, self.scope)
        page = reading.page(cursor, head.head, limit)
        assert len(page.changes) <= limit
        for found in map(json.loads, page.changes):
            self.apply(found)
        self.cursor = encode(reading.dated(page.cursor))
        return page.more

    def apply(self, found: dict[str, Any]) -> None:
        ref = (found["type"], found["id"])
        if found.get("out_of_scope"):
            self.named.append(found["id"])
            for hanging in [ref, *self.hanging_on(ref)]:
                self.records.pop(hanging, None)
        elif found.get("deleted"):
            self.records.pop(ref, None)
        else:
            self.downloaded += 1
            self.records[ref] = found["record"]

    def hanging_on(self, ref: Ref) -> list[Ref]:
        below = []
        for (type_, id_), record in self.records.items():
            parents = RECORD_TYPES[type_].parents if type_ in RECORD_TYPES else {}
            if any((parent, record[name]) == ref for name, parent in parents.items()):
                below += [(type_, id_), *self.hanging_on((type_, id_))]
        return below

    def proof(self) -> str:
        total = 0
        for (type_, id_), record in self.records.items():
            if type_ != "conflicts":
                bare = {
                    name: value for name, value in record.items() if name not in ("type", "id", "version")
                }
                total ^= int.from_bytes(hash_of(type_, id_, bare))
        return f"{total:016x}"

    def thoughts(self) -> set[str]:
        return {id_ for type_, id_ in self.records if type_ == "thoughts"}

    def check(self) -> None:
        """What this device holds has the digest that the server computes for its scope."""
        assert self.proof() == digest.as_hex(digest.digest(self.device.space_id, self.scope).whole)


def tag(device: Device, thought: str, name: str) -> None:
    device.push(
        change("tags", name, set={"name": name}),
        change("thought_tags", f"{thought}/{name}", set={}),
    )


def make(device: Device, thought: str, **fields: Any) -> None:
    device.push(
        change("thoughts", thought, set={"title": thought, **fields}),
        change("segments", f"{thought}-s", set={"thought_id": thought, "content": "long"}),
        change("segment_fields", f"{thought}-f", set={"segment_id": f"{thought}-s", "name": "n"}),
    )


@pytest.fixture
def writer(laptop: Device) -> Device:
    for name in ("a", "b", "c"):
        make(laptop, name)
    tag(laptop, "a", "sleep")
    tag(laptop, "b", "dream")
    return laptop


def version_of(device: Device, type_: str, id_: str) -> int:
    device.pull()
    return device.version(type_, id_)


def test_a_scope_brings_its_thoughts_with_all_that_hangs_on_them(writer: Device, desk: Device) -> None:
    reader = Reader(desk, Scope(tags=("sleep",)))
    reader.pull()
    assert set(reader.records) == {
        ("thoughts", "a"), ("segments", "a-s"), ("segment_fields", "a-f"), ("thought_tags", "a/sleep"),
        ("tags", "sleep"), ("tags", "dream"),
    }  # fmt: skip
    reader.check()


def test_a_thought_that_comes_into_scope_arrives_whole(writer: Device, desk: Device) -> None:
    reader = Reader(desk, Scope(tags=("sleep",)))
    reader.pull()
    tag(writer, "c", "sleep")
    before = reader.downloaded
    reader.pull(limit=2)
    assert reader.thoughts() == {"a", "c"}
    assert reader.downloaded - before == 4  # the thought, its segment and field, the link; the tag was known
    reader.check()


def test_a_thought_that_leaves_is_named_once(writer: Device, desk: Device) -> None:
    reader = Reader(desk, Scope(tags=("sleep",)))
    reader.pull()
    writer.push(change("thought_tags", "a/sleep", version_of(writer, "thought_tags", "a/sleep"), delete=True))
    reader.pull()
    reader.pull()
    assert (reader.thoughts(), reader.named) == (set(), ["a"])
    reader.check()


def test_an_edit_of_what_is_in_scope_does_not_bring_all_of_it_again(writer: Device, desk: Device) -> None:
    reader = Reader(desk, Scope(tags=("sleep",), updated_after="2020-01-01T00:00:00.000000Z"))
    writer.push(change("thoughts", "a", 1, set={"updated_at": "2025-01-01T00:00:00Z"}))
    reader.pull()
    assert reader.thoughts() == {"a"}
    before = reader.downloaded
    writer.push(
        change(
            "thoughts",
            "a",
            version_of(writer, "thoughts", "a"),
            set={"title": "x", "updated_at": "2025-02-01T00:00:00Z"},
        )
    )
    writer.push(change("segments", "c-s", 3, set={"content": "not mine"}))
    reader.pull()
    assert reader.downloaded == before + 1
    reader.check()


def test_another_scope_does_not_download_again_what_is_there(writer: Device, desk: Device) -> None:
    reader = Reader(desk, Scope(tags=("sleep",)))
    reader.pull()
    before = reader.downloaded
    reader.scope = Scope(tags=("sleep", "dream"))
    reader.pull(limit=1)
    assert (reader.thoughts(), reader.downloaded - before) == ({"a", "b"}, 4)
    reader.check()
    reader.scope = Scope(tags=("dream",))
    reader.pull()
    assert (reader.thoughts(), reader.named, reader.downloaded - before) == ({"b"}, ["a"], 4)
    reader.check()
    reader.scope = ALL
    reader.pull()
    assert reader.thoughts() == {"a", "b", "c"}
    reader.check()
    reader.scope = Scope(clusters=("none",))
    reader.pull()
    assert reader.thoughts() == set()
    reader.check()


def test_a_change_of_scope_that_is_given_up_half_way_loses_nothing(writer: Device, desk: Device) -> None:
    reader = Reader(desk, ALL)
    reader.pull()
    reader.scope = Scope(tags=("sleep",))
    assert reader.pull_page(limit=1)
    assert reader.named
    reader.scope = ALL
    reader.pull()
    assert reader.thoughts() == {"a", "b", "c"}
    reader.check()


def test_moves_folded_in_the_history_do_not_hide_a_time_that_was_in_scope(
    writer: Device, desk: Device
) -> None:
    june = Scope(updated_after="2025-06-01T00:00:00.000000Z", updated_before="2025-07-01T00:00:00.000000Z")
    reader = Reader(desk, june)
    for month, thoughts in [("05", set()), ("06", {"a"}), ("07", set())]:
        moved = {"position_x": int(month), "updated_at": f"2025-{month}-15T00:00:00Z"}
        writer.push(change("thoughts", "a", version_of(writer, "thoughts", "a"), set=moved))
        reader.pull()
        assert reader.thoughts() == thoughts
        reader.check()
    assert reader.named == ["a"]


@pytest.mark.parametrize("seed", range(8))
def test_a_reader_of_any_scope_stays_equal_to_the_server(space: Space, laptop: Device, seed: int) -> None:
    """Random edits, scopes and page sizes: after each quiet pull both sides have one digest."""
    chance = random.Random(seed)
    scopes = [
        Scope(tags=("t0",)),
        Scope(tags=("t0", "t1"), clusters=("k0",)),
        Scope(clusters=("k1",)),
        Scope(updated_after="2025-03-01T00:00:00.000000Z"),
        Scope(tags=("t1",), updated_before="2025-06-01T00:00:00.000000Z"),
        Scope(updated_after="2025-03-01T00:00:00.000000Z", updated_before="2025-05-01T00:00:00.000000Z"),
        ALL,
    ]
    readers = [Reader(make_device(space, f"reader {n}"), scope) for n, scope in enumerate(scopes)]
    for _ in range(60):
        laptop.pull()
        laptop.push(*(_any_change(laptop, chance) for _ in range(chance.randint(1, 3))))
        reader = chance.choice(readers)
        if chance.random() < 0.3:
            reader.pull_page(chance.choice([1, 2, 3]))
        elif chance.random() < 0.2:
            reader.pull(chance.choice([1, 7]))
            reader.check()
        if chance.random() < 0.1:
            reader.scope = chance.choice(scopes)
            if chance.random() < 0.4:
                reader.pull_page(chance.choice([1, 2]))
            else:
                reader.pull(chance.choice([1, 2, 100]))
                reader.check()
    for reader in readers:
        reader.pull(chance.choice([1, 3, 100]))
        reader.check()


def _any_change(device: Device, chance: random.Random) -> dict[str, Any]:
    thought, segment = f"th{chance.randrange(6)}", f"s{chance.randrange(8)}"
    link = f"th{chance.randrange(6)}/t{chance.randrange(3)}"
    month = f"2025-{chance.randint(1, 9):02}-15T00:00:00Z"
    choices: list[tuple[str, str, dict[str, Any]]] = [
        ("thoughts", thought, {"title": str(chance.random()), "updated_at": month}),
        ("thoughts", thought, {"position_x": chance.random()}),
        ("thoughts", thought, {"position_x": chance.random(), "updated_at": month}),
        ("segments", segment, {"thought_id": thought, "cluster_id": f"k{chance.randrange(3)}"}),
        ("segments", segment, {"thought_id": thought, "content": str(chance.random())}),
        ("tags", f"t{chance.randrange(3)}", {"name": "tag"}),
        ("thought_tags", link, {}),
        ("thought_tags", link, {}),
        ("segment_fields", f"f{chance.randrange(5)}", {"segment_id": segment, "name": "n", "value": month}),
    ]
    type_, id_, fields = chance.choice(choices)
    known = device.records.get((type_, id_))
    if known and chance.random() < 0.25:
        return change(type_, id_, known["version"], delete=True)
    return change(type_, id_, known["version"] if known else 0, set=fields)
