"""What the child process may use. Set by the child itself, before it touches the file."""

from __future__ import annotations

import os
import resource
from typing import Final

import apsw

ADDRESSES: Final = 1536 * 1024**2
"""Bytes of address space. What is really used stays under 512 MB: writing JSON reserves eight times a text,
and uses little of it."""
HEAP: Final = 192 * 1024**2  # bytes that SQLite may take
LONGEST_CELL: Final = 48 * 1024**2  # bytes of one value or row; the heap must hold several copies
LARGEST_CONVERTED: Final = 12 * 1024**2
"""Bytes of a row's cells that no text or number holds as they are: their text and their original are kept."""
OPEN_FILES: Final = 16
_SECONDS: Final = 8
_SECONDS_A_MEGABYTE: Final = 0.6
"""Ten million tiny rows fit into 600 MB: 360 seconds are three times what they take."""


def confine(file_bytes: int, scratch_bytes: int) -> None:
    """Limit memory, processor time, files and processes of this process for good."""
    seconds = int(_SECONDS + _SECONDS_A_MEGABYTE * file_bytes / 1024**2)
    for what, limit in (
        (resource.RLIMIT_AS, ADDRESSES),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_FSIZE, scratch_bytes),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (limit, limit))
    os.umask(0o077)
    apsw.hard_heap_limit(HEAP)
