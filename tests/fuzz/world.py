"""One run: a server, people with devices, and for each space the oracle of what it must hold.

Every request is made here, and what came of it is held against the oracle at once.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx

from tests.fuzz.device import Copy, Device
from tests.fuzz.kinds import Ref
from tests.fuzz.oracle import GONE, Conflict, Outcome, Space, sector_of, sectors_of
from tests.fuzz.server import Server

MAY_WRITE = ("editor", "owner")
MANAGER = "ana"
"""Of the workspace. Knows of its spaces, and has a role in none."""


class Broken(AssertionError):
    """An invariant does not hold."""


class Lost(Exception):
    """No answer came."""


@dataclass
class Push:
    """A push on its way."""

    device: Device
    space: str
    body: dict[str, Any]
    token: str


@dataclass
class Memory:
    """What the server knew when it was backed up."""

    oracles: dict[str, Space]
    roles: dict[str, dict[str, str]]
    known: set[str]


@dataclass
class World:
    server: Server
    spaces: list[str]
    devices: list[Device]
    readers: list[Device]
    """They only read, through filters."""
    oracles: dict[str, Space]
    roles: dict[str, dict[str, str]]
    """Space -> person -> role"""
    once_had: set[tuple[str, str]] = field(default_factory=set)
    """(space, person) that lost access."""
    old_copies: dict[str, tuple[Device, dict[str, Copy]]] = field(default_factory=dict)
    """Backups that users made of their own files, by token."""
    delayed: list[Push] = field(default_factory=list)
    backup: Memory | None = None
    restored: bool = False
    counts: dict[str, int] = field(default_factory=dict)

    @classmethod
    def make(cls, server: Server, devices: int, spaces: int) -> World:
        made = server.prepare(devices, spaces)
        names = made["spaces"]
        owners = {space: ("eva" if number % 2 == 0 else "ben") for number, space in enumerate(names)}
        world = cls(
            server,
            names,
            [Device(name, person, token) for person, name, token in made["devices"]],
            [Device(name, person, token) for person, name, token in made["readers"]],
            {space: Space() for space in names},
            {space: {owners[space]: "owner"} for space in names},
        )
        for number, space in enumerate(names):
            world.share(space, "ben" if owners[space] == "eva" else "eva", "editor")
            world.share(space, "cai", "viewer" if number % 2 else "editor")
        return world

    def count(self, what: str, times: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + times

    # Asking

    def ask(self, token: str, method: str, path: str, **more: Any) -> httpx.Response:
        """Raises `Lost` where no answer comes."""
        try:
            answer = self.server.http.request(
                method, path, headers={"Authorization": f"Token {token}"}, **more
            )
        except httpx.HTTPError as error:
            raise Lost from error
        self.count("requests")
        return answer

    def told(self, token: str, method: str, path: str, **more: Any) -> Any:
        """The answer, in times in which nothing is broken."""
        answer = self.ask(token, method, path, **more)
        if answer.status_code >= 500:
            raise Broken(
                f"{method} {path} answered {answer.status_code}: {answer.text}\n{self.server.said()}"
            )
        return answer

    def good(self, token: str, method: str, path: str, **more: Any) -> Any:
        answer = self.told(token, method, path, **more)
        if answer.status_code >= 400:
            raise Broken(f"{method} {path} answered {answer.status_code}: {answer.text}")
        return answer.json() if answer.content else None

    # People

    def role(self, device: Device, space: str) -> str | None:
        return self.roles[space].get(device.person)

    def token_of(self, person: str) -> str:
        return next(it.token for it in self.devices if it.person == person and not it.retired)

    def owner(self, space: str) -> str:
        return next(person for person, role in self.roles[space].items() if role == "owner")

    def share(self, space: str, person: str, role: str | None) -> None:
        """Give somebody a role, or take it away."""
        path = f"/api/v1/spaces/{space}/roles/{person}@lab.example"
        token = self.token_of(self.owner(space))
        if role is None:
            self.good(token, "DELETE", path)
            self.roles[space].pop(person)
            self.once_had.add((space, person))
        else:
            self.good(token, "PUT", path, json={"role": role})
            self.roles[space][person] = role
            self.once_had.discard((space, person))

    def is_refused(self, device: Device, space: str, answer: httpx.Response) -> bool:
        """Whether the server turned the device away, as it must where it has no access.

        The device then puts its unpushed work aside and drops its copy.
        """
        if answer.status_code == 401:
            if device.retired:
                return True
            raise Broken(f"{device.name} was not let in: {answer.text}")
        if answer.status_code == 404:
            if self.role(device, space) is not None:
                raise Broken(f"{device.name} ({device.person}) does not find its space: {answer.text}")
            kind = answer.json()["type"].rpartition("/")[2]
            expected = "access-revoked" if (space, device.person) in self.once_had else "not-found"
            if kind != expected:
                raise Broken(f"{device.person} was told {kind} of a space, not {expected}")
            device.put_aside(space)
            return True
        if answer.status_code == 403 and device.person == MANAGER and self.role(device, space) is None:
            if answer.json()["type"] != "/problems/no-role":
                raise Broken(f"The manager was told {answer.text}")
            device.put_aside(space)
            return True
        if self.role(device, space) is None and answer.status_code < 400:
            raise Broken(
                f"{device.name} ({device.person}) was given a space that is not theirs: {answer.text}"
            )
        return False

    # Pushing

    def next_push(self, device: Device, space: str, chance: Random) -> Push | None:
        copy = device.copy_of(space)
        if not copy.waiting():
            return None
        body = copy.push_body(chance, chance.choice((1, 5, 20, 50)))
        return Push(device, space, body, device.token) if body["changes"] else None

    def send(self, push: Push) -> httpx.Response:
        self.count("pushes")
        return self.ask(push.token, "POST", f"/api/v1/spaces/{push.space}/changes", json=push.body)

    def deliver(self, push: Push, *, heard: bool = True) -> None:
        """Send a push and hold the answer against the oracle; `heard`: whether the device gets it."""
        answer = self.send(push)
        if answer.status_code >= 500:
            raise Broken(f"A push was answered {answer.status_code}: {answer.text}\n{self.server.said()}")
        self.take_answer(push, answer, heard=heard)

    def take_answer(self, push: Push, answer: httpx.Response, *, heard: bool = True) -> None:
        if self.is_refused(push.device, push.space, answer):
            return
        copy = push.device.copy_of(push.space)
        if answer.status_code == 403:
            if self.role(push.device, push.space) != "viewer":
                raise Broken(f"{push.device.person} may write, but was told {answer.text}")
            copy.aside += [copy.drafts, copy.sent]
            copy.drafts, copy.sent = {}, {}
            return
        if answer.status_code == 410:
            if not self.knows_another_life(push):
                raise Broken(f"A push was refused as {answer.text}")
            return
        if answer.status_code != 200:
            raise Broken(f"A push was answered {answer.status_code}: {answer.text}")
        if self.role(push.device, push.space) not in MAY_WRITE:
            raise Broken(f"A push of {push.device.person}, who may not write, was taken")
        found = answer.json()
        self.expect(push, found)
        if heard:
            copy.take_results(push.body, found["results"])

    def knows_another_life(self, push: Push) -> bool:
        return self.restored and (
            push.body["seen"] > self.oracles[push.space].head
            or push.body.get("epoch") != self.epoch(push.space)
        )

    def epoch(self, space: str) -> str:
        return str(self.server.asked("SELECT epoch FROM sync_spacehead WHERE space_id = %s", space)[0][0])

    def expect(self, push: Push, answer: dict[str, Any] | None) -> None:
        """Let the oracle take a push that the server has taken, and compare what came of it."""
        oracle = self.oracles[push.space]
        before = oracle.head
        version, outcomes = oracle.push(push.device.person, push.body["seen"], push.body["changes"])
        results = answer["results"] if answer else []
        self._expect_statuses(push, outcomes, results)
        if version > before:
            self.bind(push.space)
        if answer is None:
            return
        wrong = [] if answer["version"] == version else [f"version {answer['version']}, not {version}"]
        for change, outcome, result in zip(push.body["changes"], outcomes, results, strict=True):
            wrong += [f"{line} in {result} for {change}" for line in _differences(oracle, outcome, result)]
            self.count(f"changes {outcome.error or outcome.status}")
        if wrong:
            raise Broken(_said(push) + "\n".join(wrong))

    def _expect_statuses(self, push: Push, outcomes: list[Outcome], results: list[dict[str, Any]]) -> None:
        for change, outcome, result in zip(push.body["changes"], outcomes, results, strict=bool(results)):
            expected = (outcome.status, outcome.error)
            if expected != (result["status"], result.get("error", {}).get("type", "")):
                record = self.oracles[push.space].records.get((change["type"], change["id"]))
                raise Broken(
                    f"{_said(push)}expected {expected} for {change}\nbut got {result}\n{outcome}\n{record}"
                )

    def bind(self, space: str) -> None:
        """Learn what the server calls the conflicts of the last push."""
        oracle = self.oracles[space]
        known = {conflict.id for conflict in oracle.conflicts}
        unnamed = [conflict for conflict in oracle.conflicts if not conflict.id]
        if not unnamed:
            return
        for id_, type_, record, kind, version, proposal in self.server.conflicts(space):
            if id_ in known or version > oracle.head:  # of a push that the oracle takes after this one
                continue
            match = next((it for it in unnamed if (it.ref, it.kind) == ((type_, record), kind)), None)
            if match is None:
                raise Broken(
                    f"Nobody expected a conflict of kind {kind} about {type_} {record}: "
                    f"{self.server.asked('SELECT fields, version FROM sync_conflicts WHERE id = %s', id_)}"
                    f" {oracle.records.get((type_, record))} {unnamed}"
                )
            match.id, match.proposal = id_, proposal
            unnamed.remove(match)
        if unnamed:
            raise Broken(f"These conflicts are missing: {unnamed}")

    def settle(self, push: Push) -> None:
        """After a push without an answer: let the oracle take it if the database has it."""
        oracle = self.oracles[push.space]
        receipts = self.server.receipts(push.space)
        mine = [(push.device.person, change["change_id"]) for change in push.body["changes"]]
        new = [key for key in mine if key in receipts and key not in oracle.receipts]
        if self.server.change_sets(push.space, oracle.head) or new:
            self.expect(push, None)
            self.count("pushes found committed")

    # Pulling

    def pull(self, device: Device, space: str, chance: Random, between: Any = None) -> bool:
        """Pull to the end and compare with the oracle. Returns whether the device has access."""
        copy = device.copy_of(space)
        old = copy.records if copy.cursor is None else {}
        came: set[Any] = set()
        limit = chance.choice((2, 7, 50, 1000))
        first = copy.cursor is None
        while True:
            query = {"limit": str(limit)} | ({"cursor": copy.cursor} if copy.cursor else {})
            answer = self.told(device.token, "GET", f"/api/v1/spaces/{space}/changes", params=query)
            self.count("pulls")
            if self.is_refused(device, space, answer):
                return False
            if answer.status_code == 410:
                self._expired(device, space, answer.json()["reason"], chance)
                return True
            if answer.status_code != 200:
                raise Broken(f"A pull was answered {answer.status_code}: {answer.text}")
            page = answer.json()
            self._check_order(page, space)
            for change in page["changes"]:
                came.add((change["type"], change["id"]))
                if first and change.get("deleted") and change["version"] <= copy.seen:
                    raise Broken(f"A first pull carried a tombstone: {change}")
                if (wrong := copy.take_change(change)) and not self.restored:
                    raise Broken(f"{device.name}: {wrong}")
            copy.cursor, copy.epoch = page["cursor"], page["epoch"]
            if not page["more"]:
                break
            if between is not None:
                between()
        copy.seen = page["head"]
        if first:
            copy.records = {
                ref: record for ref, record in copy.records.items() if ref in came or ref not in old
            }
        if self.restored:
            self.repair(device, space)
        self.compare(device, space)
        return True

    def repair(self, device: Device, space: str) -> None:
        """Compare with the digest, sector by sector, as clients do when they are idle.

        After the server was restored it is what finds an acknowledged push that is gone, where the
        device had pulled nothing since.
        """
        copy = device.copy_of(space)
        address = f"/api/v1/spaces/{space}"
        answer = self.good(device.token, "GET", f"{address}/digest")
        for number, own in enumerate(self.own_sectors(device, space)):
            if f"{own:016x}" == answer["sectors"][number]:
                continue
            self.count("sectors repaired")
            listed = self.good(device.token, "GET", f"{address}/digest", params={"sector": str(number)})[
                "records"
            ]
            ids = [[type_, id_] for type_, id_, _, _ in listed]
            fetched = self.good(device.token, "POST", f"{address}/changes/fetch", json={"ids": ids})[
                "changes"
            ]
            copy.records = {
                ref: record
                for ref, record in copy.records.items()
                if ref[0] == "conflicts" or sector_of(*ref) != number
            }
            copy.records.update({(it["type"], it["id"]): it["record"] for it in fetched})
        found = self.good(device.token, "GET", f"{address}/conflicts", params={"limit": "10000"})["conflicts"]
        copy.records = {ref: record for ref, record in copy.records.items() if ref[0] != "conflicts"}
        copy.records.update({("conflicts", it["id"]): it for it in found})

    def _check_order(self, page: dict[str, Any], space: str) -> None:
        versions = [change["version"] for change in page["changes"]]
        if versions != sorted(versions) or (versions and versions[-1] > self.oracles[space].head):
            raise Broken(f"A page came out of order or from the future: {versions}")

    def _expired(self, device: Device, space: str, reason: str, chance: Random) -> None:
        copy = device.copy_of(space)
        self.count(f"cursors {reason}")
        if reason == "cloned" and device.shares_identity:
            name = f"{device.name.partition('+')[0]}+{self.counts['cursors cloned']}"
            answer = self.good(device.token, "POST", "/api/v1/devices", json={"name": name})
            device.made_by = {*device.made_by, device.name}
            device.token, device.name = answer["token"], name
            self.pull(device, space, chance)
        elif reason == "purged" or (reason == "rolled-back" and self.restored):
            copy.begin_anew()
            self.pull(device, space, chance)
            copy.rebase()
        else:
            raise Broken(f"{device.name} was told that its cursor is {reason}")

    def compare(self, device: Device, space: str, expected: dict[Ref, dict[str, Any]] | None = None) -> None:
        """A device that has pulled to the end holds just what the oracle says, version for version.

        `expected` is all of it, unless the device takes only a part.
        """
        oracle, copy = self.oracles[space], device.copy_of(space)
        if copy.seen != oracle.head:
            raise Broken(f"{device.name} pulled up to {copy.seen}, but the head is {oracle.head}")
        if expected is None:
            expected = {record.ref: record.in_feed_form() for record in oracle.live()}
        found = {ref: record for ref, record in copy.records.items() if ref[0] != "conflicts"}
        if expected != found:
            raise Broken(f"{device.name}'s copy of {space} at {copy.seen}:\n" + _unequal(expected, found))
        disputes = {it.id: _shown(it) for it in oracle.conflicts}
        seen = {
            id_: (
                it["record_type"],
                it["record_id"],
                it["kind"],
                it["state"],
                it["version"],
                _sides(it["fields"]),
            )
            for (type_, id_), it in copy.records.items()
            if type_ == "conflicts"
        }
        if disputes != seen:
            raise Broken(f"{device.name}'s conflicts of {space}:\n" + _unequal(disputes, seen))

    def compare_digest(self, token: str, space: str) -> None:
        """The server's digest against the oracle's."""
        answer = self.good(token, "GET", f"/api/v1/spaces/{space}/digest")
        expected = [f"{sector:016x}" for sector in self.oracles[space].sectors()]
        if answer["sectors"] != expected or answer["version"] != self.oracles[space].head:
            raise Broken(f"The digest of {space} differs at version {answer['version']}")

    def own_sectors(self, device: Device, space: str) -> list[int]:
        records = device.copy_of(space).records.values()
        return sectors_of(record for record in records if record["type"] != "conflicts")

    # The server's past

    def back_up(self) -> None:
        self.server.back_up()
        known = {device.token for device in self.devices}
        self.backup = Memory(deepcopy(self.oracles), deepcopy(self.roles), known)

    def restore(self) -> None:
        """The server is as it was at the backup; tokens that it gave since are unknown to it."""
        assert self.backup is not None
        self.server.restore()
        self.oracles, self.roles = deepcopy(self.backup.oracles), deepcopy(self.backup.roles)
        self.once_had = self._lost_in_database()
        for device in self.devices:
            if device.token not in self.backup.known:
                device.retired = device.retired or "its token was made after the backup"
        self.restored = True

    def _lost_in_database(self) -> set[tuple[str, str]]:
        rows = self.server.asked(
            "SELECT l.space_id::text, split_part(p.email, '@', 1) FROM workspaces_lostaccess l"
            " JOIN workspaces_person p ON p.id = l.person_id"
        )
        return set(rows)


def _said(push: Push) -> str:
    return f"{push.device.name} pushed into {push.space}, seen {push.body['seen']}:\n"


def _differences(oracle: Space, outcome: Outcome, result: dict[str, Any]) -> list[str]:
    """In what the server's result differs from the outcome that the oracle expects."""
    wrong = []
    if result["status"] != outcome.status:
        wrong.append(f"status is not {outcome.status} {outcome.error}")
    elif outcome.status == "rejected":
        if result["error"]["type"] != outcome.error:
            wrong.append(f"error is not {outcome.error}")
    else:
        if result["version"] != outcome.version:
            wrong.append(f"version is not {outcome.version}")
        shows = outcome.status in ("merged", "conflict", "duplicate") and outcome.ref in oracle.records
        expected = _shown_record(oracle, outcome) if shows else None
        if result.get("record") != expected:
            wrong.append(f"record is not {expected}")
        if result.get("conflict") != (outcome.conflict.id if outcome.conflict else None):
            wrong.append(f"conflict is not {outcome.conflict}")
    return wrong


