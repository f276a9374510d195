"""What a test of a database found, step by step. Plain values; nothing here talks to anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final


class Status(StrEnum):
    OK = "ok"
    NOTE = "note"
    """It works; something is worth knowing."""
    FAILED = "failed"
    SKIPPED = "skipped"
    """An earlier step, or the kind of connection, leaves nothing to test."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One step: what was found, in how much time, and what to do about it."""

    step: str
    status: Status
    finding: str
    remedy: str = ""
    sql: tuple[str, ...] = ()
    """Lines for the database's administrator, to be run as they are."""
    milliseconds: float = 0.0

    @property
    def failed(self) -> bool:
        return self.status is Status.FAILED


class Stop(Exception):
    """A step failed in a way that leaves nothing more to test."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.finding)
        self.verdict = verdict


STEPS: Final = {
    "name": "Name",
    "port": "Port",
    "tls": "TLS and certificate",
    "sign-in": "Sign-in",
    "version": "Version",
    "database": "Database",
    "encoding": "Encoding and collation",
    "schema": "Schema",
    "rights": "Rights",
    "tables": "Tables",
    "vectors": "Vectors (pgvector)",
    "connections": "Connections",
    "pooler": "Pooler",
    "clock": "Clock",
    "speed": "Speed",
    "room": "Room",
}
"""The steps in the order in which they are taken -> their titles."""

_SIGNS: Final = {Status.OK: "✓", Status.NOTE: "!", Status.FAILED: "✗", Status.SKIPPED: "–"}


def title_of(verdict: Verdict) -> str:
    return STEPS.get(verdict.step) or verdict.step.replace("-", " ").capitalize()


def usable(verdicts: Iterable[Verdict]) -> bool:
    """Whether the server can run on this database."""
    return all(not verdict.failed for verdict in verdicts)


def as_json(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    return [
        asdict(verdict) | {"title": title_of(verdict), "milliseconds": round(verdict.milliseconds, 1)}
        for verdict in verdicts
    ]


def as_lines(verdict: Verdict) -> list[str]:
    """For a terminal."""
    sign, title = _SIGNS[verdict.status], title_of(verdict)
    lines = [f"{sign} {title:<22} {verdict.milliseconds:>7.0f} ms  {verdict.finding}"]
    if verdict.remedy:
        lines.append(f"{'':37}→ {verdict.remedy}")
    return lines + [f"{'':41}{line}" for line in verdict.sql]
