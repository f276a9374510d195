"""Moves everything from one PostgreSQL to another: people, spaces, history, devices, versions, epochs.

While it runs, nobody can write into the old database; reading goes on. Every table is copied in a transaction
of its own and compared (a hash of each row's text, on both sides) before the next one begins, so a move that
was interrupted goes on where it stopped. At the end the digest of each space is the same in both, and the old
database is closed and kept as a backup. Cursors and tokens stay good: clients notice nothing but a pause.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final
from uuid import UUID

import psycopg
from django.conf import settings
from psycopg import sql

from sync.tables import TABLES

from . import closing
from .profile import Profile, quoted
from .reaching import changes_sessions

MIGRATIONS: Final = "django_migrations"  # the target's own, compared and not copied
LOCK_SECONDS: Final = 20
_BLOCK: Final = 256 * 1024
_SAY_SECONDS: Final = 1.0
# Both sides must spell every value alike, for the hashes of the rows; and a move takes as long as it takes.
_SESSION: Final = {
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}


class CannotMove(Exception):
    """The move is not possible, or was given up; the message says what to do. The source is as it was."""


@dataclass(frozen=True, slots=True)
class Progress:
    table: str
    rows: int
    """Copied of this table so far."""
    of: int
    share: float
    """Of all rows of all tables, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Moved:
    tables: int
    rows: int
    copied: int
    """Of these, in this run; the others were there from an interrupted one."""
    spaces: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    columns: tuple[str, ...]
    rows: int

    def listed(self) -> sql.Composed:
        return sql.SQL(", ").join(map(sql.Identifier, self.columns))


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two databases, and the schema in which our tables lie."""

    connection: psycopg.Connection[Any]
    schema: str
    address: str

    def __call__(self, query: str, *values: Any, **names: Any) -> list[tuple[Any, ...]]:
        text = sql.SQL(query).format(**names) if names else query
        done = self.connection.execute(text, values or None)
        return done.fetchall() if done.description else []

    def table(self, name: str) -> sql.Identifier:
        return sql.Identifier(self.schema, name)


def move(source: Profile, target: Profile, say: Callable[[Progress], None]) -> Moved:
    """Copy everything, verify it, close the source. Raises CannotMove or a psycopg error: run it again."""
    began = time.monotonic()
    with side(source) as old, side(target) as new:
        if _same_place(old, new):
            raise CannotMove("Source and target are the same database and schema.")
        if (mark := closing.closed(old.connection, old.schema)) is not None:
            return _finished(mark, old, new, began)
        if not (names := table_names(old)):
            raise CannotMove(f"There is nothing to move: {old.address} has no tables yet.")
        _prepare(new, target, old.address)
        with old.connection.transaction():
            tables = _frozen(old, names)
            _check_alike(old, new, tables)
            copied = _copy_all(old, new, tables, say)
            spaces = _check_digests(old, new)
            closing.close(old.connection, old.schema, "moved-to", target.address)
            closing.forbid_writing(old.connection, old.schema, names)
        _open_for_use(new)
    rows = sum(table.rows for table in tables)
    return Moved(len(tables), rows, copied, spaces, time.monotonic() - began)


def _finished(mark: closing.Closed, old: Side, new: Side, began: float) -> Moved:
    """Only what follows on the copying was missing: the source is closed already."""
    other = closing.closed(new.connection, new.schema)
    waiting = other is not None and other.why == "moving-in"
    if mark.where != new.address or not (waiting or (other is None and _has_all_of(old, new))):
        raise CannotMove(
            f"There is nothing to move: since {mark.since} the data are in {mark.where}. Use that one:"
            " `manage.py database set`, or `forget` where it is the embedded one."
        )
    if waiting:
        _open_for_use(new)
    return Moved(len(table_names(new)), 0, 0, len(digests(new)), time.monotonic() - began)


def _has_all_of(old: Side, new: Side) -> bool:
    """Whether each space of the source is in the target, as far as it was then or further."""
    if "sync_spacehead" not in table_names(new):
        return False
    before, after = (
        dict(side("SELECT space_id, head FROM {heads}", heads=side.table("sync_spacehead")))
        for side in (old, new)
    )
    return bool(before) and all(after.get(space, -1) >= head for space, head in before.items())


@contextmanager
def side(profile: Profile) -> Iterator[Side]:
    """A connection of its own, without limits of time, that spells values as every other side does.

    Raises CannotMove where a pooler leaves it no session.
    """
    path = {"search_path": quoted(profile.schema[0])} if profile.schema else {}
    parameters = profile.libpq(application_name="logomesh-move")
    with psycopg.connect(**parameters, autocommit=True, prepare_threshold=None) as connection:
        if changes_sessions(connection, profile):
            raise CannotMove(
                "A PgBouncer in between gives each transaction another session. For this command, give the"
                " address of PostgreSQL itself (DATABASE_URL), or of a PgBouncer by session."
            )
        for name, value in (_SESSION | path).items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        row = connection.execute("SELECT current_schema()").fetchone()
        schema = profile.schema[0] if profile.schema else str(row[0] if row else "public")
        yield Side(connection, schema, profile.address)


def _same_place(old: Side, new: Side) -> bool:
    where = "SELECT pg_postmaster_start_time(), current_database()"
    return old(where) == new(where) and old.schema == new.schema


# --- before -----------------------------------------------------------------------------------------------


def _prepare(new: Side, target: Profile, source: str) -> None:
    """Make the target's tables, unless an earlier run did; mark it as not to be used yet."""
    tables = set(table_names(new))
    mark = closing.closed(new.connection, new.schema)
    if mark is not None and mark.why == "moved-to":
        raise CannotMove(
            f"{target.address} holds what was moved away from it on {mark.since}, kept as a backup: take"
            " another schema or database."
        )
    if mark is not None and mark.where != source:
        raise CannotMove(f"A move from {mark.where} into {target.address} was begun and not finished.")
    if tables and mark is None and _is_used(new, tables):
        raise CannotMove(f"{target.address} is in use already: take an empty schema or database.")
    if not new("SELECT to_regnamespace(%s)::text", quoted(new.schema))[0][0]:
        new("CREATE SCHEMA {schema}", schema=sql.Identifier(new.schema))
    closing.close(new.connection, new.schema, "moving-in", source)
    _migrate(target)
    for name in table_names(new):
        new("ALTER TABLE {table} DISABLE TRIGGER USER", table=new.table(name))


