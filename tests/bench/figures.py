"""A table of what was measured, printed as it grows."""

from __future__ import annotations

import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import TextIO


class Figures:
    """Prints one line a figure: ours, the limit it stands beside, their ratio, and the aim."""

    def __init__(self, title: str, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._say(f"\n{title}\n{'what':<46} {'ours':>14} {'beside':>14} {'ratio':>7}  aim")

    def add(
        self, what: str, ours: float, unit: str, *, beside: float | None = None, aim: str = "", note: str = ""
    ) -> None:
        """`ours` and `beside` in the same unit, such as records/s; the ratio is ours / beside."""
        ratio = "" if not beside else f"{ours / beside:.2f}"
        other = "" if beside is None else _spelled(beside, unit)
        self._say(f"{what:<46} {_spelled(ours, unit):>14} {other:>14} {ratio:>7}  {aim}")
        if note:
            self._say(f"    {note}")

    def say(self, text: str) -> None:
        self._say(f"    {text}")

    def _say(self, line: str) -> None:
        self._out.write(f"{line}\n")
        self._out.flush()


def _spelled(value: float, unit: str) -> str:
    number = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{number} {unit}"


def seconds(act: Callable[[], object]) -> float:
    """How long an act takes, once."""
    began = perf_counter()
    act()
    return perf_counter() - began


def typical(times: int, act: Callable[[], object]) -> float:
    """The median of several runs, in seconds."""
    return median(seconds(act) for _ in range(times))
