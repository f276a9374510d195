"""Fetching ahead: the network goes on while the disk is busy."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Final

MOST: Final = 4 * 1024 * 1024
"""Bytes that may lie ready, and one piece more."""

Lines = list[bytes]


class Ahead:
    """The lines of a source, fetched by a thread of its own while the reader is busy with what came before.

    What the source raises is raised to the reader, after all that came before. Whoever stops reading closes.
    """

    def __init__(self, source: Callable[[], Generator[Lines, None, None]], most: int = MOST) -> None:
        self._source, self._most = source, most
        self._changed = threading.Condition()
        self._ready: deque[Lines] = deque()
        self._size = 0
        self._ended = self._closed = False
        self._error: BaseException | None = None
        threading.Thread(target=self._fetch, name="fetching ahead", daemon=True).start()

    def __iter__(self) -> Iterator[bytes]:
        while (lines := self._next()) is not None:
            yield from lines
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Let the rest be; the thread ends as soon as something comes."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _next(self) -> Lines | None:
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._ended)
            if not self._ready:
                return None
            lines = self._ready.popleft()
            self._size -= sum(map(len, lines))
            self._changed.notify()
            return lines

    def _fetch(self) -> None:
        try:
            with closing(self._source()) as source:
                for lines in source:
                    if not self._has_taken(lines):
                        return
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()

    def _has_taken(self, lines: Lines) -> bool:
        """Lay it ready when there is room. False: nobody reads any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._size < self._most or self._closed)
            self._ready.append(lines)
            self._size += sum(map(len, lines))
            self._changed.notify()
            return not self._closed
