"""What became of the rows of one table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from migration.sandbox.frames import Aside, Chunk


@dataclass(frozen=True)
class Brought:
    """What one chunk brought."""

    new: int = 0
    same: int = 0
    edited: int = 0
    newer: int = 0
    conflicts: int = 0
    made: int = 0

    @property
    def migrated(self) -> int:
        return self.new + self.same + self.edited + self.newer


@dataclass
class Counts:
    """What became of the rows of one table so far."""

    rows_in: int = 0
    migrated: int = 0
    set_aside: int = 0
    left_for_later: int = 0
    """Rows of thoughts that the filters did not choose."""
    already_there: int = 0
    """Of those migrated: the space had the very same record before."""
    edited: int = 0
    """Of those migrated: they became edits of records that the space had."""
    newer_in_space: int = 0
    """Of those migrated: an earlier import brought them, and they have been edited in the space since."""
    conflicts: int = 0
    """Of those edited: with something for a person to decide."""
    made: int = 0
    """Records that no row stands for, made for rows to hang on; they are not counted as rows."""
    embeddings: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    """Why rows were set aside -> how many."""
    deviations: dict[str, int] = field(default_factory=dict)
    """kind/column -> how many cells."""

    def with_chunk(self, chunk: Chunk, brought: Brought, aside: Iterable[Aside]) -> Counts:
        """The counts after one more chunk."""
        why = [row.reason for row in aside]
        listed = dict.fromkeys((f"{cell.kind}/{cell.column}" for cell in chunk.listed), 0)
        for cell in chunk.listed:
            listed[f"{cell.kind}/{cell.column}"] += 1
        return Counts(
            self.rows_in + chunk.rows,
            self.migrated + brought.migrated,
            self.set_aside + len(why),
            self.left_for_later + chunk.left,
            self.already_there + brought.same,
            self.edited + brought.edited,
            self.newer_in_space + brought.newer,
            self.conflicts + brought.conflicts,
            self.made + brought.made,
            self.embeddings + len(chunk.embeddings),
            _sum(self.reasons, {reason: why.count(reason) for reason in set(why)}),
            _sum(_sum(self.deviations, chunk.counted), listed),
        )

    @property
    def add_up(self) -> bool:
        """Whether every row is accounted for."""
        return self.rows_in == self.migrated + self.set_aside + self.left_for_later


def _sum(first: dict[str, int], second: dict[str, int]) -> dict[str, int]:
    return {key: first.get(key, 0) + second.get(key, 0) for key in {**first, **second}}
