"""What a space must hold after each push: another, simple implementation of the protocol's rules.

Dictionaries and loops, no batches, no SQL, nothing of the server's code (but for one corner, see `prose`).
Where the two differ, one of them has not understood `docs/sync-protocol.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from typing import Any, Final
from urllib.parse import unquote

import rfc8785

from tests.fuzz import prose
from tests.fuzz.kinds import KINDS, Ref


class _Nothing(Enum):
    GONE = "no such key"


GONE: Final = _Nothing.GONE


class Rejected(Exception):
    """The change cannot be taken; the text is the problem's type."""


@dataclass
class Record:
    ref: Ref
    born: int
    version: int
    values: dict[str, Any] = field(default_factory=dict)
    """Path -> value, of what is there."""
    changed_at: dict[str, int] = field(default_factory=dict)
    died: int = 0
    with_parent: bool = False
    """It was deleted because something that it hung on was."""
    past: list[tuple[int, str, Any]] = field(default_factory=list)
    """(version, path, value before it)"""

    def value(self, path: str) -> Any:
        return self.values.get(path, GONE if "." in path else None)

    def at(self, path: str) -> int:
        if path in self.changed_at:
            return self.changed_at[path]
        return self.born if path in self.values else 0

    def value_when(self, path: str, base: int) -> Any:
        """The value that whoever had seen version `base` knew."""
        if base == 0:
            return None
        for version, changed, before in self.past:
            if changed == path and version > base:
                return before
        return self.value(path)

    def set(self, path: str, value: Any, version: int) -> None:
        self.past.append((version, path, self.value(path)))
        if value is GONE or (value is None and "." not in path):
            self.values.pop(path, None)
        else:
            self.values[path] = value
        self.changed_at[path] = version

    def content_version(self) -> int:
        """When more than the layout was last changed."""
        kind = KINDS[self.ref[0]]
        noise = {*kind.layout, "updated_at"}
        return max((at for path, at in self.changed_at.items() if path not in noise), default=self.born)

    def parents(self) -> list[Ref]:
        return [
            (type_, self.values[name])
            for name, type_ in KINDS[self.ref[0]].parents.items()
            if name in self.values
        ]

    def in_feed_form(self) -> dict[str, Any]:
        kind = KINDS[self.ref[0]]
        shown: dict[str, Any] = {name: {} if name in kind.objects else None for name in kind.fields}
        for path, value in self.values.items():
            name, dot, key = path.partition(".")
            if dot:
                shown.setdefault(name, {})[key] = value
            else:
                shown[name] = value
        return {"type": self.ref[0], "id": self.ref[1], "version": self.version, **shown}


@dataclass
class Conflict:
    ref: Ref
    kind: str
    version: int
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)
    state: str = "open"
    id: str = ""
    """As the server named it, once that is known."""
    proposal: dict[str, str] = field(default_factory=dict)


@dataclass
class Outcome:
    """What must happen to one change."""

    status: str
    version: int = 0
    ref: Ref | None = None
    """The record that the answer shows."""
    conflict: Conflict | None = None
    error: str = ""


