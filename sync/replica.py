"""Large reads may come from a replica of the database, where it has caught up; else from the primary.

A read asks the primary first (who may read, where the space stands), and then the replica whether it holds
this space at this head. So nobody ever reads an older state than the primary had when they asked, and a
replica that is behind, away or being repaired costs nothing but its help.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TypeVar
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import Error, connections, transaction

logger = logging.getLogger(__name__)

ALIAS: Final = "replica"
_source: ContextVar[str] = ContextVar("source", default="default")
# One that was promoted follows nobody: what its heads count may be other changes than ours.
_HAS: Final = (
    "SELECT pg_is_in_recovery() AND head >= %b AND epoch = %b FROM sync_spacehead WHERE space_id = %b"
)
_lock = threading.Lock()
_reads: Counter[str] = Counter()

T = TypeVar("T")


def source() -> str:
    """The alias of the database that the present read goes to."""
    return _source.get()


def is_configured() -> bool:
    return ALIAS in settings.DATABASES


def has(space_id: UUID, epoch: UUID, head: int) -> bool:
    """Whether the replica can be asked about this space, and knows all that was so at this head.

    Never inside a transaction: that one would not be part of what it sees.
    """
    if not is_configured() or source() == ALIAS or transaction.get_connection().in_atomic_block:
        return False
    try:
        with _from_replica():
            connection = connections[ALIAS]
            connection.ensure_connection()
            row = psycopg.Cursor(connection.connection).execute(_HAS, (head, epoch, space_id)).fetchone()
    except (Error, psycopg.Error):
        row = None
    caught_up = row is not None and bool(row[0])
    if not caught_up:
        _count("primary")
    return caught_up


def ask(read: Callable[[], T]) -> T:
    """One read on the replica; repeated on the primary where the replica broke it off."""
    try:
        with _from_replica():
            found = read()
    except (Error, psycopg.Error) as error:
        _broke_off(error)
        return read()
    _count("replica")
    return found


def each(reading: Iterator[T]) -> Iterator[T]:
    """What an iterator reads from the replica; what happens between its steps reads from elsewhere.

    Where the replica breaks it off, it ends early: whoever asks goes on from the last step on the primary.
    """
    begun = False
    while True:
        try:
            with _from_replica():
                found = next(reading)
        except StopIteration:
            return
        except (Error, psycopg.Error) as error:
            _broke_off(error)
            return
        if not begun:
            _count("replica")
            begun = True
        yield found


def taken_counts() -> Counter[str]:
    """How often each side has answered a large read since the last time, for the metrics."""
    global _reads
    with _lock:
        taken, _reads = _reads, Counter()
    return taken


@contextmanager
def _from_replica() -> Iterator[None]:
    token = _source.set(ALIAS)
    try:
        yield
    finally:
        _source.reset(token)


def _broke_off(error: Exception) -> None:
    logger.warning("The replica broke off a read; the primary goes on.", exc_info=error)
    connections[ALIAS].close()
    _count("primary")


def _count(who: str) -> None:
    with _lock:
        _reads[who] += 1
