"""What commands print: for people on the terminal, or JSON for scripts. Nothing else writes to it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import click
import orjson

from logomesh_client.cli.endings import Ending

_CONTROL: Final = {
    number: "�" for number in (*range(32), *range(127, 160), 0x2028, 0x2029) if number not in (9, 10)
}
"""Signs that a terminal might obey. Titles, and the words of a server, are other people's."""


class Voice:
    """One command's output: `said` for people, `result` for scripts, never both on one stream."""

    def __init__(self, json: bool) -> None:
        self.json = json
        self.color = not os.environ.get("NO_COLOR") and sys.stdout.isatty()

    def say(self, words: str = "", **style: Any) -> None:
        """A line for people."""
        if not self.json:
            words = words.translate(_CONTROL)
            click.echo(click.style(words, **style) if style and self.color else words)

    def warn(self, words: str) -> None:
        """A line on standard error, also beside JSON."""
        words = words.translate(_CONTROL)
        colored = not os.environ.get("NO_COLOR") and sys.stderr.isatty()
        click.echo(click.style(words, fg="yellow") if colored else words, err=True)

    def tell(self, end: Ending, about: str = "") -> None:
        """What went wrong, and what to do, on standard error."""
        self.warn(f"{about}: {end.words}" if about else end.words)
        for words in (end.remedy, f"Request {end.request_id} in the server's log." if end.request_id else ""):
            if words:
                click.echo(f"  {words.translate(_CONTROL)}", err=True)

    def result(self, value: Any) -> None:
        """The result for scripts: one JSON value."""
        if self.json:
            click.echo(as_json(value, indent=2))

    def line(self, value: Any) -> None:
        """One of many results: a JSON value a line."""
        if self.json:
            click.echo(as_json(value))

    def flush(self) -> None:
        sys.stdout.flush()

    @property
    def width(self) -> int:
        """Of the terminal; wide where there is none."""
        return shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else 120

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


def as_json(value: Any, indent: int | None = None) -> str:
    """JSON in signs that this terminal or pipe takes; the name of a file need not be text at all."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=str)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=indent, default=str)
    return text


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