def _shown_record(oracle: Space, outcome: Outcome) -> dict[str, Any]:
    assert outcome.ref is not None
    record = oracle.records[outcome.ref]
    if record.died:
        return {"type": record.ref[0], "id": record.ref[1], "version": record.version, "deleted": True}
    return record.in_feed_form()


def _shown(conflict: Conflict) -> tuple[Any, ...]:
    return (*conflict.ref, conflict.kind, conflict.state, conflict.version, _sides(conflict.fields))


def _sides(fields: dict[str, dict[str, Any]]) -> str:
    """A conflict's sides, to compare; what a side does not have is left out, as in the feed."""
    shown = {
        path: {side: value for side, value in sides.items() if side == "base" or value is not GONE}
        for path, sides in fields.items()
    }
    return json.dumps(shown, sort_keys=True, default=lambda _: None)


def _unequal(expected: dict[Any, Any], found: dict[Any, Any]) -> str:
    lines = [f"missing: {key} {expected[key]}" for key in expected.keys() - found.keys()]
    lines += [f"not expected: {key} {found[key]}" for key in found.keys() - expected.keys()]
    lines += [
        f"{key}:\n  expected {expected[key]}\n  found    {found[key]}"
        for key in expected.keys() & found.keys()
        if expected[key] != found[key]
    ]
    return "\n".join(lines[:20])
