"""Copied: the file's records are in the space, in chunks that are short transactions of their own.

A chunk's records, the rows it sets aside and the checkpoint are committed together, so a
worker that is killed anywhere has brought each row exactly once when another goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from django.db import IntegrityError, transaction
from django.utils import timezone

from migration.jobs import Job, caller_of
from migration.models import Import, State
from migration.sandbox.frames import BEFORE_ALL, Aside, Chunk, Described, Request
from migration.sandbox.supervision import reading
from migration.stages.asking import request_of
from migration.stages.counting import Counts
from migration.stages.reporting import rehearsal
from sync.models import Origin
from sync.packing import key_in
from sync.problems import SpaceBusy
from sync.sql import cursor
from sync.tables import TABLES
from sync.writing import Author, ChangeSet, change_set
from workspaces.access import open_space
from workspaces.roles import Act

log = logging.getLogger(__name__)

KEPT: Final = "differs-from-existing"
DELETED: Final = "deleted-in-space"
_PATIENCE: Final = 60  # seconds that a chunk waits for a busy space
_PRESENT: Final = """
    SELECT key, hash, deleted FROM {table} WHERE space_id = %b AND key = ANY(%b)"""
_ASIDE: Final = """COPY migration_setasiderow
    (imported_by_id, "table", "position", reason, missing, columns) FROM STDIN (FORMAT binary)"""
_DEVIATION: Final = """COPY migration_deviation
    (imported_by_id, "table", "position", record_id, "column", kind) FROM STDIN (FORMAT binary)"""
_REMEMBER: Final = """
    INSERT INTO migration_importchunk (imported_by_id, version, rows) VALUES (%b, %b, %b)"""


class _RolledBack(Exception):
    """A dry run has seen what a chunk would do."""


@dataclass(frozen=True)
class _Plan:
    """What one chunk brings, seen against what the space has."""

    new: list[bytes]
    same: int
    embeddings: list[bytes]
    aside: list[Aside]


def copy(job: Job) -> None:
    """Bring the file's records into the space; then the import is `verifying`."""
    imported = job.load()
    checkpoint: dict[str, Any] = imported.checkpoint
    copier = _Copier(job, imported, checkpoint)
    request = request_of(imported, "pack", checkpoint.get("table", ""), checkpoint.get("after", BEFORE_ALL))
    with reading(request) as frames:
        for frame in frames:
            if isinstance(frame, Chunk):
                copier.take(frame)
    if imported.dry_run:
        rehearsed = rehearsal(imported, copier.counts, timezone.now())
        job.move(State.COPYING, State.READY, report=rehearsed, checkpoint={}, dry_run=False)
    else:
        job.move(State.COPYING, State.VERIFYING, progress=copier.progress(0))


