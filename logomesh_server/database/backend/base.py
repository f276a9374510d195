"""The `DatabaseWrapper` that Django looks for in a backend."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from django.db.backends.postgresql import base

PROBE_SECONDS: Final = 0.5


class Outage:
    """What this process knows about whether the database answers.

    Who asks for a connection while it does not, waits for seconds. Once that has happened, a thread of its
    own asks whether the database is back, and everybody else is told at once: so an outage does not use up
    the threads that answer requests.
    """

    def __init__(self) -> None:
        self.away = False
        self._lock = threading.Lock()

    @contextmanager
    def attempt(self, parameters: dict[str, Any]) -> Iterator[None]:
        """Around one attempt to get a connection. Raises OperationalError at once during an outage."""
        if self.away:
            raise psycopg.OperationalError("The database was away a moment ago")
        try:
            yield
        except psycopg.OperationalError:
            self._begin(parameters)
            raise

    def _begin(self, parameters: dict[str, Any]) -> None:
        with self._lock:
            if self.away:
                return
            self.away = True
        threading.Thread(target=self._wait, args=(parameters,), name="outage", daemon=True).start()

    def _wait(self, parameters: dict[str, Any]) -> None:
        while True:
            try:
                psycopg.connect(**parameters).close()
            except psycopg.Error:
                time.sleep(PROBE_SECONDS)
            else:
                self.away = False
                return


OUTAGE: Final = Outage()


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        with OUTAGE.attempt(conn_params):
            return super().get_new_connection(conn_params)
