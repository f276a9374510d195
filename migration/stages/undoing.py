"""Undone: what an import brought, and nobody has touched since, is taken back; the rest is listed.

Records that it made are deleted again, from the leaves to the roots: first links and fields, then
segments, then tags and thoughts. So nothing is deleted on which something hangs that stays, be it new,
changed, or somebody else's. Records that it edited become again what they were before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson
from django.utils import timezone

from migration.jobs import Job, caller_of
from migration.mapping import ORDER
from migration.models import Import, ImportChunk, State
from sync.core.changes import CONFLICTS, Change
from sync.core.merging import GONE
from sync.core.records import key_and_sector
from sync.core.schema import RECORD_TYPES
from sync.models import Origin
from sync.push.merging import merge_changes
from sync.push.storing import store
from sync.push.validating import Rejected, Validated
from sync.sql import cursor
from sync.tables import TABLES, parent_keys
from sync.writing import Author, ChangeSet, change_set
from workspaces.access import open_space
from workspaces.ids import uuid7
from workspaces.roles import Act

_AT_ONCE: Final = 1_000
_MOST_LISTED: Final = 1_000
_FROM_LEAVES: Final = tuple(reversed(ORDER))
_REMEMBER: Final = """
    INSERT INTO migration_importchunk (imported_by_id, version, rows, taken_back) VALUES (%b, %b, %b, true)"""

Found = list[tuple[Any, ...]]
_Step = Callable[[Found], list[Change]]


def undo(job: Job) -> None:
    """Take back an import in short transactions; then it is `undone`, and its report says what stayed."""
    imported = job.load()
    chunks = ImportChunk.objects.filter(imported_by=imported, taken_back=False)
    undoing = _Undoing(job, imported, list(chunks.values_list("version", flat=True)))
    undoing.all_of(_CONFLICTS, _dismissals, counted=False)
    for type_ in ORDER:  # first: what was moved to something new must not hold it
        undoing.all_of(_EDITED[type_], _restorations(type_))
    for type_ in _FROM_LEAVES:
        undoing.all_of(_MADE[type_], _deletions(type_))
        undoing.all_of(_REVIVALS[type_], _dismissals, counted=False)
    kept, listed = _kept(imported, undoing.versions)
    report = {"taken_back": undoing.taken, "kept": kept, "listed": listed}
    job.save(
        imported.state,
        state=State.UNDONE,
        undoing=False,
        report={**(imported.report or {}), "undo": report},
        finished_at=timezone.now(),
    )


class _Undoing:
    def __init__(self, job: Job, imported: Import, versions: list[int]) -> None:
        self.job = job
        self.imported = imported
        self.versions = versions
        self.taken: int = (imported.checkpoint or {}).get("taken_back", 0)
        self._stuck: set[str] = set()
        """Ids of records of the type at hand that cannot be as they were: what they hung on is gone."""

    def all_of(self, query: str, changes_of: _Step, *, counted: bool = True) -> None:
        """Take back all that a query finds, up to a thousand records at once."""
        self._stuck = set()
        while self._some_of(query, changes_of, counted):
            pass

    def _some_of(self, query: str, changes_of: _Step, counted: bool) -> bool:
        author = Author(self.imported.person_id, self.imported.device_id)
        with change_set(self.imported.space_id, author=author, origin=Origin.IMPORT) as changes:
            open_space(caller_of(self.imported), self.imported.space_id, Act.WRITE)
            values = {
                "space": self.imported.space_id,
                "versions": self.versions,
                "stuck": list(self._stuck),
                "most": _AT_ONCE,
            }
            found = changes.cursor.execute(query, values).fetchall()
            if found:
                done = self._make(changes, changes_of(found))
                self.taken += done if counted else 0
                if changes.changed:
                    changes.cursor.execute(_REMEMBER, (self.imported.pk, changes.version, done))
                self.job.save(
                    self.imported.state,
                    checkpoint={**self.imported.checkpoint, "taken_back": self.taken},
                    progress={"taken_back": self.taken},
                )
        return bool(found)

    def _make(self, changes: ChangeSet, wanted: list[Change]) -> int:
        outcome = merge_changes(changes, Validated(None, changes.head, list(wanted)))
        stuck = {
            change.id
            for change, result in zip(wanted, outcome.results, strict=True)
            if isinstance(result, Rejected)
        }
        store(changes, outcome)
        self._stuck |= stuck
        return len(wanted) - len(stuck)


def _dismissals(found: Found) -> list[Change]:
    """The conflicts of what is taken back: what the space had stays."""
    return [_change(CONFLICTS, str(id_), 0, {"take": "server"}) for (id_,) in found]


def _deletions(type_: str) -> _Step:
    return lambda found: [_change(type_, id_, version, {}, delete=True) for id_, version in found]


def _restorations(type_: str) -> _Step:
    def changes_of(found: Found) -> list[Change]:
        return [_change(type_, id_, version, _values(orjson.loads(old))) for id_, version, old in found]

    return changes_of


def _values(old: dict[str, list[Any]]) -> dict[str, Any]:
    """The values that an edit overwrote; what stands beside the fields comes last."""
    paths = sorted(old, key=lambda path: (path.startswith("extra."), path))
    return {path: old[path][0] if old[path] else GONE for path in paths}


def _change(type_: str, id_: str, base: int, patch: dict[str, Any], *, delete: bool = False) -> Change:
    return Change(uuid7(), type_, id_, *key_and_sector(type_, id_), base, patch, delete, b"")


def _kept(imported: Import, versions: list[int]) -> tuple[int, list[dict[str, Any]]]:
    """How many of the import's records stay, and the first of them with the reason."""
    kept = 0
    listed: list[dict[str, Any]] = []
    values = {"space": imported.space_id, "versions": versions, "import": imported.pk}
    for type_ in ORDER:
        for id_, reason in cursor().stream(_STAYED[type_], values):
            kept += 1
            if len(listed) < _MOST_LISTED:
                listed.append({"type": type_, "id": id_, "reason": reason})
    return kept, listed