@dataclass
class Space:
    head: int = 0
    records: dict[Ref, Record] = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)
    receipts: dict[tuple[str, str], tuple[dict[str, Any], Outcome]] = field(default_factory=dict)
    """(person, change_id) -> the change and what came of it"""
    moved_away: set[Ref] = field(default_factory=set)
    purged: dict[Ref, int] = field(default_factory=dict)
    """Record whose tombstone was purged -> the head at that time: what was written before is forgotten."""
    arrived: dict[Ref, set[str]] = field(default_factory=dict)
    """Words that were written about a record in the space from which it came."""
    _touched: bool = False

    @property
    def next(self) -> int:
        return self.head + 1

    def live(self) -> Iterator[Record]:
        return (record for record in self.records.values() if not record.died)

    # A push

    def push(self, person: str, seen: int, changes: list[dict[str, Any]]) -> tuple[int, list[Outcome]]:
        """Take a push. Returns the version that the answer must name, and what comes of each change."""
        self._touched = False
        outcomes = [self._take(person, seen, change) for change in changes]
        if self._touched:
            self.head += 1
        return self.head, outcomes

    def _take(self, person: str, seen: int, change: dict[str, Any]) -> Outcome:
        body = {name: value for name, value in change.items() if name != "change_id"}
        ref = (change["type"], change["id"])
        if (before := self.receipts.get((person, change["change_id"]))) is not None:
            if before[0] != body:
                return Outcome("rejected", error="change-id-reused")
            first = before[1]
            return Outcome("duplicate", first.version, ref if ref in self.records else None, first.conflict)
        try:
            if change["type"] == "conflicts":
                outcome = self._resolve(change)
            elif change.get("delete"):
                outcome = self._delete(ref, change["base"], seen)
            else:
                outcome = self._edit(ref, change["base"], seen, patch_of(change))
        except Rejected as rejected:
            return Outcome("rejected", error=str(rejected))
        self.receipts[person, change["change_id"]] = (body, outcome)
        return outcome

    # Edits

    def _edit(self, ref: Ref, base: int, seen: int, patch: dict[str, Any]) -> Outcome:
        record = self.records.get(ref)
        if base > (record.version if record else 0):
            raise Rejected("invalid-base")
        if record is None:
            return self._create(Record(ref, self.next, self.next), patch, seen)
        if record.died and (base == record.version or (base == 0 and seen >= record.version)):
            return self._create_again(record, patch, seen)
        return self._merge(record, base, seen, patch)

    def _create(self, record: Record, patch: dict[str, Any], seen: int) -> Outcome:
        record.values = {
            path: value
            for path, value in patch.items()
            if value is not GONE and not (value is None and "." not in path)
        }
        self._check_parents(record, KINDS[record.ref[0]].parents, record.values, seen)
        revived = self._revive_parents(record)
        self.records[record.ref] = record
        self._touched = True
        return Outcome("conflict" if revived else "applied", self.next, record.ref, revived)

    def _create_again(self, record: Record, patch: dict[str, Any], seen: int) -> Outcome:
        kind = KINDS[record.ref[0]]
        self._check_parents(record, kind.parents, patch, seen)
        for path in {*record.values, *patch, *(set(kind.fields) - set(kind.objects))}:
            nothing = GONE if "." in path else None
            record.set(path, patch.get(path, nothing), self.next)
        revived = self._revive_parents(record)
        self._raise(record)
        return Outcome("conflict" if revived else "applied", self.next, record.ref, revived)

    def _merge(self, record: Record, base: int, seen: int, patch: dict[str, Any]) -> Outcome:
        taken, lost, as_sent = self._decide(record, base, patch)
        moved = {name: taken[name] for name in KINDS[record.ref[0]].parents if name in taken}
        self._check_parents(record, moved, taken, seen)
        up_to_date = record.version == base
        found = self._revive(record) if record.died else None
        for path, value in taken.items():
            record.set(path, value, self.next)
        if moved:
            found = self._revive_parents(record, moved) or found
        if taken:
            record.version = self.next
            self._touched = True
        if lost:
            found = Conflict(record.ref, "edit", self.next, lost)
            self._note(found)
        if found:
            return Outcome("conflict", record.version, record.ref, found)
        status = "applied" if up_to_date and as_sent else "merged"
        return Outcome(status, record.version, record.ref)

    def _decide(
        self, record: Record, base: int, patch: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]], bool]:
        """What is taken, what is in conflict, and whether all is as the client sent it."""
        kind = KINDS[record.ref[0]]
        taken: dict[str, Any] = {}
        lost: dict[str, dict[str, Any]] = {}
        as_sent = True
        for path, wanted in patch.items():
            current = record.value(path)
            if same(current, wanted):
                continue
            if (
                record.at(path) <= base
                or path in kind.layout
                or (path == "updated_at" and wanted is not None and (current is None or wanted > current))
            ):
                taken[path] = wanted
            elif path in kind.identity or path in kind.times:
                as_sent = False
            else:
                before = record.value_when(path, base)
                both = prose.merged(before, current, wanted) if path in kind.prose else None
                if both is None:
                    lost[path] = {"base": before, "server": current, "client": wanted}
                elif both != current:
                    taken[path] = both
                as_sent = as_sent and both == wanted
        return taken, lost, as_sent

    # What hangs on what

    def _check_parents(self, record: Record, names: Iterable[str], values: dict[str, Any], seen: int) -> None:
        for name in names:
            parent = self.records.get((KINDS[record.ref[0]].parents[name], values.get(name) or ""))
            if parent is None or (parent.died and (parent.died <= seen or parent.died == self.next)):
                raise Rejected("missing-parent")

    def _revive_parents(self, record: Record, names: Iterable[str] | None = None) -> Conflict | None:
        found = None
        for name in KINDS[record.ref[0]].parents if names is None else names:
            parent = self.records[KINDS[record.ref[0]].parents[name], record.values[name]]
            if parent.died:
                found = self._revive(parent)
        return found

    def _below(self, record: Record) -> list[Record]:
        found: dict[Ref, Record] = {}
        level = [record]
        while level:
            names = {it.ref for it in level}
            level = [it for it in self.records.values() if it.ref not in found and names & {*it.parents()}]
            found.update((it.ref, it) for it in level)
        return list(found.values())

    def _above(self, record: Record) -> list[Record]:
        """The deleted records on which this one hangs, the topmost last."""
        found: list[Record] = []
        level = [record]
        while level:
            level = [
                parent
                for child in level
                for ref in child.parents()
                if (parent := self.records[ref]).died and parent not in found
            ]
            found += level
        return found

    def _delete(self, ref: Ref, base: int, seen: int) -> Outcome:
        record = self.records.get(ref)
        if record is None:
            return Outcome("applied", self.head)
        if record.died:
            return Outcome("applied", record.version)
        if base > record.version:
            raise Rejected("invalid-base")
        below = [it for it in self._below(record) if not it.died]
        if base < record.content_version() < self.next or any(
            seen < it.content_version() < self.next for it in below
        ):
            conflict = Conflict(ref, "delete", self.next)
            self._note(conflict)
            return Outcome("conflict", record.version, ref, conflict)
        self._bury(record, below)
        return Outcome("applied", self.next)

    def _bury(self, record: Record, below: list[Record]) -> None:
        for it in [record, *below]:
            it.died = it.version = self.next
            it.with_parent = it is not record
        self._touched = True

    def _raise(self, record: Record) -> None:
        record.died, record.with_parent, record.version = 0, False, self.next
        self._touched = True

    def _revive(self, record: Record) -> Conflict:
        """Bring back a deleted record, what it hangs on, and all that was deleted with these."""
        above = self._above(record)
        root = next((it for it in reversed(above) if not it.with_parent), record)
        returning = [*above, record]
        deaths = {it.died for it in returning}
        for it in returning:
            self._raise(it)
        below = [it for top in returning for it in self._below(top)]
        while True:
            next_ones = [
                it
                for it in below
                if it.with_parent
                and it.died in deaths
                and not any(self.records[p].died for p in it.parents())
            ]
            if not next_ones:
                break
            for it in next_ones:
                self._raise(it)
        conflict = Conflict(root.ref, "revive", self.next)
        self._note(conflict)
        return conflict

    # Moves

    def move(self, thoughts: list[str], other: Space) -> tuple[str, set[Ref], set[Ref]]:
        """Move thoughts to another space: why it is refused, or else what moved and which links stayed."""
        roots = [self.records["thoughts", id_] for id_ in thoughts]
        found = {it.ref: it for root in roots for it in [root, *self._below(root)] if not it.died}
        left = {
            ref
            for ref, it in found.items()
            if any(parent[0] != "tags" and parent not in found for parent in it.parents())
        }
        going = [it for ref, it in found.items() if ref not in left]
        if any(it.state == "open" and it.ref in found for it in self.conflicts):
            return "still-in-conflict", set(), set()
        if any((there := other.records.get(it.ref)) and not there.died for it in going):
            return "already-there", set(), set()
        tags = {parent for it in going for parent in it.parents() if parent[0] == "tags"}
        missing = [ref for ref in tags if ref not in other.records or other.records[ref].died]
        order = list(KINDS)
        for it in [self.records[ref] for ref in missing] + sorted(
            going, key=lambda it: order.index(it.ref[0])
        ):
            other._arrive(it)
        other.head += 1
        for root in roots:
            self._bury(root, [it for it in self._below(root) if not it.died])
        self.head += 1
        self.moved_away |= {it.ref for it in going}
        return "", {it.ref for it in going}, left

    def _arrive(self, record: Record) -> None:
        if record.ref in self.records:
            self._create_again(self.records[record.ref], record.values, self.head)
        else:
            self._create(Record(record.ref, self.next, self.next), record.values, self.head)

    def purge(self) -> None:
        """Forget what is deleted, but for what an open conflict may bring back, and what history leads to."""
        needed = {it.ref for it in self.conflicts if it.state == "open"}
        while True:
            above = {
                parent for ref in needed if ref in self.records for parent in self.records[ref].parents()
            }
            if above <= needed:
                break
            needed |= above
        for record in [it for it in self.records.values() if it.died]:
            if record.ref not in needed and record.ref not in self.moved_away:
                del self.records[record.ref]
                self.purged[record.ref] = self.head
                self.arrived.pop(record.ref, None)

    # Conflicts

    def _note(self, conflict: Conflict) -> None:
        self.conflicts.append(conflict)
        self._touched = True

    def _resolve(self, change: dict[str, Any]) -> Outcome:
        conflict = next((it for it in self.conflicts if it.id == change["id"]), None)
        if conflict is None:
            raise Rejected("not-found")
        record = self.records[conflict.ref]
        decision = change["set"]
        take = decision.get("take")
        if "set" in decision:
            patch = patch_of({"set": decision["set"]})
        elif take == "client":
            patch = {path: sides["client"] for path, sides in conflict.fields.items()}
        elif take == "both":
            patch = {
                path: f"{sides['server']}\n\n{sides['client']}" for path, sides in conflict.fields.items()
            }
        elif take == "proposal":
            patch = dict(conflict.proposal)
        else:
            patch = {}
        if conflict.state != "open":
            self._touched = self._touched or any(value is not GONE for value in patch.values())
            raise Rejected("conflict-resolved")
        if (conflict.kind, take) in (("delete", "client"), ("revive", "server")):
            if not record.died:
                self._bury(record, [it for it in self._below(record) if not it.died])
        elif patch:
            if record.died:
                self._revive(record)
            for path, value in patch.items():
                if not same(record.value(path), value):
                    record.set(path, value, self.next)
                    record.version = self.next
        conflict.state, conflict.version = "resolved", self.next
        self._touched = True
        return Outcome("applied", self.next)

    # Proof

    def sectors(self) -> list[int]:
        return sectors_of(record.in_feed_form() for record in self.live())


