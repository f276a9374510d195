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

from migration.estimating import Pace
from migration.jobs import Job, caller_of
from migration.models import Import, State
from migration.sandbox.frames import BEFORE_ALL, Aside, Chunk, Described, Request, gathered
from migration.sandbox.supervision import reading
from migration.stages.asking import earlier_filters, request_of
from migration.stages.counting import Brought, Counts
from migration.stages.reporting import rehearsal
from migration.stages.settling import Edit, Settled, Settler
from sync.core.schema import RECORD_TYPES
from sync.indexing import postpone
from sync.models import Origin
from sync.packing import key_in
from sync.problems import SpaceBusy
from sync.push.merging import Outcome, Result, merge_changes
from sync.push.storing import store
from sync.push.validating import Rejected, Validated
from sync.sql import cursor
from sync.writing import Author, ChangeSet, change_set, signed_hash
from workspaces.access import open_space
from workspaces.roles import Act

log = logging.getLogger(__name__)

_PATIENCE: Final = 60  # seconds that a chunk waits for a busy space
_CHUNK_ROWS: Final = 20_000
_CHUNK_BYTES: Final = 8 * 1024**2
"""So much a chunk brings while nobody else writes in the space: the more, the faster."""
_COMPANY: Final = 5.0
"""So many seconds after somebody else's change set the chunks stay small."""
_POSTPONED_EVERY: Final = 2.0  # seconds
_ASIDE: Final = """COPY migration_setasiderow
    (imported_by_id, "table", "position", reason, missing, columns) FROM STDIN (FORMAT binary)"""
_DEVIATION: Final = """COPY migration_deviation
    (imported_by_id, "table", "position", record_id, "column", kind) FROM STDIN (FORMAT binary)"""
_DIVERGENCE: Final = """COPY migration_divergence
    (imported_by_id, "table", "position", key, version, hash, record) FROM STDIN (FORMAT binary)"""
_REMEMBER: Final = """
    INSERT INTO migration_importchunk (imported_by_id, version, rows) VALUES (%b, %b, %b)"""


class _RolledBack(Exception):
    """A dry run has seen what a chunk would do."""


class _LookAgain(Exception):
    """Somebody else has written what the chunk's plan did not reckon with."""


@dataclass(frozen=True)
class _Plan:
    """What one chunk brings, seen against what the space has."""

    rows: Settled
    embeddings: Settled
    made: dict[str, Settled]
    """Type -> what no row stands for: rows hang on it instead of what is missing."""
    aside: list[Aside]

    @property
    def writes(self) -> bool:
        return self.rows.writes or self.embeddings.writes or any(each.writes for each in self.made.values())

    @property
    def edits(self) -> list[Edit]:
        return [*self.rows.edits, *self.embeddings.edits]

    @property
    def written(self) -> int:
        parts = (*self.made.values(), self.rows, self.embeddings)
        return sum(len(each.new) + len(each.returning) + len(each.edits) for each in parts)

    def brought(self, outcome: Outcome | None) -> Brought:
        """How many rows became what. Embeddings stand beside the rows and are not counted."""
        rows = self.rows
        results = outcome.results[: len(rows.edits)] if outcome else []
        conflicts = sum(isinstance(each, Result) and each.conflict is not None for each in results)
        return Brought(
            len(rows.new) + len(rows.returning),
            rows.same,
            len(rows.edits),
            len(rows.newer),
            conflicts,
            sum(len(each.new) + len(each.returning) for each in self.made.values()),
        )