class _Copier:
    def __init__(self, job: Job, imported: Import, checkpoint: dict[str, Any]) -> None:
        self.job = job
        self.imported = imported
        self.caller = caller_of(imported)
        self.author = Author(imported.person_id, imported.device_id)
        self.counts = {name: Counts(**counts) for name, counts in checkpoint.get("tables", {}).items()}
        self.of = sum(table["rows"] for table in (imported.assessment or {}).get("tables", {}).values())
        self.occupied: set[str] = set()
        """Tables of which the space had a record that the file has too."""
        self.began = time.monotonic()
        self.began_with = sum(counts.rows_in for counts in self.counts.values())

    def take(self, chunk: Chunk) -> None:
        """One chunk, exactly once. Raises `Stopped` if the job is not ours any more."""
        until = time.monotonic() + _PATIENCE
        while True:
            plan = self._plan(chunk)
            try:
                return self._write(chunk, plan)
            except (IntegrityError, psycopg.errors.UniqueViolation):
                if chunk.table in self.occupied:
                    log.info("somebody else wrote the same records just now; looking again")
                self.occupied.add(chunk.table)
            except SpaceBusy:
                if time.monotonic() > until:
                    raise

    def _plan(self, chunk: Chunk) -> _Plan:
        if chunk.table not in self.occupied:
            return _Plan(chunk.records, 0, chunk.embeddings, chunk.aside)
        new, same, kept = self._compare(chunk)
        embeddings = _unknown(self.imported, "embeddings", chunk.embeddings)
        return _Plan(new, same, embeddings, [*chunk.aside, *self._set_aside(chunk.table, kept)])

    def _compare(self, chunk: Chunk) -> tuple[list[bytes], int, dict[int, str]]:
        """(records that the space does not have, how many it has just so, position -> why set aside)."""
        keys = [key_in(packed) for packed in chunk.records]
        query = _PRESENT.format(table=TABLES[chunk.table].name)
        rows = cursor().execute(query, (self.imported.space_id, keys)).fetchall()
        present = {key: (hash_, deleted) for key, hash_, deleted in rows}
        new, same, kept = [], 0, {}
        seen: set[bytes] = set()
        for key, packed, position in zip(keys, chunk.records, chunk.positions, strict=True):
            if key in seen:
                kept[position] = "duplicate-id"
            elif key not in present:
                new.append(packed)
            elif present[key][1]:
                kept[position] = DELETED
            elif present[key][0] == _hash_in(packed):
                same += 1
            else:
                kept[position] = KEPT
            seen.add(key)
        return new, same, kept

    def _set_aside(self, table: str, kept: dict[int, str]) -> Iterator[Aside]:
        if not kept:
            return
        folder = str(Path(self.imported.path).parent)
        request = Request(self.imported.path, folder, "rows", table, positions=tuple(kept))
        with reading(request) as frames:
            for frame in frames:
                if isinstance(frame, Described):
                    yield Aside(frame.position, kept[frame.position], "", frame.columns)

    def _write(self, chunk: Chunk, plan: _Plan) -> None:
        before = self.counts.get(chunk.table, Counts())
        tables = self.counts | {chunk.table: before.with_chunk(chunk, len(plan.new), plan.same, plan.aside)}
        try:
            with self._transaction(plan) as changes:
                open_space(self.caller, self.imported.space_id, Act.WRITE)
                if changes is not None:
                    changes.copy_packed(chunk.table, plan.new)
                    if plan.embeddings:
                        changes.copy_packed("embeddings", plan.embeddings)
                    rows = len(plan.new) + len(plan.embeddings)
                    cursor().execute(_REMEMBER, (self.imported.pk, changes.version, rows))
                self._record_oddities(chunk, plan.aside)
                self.job.save(
                    State.COPYING,
                    checkpoint={
                        "table": chunk.table,
                        "after": chunk.last,
                        "tables": {name: vars(each) for name, each in tables.items()},
                    },
                    progress=self.progress(chunk.rows),
                )
                if self.imported.dry_run:
                    raise _RolledBack
        except _RolledBack:
            self.job.save(State.COPYING, progress=self.progress(chunk.rows))
        self.counts = tables

    @contextmanager
    def _transaction(self, plan: _Plan) -> Iterator[ChangeSet | None]:
        """A change set where there is something to bring; where there is nothing, the head stays."""
        if plan.new or plan.embeddings:
            with change_set(self.imported.space_id, author=self.author, origin=Origin.IMPORT) as changes:
                yield changes
        else:
            with transaction.atomic():
                yield None

    def _record_oddities(self, chunk: Chunk, aside: Sequence[Aside]) -> None:
        id_ = self.imported.pk
        if aside:
            with cursor().copy(_ASIDE) as copy:
                copy.set_types(["uuid", "text", "int8", "text", "text", "bytea"])
                for row in aside:
                    copy.write_row((id_, chunk.table, row.position, row.reason, row.missing, row.columns))
        if chunk.listed:
            with cursor().copy(_DEVIATION) as copy:
                copy.set_types(["uuid", "text", "int8", "text", "text", "text"])
                for cell in chunk.listed:
                    copy.write_row((id_, chunk.table, cell.position, cell.id, cell.column, cell.kind))

    def progress(self, rows: int) -> dict[str, Any]:
        done = sum(counts.rows_in for counts in self.counts.values()) + rows
        seconds = time.monotonic() - self.began
        here = done - self.began_with
        return {
            "rows": done,
            "of": self.of,
            "percent": round(100 * done / self.of, 1) if self.of else 100,
            "seconds_left": round(seconds / here * (self.of - done)) if here else None,
        }


def _unknown(imported: Import, type_: str, packed: list[bytes]) -> list[bytes]:
    """Those of the records that the space does not have."""
    if not packed:
        return []
    query = _PRESENT.format(table=TABLES[type_].name)
    keys = [key_in(each) for each in packed]
    rows = cursor().execute(query, (imported.space_id, keys)).fetchall()
    present = {key for key, _, _ in rows}
    return [each for key, each in zip(keys, packed, strict=True) if key not in present]


def _hash_in(packed: bytes) -> int:
    """The hash in a packed record: it follows the key and the id."""
    start = 24 + int.from_bytes(packed[20:24]) + 4
    return int.from_bytes(packed[start : start + 8], signed=True)