def patch_of(change: dict[str, Any]) -> dict[str, Any]:
    """Path -> new value of all that a change sets or removes."""
    kind = KINDS.get(change.get("type", ""))
    patch: dict[str, Any] = {}
    for name, value in change.get("set", {}).items():
        if isinstance(value, dict) and name in ("fields", "metadata"):
            patch.update({f"{name}.{key}": item for key, item in value.items()})
        elif name == "mood":  # the one field here that the server does not know
            patch[f"extra.{name}"] = value
        else:
            patch[name] = value
    for path in change.get("unset", []):
        if path == "mood":
            path = f"extra.{path}"
        patch[path] = GONE if "." in path else None
    if kind is not None and kind.identity:
        parts = [unquote(part) for part in change["id"].split("/")]
        patch.update(zip(kind.identity, parts, strict=True))
    return patch


def same(a: Any, b: Any) -> bool:
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def sector_of(type_: str, id_: str) -> int:
    return sha256(f"{type_}/{id_}".encode()).digest()[-1]


def sectors_of(records: Iterable[dict[str, Any]]) -> list[int]:
    """The digest's 256 sectors, from records in feed form."""
    sectors = [0] * 256
    for record in records:
        content = {name: value for name, value in record.items() if name != "version"}
        sectors[sector_of(record["type"], record["id"])] ^= int.from_bytes(
            sha256(rfc8785.dumps(content)).digest()[:8], "big"
        )
    return sectors