def copy(job: Job) -> None:
    """Bring the file's records into the space; then the import is `verifying`."""
    imported = job.load()
    checkpoint: dict[str, Any] = imported.checkpoint
    checkpoint["earlier"] = earlier_filters(imported)
    copier = _Copier(job, imported, checkpoint)
    request = request_of(imported, "pack", checkpoint.get("table", ""), checkpoint.get("after", BEFORE_ALL))
    with reading(request) as frames:
        slices = (frame for frame in frames if isinstance(frame, Chunk))
        for chunk in gathered(slices, copier.is_chunk):
            copier.take(chunk)
            copier.have_index_wait()
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
        of = sum(table["rows"] for table in (imported.assessment or {}).get("tables", {}).values())
        done = sum(counts.rows_in for counts in self.counts.values())
        self.pace = Pace(State.COPYING, of, done, verified=not imported.dry_run)
        self.settler = Settler(imported)
        self.occupied: set[str] = set()
        """Tables of which the space had a record that the file has too."""
        self.head = 0 if not imported.began_at else None
        """The head of the space while nobody else has written in it."""
        self.written = -1
        """The version of the latest chunk."""
        self.company_until = 0.0
        self.postponed = -_POSTPONED_EVERY
        self.refused: dict[bytes, str] = {}
        """Key -> why a row of the chunk under way cannot be merged."""

    def is_chunk(self, rows: int, size: int) -> bool:
        """Whether so much is brought at once: a large transaction costs less, but others wait for it."""
        in_company = time.monotonic() < self.company_until
        return in_company or rows >= _CHUNK_ROWS or size >= _CHUNK_BYTES

    def have_index_wait(self) -> None:
        """The search index would take one of the processors, and it has time."""
        if time.monotonic() > self.postponed + _POSTPONED_EVERY:
            postpone(self.imported.space_id)
            self.postponed = time.monotonic()

    def take(self, chunk: Chunk) -> None:
        """One chunk, exactly once. Raises `Stopped` if the job is not ours any more."""
        until = time.monotonic() + _PATIENCE
        self.refused = {}
        while True:
            plan = self._plan(chunk)
            try:
                return self._write(chunk, plan)
            except (IntegrityError, psycopg.errors.UniqueViolation):
                if chunk.table in self.occupied:
                    if chunk.table not in RECORD_TYPES or time.monotonic() > until:
                        raise  # looking again will not help
                    log.info("somebody else wrote the same records just now; looking again")
                self.occupied.add(chunk.table)
            except _LookAgain:
                pass
            except SpaceBusy:
                if time.monotonic() > until:
                    raise

    def _plan(self, chunk: Chunk) -> _Plan:
        name, records, vectors = chunk.table, chunk.records, chunk.embeddings
        places = [_place_of(packed) for packed in vectors]
        made = {type_: self.settler.settle_made(type_, each) for type_, each in chunk.made.items()}
        coming = {key for each in made.values() for key in each.coming}
        if self.head is None and name in RECORD_TYPES and self.settler.dead_parents(name, records, coming):
            self.occupied.add(name)  # what hangs on a deleted record is probably deleted with it
        if name in self.occupied and name in RECORD_TYPES:
            rows = self.settler.settle(name, records, chunk.positions)
            embeddings = self.settler.settle("embeddings", vectors, places)
        else:
            rows, embeddings = Settled(records), Settled(vectors)
        if self.head is None and name in RECORD_TYPES:
            by_key = dict(zip(map(key_in, records), chunk.positions, strict=True))
            self.settler.settle_hanging(name, rows, by_key, coming)
            by_key = dict(zip(map(key_in, vectors), places, strict=True))
            self.settler.settle_hanging("embeddings", embeddings, by_key, rows.coming)
        for settled in (rows, embeddings):
            refused = [edit for edit in settled.edits if edit.change.key in self.refused]
            settled.edits = [edit for edit in settled.edits if edit not in refused]
            settled.aside |= {edit.position: self.refused[edit.change.key] for edit in refused}
        embeddings.beside = [
            (key_in(packed), place)
            for packed, place in zip(vectors, places, strict=True)
            if place in embeddings.aside
        ]
        return _Plan(rows, embeddings, made, [*chunk.aside, *self._set_aside(name, rows.aside)])

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
        head = self.head
        try:
            with self._transaction(plan) as changes:
                open_space(self.caller, self.imported.space_id, Act.WRITE)
                outcome = None
                if changes is not None:
                    if changes.head != self.written >= 0:
                        self.company_until = time.monotonic() + _COMPANY
                    self._watch(chunk.table, plan, changes)
                    outcome = self._bring(chunk.table, plan, changes)
                    head = changes.version if head is not None and changes.changed else head
                version = changes.version if changes else 0
                self._record_divergences(chunk.table, plan.rows, outcome, version)
                self._record_divergences("embeddings", plan.embeddings, outcome, version)
                brought = plan.brought(outcome)
                tables = self.counts | {chunk.table: before.with_chunk(chunk, brought, plan.aside)}
                self._record_oddities(chunk, plan.aside)
                self.job.save(
                    State.COPYING,
                    checkpoint={
                        "table": chunk.table,
                        "after": chunk.last,
                        "tables": {name: vars(each) for name, each in tables.items()},
                        "earlier": self.imported.checkpoint["earlier"],
                    },
                    progress=self.progress(chunk.rows),
                )
                if self.imported.dry_run:
                    raise _RolledBack
        except _RolledBack:
            self.settler.rehearsed(plan.rows)
            self.job.save(State.COPYING, progress=self.progress(chunk.rows))
            head = self.head
        self.counts, self.head = tables, head
        if changes is not None and not self.imported.dry_run:
            self.written = changes.version if changes.changed else changes.head

    def _watch(self, type_: str, plan: _Plan, changes: ChangeSet) -> None:
        """As soon as somebody else writes in the space, look whether what new rows hang on is still there."""
        if self.head == changes.head:
            return
        if self.head is not None:
            self.head = None
            raise _LookAgain
        coming = {key for each in plan.made.values() for key in each.coming}
        if self.settler.dead_parents(type_, plan.rows.new, coming) - plan.rows.dead:
            raise _LookAgain
        coming = plan.rows.coming if plan.embeddings.new else set()
        if self.settler.dead_parents("embeddings", plan.embeddings.new, coming) - plan.embeddings.dead:
            raise _LookAgain

    def _bring(self, type_: str, plan: _Plan, changes: ChangeSet) -> Outcome | None:
        """Write what the plan says."""
        for name, settled in (*plan.made.items(), (type_, plan.rows), ("embeddings", plan.embeddings)):
            if settled.new:
                changes.copy_packed(name, settled.new)
            if settled.returning and changes.bring_back(name, settled.returning) < len(settled.returning):
                raise _LookAgain
        outcome = None
        if plan.edits:
            outcome = merge_changes(changes, Validated(None, 0, [edit.change for edit in plan.edits]))
            self._refuse(plan, outcome)
            store(changes, outcome)
        if changes.changed:
            cursor().execute(_REMEMBER, (self.imported.pk, changes.version, plan.written))
        return outcome

    def _refuse(self, plan: _Plan, outcome: Outcome) -> None:
        """Set aside, in another attempt, the rows whose edits cannot be taken."""
        refused = {
            edit.change.key: str(result.error["type"])
            for edit, result in zip(plan.edits, outcome.results, strict=True)
            # What a row of a dry run hangs on may have come, and gone again, with an earlier chunk.
            if isinstance(result, Rejected)
            and not (self.imported.dry_run and result.error["type"] == "missing-parent")
        }
        if refused:
            self.refused |= refused
            raise _LookAgain

    def _record_divergences(self, type_: str, settled: Settled, outcome: Outcome | None, head: int) -> None:
        """Note the rows of which the space holds something else than the file, with what the file says."""
        rows: list[tuple[int, bytes, int, int, bytes | None]] = [
            (each.position, each.key, each.version, each.hash, None) for each in settled.newer
        ]
        for edit in settled.edits:
            node = outcome.tree.get(edit.change.key) if outcome else None
            if node is None:
                continue
            hash_ = signed_hash(type_, node.id, node.stored.record)
            if hash_ != edit.hash:
                rows.append((edit.position, edit.change.key, head, hash_, edit.said))
        rows += [(place, key, head, 0, None) for key, place in settled.beside]
        began = self.imported.began_at or 0  # later than all that earlier copies wrote
        rows += [(place, key, began, 0, said) for place, key, said in settled.kept]
        if rows:
            with cursor().copy(_DIVERGENCE) as copy:
                copy.set_types(["uuid", "text", "int8", "bytea", "int8", "int8", "bytea"])
                for row in rows:
                    copy.write_row((self.imported.pk, type_, *row))

    @contextmanager
    def _transaction(self, plan: _Plan) -> Iterator[ChangeSet | None]:
        """A change set where there is something to bring; where there is nothing, the head stays."""
        if plan.writes:
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
        return self.pace.progress(sum(counts.rows_in for counts in self.counts.values()) + rows)


def _place_of(packed: bytes) -> int:
    """A number for an embedding, which is no row of its own."""
    return int.from_bytes(key_in(packed)[:8], signed=True)
