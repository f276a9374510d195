"""How far an import has come through all its stages, and how long it will still take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from statistics import median
from typing import Any, Final

from migration.models import Import, State

_ROWS_A_SECOND: Final = 20_000
_BYTES_A_SECOND: Final = 60_000_000
_VERIFYING: Final = 0.5
"""So long verifying takes for each second of copying, until it is measured."""
_RECENT: Final = 8
"""Chunks that tell the pace: the rows of one table are larger than those of another."""


class Pace:
    """Counts the rows of the stage under way; all stages together read each row as often as it says."""

    def __init__(self, stage: State, rows: int, done: int = 0, *, verified: bool = True) -> None:
        """`rows`: of the file; `done`: of this stage, before; `verified`: whether verifying follows."""
        self._stage = stage
        self._rows = rows
        self._stages = 2 if verified else 1
        self._marks: deque[tuple[float, int]] = deque([(time.monotonic(), done)], maxlen=_RECENT)
        self._first = self._marks[0]

    def progress(self, done: int) -> dict[str, Any]:
        """What is shown of the job once so many rows of the stage are done."""
        now = time.monotonic()
        whole = self._stages * self._rows
        reached = min(done, self._rows) + (self._rows if self._stage == State.VERIFYING else 0)
        left = self._seconds_left(now, done)
        self._marks.append((now, done))
        return {
            "stage": str(self._stage),
            "rows": reached,
            "of": whole,
            "percent": round(100 * reached / whole, 1) if whole else 100,
            "seconds_left": left,
        }

    def _seconds_left(self, now: float, done: int) -> int | None:
        paces = [(now - began) / (done - had) for began, had in (self._first, self._marks[0]) if done > had]
        if not paces:
            return None
        pace = sum(paces) / len(paces)
        left = pace * max(self._rows - done, 0)
        if self._stage == State.COPYING and self._stages == 2:
            left += _VERIFYING * pace * self._rows
        return round(left)


def estimated_seconds(rows: int, size: int) -> int:
    """How long a file of so many rows and bytes will take, by what earlier imports took on this server."""
    ratios = list(_ratios())
    return max(1, round(_guess(rows, size) * (median(ratios) if ratios else 1)))


def _ratios() -> Iterable[float]:
    latest = Import.objects.filter(state=State.DONE, report__has_key="seconds").order_by("-finished_at")
    for size, assessment, report in latest.values_list("size", "assessment", "report")[:9]:
        guess = _guess((assessment or {}).get("rows", 0), size)
        if (
            report and guess > 2 and report["seconds"] > 1
        ):  # small files tell nothing but how long it takes to begin
            yield float(report["seconds"]) / guess


def _guess(rows: int, size: int) -> float:
    return 1 + rows / _ROWS_A_SECOND + size / _BYTES_A_SECOND