_CONFLICTS: Final = """
    SELECT c.id FROM sync_conflicts c
    WHERE c.space_id = %(space)b AND c.version = ANY(%(versions)b) AND c.state = 'open' AND c.kind <> 'revive'
          AND NOT c.id::text = ANY(%(stuck)b::text[])
    LIMIT %(most)b"""
_REVIVALS: Final = {
    name: f"""
        SELECT c.id FROM sync_conflicts c JOIN {TABLES[name].name} t
        ON t.space_id = c.space_id AND t.key = c.record_key AND t.deleted
        WHERE c.space_id = %(space)b AND c.version = ANY(%(versions)b) AND c.state = 'open'
              AND c.kind = 'revive' AND c.record_type = '{name}' AND NOT c.id::text = ANY(%(stuck)b::text[])
        LIMIT %(most)b"""
    for name in RECORD_TYPES
}
"""Conflicts about records that the import brought back to life, and that are deleted again."""


_IS_MADE: Final = """(
    t.born = t.version OR EXISTS (
        SELECT FROM sync_history h WHERE h.space_id = t.space_id AND h.key = t.key
        AND h.version = ANY(%(versions)b) AND h.act IN ('create', 'revive') AND NOT EXISTS (
            SELECT FROM sync_history later WHERE later.space_id = h.space_id AND later.key = h.key
            AND later.version > h.version AND NOT later.version = ANY(%(versions)b))))"""
"""Whether the record `t` was not there before the import: it was new, or a tombstone."""


def _made(type_: str) -> str:
    """Records that the import made, or brought back, and nobody has touched since."""
    nothing_hangs = " ".join(
        f"AND NOT EXISTS (SELECT FROM {TABLES[child.name].name} c"
        f" WHERE c.space_id = t.space_id AND c.{column} = t.key AND NOT c.deleted)"
        for child in RECORD_TYPES.values()
        for field, column in parent_keys(child)
        if type_ in ([child.parents[field]] if field in child.parents else ["thoughts", "segments"])
    )
    return f"""
        SELECT t.id, t.version FROM {TABLES[type_].name} t
        WHERE t.space_id = %(space)b AND t.version = ANY(%(versions)b) AND NOT t.deleted {nothing_hangs}
              AND {_IS_MADE} AND NOT t.id = ANY(%(stuck)b::text[])
        LIMIT %(most)b"""


_MADE: Final = {name: _made(name) for name in RECORD_TYPES}
_EDITED: Final = {
    name: f"""
        SELECT t.id, t.version, h.old::text FROM {TABLES[name].name} t
        JOIN sync_history h ON h.space_id = t.space_id AND h.key = t.key AND h.version = t.version
        WHERE t.space_id = %(space)b AND t.version = ANY(%(versions)b) AND t.born <> t.version
              AND NOT t.deleted AND h.act = 'edit' AND h.old <> '{{}}' AND NOT {_IS_MADE}
              AND NOT t.id = ANY(%(stuck)b::text[])
        LIMIT %(most)b"""
    for name in RECORD_TYPES
}
"""Records that the import edited and nobody has touched since, with what it overwrote."""
_STAYED: Final = {
    name: f"""
        SELECT t.id, CASE WHEN NOT t.version = ANY(%(versions)b) THEN 'changed-since'
                          WHEN t.born = ANY(%(versions)b) THEN 'something-hangs-on-it'
                          ELSE 'what-it-hung-on-is-gone' END
        FROM {TABLES[name].name} t
        WHERE t.space_id = %(space)b AND NOT t.deleted AND (
            t.born = ANY(%(versions)b) OR EXISTS (
                SELECT FROM sync_history h WHERE h.space_id = t.space_id AND h.key = t.key
                AND h.version = ANY(%(versions)b) AND h.act <> 'delete'
                AND (h.act <> 'edit' OR h.old <> '{{}}')))
            AND NOT t.version IN (SELECT version FROM migration_importchunk
                                  WHERE imported_by_id = %(import)b AND taken_back)
        ORDER BY t.id"""
    for name in RECORD_TYPES
}
