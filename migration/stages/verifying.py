"""Verified: the file is read a second time, and every record compared with what the database holds.

The source side is computed from the file alone, the target side from the stored columns, read
back. The stored hash is not believed. An import whose digests differ is never `done`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from hashlib import sha256
from itertools import repeat
from operator import xor
from struct import unpack
from typing import Any, Final, NamedTuple

from django.utils import timezone

from migration.estimating import Pace
from migration.jobs import Job
from migration.models import Divergence, Import, ImportChunk, SetAsideRow, State
from migration.sandbox.frames import Chunk, gathered
from migration.sandbox.supervision import reading
from migration.stages.asking import request_of
from migration.stages.counting import Counts
from migration.stages.reading_back import HASH_BYTES, KEY_BYTES, LONG, UNKNOWN, stored_hashes, whole_hashes
from migration.stages.reporting import report
from sync.indexing import postpone
from sync.sql import cursor
from sync.tables import TABLES

_MOST_LISTED: Final = 1_000
_TOGETHER_ROWS: Final = 20_000
_TOGETHER_BYTES: Final = 8 * 1024**2
"""So much is compared at once."""


@dataclass
class Comparison:
    """What the file says there should be, and what there is."""

    source_digest: int = 0
    target_digest: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    """Table -> rows read again."""
    matched: dict[str, int] = field(default_factory=dict)
    changed_since: int = 0
    """Records that somebody has changed since the import brought them: left out of both digests."""
    merged: int = 0
    """Records that the space holds otherwise than the file because both were edited: left out likewise, but
    compared with what the merge made of them."""
    differences: list[dict[str, Any]] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        return not self.differences and self.source_digest == self.target_digest


class _Expected(NamedTuple):
    key: bytes
    hash: bytes
    position: int

    @classmethod
    def of(cls, data: bytes, position: int) -> _Expected:
        return cls(_key_in(data), data[KEY_BYTES:], position)


def verify(job: Job) -> None:
    """Compare file and database; then the import is `done`, or `failed` with the differences."""
    imported = job.load()
    counts = {name: Counts(**each) for name, each in imported.checkpoint.get("tables", {}).items()}
    comparison = Comparison()
    verifier = _Verifier(imported, counts, comparison)
    pace = Pace(State.VERIFYING, sum(each.rows_in for each in counts.values()))
    with reading(request_of(imported, "hash")) as frames:
        slices = (frame for frame in frames if isinstance(frame, Chunk))
        for chunk in gathered(slices, _are_enough):
            verifier.take(chunk)
            if job.show(State.VERIFYING, pace.progress(sum(comparison.rows.values()))):
                postpone(imported.space_id)
    verifier.count(counts)
    state = State.DONE if comparison.agrees else State.FAILED
    now = timezone.now()
    problem = None
    if not comparison.agrees:
        problem = {
            "type": "not-verified",
            "detail": "What the space holds is not what the file says it should hold; the report lists where."
            " Nothing of the file is lost. Undo this import, or tell whoever runs the server.",
        }
    job.move(
        State.VERIFYING,
        state,
        report=report(imported, state, counts, comparison, now),
        problem=problem,
        finished_at=now,
    )


def _are_enough(rows: int, size: int) -> bool:
    return rows >= _TOGETHER_ROWS or size >= _TOGETHER_BYTES


class _Verifier:
    def __init__(self, imported: Import, counts: dict[str, Counts], comparison: Comparison) -> None:
        self.imported = imported
        self.counts = counts
        self.comparison = comparison
        self._made: set[bytes] = set()
        self.versions = set(
            ImportChunk.objects.filter(imported_by=imported, taken_back=False).values_list(
                "version", flat=True
            )
        )

    def take(self, chunk: Chunk) -> None:
        found = self.comparison
        found.rows[chunk.table] = found.rows.get(chunk.table, 0) + chunk.rows
        self._take_made(chunk)
        matched = self._compare(chunk.table, *self._expected(chunk))
        found.matched[chunk.table] = found.matched.get(chunk.table, 0) + matched
        if chunk.embeddings:
            left_out = set(self._diverged("embeddings", key__in=[_key_in(data) for data in chunk.embeddings]))
            self._compare("embeddings", [data for data in chunk.embeddings if _key_in(data) not in left_out])

    def _take_made(self, chunk: Chunk) -> None:
        """What no row stands for comes with each chunk that needs it, and counts once."""
        for type_, made in chunk.made.items():
            new = [data for data in made if _key_in(data) not in self._made]
            self._made.update(map(_key_in, new))
            self._compare(type_, new)

    def _expected(self, chunk: Chunk) -> tuple[Sequence[bytes], Sequence[int]]:
        """The chunk's records but for those that copying set aside because of what the space has, and their
        positions."""
        counts = self.counts.get(chunk.table, Counts())
        records, positions = chunk.records, chunk.positions
        if not positions:
            return records, positions
        span = (min(positions), max(positions))
        if counts.set_aside:
            rows = SetAsideRow.objects.filter(
                imported_by=self.imported, table=chunk.table, position__range=span
            )
            left_out = set(rows.values_list("position", flat=True))
            pairs = [pair for pair in zip(records, positions, strict=True) if pair[1] not in left_out]
            records, positions = [data for data, _ in pairs], [at for _, at in pairs]
        if counts.edited or counts.newer_in_space:
            diverged = self._diverged(chunk.table, position__range=span)
            each = [_Expected.of(*pair) for pair in zip(records, positions, strict=True)]
            merged = {one.key: (one, diverged[one.key]) for one in each if one.key in diverged}
            self._compare_merged(chunk.table, merged)
            rest = [one for one in each if one.key not in diverged]
            records, positions = [one.key + one.hash for one in rest], [one.position for one in rest]
        return records, positions

    def _diverged(self, table: str, **where: Any) -> dict[bytes, Divergence]:
        found = Divergence.objects.filter(imported_by=self.imported, table=table, **where)
        return {bytes(each.key): each for each in found}

    def _compare_merged(self, type_: str, rows: dict[bytes, tuple[_Expected, Divergence]]) -> None:
        """What was merged must be what the file says, and be in the space as the merge made it."""
        if not rows:
            return
        self.comparison.merged += len(rows)
        for each, note in rows.values():
            if note.record is not None and sha256(bytes(note.record)).digest()[:8] != each.hash:
                self._differs(type_, each, "merged-otherwise")
        for key, version, actual in whole_hashes(self.imported.space_id, type_, list(rows), long=True):
            each, note = rows[key]
            if version <= note.version and int.from_bytes(actual, signed=True) != note.hash:
                self._differs(type_, each, "differs")

    def _compare(self, type_: str, records: Sequence[bytes], positions: Sequence[int] = ()) -> int:
        """How many of the records (key and hash of each) are there just so. The others are put on the list.

        Records without positions stand for no row.
        """
        # By key, as they are stored: PostgreSQL finds the next where it found the last.
        rows = sorted(zip(records, positions or repeat(0), strict=False))
        if not rows:
            return 0
        data = stored_hashes(self.imported.space_id, type_, [_key_in(each) for each, _ in rows])
        wanted = b"".join([each[KEY_BYTES:] for each, _ in rows])
        if data == wanted:
            self._note(type_, wanted, data)
            return len(rows)
        rest: dict[bool, dict[bytes, _Expected]] = {False: {}, True: {}}  # long rows apart
        same = []
        for n, (each, position) in enumerate(rows):
            there = data[n * HASH_BYTES : (n + 1) * HASH_BYTES]
            expected = _Expected.of(each, position)
            if there == expected.hash:
                same.append(there)
            else:
                rest[there == LONG][expected.key] = expected
        self._note(type_, b"".join(same), b"".join(same))
        return len(same) + sum(self._compare_whole(type_, rows, long) for long, rows in rest.items() if rows)

    def _compare_whole(self, type_: str, rest: dict[bytes, _Expected], long: bool) -> int:
        matched = 0
        for key, version, actual in whole_hashes(self.imported.space_id, type_, list(rest), long=long):
            each = rest.pop(key)
            if actual == each.hash:
                matched += 1
                self._note(type_, each.hash, actual)
            elif version not in self.versions:
                self.comparison.changed_since += 1
            else:
                self._note(type_, each.hash, actual)
                self._differs(type_, each, "differs")
        for key in self._deleted_since(type_, list(rest)):
            self.comparison.changed_since += 1
            del rest[key]
        for each in rest.values():
            self._note(type_, each.hash, UNKNOWN)
            self._differs(type_, each, "missing")
        return matched

    def _deleted_since(self, type_: str, keys: list[bytes]) -> list[bytes]:
        """Those of the records that somebody has deleted since the import brought them."""
        if not keys:
            return []
        query = (
            f"SELECT key, version FROM {TABLES[type_].name} WHERE space_id = %b AND key = ANY(%b) AND deleted"
        )
        rows = cursor().execute(query, (self.imported.space_id, keys)).fetchall()
        return [bytes(key) for key, version in rows if version not in self.versions]

    def _note(self, type_: str, source: bytes, target: bytes) -> None:
        if type_ != "embeddings":  # as in the protocol, they are outside the digest
            self.comparison.source_digest ^= _xor(source)
            self.comparison.target_digest ^= _xor(target)

    def _differs(self, type_: str, each: _Expected, how: str) -> None:
        if len(self.comparison.differences) < _MOST_LISTED:
            self.comparison.differences.append({"table": type_, "position": each.position, "how": how})

    def count(self, counts: dict[str, Counts]) -> None:
        """Every row that the file says it has must have been copied or set aside, and read again, once."""
        tables = (self.imported.assessment or {}).get("tables", {})
        for name in {**tables, **self.comparison.rows}:
            each = counts.get(name, Counts())
            rows = {self.comparison.rows.get(name, 0), each.rows_in, tables.get(name, {}).get("rows", 0)}
            if len(rows) > 1 or not each.add_up:
                self.comparison.differences.append({"table": name, "position": None, "how": "miscounted"})


def _key_in(data: bytes) -> bytes:
    return data[:KEY_BYTES]


def _xor(hashes: bytes) -> int:
    return reduce(xor, unpack(f">{len(hashes) // 8}Q", hashes), 0)
