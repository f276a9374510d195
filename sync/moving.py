"""Moving thoughts with all that hangs on them from one space to another, in one act.

Both spaces take a version in one transaction: in the one the thoughts are deleted, in the other
they are made, with the same ids and values. Their history goes along (`sync.models.Arrival`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sync.core.records import key_of
from sync.models import Origin
from sync.problems import AlreadyThere, ChangeRejected, NoSuchThought, StillInConflict
from sync.push.merging import Outcome, merge_changes
from sync.push.receiving import Received
from sync.push.storing import store
from sync.push.tree import Node, Tree
from sync.push.validating import Rejected, validate
from sync.writing import Author, ChangeSet, change_set
from workspaces import auditing
from workspaces.access import Caller, OpenSpace, open_space
from workspaces.ids import uuid7
from workspaces.roles import Act

_OPEN_CONFLICTS: Final = """
    SELECT id::text FROM sync_conflicts
    WHERE space_id = %b AND record_key = ANY(%b) AND state = 'open' ORDER BY id LIMIT 100"""
_ARRIVALS: Final = """
    INSERT INTO sync_arrival (space_id, key, version, from_space_id, from_version)
    SELECT %b, key, %b, %b, %b FROM unnest(%b::bytea[]) AS u(key)"""


@dataclass(frozen=True)
class Moved:
    """What a move came to."""

    version: int
    """Of the space that the thoughts left."""
    arrived: int
    """The version of the space that they are in now."""
    counts: dict[str, int]
    """Record type -> number of records moved."""
    left: list[tuple[str, str]]
    """Type and id of links that could not go along, because they lead to something that stays."""


def move(caller: Caller, source_id: UUID, target_id: UUID, thoughts: Sequence[str]) -> Moved:
    """Move thoughts between two spaces in which the caller may write.

    Raises `NoSuchThought`, `AlreadyThere`, `StillInConflict`, `SpaceBusy`, or what `open_space`
    raises; then nothing is moved.
    """
    author = Author(caller.person_id, caller.device_id)
    with ExitStack() as held:
        # Always in the order of ids, so two moves in opposite directions wait for each other in turn.
        locked = {
            space: held.enter_context(change_set(space, author=author, origin=Origin.MOVE))
            for space in sorted((source_id, target_id))
        }
        source, target = locked[source_id], locked[target_id]
        opened = [open_space(caller, space, Act.WRITE) for space in (source_id, target_id)]
        roots, below, left = _what_moves(source, thoughts)
        moving = [*roots, *below]
        _refuse_undecided(source, [*moving, *left])
        _refuse_taken(target, moving)
        _make(target, [*_missing_tags(source, target, below), *moving])
        _delete(source, roots)
        target.cursor.execute(
            _ARRIVALS,
            (target_id, target.version, source_id, source.head, [node.key for node in moving]),
        )
        _audit(caller, opened, len(roots))
        counts = Counter(node.type.name for node in moving)
        return Moved(
            source.version, target.version, dict(counts), [(node.type.name, node.id) for node in left]
        )


def _what_moves(source: ChangeSet, thoughts: Sequence[str]) -> tuple[list[Node], list[Node], list[Node]]:
    """The thoughts; what hangs on them, parents before children; and the links that must stay behind."""
    tree = Tree(source)
    tree.load(("thoughts", key_of("thoughts", id_)) for id_ in thoughts)
    roots = []
    for number, id_ in enumerate(thoughts):
        node = tree.get(key_of("thoughts", id_))
        if node is None or not node.live:
            raise NoSuchThought(f"This space has no thought {id_[:200]}.", pointer=f"/thoughts/{number}")
        roots.append(node)
    tree.explore(roots)
    found = {child.key: child for root in roots for child in tree.below(root) if child.live}
    tree.load(child.ref for child in found.values())
    goes = {node.key for node in roots} | found.keys()
    below: list[Node] = []
    left: list[Node] = []
    for child in found.values():
        stays = any(type_ != "tags" and key not in goes for type_, key in child.parents)
        (left if stays else below).append(child)
    return roots, below, left


def _missing_tags(source: ChangeSet, target: ChangeSet, below: Iterable[Node]) -> list[Node]:
    """The tags that the other space does not have. A tag stays in its own space too."""
    wanted = {parent for child in below for parent in child.parents if parent[0] == "tags"}
    there, here = Tree(target), Tree(source)
    there.load_outlines(wanted)
    missing = [ref for ref in wanted if (tag := there.get(ref[1])) is None or not tag.live]
    here.load(missing)
    return [tag for ref in missing if (tag := here.get(ref[1])) is not None]


def _refuse_undecided(source: ChangeSet, nodes: Iterable[Node]) -> None:
    """A conflict cannot move: its sides are versions of this space."""
    keys = [node.key for node in nodes]
    if found := [id_ for (id_,) in source.cursor.execute(_OPEN_CONFLICTS, (source.space_id, keys))]:
        raise StillInConflict(
            "There are open conflicts about what would move. Resolve them, then move it.",
            extra={"conflicts": found},
        )


def _refuse_taken(target: ChangeSet, moving: Iterable[Node]) -> None:
    there = Tree(target)
    there.load_outlines(node.ref for node in moving)
    if taken := [[node.type.name, node.id] for node in there if node.live]:
        raise AlreadyThere(
            f"The other space has {len(taken):,} records with the same ids, such as {taken[0][1][:200]}."
            " Nothing was moved.",
            extra={"ids": taken[:100]},
        )


def _make(target: ChangeSet, nodes: Sequence[Node]) -> None:
    there = Tree(target)
    there.load_outlines(node.ref for node in nodes)
    tombstones = {node.key: node.stored.version for node in there}
    changes = [_change(node, base=tombstones.get(node.key, 0), set=node.stored.record) for node in nodes]
    _accept(target, changes)


def _delete(source: ChangeSet, roots: Iterable[Node]) -> None:
    _accept(source, [_change(node, base=node.stored.version, delete=True) for node in roots])


def _change(node: Node, **what: Any) -> dict[str, Any]:
    return {"change_id": str(uuid7()), "type": node.type.name, "id": node.id, **what}


def _accept(changes: ChangeSet, raw: list[dict[str, Any]]) -> Outcome:
    """Merge and store changes that must all be taken."""
    validated = validate(Received(None, changes.head, raw))
    outcome = merge_changes(changes, validated)
    for result in outcome.results:
        if isinstance(result, Rejected):
            raise ChangeRejected(result.error)
    store(changes, outcome)
    return outcome


def _audit(caller: Caller, opened: Sequence[OpenSpace], thoughts: int) -> None:
    # Neither trail names the other space: not everybody who reads the one may know of the other.
    for act, space in zip(("thoughts-moved-away", "thoughts-moved-here"), opened, strict=True):
        auditing.record(act, by=caller, space=space, thoughts=thoughts)
