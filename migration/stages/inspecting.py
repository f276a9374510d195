"""Inspected: what the file is, what of it will be taken and what not. Nothing is written to the space."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from migration import files
from migration.dialects import NotLogoMesh
from migration.estimating import estimated_seconds
from migration.families import Kinship, family_of_same, previous
from migration.jobs import Job
from migration.models import Import, State
from migration.sandbox.frames import Chunk, Found, Request, Surveyed
from migration.sandbox.supervision import reading
from migration.stages.asking import request_of
from migration.stages.journals import settle_journals
from sync.models import SpaceHead

_MOST_COUNTED = 10_000
_MOST_MISSING = 100
"""So many missing ids are named in the assessment; all are in the rows set aside."""
_MOST_COLUMNS = 2_000
"""So many columns are told of: LogoMesh has a hundred."""


def inspect(job: Job) -> None:
    """Assess the file of an uploaded import; then it is `ready`. Raises `NotLogoMesh`."""
    imported = job.load()
    if imported.state == State.UPLOADED:
        job.move(State.UPLOADED, State.ASSESSING)
    path = settle_journals(Path(imported.path))
    tally = _Tally()
    found: Found | None = None
    with reading(Request(str(path), str(path.parent), "inspect", salvage=imported.salvage)) as frames:
        for frame in frames:
            if isinstance(frame, Found):
                found = frame
                if not imported.salvage:
                    _refuse_damaged(found)
            elif isinstance(frame, Surveyed):
                tally.add_columns(frame)
            elif isinstance(frame, Chunk):
                tally.add(frame)
                rows = sum(found.tables.values()) if found else 0
                job.show(State.ASSESSING, {"rows": tally.rows, "of": rows})
    if found is None:
        raise NotLogoMesh("unreadable", "The file could not be read.", "Use a backup.")
    imported.path = str(path)
    head = SpaceHead.objects.get(space_id=imported.space_id)
    kinship = _kinship(imported) if head.head else Kinship(imported.space_id)
    imported.family = family_of_same(imported) or kinship.family() or uuid4()
    job.move(
        State.ASSESSING,
        State.READY,
        path=str(path),
        family=imported.family,
        assessment=_assessment(imported, found, tally) | _in_space(imported, head, kinship),
        progress={"rows": 0, "of": sum(found.tables.values())},
    )


def _refuse_damaged(found: Found) -> None:
    if found.damage:
        raise NotLogoMesh(
            "damaged",
            f"The file is damaged in {len(found.damage)}{'+' if len(found.damage) >= 20 else ''} places,"
            f" first: {found.damage[0]}.",
            "Use a backup. If there is none, have the import salvage every row that can still be read.",
        )


class _Tally:
    """What the survey has seen so far."""

    def __init__(self) -> None:
        self.rows = 0
        self.tables: dict[str, Counter[str]] = {}
        self.reasons: dict[str, Counter[str]] = {}
        self.deviations: dict[str, Counter[str]] = {}
        self.missing: Counter[tuple[str, str, str]] = Counter()
        self.columns: dict[str, dict[str, Any]] = {}
        self.embeddings: Counter[str] = Counter()

    def add(self, chunk: Chunk) -> None:
        self.rows += chunk.rows
        table = self.tables.setdefault(chunk.table, Counter())
        table["rows"] += chunk.rows
        table["set_aside"] += len(chunk.aside)
        reasons = self.reasons.setdefault(chunk.table, Counter())
        for row in chunk.aside:
            reasons[row.reason] += 1
            place = (chunk.table, row.reason, row.missing)
            if row.missing and (len(self.missing) < _MOST_COUNTED or place in self.missing):
                self.missing[place] += 1
        deviations = self.deviations.setdefault(chunk.table, Counter())
        deviations.update(chunk.counted)
        for listed in chunk.listed:
            deviations[f"{listed.kind}/{listed.column}"] += 1

    def add_columns(self, surveyed: Surveyed) -> None:
        self.embeddings.update(surveyed.dimensions)
        told = sum(map(len, self.columns.values()))
        self.columns[surveyed.table.lower()] = {
            column.name: {"becomes": column.becomes, "storage": column.storage, "bytes": column.bytes}
            for column in surveyed.columns[: max(_MOST_COLUMNS - told, 0)]
        }


def _assessment(imported: Import, found: Found, tally: _Tally) -> dict[str, Any]:
    rows = sum(found.tables.values())
    return {
        "dialect": found.dialect,
        "recognised_by": found.because,
        "encoding": found.encoding,
        "bytes": imported.size,
        "rows": rows,
        "tables": {
            name: {
                "rows": count,
                "to_migrate": count - tally.tables.get(name, Counter())["set_aside"],
                "to_set_aside": tally.tables.get(name, Counter())["set_aside"],
                "reasons": dict(tally.reasons.get(name, {})),
                "deviations": dict(tally.deviations.get(name, {})),
                "columns": tally.columns.get(name.lower(), {}),
            }
            for name, count in found.tables.items()
        },
        "missing": [
            {"table": table, "reason": reason, "id": id_, "rows": count}
            for (table, reason, id_), count in tally.missing.most_common(_MOST_MISSING)
        ],
        "embeddings": dict(tally.embeddings),
        "damage": found.damage,
        "unknown_tables": found.unknown,
        "not_executed": found.unread,
        "order_kept": found.replaced,
        "choices": msgspec.to_builtins(found.offered),
        "estimated_seconds": estimated_seconds(rows, imported.size),
    }


def _kinship(imported: Import) -> Kinship:
    """Compare the file's thoughts with those that the space has."""
    kinship = Kinship(imported.space_id)
    with reading(request_of(imported, "hash")) as frames:
        for frame in frames:
            if isinstance(frame, Chunk):
                if frame.table != "thoughts":
                    break
                kinship.add([data[:16] for data in frame.records])
    return kinship


def _in_space(imported: Import, head: SpaceHead, kinship: Kinship) -> dict[str, Any]:
    """What the space has already, and whether it came with an earlier copy of the file."""
    earlier = previous(imported)
    return {
        "records_in_space": sum(head.counts.values()),
        "thoughts_in_space": kinship.known,
        "previous": None
        if earlier is None
        else {
            "finished_at": earlier.finished_at and earlier.finished_at.isoformat(),
            "same_file": _is_same_file(earlier, imported),
            "file": earlier.file_name if earlier.person_id == imported.person_id else None,
        },
        "existing": "merge" if earlier else "keep",
    }


def _is_same_file(earlier: Import, imported: Import) -> bool:
    """Whether both are of the same bytes. What a journal was applied to counts as another copy."""
    alone = all(Path(each.path).name == files.FILE for each in (earlier, imported))
    return alone and bytes(earlier.sha256) == bytes(imported.sha256)
