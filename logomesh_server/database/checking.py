"""Tests a database step by step, as `manage.py database test` and the page show it.

It reads and changes nothing, but for a setting of its own session with which it looks through a pooler.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import psycopg
from django.apps import apps
from django.db.migrations.loader import MigrationLoader

from . import reaching
from .closing import FUNCTION, closed
from .profile import Habits, Profile, quoted, role_settings, search_path
from .verdicts import STEPS, Status, Stop, Verdict

LEAST_VERSION: Final = 15
CLOCK_SECONDS: Final = 2.0
SLOW_MILLISECONDS: Final = 20.0  # for one question and answer
LEAST_MB_A_SECOND: Final = 5.0
PROBE_BYTES: Final = 4 * 1024**2
LEAST_ROOM: Final = 1024**3
_ROUNDS: Final = 15


@dataclass(frozen=True)
class Needs:
    """What our server wants of the database."""

    connections: int
    """All processes together, at most."""
    habits: Habits
    folder: Path | None = None
    """Where the database lies, if it is the embedded one."""


def examine(profile: Profile, needs: Needs) -> Iterator[Verdict]:
    """Take the steps in order. After one that leaves nothing more to test, the others come as skipped."""
    examination = _Examination(profile, needs)
    done: set[str] = set()
    try:
        for step in (*_REACHING, *_ASKING):
            began = time.perf_counter()
            try:
                verdict = step(examination)
            except Stop as stop:
                verdict, stopped = stop.verdict, True
            except psycopg.Error as error:
                verdict, stopped = _broke(step, error), True
            else:
                stopped = False
            done.add(verdict.step)
            yield replace(verdict, milliseconds=(time.perf_counter() - began) * 1000)
            if stopped:
                break
    finally:
        examination.close()
    for name in STEPS:
        if name not in done:
            yield Verdict(name, Status.SKIPPED, "Not tested: an earlier step failed")


def _broke(step: Callable[[_Examination], Verdict], error: psycopg.Error) -> Verdict:
    said = (str(error).strip().splitlines() or ["no reason given"])[0]
    return Verdict(
        step.__name__.removeprefix("_").replace("_", "-"),
        Status.FAILED,
        f"The server answered with an error: {said}",
        "Its administrator can read more about it in the server's log.",
    )


class _Examination:
    """One test under way: what earlier steps found."""

    places: list[reaching.Place]
    door: reaching.Door
    connection: psycopg.Connection[Any]
    schema: str
    schema_exists: bool = False

    def __init__(self, profile: Profile, needs: Needs) -> None:
        self.profile = profile
        self.needs = needs

    def close(self) -> None:
        with contextlib.suppress(AttributeError, psycopg.Error):
            self.connection.close()

    def row(self, query: str, *values: Any) -> tuple[Any, ...]:
        found = self.connection.execute(query, values).fetchone()
        assert found is not None
        return tuple(found)

    def value(self, query: str, *values: Any) -> Any:
        return self.row(query, *values)[0]

    def values(self, query: str, *values: Any) -> list[Any]:
        return [value for (value,) in self.connection.execute(query, values).fetchall()]

    @property
    def role(self) -> str:
        return str(self.value("SELECT current_user"))


# --- the way there --------------------------------------------------------------------------------------


def _name(test: _Examination) -> Verdict:
    if "service" in test.profile.options:
        return Verdict("name", Status.SKIPPED, "The service file names the server")
    test.places, verdict = reaching.resolve(test.profile)
    return verdict


def _port(test: _Examination) -> Verdict:
    if "service" in test.profile.options:
        return Verdict("port", Status.SKIPPED, "The service file names the port")
    test.door, verdict = reaching.knock(test.profile, test.places)
    return verdict


def _tls(test: _Examination) -> Verdict:
    if "service" in test.profile.options:
        return Verdict("tls", Status.SKIPPED, "Told with the sign-in")
    return reaching.secure(test.profile, test.door)


def _sign_in(test: _Examination) -> Verdict:
    test.connection = reaching.sign_in(test.profile)
    pgconn = test.connection.pgconn
    finding = f"Signed in as {pgconn.user.decode()}"
    if not pgconn.ssl_in_use and not test.profile.is_local and not pgconn.host.startswith(b"/"):
        return Verdict(
            "sign-in",
            Status.NOTE,
            f"{finding}, over a connection that is not encrypted.",
            "Use sslmode=verify-full with the department's root certificate.",
        )
    return Verdict("sign-in", Status.OK, finding)


_REACHING: Final = (_name, _port, _tls, _sign_in)


# --- what is there --------------------------------------------------------------------------------------


def _version(test: _Examination) -> Verdict:
    number = test.connection.info.server_version
    if number // 10000 < LEAST_VERSION:
        raise Stop(
            Verdict(
                "version",
                Status.FAILED,
                f"This is PostgreSQL {number // 10000}; LogoMesh needs {LEAST_VERSION} or newer.",
                "Ask the administrator for a newer server; the oldest that PostgreSQL itself still cares for"
                " will do.",
            )
        )
    return Verdict("version", Status.OK, f"PostgreSQL {number // 10000}.{number % 10000}")


def _database(test: _Examination) -> Verdict:
    reaching.hear_from(test.connection)
    if test.value("SELECT pg_is_in_recovery()"):
        raise Stop(
            Verdict(
                "database",
                Status.FAILED,
                "This server is a standby: it can only be read.",
                "Give the address of the primary, where the writing is done.",
            )
        )
    if test.value("SELECT current_setting('default_transaction_read_only')") == "on":
        where = f"ALTER ROLE {quoted(test.role)} IN DATABASE {quoted(test.profile.database)}"
        return Verdict(
            "database",
            Status.FAILED,
            "The database only lets itself be read (default_transaction_read_only is on).",
            "Somebody has set it so, for the server, the database or the role. Ask the administrator.",
            (f"{where} SET default_transaction_read_only = off;",),
        )
    name, size = test.row("SELECT current_database(), pg_database_size(current_database())")
    return Verdict("database", Status.OK, f"{name}, {_size(size)}, can be written")


def _encoding(test: _Examination) -> Verdict:
    encoding, collation = test.row(
        "SELECT pg_encoding_to_char(encoding), datcollate FROM pg_database WHERE datname = current_database()"
    )
    if encoding != "UTF8":
        return Verdict(
            "encoding",
            Status.FAILED,
            f"The database keeps texts as {encoding}, not as UTF8.",
            "An encoding cannot be changed: ask the administrator for a new database.",
            (
                f"CREATE DATABASE {quoted(test.profile.database + '_utf8')}"
                " ENCODING 'UTF8' TEMPLATE template0;",
            ),
        )
    return Verdict("encoding", Status.OK, f"UTF8, sorted by {collation}")


def _schema(test: _Examination) -> Verdict:
    wanted = test.profile.schema[0] if test.profile.schema else None
    role = test.role
    if wanted is None:
        found = test.value("SELECT current_schema()")
        if found is None:
            return Verdict(
                "schema",
                Status.FAILED,
                f"{role} has no schema of its own, and none is given.",
                "Give one with LOGOMESH_DB_SCHEMA (or --schema).",
                (f"CREATE SCHEMA logomesh AUTHORIZATION {quoted(role)};",),
            )
        wanted = str(found)
    if not test.value("SELECT to_regnamespace(%s) IS NOT NULL", quoted(wanted)):
        test.schema = wanted
        if test.value("SELECT has_database_privilege(current_database(), 'CREATE')"):
            return Verdict("schema", Status.OK, f"{wanted} does not exist yet; {role} may create it")
        del test.schema
        return Verdict(
            "schema",
            Status.FAILED,
            f"There is no schema {wanted}, and {role} may not create one.",
            "Send this line to the administrator of the database:",
            (f"CREATE SCHEMA {quoted(wanted)} AUTHORIZATION {quoted(role)};",),
        )
    if not test.value("SELECT has_schema_privilege(%s, 'USAGE')", wanted):
        return Verdict(
            "schema",
            Status.FAILED,
            f"{role} may not enter the schema {wanted}.",
            "Send this line to the administrator of the database:",
            (f"GRANT CREATE, USAGE ON SCHEMA {quoted(wanted)} TO {quoted(role)};",),
        )
    test.schema, test.schema_exists = wanted, True
    note = "" if test.profile.schema else ", where this role looks first; LOGOMESH_DB_SCHEMA names another"
    return Verdict("schema", Status.OK, f"{wanted} exists{note}")


_MISSING_RIGHTS: Final = """
    SELECT c.relname, c.relkind = 'S' AS sequence
    FROM pg_class c
    WHERE c.relnamespace = to_regnamespace(%s) AND NOT CASE
        WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'USAGE')
        WHEN c.relkind IN ('r', 'p') THEN has_table_privilege(c.oid, 'SELECT')
            AND (c.relname = 'django_migrations' OR (has_table_privilege(c.oid, 'INSERT')
            AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')))
        ELSE true END
    ORDER BY 1"""


def _rights(test: _Examination) -> Verdict:
    role = test.role
    if not hasattr(test, "schema"):
        return Verdict("rights", Status.SKIPPED, "There is no schema to have rights in")
    superuser = test.value("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    if superuser:
        return Verdict(
            "rights",
            Status.NOTE,
            f"{role} is a superuser: far more than LogoMesh needs.",
            "Ask the administrator for an ordinary role with a schema of its own.",
            (
                "CREATE ROLE logomesh LOGIN PASSWORD '…';",
                f"CREATE SCHEMA logomesh AUTHORIZATION logomesh; -- in {test.profile.database}",
            ),
        )
    if not test.schema_exists:
        return Verdict("rights", Status.OK, f"{role} will own the schema that it creates")
    schema = quoted(test.schema)
    lacking = test.connection.execute(_MISSING_RIGHTS, (schema,)).fetchall()
    if lacking:
        owner = test.value(
            "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE oid = to_regnamespace(%s)", schema
        )
        return Verdict(
            "rights",
            Status.FAILED,
            f"{role} lacks rights on {len(lacking)} tables or sequences, such as {lacking[0][0]}.",
            f"Have these lines run by {owner} or the administrator:",
            tuple(grants(test.schema, role, str(owner))),
        )
    if test.value("SELECT has_schema_privilege(%s, 'CREATE')", test.schema):
        return Verdict("rights", Status.OK, f"{role} may create, upgrade and use the tables")
    if _relations(test):
        return Verdict("rights", Status.OK, f"{role} may use the tables, but not upgrade them")
    return Verdict(
        "rights",
        Status.FAILED,
        f"{role} may not create tables in the schema {test.schema}.",
        "Send this line to the administrator of the database, or migrate with a role that may:",
        (f"GRANT CREATE, USAGE ON SCHEMA {schema} TO {quoted(role)};",),
    )


def grants(schema: str, role: str, owner: str) -> list[str]:
    """What lets a role run the server on tables that another one owns and upgrades."""
    name, runner = quoted(schema), quoted(role)
    future = f"ALTER DEFAULT PRIVILEGES FOR ROLE {quoted(owner)} IN SCHEMA {name} GRANT"
    return [
        f"GRANT USAGE ON SCHEMA {name} TO {runner};",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {name} TO {runner};",
        f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {name} TO {runner};",
        f"{future} SELECT, INSERT, UPDATE, DELETE ON TABLES TO {runner};",
        f"{future} USAGE, SELECT ON SEQUENCES TO {runner};",
    ]


_RELATIONS: Final = """
    SELECT c.relname FROM pg_class c
    WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind IN ('r', 'p', 'v', 'm')
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
    ORDER BY 1"""
_OURS: Final = frozenset({("workspaces", "0001_initial"), ("sync", "0001_initial")})


def _relations(test: _Examination) -> set[str]:
    return set(test.values(_RELATIONS, quoted(test.schema)))


def _tables(test: _Examination) -> Verdict:
    if not hasattr(test, "schema"):
        return Verdict("tables", Status.SKIPPED, "There is no schema to look into")
    present = _relations(test) if test.schema_exists else set()
    if (mark := closed(test.connection, test.schema)) is not None:
        if mark.why == "moving-in":
            return Verdict(
                "tables",
                Status.FAILED,
                f"A move from {mark.where} into this schema was begun ({mark.since}) and is not finished.",
                "Run the same `manage.py database move` again: it goes on where it stopped.",
            )
        return Verdict(
            "tables",
            Status.FAILED,
            f"What was here is in {mark.where} now, since {mark.since}; this copy is a backup.",
            "Use that database. Only if it is lost for good, drop the mark and go on with this older state:",
            (f"DROP FUNCTION {quoted(test.schema)}.{FUNCTION} CASCADE;",),
        )
    if not present:
        return Verdict("tables", Status.OK, "None yet: `manage.py migrate` creates them")
    if "django_migrations" not in present:
        return _foreign(test, present)
    query = f"SELECT app, name FROM {quoted(test.schema)}.django_migrations"  # noqa: S608  (quoted)
    try:
        applied = set(test.connection.execute(query).fetchall())
    except psycopg.errors.InsufficientPrivilege:
        return Verdict("tables", Status.SKIPPED, "Not known without the right to read django_migrations")
    if not applied >= _OURS:
        return _foreign(test, present)
    known = set(MigrationLoader(None, ignore_no_migrations=True).disk_migrations)
    ours = {app for app, _name in known}
    if newer := sorted(f"{app}.{name}" for app, name in applied - known if app in ours):
        return Verdict(
            "tables",
            Status.FAILED,
            f"They belong to a newer LogoMesh Server, which did {newer[0]}.",
            "Start that version, or a newer one. Nothing was changed.",
        )
    if older := sorted(f"{app}.{name}" for app, name in known - applied):
        return Verdict(
            "tables",
            Status.NOTE,
            f"They belong to an older LogoMesh Server: {len(older)} migrations wait, from {older[0]}.",
            "Make a backup (`manage.py backup`), then run `manage.py migrate`; `serve` does it by itself.",
        )
    expected = {model._meta.db_table for model in apps.get_models(include_auto_created=True)}
    if lost := sorted(expected - present):
        return Verdict(
            "tables",
            Status.FAILED,
            f"{len(lost)} tables are missing, such as {lost[0]}, though the schema says they were made.",
            "Somebody has removed them: restore a backup into an empty schema.",
        )
    return Verdict("tables", Status.OK, f"All {len(expected)} are there, of this version")


def _foreign(test: _Examination, present: set[str]) -> Verdict:
    shown = ", ".join(sorted(present)[:3])
    return Verdict(
        "tables",
        Status.FAILED,
        f"The schema {test.schema} belongs to something else: it holds {shown}.",
        "Take a schema of your own (LOGOMESH_DB_SCHEMA or --schema). Nothing was changed.",
        (f"CREATE SCHEMA logomesh AUTHORIZATION {quoted(test.role)};",),
    )


def _vectors(test: _Examination) -> Verdict:
    works = "Embeddings are kept and synced all the same, and search goes by words alone."
    row = test.connection.execute(
        "SELECT e.extversion, n.nspname, has_schema_privilege(n.oid, 'USAGE') FROM pg_extension e"
        " JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector'"
    ).fetchone()
    if row is not None:
        version, schema, usable = row
        path = {*test.profile.schema} or {"public"}
        if usable and schema in {*path, "pg_catalog"}:
            return Verdict("vectors", Status.OK, f"pgvector {version}")
        return Verdict(
            "vectors",
            Status.NOTE,
            f"pgvector {version} lies in the schema {schema}, which is not looked into. {works}",
            f"Add it after ours: LOGOMESH_DB_SCHEMA={','.join([*test.profile.schema, schema])}",
        )
    available = test.value("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'")
    return Verdict(
        "vectors",
        Status.NOTE,
        f"No pgvector in this database. {works}",
        "Search by meaning needs it: the administrator can run this line"
        if available
        else "Search by meaning needs it: the administrator can install pgvector on the server, then"
        " run this line",
        ("CREATE EXTENSION vector;",),
    )


def _connections(test: _Examination) -> Verdict:
    most, reserved, open_now, of_role, of_database = test.row("""
        SELECT current_setting('max_connections')::int,
            current_setting('superuser_reserved_connections')::int,
            (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
            (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user),
            (SELECT datconnlimit FROM pg_database WHERE datname = current_database())""")
    limits = {"max_connections": most - reserved}
    limits |= {"the role's CONNECTION LIMIT": of_role} if of_role >= 0 else {}
    limits |= {"the database's CONNECTION LIMIT": of_database} if of_database >= 0 else {}
    name, least = min(limits.items(), key=lambda item: item[1])
    wanted = test.needs.connections
    said = f"{open_now} of {most - reserved} are open; this server wants up to {wanted}"
    if least < wanted:
        return Verdict(
            "connections",
            Status.NOTE,
            f"{said}, and {name} allows {least}.",
            "Lower WEB_CONCURRENCY or WEB_THREADS, ask the administrator for more, or for PgBouncer. Until"
            " then requests at busy times are answered with 503 and come again.",
        )
    if open_now + wanted > most - reserved:
        return Verdict(
            "connections",
            Status.NOTE,
            f"{said}: with what others use now, that is not enough at busy times.",
            "Lower WEB_CONCURRENCY or WEB_THREADS, ask the administrator for more, or for PgBouncer.",
        )
    return Verdict("connections", Status.OK, said)


def _pooler(test: _Examination) -> Verdict:
    told = test.needs.habits.pooled_by_transaction
    if test.connection.pgconn.backend_pid == test.value("SELECT pg_backend_pid()"):
        if told:
            return Verdict(
                "pooler",
                Status.NOTE,
                "There is none, but LOGOMESH_DB_POOLER says so: prepared statements are not used.",
                "Remove LOGOMESH_DB_POOLER.",
            )
        return Verdict("pooler", Status.OK, "None in between")
    if not reaching.changes_sessions(test.connection, test.profile):
        return Verdict("pooler", Status.OK, "One in between, that gives each connection a session of its own")
    prepared = _keeps_prepared(test)
    if test.needs.habits.prepared and not prepared:
        return Verdict(
            "pooler",
            Status.FAILED,
            "One in between that gives each transaction another session, and knows no prepared statements.",
            "Say LOGOMESH_DB_POOLER=transaction (without LOGOMESH_DB_PREPARED), and have the role keep its"
            " own settings, since PgBouncer passes none on:",
            tuple(role_settings(test.profile, test.needs.habits)),
        )
    if not told:
        return Verdict(
            "pooler",
            Status.FAILED,
            "One in between that gives each transaction another session.",
            "Say LOGOMESH_DB_POOLER=transaction, and have the role keep its own settings:",
            tuple(role_settings(test.profile, test.needs.habits)),
        )
    wanted = search_path(test.profile)
    if wanted and test.value("SHOW search_path").replace(" ", "") != wanted.replace(" ", ""):
        bare = ",".join(test.profile.schema)
        if test.value("SHOW search_path").replace(" ", "") != bare:
            return Verdict(
                "pooler",
                Status.FAILED,
                "PgBouncer passes no search_path on, and the role has not ours: tables would go elsewhere.",
                "The role itself can run these lines. New sessions have them; PgBouncer's after RECONNECT:",
                tuple(role_settings(test.profile, test.needs.habits)),
            )
    finding = "One in between, by transaction"
    if prepared and not test.needs.habits.prepared:
        return Verdict(
            "pooler",
            Status.OK,
            f"{finding}; it knows prepared statements",
            "LOGOMESH_DB_PREPARED=1 uses them: pushes and pulls get a little faster.",
        )
    return Verdict("pooler", Status.OK, f"{finding}; prepared statements are {'on' if prepared else 'off'}")


@contextlib.contextmanager
def _second(test: _Examination) -> Iterator[psycopg.Connection[Any]]:
    other = reaching.sign_in(test.profile)
    try:
        yield other
    finally:
        other.close()


def _keeps_prepared(test: _Examination) -> bool:
    """Whether a prepared statement is still known after our session was changed under us."""
    name = f"logomesh_{secrets.token_hex(4)}".encode()
    pgconn = test.connection.pgconn
    if pgconn.prepare(name, b"SELECT pg_backend_pid()").status != psycopg.pq.ExecStatus.COMMAND_OK:
        return False
    with _second(test) as other, other.transaction():
        other.execute("SELECT 1")  # takes the session in which the statement was prepared
        done = pgconn.exec_prepared(name, [])
    known = done.status == psycopg.pq.ExecStatus.TUPLES_OK
    if known:
        pgconn.exec_(b"DEALLOCATE " + name)
    return known


def _clock(test: _Examination) -> Verdict:
    began = time.time()
    theirs = float(test.value("SELECT extract(epoch FROM clock_timestamp())"))
    ours = (began + time.time()) / 2
    apart = theirs - ours
    if abs(apart) > CLOCK_SECONDS:
        return Verdict(
            "clock",
            Status.NOTE,
            f"It is {abs(apart):.1f} s {'ahead of' if apart > 0 else 'behind'} this machine's clock.",
            "Sync does not depend on it, but times that people read do, and so do end dates of tokens and"
            " leases: run NTP on both.",
        )
    return Verdict("clock", Status.OK, f"{abs(apart) * 1000:.0f} ms apart")


def _speed(test: _Examination) -> Verdict:
    times = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        test.value("SELECT 1")
        times.append((time.perf_counter() - began) * 1000)
    probe = secrets.token_bytes(PROBE_BYTES)
    began = time.perf_counter()
    test.connection.execute("SELECT length(%b)", (probe,)).fetchone()
    up = PROBE_BYTES / 1e6 / (time.perf_counter() - began)
    began = time.perf_counter()
    test.connection.execute("SELECT repeat('x', %s)", (PROBE_BYTES,)).fetchone()
    down = PROBE_BYTES / 1e6 / (time.perf_counter() - began)
    latency = statistics.median(times)
    said = f"{latency:.1f} ms for an answer, {up:.0f} MB/s there, {down:.0f} MB/s back"
    if latency > SLOW_MILLISECONDS or min(up, down) < LEAST_MB_A_SECOND:
        return Verdict(
            "speed",
            Status.NOTE,
            f"{said}: that is slow.",
            "Run LogoMesh Server near its database; people's devices may be far away, the server should not.",
        )
    return Verdict("speed", Status.OK, said)


def _room(test: _Examination) -> Verdict:
    folder = test.needs.folder
    if folder is None and test.profile.host.startswith("/"):
        with contextlib.suppress(psycopg.Error):
            folder = test.value("SHOW data_directory")
    if folder is None:
        return Verdict(
            "room",
            Status.SKIPPED,
            "An ordinary role cannot ask how much room the server's disk has",
            "Ask the administrator; plan three times the size of the LogoMesh files that you will bring.",
        )
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return Verdict("room", Status.SKIPPED, "The server's disk cannot be seen from here")
    if free < LEAST_ROOM:
        return Verdict("room", Status.NOTE, f"Only {_size(free)} are free.", "Make room before importing.")
    return Verdict("room", Status.OK, f"{_size(free)} free")


_ASKING: Final = (
    _version,
    _database,
    _encoding,
    _schema,
    _rights,
    _tables,
    _vectors,
    _connections,
    _pooler,
    _clock,
    _speed,
    _room,
)


def _size(bytes_: int) -> str:
    size = float(bytes_)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
