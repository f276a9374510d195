"""A simulated client: what it pulled, what its user changed since, and how it takes the server's answers.

It keeps every promise that the protocol asks of a client, and nothing more. It does no I/O.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from tests.fuzz.kinds import KINDS, Ref
from tests.fuzz.oracle import GONE

ORDER = {name: number for number, name in enumerate(KINDS)}


@dataclass
class Draft:
    """What the user changed in one record and nobody has sent yet."""

    base: int
    patch: dict[str, Any] = field(default_factory=dict)
    delete: bool = False


@dataclass
class Copy:
    """A device's copy of one space."""

    cursor: str | None = None
    epoch: str | None = None
    seen: int = 0
    records: dict[Ref, dict[str, Any]] = field(default_factory=dict)
    drafts: dict[Ref, Draft] = field(default_factory=dict)
    sent: dict[Ref, dict[str, Any]] = field(default_factory=dict)
    """Changes whose answer is not known: sent again, just as they were, before any other of the record."""
    aside: list[Any] = field(default_factory=list)
    """Work that the server did not take, for its owner to look at."""
    scope: Any = None
    """The filter through which it was last pulled (`tests.fuzz.scopes.Scope`); None for all."""
    gone: list[Ref] = field(default_factory=list)
    """What the user deleted here."""

    # The user

    def edit(self, ref: Ref, patch: dict[str, Any]) -> None:
        draft = self._draft(ref)
        draft.delete = False
        draft.patch.update(patch)

    def resolve(self, ref: Ref, base: int, decision: dict[str, Any]) -> None:
        self.drafts[ref] = Draft(base, decision)

    def delete(self, ref: Ref) -> None:
        self.gone.append(ref)
        draft = self._draft(ref)
        if draft.base == 0 and ref not in self.records and ref not in self.sent:
            del self.drafts[ref]  # nobody ever heard of it
            return
        draft.patch, draft.delete = {}, True

    def _draft(self, ref: Ref) -> Draft:
        base = self.sent[ref]["base"] if ref in self.sent else self.records.get(ref, {}).get("version", 0)
        return self.drafts.setdefault(ref, Draft(base))

    def view(self) -> dict[Ref, dict[str, Any]]:
        """What the user sees: path -> value of each record that is there."""
        seen = {ref: paths_of(record) for ref, record in self.records.items() if ref[0] in KINDS}
        for ref, change in self.sent.items():
            self._show(seen, ref, change.get("delete", False), change["patch"])
        for ref, draft in self.drafts.items():
            self._show(seen, ref, draft.delete, draft.patch)
        return seen

    @staticmethod
    def _show(seen: dict[Ref, dict[str, Any]], ref: Ref, delete: bool, patch: dict[str, Any]) -> None:
        if ref[0] not in KINDS:
            return
        if delete:
            seen.pop(ref, None)
        else:
            values = seen.setdefault(ref, {})
            values.update(patch)
            for path in [path for path, value in values.items() if value is GONE]:
                del values[path]

    def open_conflicts(self) -> list[dict[str, Any]]:
        return [
            record
            for (type_, id_), record in self.records.items()
            if type_ == "conflicts"
            and record["state"] == "open"
            and (type_, id_) not in self.drafts
            and (type_, id_) not in self.sent
        ]

    # Pushing

    def waiting(self) -> bool:
        return bool(self.drafts or self.sent)

    def push_body(self, chance: Random, limit: int) -> dict[str, Any]:
        """The next push: what was sent before without an answer, then drafts, parents first."""
        ready = [ref for ref in self.drafts if ref not in self.sent and not self._is_busy(ref)]
        ready.sort(key=lambda ref: (self.drafts[ref].delete, ORDER.get(ref[0], 99)))
        for ref in ready[: max(0, limit - len(self.sent))]:
            draft = self.drafts.pop(ref)
            self.sent[ref] = {
                "change_id": str(UUID(int=chance.getrandbits(128), version=4)),
                "type": ref[0],
                "id": ref[1],
                "base": draft.base,
                "delete": draft.delete,
                "patch": draft.patch,
                "unset_nulls": chance.random() < 0.5,
            }
        body: dict[str, Any] = {"seen": self.seen, "changes": [on_the_wire(it) for it in self.sent.values()]}
        if self.epoch is not None:
            body["epoch"] = self.epoch
        return body

    def _is_busy(self, ref: Ref) -> bool:
        """A decision changes its conflict's record: it waits until no edit of that is on its way."""
        if ref[0] != "conflicts" or (conflict := self.records.get(ref)) is None:
            return False
        target = (conflict["record_type"], conflict["record_id"])
        return target in self.sent or target in self.drafts

    def take_results(self, body: dict[str, Any], results: list[dict[str, Any]]) -> None:
        for change, result in zip(body["changes"], results, strict=True):
            ref = (change["type"], change["id"])
            sent = self.sent.pop(ref, None)
            if sent is None:
                continue  # a second answer to the same push
            if result["status"] == "rejected":
                self.aside.append((sent, result["error"]["type"], self.drafts.pop(ref, None)))
            elif result["status"] == "applied":
                self._applied(ref, sent, result["version"])
            else:
                self._take_record(ref, result.get("record"))

    def _applied(self, ref: Ref, sent: dict[str, Any], version: int) -> None:
        if sent["delete"]:
            self.records.pop(ref, None)
        elif ref[0] in KINDS:
            record = with_patch(self.records.get(ref) or empty(ref), sent["patch"])
            self.records[ref] = {**record, "version": version}
        if ref in self.drafts:
            self.drafts[ref].base = version

    def _take_record(self, ref: Ref, record: dict[str, Any] | None) -> None:
        if record is None:
            return
        if record.get("deleted"):
            self.records.pop(ref, None)
        else:
            self.records[ref] = record

    # Pulling

    def take_change(self, change: dict[str, Any]) -> str | None:
        """Apply one change of the feed. Returns what is wrong with it, if anything."""
        ref = (change["type"], change["id"])
        known = self.records.get(ref)
        if change.get("deleted"):
            self.records.pop(ref, None)
            return None
        record = change["record"]
        self.records[ref] = record
        if known is not None and known["version"] == change["version"] and known != record:
            return f"{ref} at version {change['version']} is {record}, but the device was told {known}"
        return None

    def begin_anew(self) -> dict[Ref, dict[str, Any]]:
        """Forget the cursor; what the pull does not bring is dropped at its end."""
        old, self.records = self.records, {}
        self.cursor = self.epoch = None
        self.seen = 0
        return old

    def rebase(self) -> None:
        """After the server was restored: no draft stands on a version that is gone."""
        for ref, draft in self.drafts.items():
            draft.base = min(draft.base, self.records.get(ref, {}).get("version", 0))


