"""A client in a few lines: it knows the protocol, keeps records in a dictionary, and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sync import push
from sync.pull import reading
from sync.pull.continuing import continued
from sync.pull.cursors import encode
from sync.push.announcing import answer
from workspaces.access import Caller
from workspaces.ids import uuid7
from workspaces.models import Device as DeviceRow
from workspaces.models import Membership, Person, Space, Workspace

Ref = tuple[str, str]


def change(type_: str, id_: str, base: int = 0, **what: Any) -> dict[str, Any]:
    return {"change_id": str(uuid7()), "type": type_, "id": id_, "base": base, **what}


@dataclass
class Device:
    """One installed client of one person, attached to one space."""

    caller: Caller
    space_id: UUID
    cursor: str | None = None
    epoch: str | None = None
    seen: int = 0
    records: dict[Ref, dict[str, Any]] = field(default_factory=dict)

    def push(self, *changes: dict[str, Any], seen: int | None = None) -> list[dict[str, Any]]:
        """Send changes and return their results."""
        body = {"epoch": self.epoch, "seen": self.seen if seen is None else seen, "changes": changes}
        stored = push.push(self.caller, self.space_id, json.dumps(body).encode())
        results: list[dict[str, Any]] = json.loads(answer(stored))["results"]
        return results

    def pull(self, limit: int = 1000) -> list[dict[str, Any]]:
        """Pull to the end and apply. Returns what came."""
        came = []
        while True:
            if self.cursor is None:
                head = reading.read_head(self.space_id)
                cursor = reading.start(self.space_id, head)
            else:
                cursor, head = continued(self.space_id, self.caller.device_id, self.cursor)
            page = reading.page(cursor, head.head, limit)
            for text in page.changes:
                found = json.loads(text)
                came.append(found)
                ref = (found["type"], found["id"])
                if found.get("deleted"):
                    self.records.pop(ref, None)
                else:
                    self.records[ref] = found["record"]
            self.cursor = encode(reading.dated(page.cursor))
            self.epoch = str(head.epoch)
            self.seen = page.cursor.version
            if not page.more:
                return came

    def version(self, type_: str, id_: str) -> int:
        version: int = self.records[type_, id_]["version"]
        return version


def make_space(name: str = "notes") -> Space:
    owner = Person.objects.create_user(f"{uuid7()}@lab.example")
    workspace = Workspace.objects.create(name="lab")
    Membership.objects.create(workspace=workspace, person=owner, role="member")
    return Space.objects.create(workspace=workspace, name=name, kind="private", owner=owner)


def make_device(space: Space, name: str = "laptop") -> Device:
    row = DeviceRow.objects.create(person=space.owner, name=name, token_hash=uuid7().bytes * 2)
    return Device(Caller(space.owner.pk, space.owner.email, row.pk), space.pk)
