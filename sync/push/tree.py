"""The records that a push touches, and what hangs on them, held in memory while it is merged.

Loaded in batches, one query per type and level. The push holds the head of the space, so
nothing here can change underneath.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from sync.core.merging import Stored
from sync.core.schema import RECORD_TYPES, RecordType
from sync.tables import TABLES, parent_keys
from sync.writing import ChangeSet, parent_key

Ref = tuple[str, bytes]
"""A record's type and key."""


def _children() -> Mapping[str, tuple[tuple[str, str], ...]]:
    """Type -> what can hang on it, as (type, column with the parent's key)."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, type_ in RECORD_TYPES.items():
        for field_name, column in parent_keys(type_):
            for parent in [type_.parents[field_name]] if type_.parents else ["thoughts", "segments"]:
                found[parent].append((name, column))
    return {parent: tuple(children) for parent, children in found.items()}


CHILDREN: Final = _children()

_COLUMNS = "t.key, t.id, t.version, t.born, t.deleted, t.cascaded, t.field_versions::text"


@dataclass(slots=True)
class Node:
    """One record in memory: as it was stored, and what the push has made of it so far."""

    type: RecordType
    key: bytes
    id: str
    stored: Stored
    parents: list[Ref]
    whole: bool = True
    """Whether the record's fields are loaded; what only hangs on something is loaded without."""
    new: bool = False
    was_live: bool = False
    stored_version: int = 0
    old: dict[str, Any] = field(default_factory=dict)
    """Path -> value before the push."""
    lost: dict[str, Any] = field(default_factory=dict)
    act: str = "edit"
    written: set[str] = field(default_factory=set)
    """Columns to write: names of fields, and of bookkeeping that changed."""

    @property
    def ref(self) -> Ref:
        return self.type.name, self.key

    @property
    def live(self) -> bool:
        return not self.stored.deleted


class Tree:
    def __init__(self, changes: ChangeSet) -> None:
        self._changes = changes
        self._nodes: dict[bytes, Node] = {}
        self._children: dict[bytes, set[bytes]] = defaultdict(set)
        self._explored: set[bytes] = set()
        self._missing: set[bytes] = set()

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def get(self, key: bytes) -> Node | None:
        return self._nodes.get(key)

    def add(self, node: Node) -> None:
        self._nodes[node.key] = node
        for _, parent in node.parents:
            self._children[parent].add(node.key)

    def moved(self, node: Node, parents: list[Ref]) -> None:
        """Note that a record hangs on others now."""
        for _, parent in node.parents:
            self._children[parent].discard(node.key)
        node.parents = parents
        for _, parent in parents:
            self._children[parent].add(node.key)

    def load(self, refs: Iterable[Ref]) -> None:
        """Load these records with all their fields."""
        for name, keys in self._wanted(refs, whole=True).items():
            table = TABLES[name]
            for row in self._changes.cursor.execute(
                table.load, (self._changes.space_id, keys), prepare=True
            ).fetchall():
                key, version, born, deleted, cascaded, field_versions, id_, record = row
                stored = Stored(
                    orjson.loads(record), version, born, orjson.loads(field_versions), deleted, cascaded
                )
                self._keep(name, key, id_, stored, parents_of(table.type, stored.record))
            self._missing.update(key for key in keys if key not in self._nodes)

    def load_outlines(self, refs: Iterable[Ref]) -> None:
        """Load these records without their fields."""
        for name, keys in self._wanted(refs, whole=False).items():
            self._load_outlines(name, "t.key = ANY(%b)", keys)
            self._missing.update(key for key in keys if key not in self._nodes)

    def parents(self, nodes: Iterable[Node]) -> None:
        """Make sure that the parents of these records are loaded, at least in outline."""
        self.load_outlines(ref for node in nodes for ref in node.parents)

    def below(self, node: Node) -> list[Node]:
        """All that hangs on a record, live or not, parents before children."""
        self.explore([node])
        found: dict[bytes, Node] = {}
        level = [node]
        while level:
            level = [
                self._nodes[key] for parent in level for key in self._children[parent.key] if key not in found
            ]
            found.update((child.key, child) for child in level)
        return list(found.values())

    def explore(self, nodes: Iterable[Node]) -> None:
        """Load, in outline, all that hangs on these records."""
        level = list(nodes)
        while level:
            by_type: dict[str, list[bytes]] = defaultdict(list)
            for node in level:
                if node.key not in self._explored and not node.new:
                    by_type[node.type.name].append(node.key)
                self._explored.add(node.key)
            for name, keys in by_type.items():
                for child, column in CHILDREN.get(name, ()):
                    self._load_outlines(child, f"t.{column} = ANY(%b)", keys)
            level = [
                self._nodes[key]
                for node in level
                for key in self._children[node.key]
                if key not in self._explored
            ]

    def climb(self, node: Node) -> list[Node]:
        """The deleted records that this one hangs on, directly or not; the topmost last."""
        above: list[Node] = []
        level = [node]
        while level:
            self.parents(level)
            level = [
                parent
                for child in level
                for _, key in child.parents
                if (parent := self._nodes.get(key)) is not None and not parent.live and parent not in above
            ]
            above += level
        return above

    def all_parents_live(self, node: Node) -> bool:
        found = [self._nodes.get(key) for _, key in node.parents]
        return all(parent is not None and parent.live for parent in found)

    def _wanted(self, refs: Iterable[Ref], *, whole: bool) -> dict[str, list[bytes]]:
        wanted: dict[str, set[bytes]] = defaultdict(set)
        for name, key in refs:
            node = self._nodes.get(key)
            if key not in self._missing and (node is None or (whole and not node.whole)):
                wanted[name].add(key)
        return {name: list(keys) for name, keys in wanted.items()}

    def _load_outlines(self, name: str, condition: str, keys: list[bytes]) -> None:
        type_ = RECORD_TYPES[name]
        columns = [column for _, column in parent_keys(type_)]
        owner = ", t.owner_type" if name == "embeddings" else ""
        rows = self._changes.cursor.execute(
            f"SELECT {_COLUMNS}{''.join(f', t.{column}' for column in columns)}{owner}"
            f" FROM {TABLES[name].name} t WHERE t.space_id = %b AND {condition}",
            (self._changes.space_id, keys),
            prepare=True,
        ).fetchall()
        for key, id_, version, born, deleted, cascaded, field_versions, *more in rows:
            if key in self._nodes:
                continue
            parent_types = [more.pop()] if owner else list(type_.parents.values())
            parents = [(parent, bytes(k)) for parent, k in zip(parent_types, more, strict=True) if k]
            stored = Stored({}, version, born, orjson.loads(field_versions), deleted, cascaded)
            self._keep(name, key, id_, stored, parents, whole=False)

    def _keep(
        self, name: str, key: bytes, id_: str, stored: Stored, parents: list[Ref], whole: bool = True
    ) -> None:
        known = self._nodes.get(key)
        if known is not None:  # an outline becomes whole; what the push did to it stays
            known.stored.record = stored.record
            known.whole = True
            return
        self.add(
            Node(
                RECORD_TYPES[name],
                bytes(key),
                id_,
                stored,
                parents,
                whole,
                was_live=not stored.deleted,
                stored_version=stored.version,
            )
        )


def parents_of(type_: RecordType, record: dict[str, Any]) -> list[Ref]:
    refs = []
    for name, _ in parent_keys(type_):
        key = parent_key(type_.name, name, record)
        if key is not None:
            refs.append((type_.parents.get(name) or record["owner_type"], key))
    return refs