@dataclass
class Device:
    name: str
    person: str
    token: str
    copies: dict[str, Copy] = field(default_factory=dict)
    """By space."""
    shares_identity: bool = False
    """Its token and cursor were copied, or its file was restored: the server may call it a clone."""
    made_by: set[str] = field(default_factory=set)
    """Names of the devices by whose token it got its own: it ends with each of them."""
    retired: str = ""
    """Why it takes no further part."""
    offline: int = 0
    """For how many more steps it has no network."""

    def copy_of(self, space: str) -> Copy:
        return self.copies.setdefault(space, Copy())

    def put_aside(self, space: str) -> None:
        """Access was taken away: keep the unpushed work where its owner finds it, drop the copy."""
        copy = self.copy_of(space)
        self.copies[space] = Copy(aside=[*copy.aside, copy.drafts, copy.sent])

    def twin(self, name: str) -> Device:
        self.shares_identity = True
        return Device(
            name, self.person, self.token, deepcopy(self.copies), shares_identity=True, made_by=self.made_by
        )


def on_the_wire(change: dict[str, Any]) -> dict[str, Any]:
    head = {name: change[name] for name in ("change_id", "type", "id", "base")}
    if change["delete"]:
        return {**head, "delete": True}
    to_set: dict[str, Any] = {}
    unset = []
    for path, value in change["patch"].items():
        name, dot, key = path.partition(".")
        if value is GONE or (value is None and not dot and change["unset_nulls"]):
            unset.append(key if name == "extra" else path)
        elif not dot:
            to_set[name] = value
        elif name == "extra":
            to_set[key] = value
        else:
            to_set.setdefault(name, {})[key] = value
    return {**head, "set": to_set, **({"unset": unset} if unset else {})}


def empty(ref: Ref) -> dict[str, Any]:
    """A record of which only the id is known, and what the id says."""
    kind = KINDS[ref[0]]
    said = zip(kind.identity, map(unquote, ref[1].split("/")), strict=True) if kind.identity else ()
    nothing = {name: {} if name in kind.objects else None for name in kind.fields}
    return {"type": ref[0], "id": ref[1], **nothing, **dict(said)}


def paths_of(record: dict[str, Any]) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            paths.update({f"{name}.{key}": item for key, item in value.items()})
        elif value is not None and name not in ("type", "id", "version"):
            paths[name] = value
    return paths


def with_patch(record: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    new = {name: dict(value) if isinstance(value, dict) else value for name, value in record.items()}
    for path, value in patch.items():
        name, dot, key = path.partition(".")
        if not dot:
            new[name] = value
        elif value is GONE:
            new.get(name, {}).pop(key, None)
            if name == "extra" and not new.get("extra", True):
                del new["extra"]
        else:
            new.setdefault(name, {})[key] = value
    return new
