"""A cursor for the hot paths: parameters bound by the server, values in binary, plans kept."""

from __future__ import annotations

from typing import Any

import psycopg
from django.db import connections

from sync import replica


def cursor() -> psycopg.Cursor[Any]:
    """A psycopg cursor on Django's connection, inside whatever transaction is open there.

    Django's own cursors send values as text, which is up to five times slower for the
    arrays of a push (`docs/decisions/talking-to-postgresql.md`).
    """
    connection = connections[replica.source()]
    connection.ensure_connection()
    return psycopg.Cursor(connection.connection)
