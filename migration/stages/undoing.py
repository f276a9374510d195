"""Undone: what an import brought, and nobody has touched since, is deleted again; the rest is listed.

From the leaves to the roots: first links and fields, then segments, then tags and thoughts. So nothing is
deleted on which something hangs that stays, be it new, changed, or somebody else's.
"""

from __future__ import annotations

from typing import Any, Final

from django.utils import timezone

from migration.jobs import Job, caller_of
from migration.mapping import ORDER
from migration.models import Import, ImportChunk, State
from sync.core.schema import RECORD_TYPES
from sync.models import Origin
from sync.problems import ChangeRejected
from sync.push.merging import merge_changes
from sync.push.receiving import Received
from sync.push.storing import store
from sync.push.validating import Rejected, validate
from sync.sql import cursor
from sync.tables import TABLES, parent_keys
from sync.writing import Author, ChangeSet, change_set
from workspaces.access import open_space
from workspaces.ids import uuid7
from workspaces.roles import Act

_AT_ONCE: Final = 1_000
_MOST_LISTED: Final = 1_000
_FROM_LEAVES: Final = ("embeddings", *(name for name in reversed(ORDER)))


def undo(job: Job) -> None:
    """Take back an import in short transactions; then it is `undone`, and its report says what stayed."""
    imported = job.load()
    versions = list(ImportChunk.objects.filter(imported_by=imported).values_list("version", flat=True))
    taken = (imported.checkpoint or {}).get("taken_back", 0)
    for type_ in _FROM_LEAVES:
        while count := _take_back(job, imported, type_, versions, taken):
            taken += count
    kept, listed = _kept(imported, versions)
    job.save(
        imported.state,
        state=State.UNDONE,
        undoing=False,
        report={**(imported.report or {}), "undo": {"taken_back": taken, "kept": kept, "listed": listed}},
        finished_at=timezone.now(),
    )


def _take_back(job: Job, imported: Import, type_: str, versions: list[int], taken: int) -> int:
    """Delete up to a thousand records of a type, and say how many: the last time 0."""
    author = Author(imported.person_id, imported.device_id)
    with change_set(imported.space_id, author=author, origin=Origin.IMPORT) as changes:
        open_space(caller_of(imported), imported.space_id, Act.WRITE)
        values = {"space": imported.space_id, "versions": versions, "most": _AT_ONCE}
        found = changes.cursor.execute(_UNTOUCHED[type_], values).fetchall()
        if found:
            _delete(changes, type_, found)
            done = taken + len(found)
            job.save(
                imported.state,
                checkpoint={**imported.checkpoint, "taken_back": done},
                progress={"taken_back": done},
            )
    return len(found)


def _delete(changes: ChangeSet, type_: str, found: list[tuple[str, int]]) -> None:
    deletions = [
        {"change_id": str(uuid7()), "type": type_, "id": id_, "base": version, "delete": True}
        for id_, version in found
    ]
    outcome = merge_changes(changes, validate(Received(None, changes.head, deletions)))
    for result in outcome.results:
        if isinstance(result, Rejected):
            raise ChangeRejected(result.error)
    store(changes, outcome)


def _kept(imported: Import, versions: list[int]) -> tuple[int, list[dict[str, Any]]]:
    """How many of the import's records stay, and the first of them with the reason."""
    kept = 0
    listed: list[dict[str, Any]] = []
    for type_ in ORDER:
        values = {"space": imported.space_id, "versions": versions}
        for id_, changed in cursor().stream(_STAYED[type_], values):
            kept += 1
            if len(listed) < _MOST_LISTED:
                reason = "changed-since" if changed else "something-hangs-on-it"
                listed.append({"type": type_, "id": id_, "reason": reason})
    return kept, listed


def _untouched(type_: str) -> str:
    nothing_hangs = " ".join(
        f"AND NOT EXISTS (SELECT FROM {TABLES[child.name].name} c"
        f" WHERE c.space_id = t.space_id AND c.{column} = t.key AND NOT c.deleted)"
        for child in RECORD_TYPES.values()
        for field, column in parent_keys(child)
        if type_ in (child.parents.get(field), "segments" if child.name == "embeddings" else None)
    )
    return f"""
        SELECT t.id, t.version FROM {TABLES[type_].name} t
        WHERE t.space_id = %(space)b AND t.version = ANY(%(versions)b) AND t.born = t.version
              AND NOT t.deleted {nothing_hangs}
        LIMIT %(most)b"""


_UNTOUCHED: Final = {name: _untouched(name) for name in RECORD_TYPES}
_STAYED: Final = {
    name: f"SELECT t.id, t.version <> t.born FROM {TABLES[name].name} t"
    " WHERE t.space_id = %(space)b AND t.born = ANY(%(versions)b) AND NOT t.deleted ORDER BY t.id"
    for name in RECORD_TYPES
}
