"""Reported: what was taken, what was set aside and why, and the proof."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from migration.models import Deviation, Import, State
from migration.stages.counting import Counts
from sync.models import SpaceHead

if TYPE_CHECKING:
    from migration.stages.verifying import Comparison


def report(
    imported: Import, state: State, counts: dict[str, Counts], comparison: Comparison, now: datetime
) -> dict[str, Any]:
    """The report of a verified import."""
    head = SpaceHead.objects.get(space_id=imported.space_id)
    return {
        "state": state.value,
        **_counted(imported, counts),
        "source_digest": f"{comparison.source_digest:016x}",
        "target_digest": f"{comparison.target_digest:016x}",
        "changed_since": comparison.changed_since,
        "merged": comparison.merged,
        "differences": comparison.differences,
        "epoch": str(head.epoch),
        "head": head.head,
        "seconds": _seconds(imported, now),
    }


def rehearsal(imported: Import, counts: dict[str, Counts], now: datetime) -> dict[str, Any]:
    """The report of a dry run: the same counts, but nothing was kept that could be verified."""
    return {
        "state": State.READY.value,
        "dry_run": True,
        **_counted(imported, counts),
        "source_digest": None,
        "target_digest": None,
        "seconds": _seconds(imported, now),
    }


def _counted(imported: Import, counts: dict[str, Counts]) -> dict[str, Any]:
    assessment = imported.assessment or {}
    tables = {name: vars(counts.get(name, Counts())) for name in (assessment.get("tables") or counts)}
    listed = Deviation.objects.filter(imported_by=imported).count()
    damage = assessment.get("damage")
    return {
        **({"salvaged": damage} if damage else {}),
        "dialect": assessment.get("dialect"),
        "strategy": imported.strategy,
        "filters": imported.filters,
        "options": imported.options,
        "tables": tables,
        "unknown_tables": assessment.get("unknown_tables", {}),
        "issues": listed + sum(each.set_aside for each in counts.values()),
    }


def _seconds(imported: Import, now: datetime) -> float:
    return round((now - (imported.started_at or imported.created_at)).total_seconds(), 1)
