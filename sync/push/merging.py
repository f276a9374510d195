"""Third stage of a push: what each change makes of the space. Reads the space, writes nothing.

The rules of one record are in `sync.core.merging`; here stand those between records:
parents, deletions, revivals, conflicts and what was sent before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from sync.core.changes import CONFLICTS, Change, Refused, read_patch
from sync.core.merging import (
    DELETED,
    GONE,
    UNKNOWN,
    Merged,
    Patch,
    Stored,
    changed_at,
    concurrent_paths,
    content_version,
    created,
    is_layout,
    merge,
    merge_on,
    needs_base,
    value_at,
)
from sync.core.records import empty_record, key_of
from sync.core.schema import RECORD_TYPES
from sync.push.tree import Node, Ref, Tree, parents_of
from sync.push.validating import Rejected, Validated, error_of
from sync.writing import ChangeSet, parent_key
from workspaces.ids import uuid7

_RECEIPTS = """
    SELECT change_id, body_hash, version, conflict FROM sync_receipt
    WHERE space_id = %b AND person_id = %b AND change_id = ANY(%b)"""
_BASES = """
    SELECT DISTINCT ON (w.n) w.n, (h.old -> w.path)::text
    FROM unnest(%b::int4[], %b::bytea[], %b::text[], %b::int8[]) AS w(n, key, path, base)
    JOIN sync_history h
      ON h.space_id = %b AND h.key = w.key AND h.version > w.base AND h.old ? w.path
    ORDER BY w.n, h.version"""
_CONFLICTS = """
    SELECT key, id, version, record_type, record_id, record_key, kind, fields::text, proposal::text, state,
           resolution::text
    FROM sync_conflicts WHERE space_id = %b AND key = ANY(%b)"""


@dataclass
class FoundConflict:
    """A conflict that this push brought about."""

    id: UUID
    node: Node
    kind: str
    server_version: int
    """The change set that made what stayed."""
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)
    proposal: dict[str, str] = field(default_factory=dict)


@dataclass
class OpenConflict:
    """A stored conflict that a change of this push resolves."""

    key: bytes
    id: UUID
    version: int
    record_type: str
    record_id: str
    record_key: bytes
    kind: str
    fields: dict[str, dict[str, Any]]
    proposal: dict[str, str]
    state: str
    resolution: Any


@dataclass
class Result:
    """What happened to one change. `node`: the record that the answer shows."""

    change: Change
    status: str
    version: int
    node: Node | None = None
    conflict: UUID | None = None


@dataclass
class Outcome:
    """All that the push comes to, ready to be stored."""

    results: list[Result | Rejected]
    tree: Tree
    conflicts: list[FoundConflict]
    resolved: list[OpenConflict]


def merge_changes(changes: ChangeSet, validated: Validated) -> Outcome:
    """Merge the changes of a push, in order, into the space whose head `changes` holds."""
    merging = _Merging(changes, validated.seen)
    merging.prepare([change for change in validated.changes if isinstance(change, Change)])
    results = [
        change if isinstance(change, Rejected) else merging.take(change, number)
        for number, change in enumerate(validated.changes)
    ]
    return Outcome(results, merging.tree, merging.conflicts, merging.resolved)


class _Merging:
    def __init__(self, changes: ChangeSet, seen: int) -> None:
        self.changes = changes
        self.version = changes.version
        self.seen = seen
        self.tree = Tree(changes)
        self.conflicts: list[FoundConflict] = []
        self.resolved: list[OpenConflict] = []
        self._receipts: dict[UUID, tuple[bytes, int, UUID | None]] = {}
        self._taken: dict[UUID, Result] = {}
        self._bases: dict[tuple[bytes, str, int], Any] = {}
        self._open: dict[bytes, OpenConflict] = {}

    def prepare(self, changes: list[Change]) -> None:
        """Load in batches what the changes will look at."""
        cursor = self.changes.cursor
        space, person = self.changes.space_id, self.changes.author.person_id
        sent = [change.change_id for change in changes]
        for change_id, body_hash, version, conflict in cursor.execute(
            _RECEIPTS, (space, person, sent), prepare=True
        ):
            self._receipts[change_id] = (body_hash, version, conflict)
        edits = [change for change in changes if change.type != CONFLICTS]
        self._load_conflicts([change.key for change in changes if change.type == CONFLICTS])
        targets: list[Ref] = [(change.type, change.key) for change in edits]
        targets += [(conflict.record_type, conflict.record_key) for conflict in self._open.values()]
        self.tree.load(targets)
        self.tree.load_outlines(ref for change in edits for ref in _named_parents(change))
        self.tree.explore(
            node for change in edits if change.delete and (node := self.tree.get(change.key)) is not None
        )
        self._load_bases(edits)

    def take(self, change: Change, number: int) -> Result | Rejected:
        """Merge one change. What it comes to is kept in the tree."""
        if (before := self._sent_before(change, number)) is not None:
            return before
        try:
            if change.type == CONFLICTS:
                result = self._resolve(change)
            elif change.delete:
                result = self._delete(change)
            else:
                result = self._edit(change)
        except Refused as refused:
            return Rejected(str(change.change_id), error_of(refused, number))
        self._taken[change.change_id] = result
        return result

    def _sent_before(self, change: Change, number: int) -> Result | Rejected | None:
        if (earlier := self._taken.get(change.change_id)) is not None:
            known = (earlier.change.body_hash, earlier.version, earlier.conflict)
        elif (receipt := self._receipts.get(change.change_id)) is not None:
            known = receipt
        else:
            return None
        body_hash, version, conflict = known
        if body_hash != change.body_hash:
            error = Refused(
                "change-id-reused",
                "This change id was used before",
                "Another change was sent under this change_id. Give each change an id of its own.",
                "/change_id",
            )
            return Rejected(str(change.change_id), error_of(error, number))
        return Result(change, "duplicate", version, self.tree.get(change.key), conflict)

    # Edits

    def _edit(self, change: Change) -> Result:
        node = self.tree.get(change.key)
        if node is None:
            return self._create(change)
        if change.base > node.stored.version:
            raise _invalid_base(change, node.stored.version)
        if not node.live:
            known = change.base == node.stored.version
            if known or (change.base == 0 and self.seen >= node.stored.version):
                return self._create_again(change, node)
            return self._edit_deleted(change, node)
        return self._edit_live(change, node)

    def _edit_live(self, change: Change, node: Node, revived: FoundConflict | None = None) -> Result:
        version_before = node.stored.version
        patch = _whole_patch(change, node)
        merged = self._merged(change, node, patch)
        found = self._revive_parents(node.type.name, merged.record, _moved(node, merged)) or revived
        self._apply(node, merged)
        if merged.conflict:
            server_version = max(changed_at(node.stored, path) for path in merged.conflict)
            found = FoundConflict(uuid7(), node, "edit", server_version, merged.conflict, merged.proposal)
            self.conflicts.append(found)
        if found is not None:
            return Result(change, "conflict", node.stored.version, node, found.id)
        if version_before == change.base and merged.as_sent:
            return Result(change, "applied", node.stored.version)
        return Result(change, "merged", node.stored.version, node)

    def _merged(self, change: Change, node: Node, patch: Patch) -> Merged:
        if change.bases is not None:
            return merge_on(node.type, node.stored, patch, change.bases)
        return merge(node.type, node.stored, patch, change.base, self._bases_for(change, node, patch))

    def _create(self, change: Change) -> Result:
        if change.base > 0:
            raise _invalid_base(change, 0)
        type_ = RECORD_TYPES[change.type]
        merged = created(type_, empty_record(change.type), _without_gone(change.patch))
        found = self._revive_parents(change.type, merged.record, _parent_fields(change.type, merged.record))
        stored = Stored(merged.record, self.version, self.version, {})
        node = Node(
            type_, change.key, change.id, stored, parents_of(type_, merged.record),
            new=True, act="create",
        )  # fmt: skip
        self.tree.add(node)
        if found is not None:
            return Result(change, "conflict", self.version, node, found.id)
        return Result(change, "applied", self.version)

    def _create_again(self, change: Change, node: Node) -> Result:
        """The client knew that the record was deleted: a new one takes its id."""
        merged = created(node.type, empty_record(change.type), _without_gone(change.patch))
        found = self._revive_parents(change.type, merged.record, _parent_fields(change.type, merged.record))
        before = node.stored.record
        merged.changed = {
            path: value_at(before, path) for path in {*_all_paths(before), *_all_paths(merged.record)}
        }
        self._raise_from_dead(node, "create")
        self._apply(node, merged)
        if found is not None:
            return Result(change, "conflict", self.version, node, found.id)
        return Result(change, "applied", self.version)

    def _edit_deleted(self, change: Change, node: Node) -> Result:
        """The client had not seen the deletion: all of it comes back, and a conflict says so."""
        patch = _whole_patch(change, node)
        merged = self._merged(change, node, patch)
        self._buried_parents(
            node.type.name, merged.record, _moved(node, merged)
        )  # before anything comes back
        revived = self._revive(node)
        return self._edit_live(change, node, revived)

    def _apply(self, node: Node, merged: Merged) -> None:
        """Keep what a merge made of a record."""
        node.lost.update(merged.lost)
        if not merged.changed:
            return
        node.stored.record = merged.record
        for path, before in merged.changed.items():
            if path in node.old and not is_layout(node.type, path):
                node.lost[path] = before  # an earlier change of this very push wrote it
            node.stored.field_versions[path] = self.version
            node.old.setdefault(path, before)
            node.written.add(path.partition(".")[0])
        node.stored.version = self.version
        if any(name in merged.changed for name in node.type.parents):
            self.tree.moved(node, parents_of(node.type, merged.record))

    # Deletions and revivals

    def _delete(self, change: Change) -> Result:
        node = self.tree.get(change.key)
        if node is None:
            return Result(change, "applied", self.changes.head)
        if not node.live:
            return Result(change, "applied", node.stored.version)
        if change.base > node.stored.version:
            raise _invalid_base(change, node.stored.version)
        below = [child for child in self.tree.below(node) if child.live]
        newest = max(
            [
                *self._changed_after(change.base, [node]),
                *self._changed_after(self.seen, below),
            ],
            default=0,
        )
        if newest:
            found = FoundConflict(uuid7(), node, "delete", newest)
            self.conflicts.append(found)
            return Result(change, "conflict", node.stored.version, node, found.id)
        self._bury(node, below)
        return Result(change, "applied", self.version)

    def _changed_after(self, version: int, nodes: Iterable[Node]) -> list[int]:
        """Versions after `version` at which others changed more than the layout of these records."""
        changed = (content_version(node.type, node.stored) for node in nodes)
        return [at for at in changed if version < at < self.version]

    def _bury(self, node: Node, below: list[Node]) -> None:
        for child in [node, *below]:
            child.stored.deleted = True
            child.stored.cascaded = child is not node
            self._stamp(child, "delete")

    def _revive(self, node: Node) -> FoundConflict:
        """Bring back a tombstone, what it hangs on, and all that was deleted with these."""
        above = self.tree.climb(node)
        root = next((it for it in reversed(above) if not it.stored.cascaded), node)
        deleted_at = root.stored.version
        returning = [*above[::-1], node]
        deletions = {it.stored.version for it in returning}
        self.tree.explore(returning)
        for it in returning:
            self._raise_from_dead(it, "revive")
        for it in returning:
            below = self.tree.below(it)
            self.tree.parents(below)
            for child in below:
                went_along = child.stored.cascaded and child.stored.version in deletions
                if not child.live and went_along and self.tree.all_parents_live(child):
                    self._raise_from_dead(child, "revive")
        found = FoundConflict(uuid7(), root, "revive", deleted_at)
        self.conflicts.append(found)
        return found

    def _raise_from_dead(self, node: Node, act: str) -> None:
        node.stored.deleted = node.stored.cascaded = False
        self._stamp(node, act)

    def _stamp(self, node: Node, act: str) -> None:
        node.stored.version = node.stored.field_versions[DELETED] = self.version
        node.act = act
        node.written |= {"deleted", "cascaded"}

    def _revive_parents(
        self, type_: str, record: dict[str, Any], fields: Iterable[str]
    ) -> FoundConflict | None:
        """Check that the parents in these fields are there; one that others deleted comes back."""
        found = None
        for parent in self._buried_parents(type_, record, fields):
            if not parent.live:  # another parent may have brought it back
                found = self._revive(parent)
        return found

    def _buried_parents(self, type_: str, record: dict[str, Any], fields: Iterable[str]) -> list[Node]:
        """The parents in these fields that others deleted. Raises `Refused` where one is missing."""
        buried: list[Node] = []
        for name in fields:
            key = parent_key(type_, name, record)
            parent = None if key is None else self.tree.get(key)
            if parent is None or (not parent.live and self._knows_deletion(parent)):
                raise _missing_parent(name, record[name])
            if not parent.live:
                buried.append(parent)
        return buried

    def _knows_deletion(self, node: Node) -> bool:
        """Whether the device had pulled this tombstone, or made it in this very push."""
        return node.stored.version <= self.seen or node.stored.version == self.version

    # Conflicts

    def _resolve(self, change: Change) -> Result:
        conflict = self._open.get(change.key)
        if conflict is None:
            raise Refused("not-found", "No such conflict", "This space has no conflict with this id.", "/id")
        node = self.tree.get(conflict.record_key)
        if node is None:
            raise Refused("not-found", "No such record", "The record of this conflict was purged.", "/id")
        patch = decided_patch(conflict, change.patch)
        if conflict.state != "open":
            # The first decision counts; what the second one wanted stays readable in the history.
            node.lost.update({path: value for path, value in patch.items() if value is not GONE})
            raise Refused(
                "conflict-resolved",
                "Somebody has resolved this conflict already",
                "The first decision counts. What you chose is kept in the history of the record: "
                + orjson.dumps(change.patch).decode()[:2000],
                "/set",
            )
        take = change.patch.get("take")
        if (conflict.kind, take) in (("delete", "client"), ("revive", "server")):
            if node.live:
                self._bury(node, [child for child in self.tree.below(node) if child.live])
        elif patch:
            self._decide(node, patch)
        conflict.state = "resolved"
        conflict.resolution = change.patch
        self.resolved.append(conflict)
        return Result(change, "applied", self.version)

    def _decide(self, node: Node, patch: Patch) -> None:
        """Put what somebody decided into the record of a conflict."""
        if any(
            patch.get(name, node.stored.record[name]) != node.stored.record[name] for name in _fixed(node)
        ):
            raise _invalid_decision("A field of which the id is made cannot change.")
        merged = merge(node.type, node.stored, patch, node.stored.version, {})
        moved = _moved(node, merged)
        if moved:
            self.tree.load_outlines(parents_of(node.type, merged.record))
            self._buried_parents(node.type.name, merged.record, moved)
        if not node.live:
            self._revive(node)
        self._revive_parents(node.type.name, merged.record, moved)
        self._apply(node, merged)

    def _load_conflicts(self, keys: list[bytes]) -> None:
        if not keys:
            return
        rows = self.changes.cursor.execute(_CONFLICTS, (self.changes.space_id, keys)).fetchall()
        for (
            key,
            id_,
            version,
            type_,
            record_id,
            record_key,
            kind,
            fields,
            proposal,
            state,
            resolution,
        ) in rows:
            self._open[key] = OpenConflict(
                key, id_, version, type_, record_id, record_key, kind, orjson.loads(fields),
                orjson.loads(proposal), state, orjson.loads(resolution) if resolution else None,
            )  # fmt: skip

    # Bases

    def _load_bases(self, edits: list[Change]) -> None:
        """Ask the history, in one query, for the values on which concurrent edits were made."""
        wanted = [
            (node.key, path, change.base)
            for change in edits
            if not change.delete
            and (node := self.tree.get(change.key)) is not None
            and max(1, self.changes.history_before) <= change.base < node.stored.version
            for path in concurrent_paths(node.stored, _whole_patch(change, node), change.base)
            if needs_base(node.type, path)
        ]
        if not wanted:
            return
        keys, paths, bases = zip(*wanted, strict=True)
        numbers = list(range(len(wanted)))
        for number, old in self.changes.cursor.execute(
            _BASES, (numbers, list(keys), list(paths), list(bases), self.changes.space_id)
        ):
            value = orjson.loads(old)
            self._bases[wanted[number]] = value[0] if value else GONE

    def _bases_for(self, change: Change, node: Node, patch: Patch) -> dict[str, Any]:
        if change.base == 0:
            return {}
        return {path: self._bases.get((node.key, path, change.base), UNKNOWN) for path in patch}


def decided_patch(conflict: OpenConflict, decision: dict[str, Any]) -> dict[str, Any]:
    """What a decision sets in the record of a conflict. Raises `Refused` for one that cannot be."""
    if "set" in decision:
        if not isinstance(decision["set"], dict):
            raise _invalid_decision("set must be an object of fields and their new values.")
        return read_patch(RECORD_TYPES[conflict.record_type], decision["set"])
    take = decision["take"]
    if take == "server":
        return {}
    if take == "client":
        return {path: sides.get("client", GONE) for path, sides in conflict.fields.items()}
    if conflict.kind != "edit" or take not in ("proposal", "both"):
        raise _invalid_decision("take must be server or client; for an edit also proposal or both.")
    if take == "proposal":
        if conflict.fields.keys() - conflict.proposal.keys():
            raise _invalid_decision("This conflict has no proposal for all of its fields.")
        return dict(conflict.proposal)
    patch = {}
    for path, sides in conflict.fields.items():
        server, client = sides.get("server"), sides.get("client")
        if not isinstance(server, str) or not isinstance(client, str):
            raise _invalid_decision(f"both is for texts only; {path} is none.")
        patch[path] = f"{server}\n\n{client}"
    return patch


def _invalid_decision(detail: str) -> Refused:
    return Refused("invalid-resolution", "The conflict cannot be resolved like this", detail, "/set")


def _invalid_base(change: Change, version: int) -> Refused:
    return Refused(
        "invalid-base",
        "The base is not a version of this record",
        f"base is {change.base}, but the record is at version {version}. Pull, then send the edit again.",
        "/base",
    )


def _missing_parent(name: str, id_: str | None) -> Refused:
    detail = (
        f"{name} is missing."
        if id_ is None
        else f"{name} names {id_[:200]}, which this space does not have."
        " Keep the change and send it again once that is there."
    )
    return Refused("missing-parent", "What this hangs on is not there", detail, f"/set/{name}")


def _named_parents(change: Change) -> list[Ref]:
    """The parents that a change names itself."""
    if change.type == "embeddings":
        owner, owner_id = change.patch.get("owner_type"), change.patch.get("owner_id")
        if not isinstance(owner, str) or not isinstance(owner_id, str):
            return []
        return [(owner, key_of(owner, owner_id))] if owner in RECORD_TYPES else []
    return [
        (parent, key_of(parent, id_))
        for name, parent in RECORD_TYPES[change.type].parents.items()
        if (id_ := change.patch.get(name)) is not None
    ]


def _parent_fields(type_: str, record: dict[str, Any]) -> list[str]:
    if type_ == "embeddings":
        return ["owner_id"]
    return list(RECORD_TYPES[type_].parents)


def _moved(node: Node, merged: Merged) -> list[str]:
    """The fields that name another parent than before."""
    return [name for name in node.type.parents if name in merged.changed]


def _fixed(node: Node) -> tuple[str, ...]:
    return () if node.type.own_id else node.type.identity


def _whole_patch(change: Change, node: Node) -> dict[str, Any]:
    """The change's patch, with each key of the objects that it empties."""
    if not change.unset_objects:
        return change.patch
    patch = dict(change.patch)
    for name in change.unset_objects:
        for key in node.stored.record[name]:
            patch.setdefault(f"{name}.{key}", GONE)
    return patch


def _without_gone(patch: Patch) -> dict[str, Any]:
    return {path: value for path, value in patch.items() if value is not GONE}


def _all_paths(record: dict[str, Any]) -> list[str]:
    paths = []
    for name, value in record.items():
        paths += [f"{name}.{key}" for key in value] if isinstance(value, dict) else [name]
    return paths
