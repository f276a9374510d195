"""Asks the zygote about files, and judges its verdicts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
CLEAR_STOPS = {"SIGXCPU", "SIGXFSZ"}
"""Limits that the server itself explains (`migration.sandbox.supervision`)."""


class HostileReader:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.migration.hostile.zygote"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def read(self, path: Path) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(str(path)) + "\n")
        self.process.stdin.flush()
        verdict: dict[str, Any] = json.loads(self.process.stdout.readline())
        return verdict

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def complaints(verdict: dict[str, Any]) -> list[str]:
    """What is wrong with how a file was read: no crash, no hang, a clear verdict, within the limits."""
    wrong = []
    if verdict.get("crash"):
        wrong.append(verdict["crash"])
    if verdict["signal"] and verdict["signal"] not in CLEAR_STOPS:
        wrong.append(f"ended by {verdict['signal']}")
    if not (verdict["found"] or verdict["refused"] or verdict["signal"]):
        wrong.append("no verdict")
    if verdict["seconds"] > 10:
        wrong.append(f"{verdict['seconds']} s of processor time")
    if verdict["megabytes"] > 512:
        wrong.append(f"{verdict['megabytes']} MB")
    if verdict.get("opened"):
        wrong.append(f"opened {verdict['opened']}")
    return wrong
