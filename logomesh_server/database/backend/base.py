"""The `DatabaseWrapper` that Django looks for in a backend."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from django.db.backends.postgresql import base


class Outage:
    """What this process knows about whether the database answers.

    Who asks for a connection while it does not, waits for seconds. Once that has happened, one caller at a
    time waits, as a probe, and all others are told at once: so an outage does not use up the threads, and the
    first answer after it ends it for everybody.
    """

    def __init__(self) -> None:
        self.away = False
        self._probe = threading.Lock()

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Around one attempt to get a connection. Raises OperationalError where another one probes."""
        probing = self.away and self._probe.acquire(blocking=False)
        if self.away and not probing:
            raise psycopg.OperationalError("The database was away a moment ago")
        try:
            yield
        except psycopg.OperationalError:
            self.away = True
            raise
        else:
            self.away = False
        finally:
            if probing:
                self._probe.release()


OUTAGE: Final = Outage()


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        with OUTAGE.attempt():
            return super().get_new_connection(conn_params)