def _is_used(side: Side, tables: set[str]) -> bool:
    """Whether somebody has an account there: tables that `migrate` has just made are empty."""
    if "workspaces_person" not in tables:
        return True
    return bool(side("SELECT 1 FROM {table} LIMIT 1", table=side.table("workspaces_person")))


def _migrate(target: Profile) -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "logomesh_server.settings",
        "SECRET_KEY": settings.SECRET_KEY,
        "DATABASE_URL": target.url(),
        "DATABASE_PASSWORD": target.password,
        "LOGOMESH_DB_SCHEMA": ",".join(target.schema),
    }
    environment.pop("DATABASE_URL_FILE", None)
    done = subprocess.run(
        [sys.executable, "-m", "django", "migrate", "--no-input", "--verbosity", "0"],
        env=environment, cwd=settings.BASE_DIR, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise CannotMove(f"The tables could not be made in {target.address}: {last}")


def table_names(side: Side) -> list[str]:
    """Our tables there, but for the list of migrations."""
    return [
        name
        for (name,) in side(
            "SELECT c.relname FROM pg_class c WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind = 'r'"
            " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') ORDER BY 1",
            quoted(side.schema),
        )
        if name != MIGRATIONS
    ]


_REFERENCES: Final = """
    SELECT c.conrelid::regclass::oid::int8, c.confrelid::regclass::oid::int8 FROM pg_constraint c
    WHERE c.contype = 'f' AND c.connamespace = to_regnamespace(%s) AND c.conrelid <> c.confrelid"""


def _frozen(old: Side, names: list[str]) -> list[_Table]:
    """Stop all writing, and list the tables so that what is referred to comes first."""
    everything = sql.SQL(", ").join(map(old.table, names))
    old("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    old("SET LOCAL lock_timeout = {limit}", limit=sql.Literal(f"{LOCK_SECONDS}s"))
    try:
        old("LOCK TABLE {tables} IN SHARE MODE", tables=everything)
    except psycopg.errors.LockNotAvailable:
        raise CannotMove(
            f"Something has been writing for over {LOCK_SECONDS} s, an import perhaps: end the server, or"
            " wait, and run the move again."
        ) from None
    oids = {
        oid: name
        for name, oid in old(
            "SELECT relname, oid::int8 FROM pg_class WHERE relnamespace = to_regnamespace(%s)",
            quoted(old.schema),
        )
    }
    sorter: TopologicalSorter[str] = TopologicalSorter({name: set() for name in names})
    for child, parent in old(_REFERENCES, quoted(old.schema)):
        sorter.add(oids[child], oids[parent])
    try:
        ordered = list(sorter.static_order())
    except CycleError as error:
        raise CannotMove(f"Tables refer to each other in a circle: {error.args[1]}.") from None
    return [
        _Table(name, _columns(old, name), old("SELECT count(*) FROM {table}", table=old.table(name))[0][0])
        for name in ordered
        if name in names
    ]


def _columns(side: Side, name: str) -> tuple[str, ...]:
    rows = side(
        "SELECT attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE c.relname = %s"
        " AND c.relnamespace = to_regnamespace(%s) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''"
        " ORDER BY attname",
        name,
        quoted(side.schema),
    )
    return tuple(column for (column,) in rows)


def _check_alike(old: Side, new: Side, tables: list[_Table]) -> None:
    done = "SELECT app, name FROM {table} ORDER BY 1, 2"
    if old(done, table=old.table(MIGRATIONS)) != new(done, table=new.table(MIGRATIONS)):
        raise CannotMove("The source's tables are of another version: run `manage.py migrate` first.")
    for table in tables:
        if _columns(new, table.name) != table.columns:
            raise CannotMove(f"The table {table.name} has other columns in {new.address}.")


# --- copying --------------------------------------------------------------------------------------------


def _copy_all(old: Side, new: Side, tables: list[_Table], say: Callable[[Progress], None]) -> int:
    whole = sum(table.rows for table in tables) or 1
    before = copied = 0
    with ThreadPoolExecutor(1) as beside:
        for table in tables:

            def tell(rows: int, table: _Table = table, before: int = before) -> None:
                say(Progress(table.name, rows, table.rows, (before + rows) / whole))

            if not (_has_rows(new, table) and _alike(old, new, table, beside)):
                _copy(old, new, table, tell)
                copied += table.rows
                if not _alike(old, new, table, beside):
                    raise CannotMove(f"What was written of {table.name} is not what was read: try again.")
            _set_sequences(old, new, table)
            tell(table.rows)
            before += table.rows
    return copied


def _has_rows(side: Side, table: _Table) -> bool:
    return bool(side("SELECT 1 FROM {table} LIMIT 1", table=side.table(table.name)))


def _copy(old: Side, new: Side, table: _Table, tell: Callable[[int], None]) -> None:
    names = {"columns": table.listed()}
    read = sql.SQL("COPY {table} ({columns}) TO STDOUT (FORMAT binary)").format(
        table=old.table(table.name), **names
    )
    write = sql.SQL("COPY {table} ({columns}) FROM STDIN (FORMAT binary)").format(
        table=new.table(table.name), **names
    )
    with new.connection.transaction():
        new("DELETE FROM {table}", table=new.table(table.name))
        with old.connection.cursor().copy(read) as source, new.connection.cursor().copy(write) as target:
            block, said = bytearray(), time.monotonic()
            for rows, row in enumerate(source):
                block += row
                if len(block) >= _BLOCK:
                    target.write(bytes(block))
                    block.clear()
                    if time.monotonic() - said > _SAY_SECONDS:
                        said = time.monotonic()
                        tell(min(rows, table.rows))
            target.write(bytes(block))


def _alike(old: Side, new: Side, table: _Table, beside: ThreadPoolExecutor) -> bool:
    theirs = beside.submit(_fingerprint, new, table)
    return _fingerprint(old, table) == theirs.result()


def _fingerprint(side: Side, table: _Table) -> tuple[Any, ...]:
    """How many rows, and all of them hashed, in whatever order."""
    return side(
        'SELECT count(*), bit_xor(hashtextextended(ROW({columns})::text COLLATE "C", 0)) FROM {table}',
        columns=table.listed(),
        table=side.table(table.name),
    )[0]


def _set_sequences(old: Side, new: Side, table: _Table) -> None:
    for column in table.columns:
        names = [side(
            "SELECT pg_get_serial_sequence(%s, %s)", f"{quoted(side.schema)}.{quoted(table.name)}", column
        )[0][0] for side in (old, new)]  # fmt: skip
        if all(names):
            last, called = old("SELECT last_value, is_called FROM {name}", name=sql.SQL(names[0]))[0]
            new("SELECT setval(%s::regclass, %s, %s)", names[1], last, called)


# --- after ----------------------------------------------------------------------------------------------


def digests(side: Side) -> dict[UUID, tuple[Any, ...]]:
    """Space -> its head, epoch, number of live records, and their digest as the protocol has it."""
    parts = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT space_id, hash FROM {} WHERE NOT deleted").format(side.table(table.name))
        for table in TABLES.values()
        if not table.type.opt_in
    )
    rows = side(
        "SELECT h.space_id, h.head, h.epoch, count(r.hash), bit_xor(r.hash) FROM {heads} h"
        " LEFT JOIN ({records}) r USING (space_id) GROUP BY h.space_id, h.head, h.epoch",
        heads=side.table("sync_spacehead"),
        records=parts,
    )
    return {space: tuple(rest) for space, *rest in rows}


def _check_digests(old: Side, new: Side) -> int:
    before, after = digests(old), digests(new)
    if different := [space for space in before if before[space] != after.get(space)]:
        raise CannotMove(f"The digests of {len(different)} spaces differ, such as {different[0]}.")
    return len(before)


def _open_for_use(new: Side) -> None:
    for name in table_names(new):
        new("ALTER TABLE {table} ENABLE TRIGGER USER", table=new.table(name))
        new("ANALYZE {table}", table=new.table(name))
    closing.reopen(new.connection, new.schema)
