"""Imports that build on each other: copies of one file, taken into one space at different times.

LogoMesh gives a file no name of its own. But ids are random, so a file that has half of the
thoughts that an earlier import brought is that file, or a later copy of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import orjson

from migration.models import Import, State
from sync.core.merging import GONE, copied, put
from sync.core.records import Record
from sync.sql import cursor
from sync.tables import TABLES

_SHARED: Final = """
    SELECT coalesce(i.family, i.id), count(*) FROM sync_thoughts t
    JOIN migration_importchunk c ON c.version = t.born AND NOT c.taken_back
    JOIN migration_import i ON i.id = c.imported_by_id AND i.space_id = t.space_id
    WHERE t.space_id = %b AND t.key = ANY(%b) GROUP BY 1"""
_KNOWN: Final = "SELECT count(*) FROM sync_thoughts WHERE space_id = %b AND key = ANY(%b) AND NOT deleted"
_BROUGHT: Final = """
    SELECT count(*) FROM sync_thoughts t WHERE t.space_id = %b AND t.born IN (
        SELECT c.version FROM migration_importchunk c JOIN migration_import i ON i.id = c.imported_by_id
        WHERE i.space_id = %b AND coalesce(i.family, i.id) = %b AND NOT c.taken_back)"""
_VERSIONS: Final = """
    SELECT c.version FROM migration_importchunk c JOIN migration_import i ON i.id = c.imported_by_id
    WHERE i.space_id = %b AND c.taken_back = %b AND (%b::uuid IS NULL OR coalesce(i.family, i.id) = %b)
          AND i.id <> %b AND (c.taken_back OR i.state <> 'undone')"""
_HISTORY: Final = """
    SELECT key, version, old::text FROM sync_history
    WHERE space_id = %b AND key = ANY(%b) ORDER BY key, version DESC"""
_DIVERGED: Final = """
    SELECT DISTINCT ON (d.key) d.key, d.version, d.record FROM migration_divergence d
    JOIN migration_import i ON i.id = d.imported_by_id
    WHERE i.space_id = %b AND coalesce(i.family, i.id) = %b AND i.state <> 'undone' AND i.id <> %b
          AND d.key = ANY(%b) AND d.record IS NOT NULL
    ORDER BY d.key, d.version DESC"""
_FORGOTTEN: Final = "SELECT history_before FROM sync_spacehead WHERE space_id = %b"


def family_of_same(imported: Import) -> UUID | None:
    """The family of an earlier import of the very same bytes into this space."""
    same = Import.objects.filter(space_id=imported.space_id, sha256=imported.sha256).exclude(pk=imported.pk)
    earlier = same.filter(family__isnull=False).order_by("created_at").first()
    return earlier.family if earlier else None


class Kinship:
    """Finds the family of a file by its thoughts."""

    def __init__(self, space_id: UUID) -> None:
        self._space_id = space_id
        self._shared: dict[UUID, int] = {}
        self._thoughts = 0
        self.known = 0
        """Thoughts of the file that the space has."""

    def add(self, keys: Sequence[bytes]) -> None:
        """Look at some thoughts of the file."""
        self._thoughts += len(keys)
        row = cursor().execute(_KNOWN, (self._space_id, list(keys))).fetchone()
        self.known += row[0] if row else 0
        for family, shared in cursor().execute(_SHARED, (self._space_id, list(keys))).fetchall():
            self._shared[family] = self._shared.get(family, 0) + shared

    def family(self) -> UUID | None:
        """The family with which the file shares most, if that is half of either."""
        if not self._shared:
            return None
        family = max(self._shared, key=lambda each: self._shared[each])
        row = cursor().execute(_BROUGHT, (self._space_id, self._space_id, family)).fetchone()
        half = min(self._thoughts, row[0] if row else 0)
        return family if 2 * self._shared[family] >= half else None


@dataclass(frozen=True)
class Present:
    """A record that the space has already, live or as a tombstone."""

    id: str
    record: Record
    version: int
    deleted: bool
    base: Record | None
    """What the family's latest import said of it; None if nobody knows."""


@dataclass
class Ancestors:
    """What earlier imports of a family said of records."""

    imported: Import
    versions: set[int] = field(default_factory=set)
    """Of the change sets in which they wrote."""
    forgotten: int = 0

    @staticmethod
    def of(imported: Import) -> Ancestors:
        found = Ancestors(imported)
        rows = cursor().execute(
            _VERSIONS, (imported.space_id, False, imported.family, imported.family, imported.pk)
        )
        found.versions = {version for (version,) in rows.fetchall()} if imported.family else set()
        row = cursor().execute(_FORGOTTEN, (imported.space_id,)).fetchone()
        found.forgotten = row[0] if row else 0
        return found

    def load(self, type_: str, keys: Iterable[bytes]) -> dict[bytes, Present]:
        """These records as the space has them, each with its base."""
        wanted = list(keys)
        if not wanted:
            return {}
        space_id = self.imported.space_id
        history: dict[bytes, list[tuple[int, dict[str, list[Any]]]]] = {}
        for key, version, old in cursor().execute(_HISTORY, (space_id, wanted)).fetchall():
            history.setdefault(bytes(key), []).append((version, orjson.loads(old)))
        diverged = self._diverged(wanted)
        found: dict[bytes, Present] = {}
        for row in cursor().execute(TABLES[type_].load, (space_id, wanted)).fetchall():
            key, version, born, deleted, _, _, id_, text = row
            record: Record = orjson.loads(text)
            at, base = self._base(record, born, history.get(bytes(key), []))
            said = diverged.get(bytes(key))
            if said is not None and (at is None or said[0] >= at):
                base = said[1]
            found[bytes(key)] = Present(id_, record, version, deleted, base)
        return found

    def _diverged(self, keys: list[bytes]) -> dict[bytes, tuple[int, Record]]:
        if not self.imported.family:
            return {}
        values = (self.imported.space_id, self.imported.family, self.imported.pk, keys)
        rows = cursor().execute(_DIVERGED, values).fetchall()
        return {bytes(key): (version, said_by(text)) for key, version, text in rows}

    def _base(
        self, record: Record, born: int, history: list[tuple[int, dict[str, list[Any]]]]
    ) -> tuple[int | None, Record | None]:
        """The last version at which the space held what a file of the family said, and the record then."""
        written = {born, *(version for version, _ in history)} & self.versions
        if not written:
            return None, None
        at = max(written)
        if at < self.forgotten and any(version > at for version in (born, *(each for each, _ in history))):
            return None, None
        earlier = copied(record)
        for version, old in history:
            if version <= at:
                break
            for path, value in old.items():
                put(earlier, path, value[0] if value else GONE)
        return at, earlier


def previous(imported: Import) -> Import | None:
    """The last import of the family that came to its end."""
    if not imported.family:
        return None
    earlier = Import.objects.filter(space_id=imported.space_id, state=State.DONE).exclude(pk=imported.pk)
    kin = earlier.filter(family=imported.family) | earlier.filter(pk=imported.family)
    return kin.order_by("-started_at").first()


def undone_versions(imported: Import) -> set[int]:
    """The change sets in which undoing imports into this space took something back."""
    rows = cursor().execute(_VERSIONS, (imported.space_id, True, None, None, imported.pk)).fetchall()
    return {version for (version,) in rows}


def said_by(text: bytes) -> Record:
    """The record in a stored divergence."""
    record: Record = orjson.loads(bytes(text))
    return {name: value for name, value in record.items() if name not in ("type", "id")}
