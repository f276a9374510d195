"""A cursor for the hot paths: parameters bound by the server, values in binary, plans kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connections, transaction

from sync import replica


@contextmanager
def reading_in_order() -> Iterator[None]:
    """What is asked inside is read along an index that has its order, rather than sorted.

    PostgreSQL knows nothing of how many rows a space has (`sync/migrations/0005` says why) and takes it for a
    two-hundredth of the table. So few it would sort: all that is left of the space, for each step of a pull.
    Measured: a first pull of 100,000 records took 8 times as long. Statements inside must not be prepared: a
    prepared one keeps its plan.
    """
    using = replica.source()
    with transaction.atomic(using):
        cursor().execute("SELECT set_config('enable_sort', 'off', true)")
        yield


def cursor() -> psycopg.Cursor[Any]:
    """A psycopg cursor on Django's connection, inside whatever transaction is open there.

    Django's own cursors send values as text, which is up to five times slower for the
    arrays of a push (`docs/decisions/talking-to-postgresql.md`).
    """
    connection = connections[replica.source()]
    connection.ensure_connection()
    return psycopg.Cursor(connection.connection)
