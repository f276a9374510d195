"""The `DatabaseWrapper` that Django looks for in a backend."""

from __future__ import annotations

import logging
import select
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from django.db import DatabaseError, OperationalError
from django.db.backends.postgresql import base
from psycopg import sql
from psycopg_pool import ConnectionPool

logger = logging.getLogger(__name__)

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
        except psycopg.OperationalError as error:
            self._begin(parameters, error)
            raise

    def _begin(self, parameters: dict[str, Any], error: psycopg.OperationalError) -> None:
        with self._lock:
            if self.away:
                return
            threading.Thread(target=self._wait, args=(parameters,), name="outage", daemon=True).start()
            self.away = True  # only once somebody is sure to take it back
        logger.error("The database is away: %s", error)

    def _wait(self, parameters: dict[str, Any]) -> None:
        while True:
            try:
                psycopg.connect(**parameters).close()
            except (psycopg.Error, OSError):  # such as no file descriptor left
                time.sleep(PROBE_SECONDS)
            else:
                with self._lock:
                    self.away = False
                logger.warning("The database is back")
                return


_OUTAGES: Final[defaultdict[str, Outage]] = defaultdict(Outage)
"""By alias: a replica may be away without the primary."""


def broke_off(error: Exception) -> bool:
    """Whether the connection broke, rather than PostgreSQL refusing something: what that says has a code."""
    if isinstance(error, OperationalError | psycopg.OperationalError):
        return True
    cause = error if isinstance(error, psycopg.Error) else error.__cause__
    return type(cause) is psycopg.DatabaseError and not cause.sqlstate


class CommitUnanswered(OperationalError):
    """The database went away while it was told to keep a transaction: nobody knows whether it has."""


class DatabaseWrapper(base.DatabaseWrapper):
    def _commit(self) -> Any:
        try:
            return super()._commit()  # type: ignore[misc]  # not in the stubs
        except DatabaseError as error:
            if not broke_off(error):
                raise
            raise CommitUnanswered(*error.args) from error.__cause__

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        with _OUTAGES[self.alias].attempt(conn_params):
            connection = super().get_new_connection(conn_params)
            while self.pool and not _answers(connection):
                self.pool.putconn(connection)  # which throws a closed one away
                connection = super().get_new_connection(conn_params)
            return connection

    def _configure_connection(self, connection: Any) -> bool:
        """Give a new session its settings. Whether there is something to commit."""
        commit: bool = super()._configure_connection(connection)  # type: ignore[misc]  # not in the stubs
        if not (said := self.settings_dict.get("SESSION")):
            return commit
        sets = (sql.SQL("set_config({}, {}, false)").format(name, value) for name, value in said.items())
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("SELECT ") + sql.SQL(", ").join(sets))
        return True


def _answers(connection: psycopg.Connection[Any]) -> bool:
    """Whether a connection that was kept for the next request still has somebody at its other end.

    A server that ended it has said so: then, and only then, there is something to read. Asking with an empty
    statement each time, as Django's own health check does, cost every request a sixth of its time.
    """
    quiet = select.poll()
    try:
        quiet.register(connection.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
        if quiet.poll(0):
            ConnectionPool.check_connection(connection)
    except psycopg.Error:
        connection.close()
        return False
    return True
