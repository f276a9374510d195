"""What commands print: for people on the terminal, or JSON for scripts. Nothing else writes to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click
import orjson


class Voice:
    """One command's output: `said` for people, `result` for scripts, never both on one stream."""

    def __init__(self, json: bool) -> None:
        self.json = json
        self.color = not os.environ.get("NO_COLOR") and sys.stdout.isatty()

    def say(self, words: str = "", **style: Any) -> None:
        """A line for people."""
        if not self.json:
            click.echo(click.style(words, **style) if style and self.color else words)

    def warn(self, words: str) -> None:
        """A line on standard error, also beside JSON."""
        colored = not os.environ.get("NO_COLOR") and sys.stderr.isatty()
        click.echo(click.style(words, fg="yellow") if colored else words, err=True)

    def result(self, value: Any) -> None:
        """The result for scripts: one JSON value."""
        if self.json:
            click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode())

    def line(self, value: Any) -> None:
        """One of many results: a JSON value a line."""
        if self.json:
            click.echo(orjson.dumps(value, default=str).decode())

    def table(self, rows: Sequence[Sequence[Any]], indent: int = 0) -> None:
        """Rows in columns that are as wide as they need."""
        texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
        widths = [
            max((len(row[n]) for row in texts), default=0) for n in range(max(map(len, texts), default=0))
        ]
        for row in texts:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
            self.say((" " * indent + "  ".join(cells)).rstrip())

    @contextmanager
    def bar(self, length: int, label: str) -> Iterator[Callable[[int], None]]:
        """A progress bar on standard error, told how far it is; nothing where nobody looks at it."""
        if self.json or not sys.stderr.isatty():
            yield lambda position: None
            return
        with click.progressbar(length=length, label=label, file=sys.stderr, show_pos=False) as shown:
            done = 0

            def told(position: int) -> None:
                nonlocal done
                shown.update(max(0, position - done))
                done = max(done, position)

            yield told


def ago(moment: float | None) -> str:
    """A moment in seconds since 1970, as people say it."""
    if moment is None:
        return "never"
    seconds = datetime.now(UTC).timestamp() - moment
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            number = int(seconds // size)
            return f"{number} {unit}{'s' if number > 1 else ''} ago"
    return "just now" if seconds < 10 else f"{int(seconds)} seconds ago"


def iso(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


def count(number: int, thing: str) -> str:
    """`3 thoughts`, `1 thought`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def short(value: Any, width: int = 70) -> str:
    """A value in one line."""
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    text = " ".join(text.split())
    return text if len(text) <= width else f"{text[: width - 1]}…"
