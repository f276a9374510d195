"""What becomes of rows whose records the space has already: nothing, an edit, or they are set aside.

A person chose: keep what the space has, take what the file says, or merge the file as an edit of what
its previous copy said. What an undo deleted was never anybody's wish: it comes back in any case.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from migration.families import Ancestors, Present, undone_versions
from migration.merging import creating_again, edit_of, overwriting
from migration.models import Import
from sync.core.changes import Change
from sync.core.records import canonical
from sync.core.schema import RECORD_TYPES
from sync.packing import key_in
from sync.sql import cursor
from sync.tables import TABLES, parent_keys
from sync.unpacking import hash_in, parent_keys_in, unpack
from sync.writing import signed_hash

KEPT: Final = "differs-from-existing"
DELETED: Final = "deleted-in-space"
HANGING: Final = "hangs-on-deleted"
"""What it hangs on was deleted in the space."""
_PRESENT: Final = """
    SELECT key, hash, deleted, version FROM {table} WHERE space_id = %b AND key = ANY(%b)"""
_PARENTS: Final = "SELECT key, deleted FROM {table} WHERE space_id = %b AND key = ANY(%b)"


@dataclass(frozen=True)
class Edit:
    """A row that becomes an edit of a record of the space."""

    position: int
    change: Change
    hash: int
    """Of the record as the file has it."""
    said: bytes
    """The same, as JSON: what the next copy of the file builds on."""


@dataclass(frozen=True)
class Newer:
    """A row that says what the previous copy of the file said: what the space has made of it stays."""

    position: int
    key: bytes
    hash: int
    version: int


@dataclass
class Settled:
    """What becomes of some rows of one table."""

    new: list[bytes] = field(default_factory=list)
    same: int = 0
    returning: list[tuple[bytes, int]] = field(default_factory=list)
    """Key and version of tombstones of an undo that come back as they were."""
    edits: list[Edit] = field(default_factory=list)
    newer: list[Newer] = field(default_factory=list)
    aside: dict[int, str] = field(default_factory=dict)
    """Position -> reason."""
    kept: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    """(position, key, what the file says) of rows set aside for what the space has of them: what was kept
    now is not to be overwritten by the next copy of the file."""
    beside: list[tuple[bytes, int]] = field(default_factory=list)
    """Keys of embeddings that are not taken, each with a number: they are no rows that could be set aside."""
    dead: set[bytes] = field(default_factory=set)
    """Keys of deleted records on which rows of the file hang."""

    @property
    def writes(self) -> bool:
        return bool(self.new or self.returning or self.edits)

    @property
    def coming(self) -> set[bytes]:
        """The keys of the records that are live once these rows are written."""
        return {
            *map(key_in, self.new),
            *(key for key, _ in self.returning),
            *(edit.change.key for edit in self.edits),
        }


class Settler:
    def __init__(self, imported: Import) -> None:
        self._imported = imported
        self._choice = imported.options.get("existing") or "keep"
        self._left_out: set[bytes] = set()
        """Keys of rows that were set aside for what the space has deleted."""
        self._brought_back: set[bytes] = set()
        """Keys of deleted records that a dry run would have brought back."""

    @cached_property
    def _ancestors(self) -> Ancestors:
        return Ancestors.of(self._imported)

    @cached_property
    def _undone(self) -> set[int]:
        return undone_versions(self._imported)

    def settle(self, type_: str, records: Sequence[bytes], positions: Sequence[int]) -> Settled:
        """Compare rows with what the space has."""
        found = Settled()
        keys = [key_in(packed) for packed in records]
        query = _PRESENT.format(table=TABLES[type_].name)
        rows = cursor().execute(query, (self._imported.space_id, keys)).fetchall()
        present = {bytes(key): more for key, *more in rows}
        seen: set[bytes] = set()
        others: list[tuple[bytes, bytes, int]] = []
        for key, packed, position in zip(keys, records, positions, strict=True):
            if key in seen:
                found.aside[position] = "duplicate-id"
                continue
            seen.add(key)
            if key not in present:
                found.new.append(packed)
                continue
            hash_, deleted, version = present[key]
            if hash_ != hash_in(packed) or (deleted and version not in self._undone):
                others.append((key, packed, position))
            elif deleted:
                found.returning.append((key, version))
            else:
                found.same += 1
        loaded = self._ancestors.load(type_, [key for key, _, _ in others]) if others else {}
        for key, packed, position in others:
            if key in loaded:
                self._decide(found, type_, packed, position, loaded[key])
            else:
                found.new.append(packed)
        return found

    def settle_made(self, type_: str, records: Sequence[bytes]) -> Settled:
        """The same for what no row stands for: it is made where it is not there, and else left alone."""
        found = self.settle(type_, records, range(len(records)))
        return Settled(found.new, found.same, found.returning)

    def _decide(self, found: Settled, type_: str, packed: bytes, position: int, space: Present) -> None:
        id_, file = unpack(type_, packed)
        change: Change | None
        if space.deleted and (space.version in self._undone or self._choice == "take"):
            change = creating_again(type_, id_, file, space.version)
        elif self._choice == "keep" or (space.deleted and type_ == "embeddings"):
            found.aside[position] = DELETED if space.deleted else KEPT
            if type_ != "embeddings":
                found.kept.append((position, key_in(packed), canonical(type_, id_, file)))
            if space.deleted:
                self._left_out.add(key_in(packed))
            return
        elif self._choice == "take" or type_ == "embeddings":
            change = overwriting(type_, id_, file, space.record, space.version)
        else:
            change = edit_of(type_, id_, file, space.base)
        if change is not None:
            found.edits.append(Edit(position, change, hash_in(packed), canonical(type_, id_, file)))
        elif space.deleted:
            found.aside[position] = DELETED
        else:
            key = key_in(packed)
            hash_ = signed_hash(type_, id_, space.record)
            found.newer.append(Newer(position, key, hash_, space.version))

    def settle_hanging(
        self, type_: str, found: Settled, positions: dict[bytes, int], coming: Iterable[bytes] = ()
    ) -> None:
        """Let no new row hang on what was deleted in the space: set it aside, or, when merging, make it an
        edit, which brings back what it hangs on. `coming`: records that are written together with it.
        """
        found.dead = self.dead_parents(type_, found.new, coming)
        if not found.dead:
            return
        alive = []
        for packed in found.new:
            if found.dead.isdisjoint(_parents(type_, packed)):
                alive.append(packed)
                continue
            position = positions[key_in(packed)]
            if self._choice == "keep" or type_ == "embeddings":
                found.aside[position] = HANGING
                self._left_out.add(key_in(packed))
                continue
            id_, file = unpack(type_, packed)
            change = edit_of(type_, id_, file, None)
            if change is not None:
                found.edits.append(Edit(position, change, hash_in(packed), canonical(type_, id_, file)))
        found.new = alive

    def dead_parents(self, type_: str, records: Iterable[bytes], coming: Iterable[bytes] = ()) -> set[bytes]:
        """The keys on which some of these would hang, and of which the space has no live record."""
        wanted = {key for packed in records for key in _parents(type_, packed)}.difference(coming)
        found: dict[bytes, bool] = {}
        for parent in set(RECORD_TYPES[type_].parents.values()) or {"thoughts", "segments"}:
            if wanted:
                query = _PARENTS.format(table=TABLES[parent].name)
                rows = cursor().execute(query, (self._imported.space_id, list(wanted))).fetchall()
                found |= {bytes(key): deleted for key, deleted in rows}
        if self._imported.dry_run:  # what is not there may have come, and gone again, with an earlier chunk
            dead = {key for key in wanted if found.get(key)} - self._brought_back
            return dead | (wanted & self._left_out)
        return {key for key in wanted if found.get(key, True)}

    def rehearsed(self, settled: Settled) -> None:
        """Remember what would be there, had a dry run not been rolled back."""
        self._brought_back |= {key for key, _ in settled.returning}
        self._brought_back |= {edit.change.key for edit in settled.edits}


def _parents(type_: str, packed: bytes) -> list[bytes]:
    count = len(parent_keys(RECORD_TYPES[type_]))
    return parent_keys_in(packed, count) if count else []
