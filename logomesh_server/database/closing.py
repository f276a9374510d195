"""A mark in the database itself that it must not be used: it was moved away, or is being moved in.

The mark is a function in our schema whose comment says why. Where the data have moved away, triggers call it,
so that a server that still runs on the old database cannot take what nobody would ever see again; its code is
that of a standby, which is answered with 503.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

import psycopg
from psycopg import sql

from .profile import quoted

FUNCTION: Final = "logomesh_closed"
Why = Literal["moved-to", "moving-in"]


class Closed(NamedTuple):
    """Why a database is closed, where its data went or come from, and since when."""

    why: Why
    where: str
    since: str


def closed(connection: psycopg.Connection[Any], schema: str) -> Closed | None:
    """The mark of a schema, if there is one."""
    row = connection.execute(
        "SELECT obj_description(p.oid, 'pg_proc') FROM pg_proc p"
        " WHERE p.pronamespace = to_regnamespace(%s) AND p.proname = %s",
        (quoted(schema), FUNCTION),
    ).fetchone()
    if row is None:
        return None
    said = json.loads(row[0] or "{}")
    return Closed(said.get("why", "moved-to"), said.get("where", "elsewhere"), said.get("since", "unknown"))


def close(connection: psycopg.Connection[Any], schema: str, why: Why, where: str) -> None:
    """Set the mark, in the transaction that is open or in one of its own."""
    said = json.dumps({"why": why, "where": where, "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"})
    function = sql.Identifier(schema, FUNCTION)
    connection.execute(
        sql.SQL(
            "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'these data were moved to another database' USING ERRCODE = '25006';"
            " END $$"
        ).format(function)
    )
    connection.execute(sql.SQL("COMMENT ON FUNCTION {}() IS {}").format(function, sql.Literal(said)))


def forbid_writing(connection: psycopg.Connection[Any], schema: str, tables: list[str]) -> None:
    """From the commit on, no statement can change these tables."""
    for table in tables:
        connection.execute(
            sql.SQL(
                "CREATE OR REPLACE TRIGGER logomesh_closed BEFORE INSERT OR UPDATE OR DELETE ON {}"
                " FOR EACH STATEMENT EXECUTE FUNCTION {}()"
            ).format(sql.Identifier(schema, table), sql.Identifier(schema, FUNCTION))
        )


def reopen(connection: psycopg.Connection[Any], schema: str) -> None:
    """Remove the mark and its triggers."""
    connection.execute(
        sql.SQL("DROP FUNCTION IF EXISTS {}() CASCADE").format(sql.Identifier(schema, FUNCTION))
    )
