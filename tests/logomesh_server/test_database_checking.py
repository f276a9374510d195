"""The test of a database: every way to fail that we know of, against real servers, and the ways to succeed.

Two servers are not real: one that says in the wire protocol that it is version 13 (besides a real one, where
POSTGRESQL_13 names its programs), and sockets that swallow what they are sent, as a firewall does.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from logomesh_server.database import reaching
from logomesh_server.database.checking import Needs, examine
from logomesh_server.database.profile import Habits, Profile, from_url, kept
from logomesh_server.database.verdicts import STEPS, Status, Verdict, usable
from tests.logomesh_server.processes import ROOT, free_port, manage
from tests.logomesh_server.servers import (
    OLD,
    PASSWORD,
    Server,
    certificates,
    client_certificate,
    embedded_programs,
    needs_an_old_one,
    needs_debian,
    needs_openssl,
    needs_pgbouncer,
    pgbouncer,
    server,
    tls_server,
)

pytestmark = pytest.mark.xdist_group("checking")
NEEDS = Needs(connections=40, habits=Habits(connections=18))


@pytest.fixture(scope="module")
def department() -> Iterator[Server]:
    """The department's server, on which a DBA has made what the tests need."""
    with server(settings={"max_connections": "60"}) as made:
        made.sql(
            f"CREATE ROLE lab LOGIN PASSWORD '{PASSWORD}'",
            f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'",
            f"CREATE ROLE nobody NOLOGIN PASSWORD '{PASSWORD}'",
            f"CREATE ROLE few LOGIN PASSWORD '{PASSWORD}' CONNECTION LIMIT 1",
            "CREATE DATABASE department ENCODING 'UTF8' TEMPLATE template0",
            "CREATE DATABASE ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
            "CREATE DATABASE closed TEMPLATE template0",
            "REVOKE CONNECT ON DATABASE closed FROM public",
            "CREATE DATABASE frozen TEMPLATE template0",
            "ALTER DATABASE frozen SET default_transaction_read_only = on",
        )
        made.sql(
            "CREATE SCHEMA logomesh AUTHORIZATION lab",
            "CREATE SCHEMA others",
            "CREATE TABLE others.samples (id int)",
            "GRANT ALL ON SCHEMA others TO lab",
            "GRANT ALL ON others.samples TO lab",
            "CREATE SCHEMA looked_at",
            "GRANT USAGE ON SCHEMA looked_at TO lab",
            "CREATE SCHEMA hidden",
            database="department",
        )
        yield made


def profile(department: Server, database: str = "department", user: str = "lab", **options: str) -> Profile:
    address = from_url(department.url(database, user, **options), password=PASSWORD)
    return replace(address, schema=("logomesh",))


def examined(asked: Profile, needs: Needs = NEEDS) -> dict[str, Verdict]:
    found = list(examine(asked, needs))
    assert [verdict.step for verdict in found if verdict.step in STEPS] == [v.step for v in found]
    assert {verdict.step for verdict in found} == set(STEPS)
    assert not any(PASSWORD in f"{v.finding}{v.remedy}{v.sql}" for v in found)
    for verdict in found:
        if verdict.status is Status.FAILED:
            assert verdict.remedy, f"{verdict} names no remedy"
    return {verdict.step: verdict for verdict in found}


def the_failure(asked: Profile, needs: Needs = NEEDS) -> Verdict:
    found = examined(asked, needs)
    failed = [verdict for verdict in found.values() if verdict.status is Status.FAILED]
    assert len(failed) == 1, failed
    assert not usable(found.values())
    return failed[0]


# --- what works -----------------------------------------------------------------------------------------


def test_a_department_s_database_can_be_used(department: Server) -> None:
    found = examined(profile(department))
    assert usable(found.values()), found
    assert "None yet" in found["tables"].finding
    assert found["pooler"].finding == "None in between"
    assert found["clock"].status is Status.OK


def test_a_schema_that_the_role_may_create(department: Server) -> None:
    department.sql("GRANT CREATE ON DATABASE department TO guest")
    asked = replace(profile(department, user="guest"), schema=("fresh",))
    found = examined(asked)
    assert "may create it" in found["schema"].finding
    assert usable(found.values())
    department.sql("REVOKE CREATE ON DATABASE department FROM guest")


def test_a_superuser_is_told_that_less_would_do(department: Server) -> None:
    found = examined(profile(department, user="dba"))
    assert found["rights"].status is Status.NOTE
    assert any("CREATE ROLE" in line for line in found["rights"].sql)


def test_the_test_changes_nothing(department: Server) -> None:
    before = department.sql("SELECT count(*) FROM pg_class", database="department")
    examined(profile(department))
    assert department.sql("SELECT count(*) FROM pg_class", database="department") == before


# --- the way there --------------------------------------------------------------------------------------


def test_a_name_that_nobody_knows() -> None:
    failed = the_failure(Profile("postgres.department.invalid", database="department"))
    assert (failed.step, "not known" in failed.finding) == ("name", True)


def test_a_closed_port() -> None:
    failed = the_failure(Profile("127.0.0.1", free_port(), "department"))
    assert (failed.step, "nothing listens" in failed.finding) == ("port", True)


def test_a_firewall_that_swallows_the_way_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaching, "SECONDS", 1)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        for _ in range(4):  # its queue is full now: the kernel drops what comes, as a firewall does
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        failed = the_failure(Profile("127.0.0.1", listener.getsockname()[1], "department"))
        for filler in fillers:
            filler.close()
    assert (failed.step, "firewall" in failed.remedy) == ("port", True)


@contextmanager
def answering(talk: Any) -> Iterator[int]:
    """Something on a port that answers each connection with `talk`."""
    listener = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def run() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            held.append(sock)
            try:
                talk(sock)
            except OSError:
                continue

    threading.Thread(target=run, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()
    for sock in held:
        sock.close()


def test_a_port_that_takes_the_connection_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaching, "SECONDS", 1)
    with answering(lambda sock: None) as port:
        failed = the_failure(Profile("127.0.0.1", port, "department"))
    assert (failed.step, "nobody spoke" in failed.finding) == ("port", True)


def test_something_else_on_the_port() -> None:
    with answering(lambda sock: sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        failed = the_failure(Profile("127.0.0.1", port, "department"))
    assert (failed.step, "no PostgreSQL" in failed.finding) == ("port", True)


def test_a_port_that_hangs_up() -> None:
    with answering(lambda sock: sock.close()) as port:
        failed = the_failure(Profile("127.0.0.1", port, "department"))
    assert (failed.step, "closes the connection" in failed.finding) == ("port", True)


def test_a_socket_that_is_not_there(tmp_path: Path) -> None:
    failed = the_failure(Profile(str(tmp_path), database="department"))
    assert (failed.step, "not there" in failed.finding) == ("port", True)


# --- TLS ------------------------------------------------------------------------------------------------


def test_a_plain_server_with_verify_full(department: Server) -> None:
    failed = the_failure(profile(department, sslmode="verify-full", sslrootcert="system"))
    assert (failed.step, "offers no TLS" in failed.finding) == ("tls", True)


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path, Path]]:
    folder = tmp_path_factory.mktemp("tls")
    other, _, _ = certificates(folder / "other")
    hba = "local all all trust\nhostssl all all all scram-sha-256\n"
    with tls_server(folder, hba=hba) as (made, root):
        made.sql(
            f"CREATE ROLE lab LOGIN PASSWORD '{PASSWORD}'",
            "CREATE DATABASE department ENCODING 'UTF8' TEMPLATE template0",
        )
        made.sql("CREATE SCHEMA logomesh AUTHORIZATION lab", database="department")
        yield made, root, other


def over_tls(made: Server, host: str = "localhost", **options: str) -> Profile:
    address = from_url(made.url("department", "lab", host, **options), password=PASSWORD)
    return replace(address, schema=("logomesh",))


@needs_debian
@needs_openssl
def test_a_verified_certificate(encrypted: tuple[Server, Path, Path]) -> None:
    made, root, _ = encrypted
    found = examined(over_tls(made, sslmode="verify-full", sslrootcert=str(root)))
    assert usable(found.values()), found
    assert "valid until" in found["tls"].finding


@needs_debian
@needs_openssl
def test_the_wrong_root_certificate(encrypted: tuple[Server, Path, Path]) -> None:
    made, _, other = encrypted
    failed = the_failure(over_tls(made, sslmode="verify-full", sslrootcert=str(other)))
    assert (failed.step, "not signed" in failed.finding) == ("tls", True)


@needs_debian
@needs_openssl
def test_a_certificate_for_another_name(encrypted: tuple[Server, Path, Path]) -> None:
    made, root, _ = encrypted
    failed = the_failure(over_tls(made, "127.0.0.1", sslmode="verify-full", sslrootcert=str(root)))
    assert (failed.step, "not for the name" in failed.finding) == ("tls", True)


@needs_debian
@needs_openssl
def test_a_root_certificate_that_is_missing_or_none(
    encrypted: tuple[Server, Path, Path], tmp_path: Path
) -> None:
    made, _, _ = encrypted
    absent = the_failure(over_tls(made, sslmode="verify-full", sslrootcert=str(tmp_path / "root.crt")))
    assert (absent.step, "no readable file" in absent.finding) == ("tls", True)
    (tmp_path / "root.crt").write_text("not a certificate")
    broken = the_failure(over_tls(made, sslmode="verify-full", sslrootcert=str(tmp_path / "root.crt")))
    assert (broken.step, "no root certificate" in broken.finding) == ("tls", True)


@needs_debian
@needs_openssl
def test_a_server_that_wants_tls(encrypted: tuple[Server, Path, Path]) -> None:
    made, _, _ = encrypted
    failed = the_failure(over_tls(made, sslmode="disable"))
    assert (failed.step, "only with TLS" in failed.finding) == ("sign-in", True)


@needs_debian
@needs_openssl
def test_a_certificate_that_has_expired(tmp_path: Path) -> None:
    with tls_server(tmp_path, days=0) as (made, root):
        failed = the_failure(over_tls(made, sslmode="verify-full", sslrootcert=str(root)))
    assert (failed.step, "expired" in failed.finding) == ("tls", True)


@needs_debian
@needs_openssl
def test_signing_in_with_a_certificate(tmp_path: Path) -> None:
    hba = "local all all trust\nhostssl all all all cert\n"
    with tls_server(tmp_path, hba=hba) as (made, root):
        made.sql("CREATE ROLE lab LOGIN", "CREATE SCHEMA logomesh AUTHORIZATION lab")
        certificate, key = client_certificate(tmp_path, "lab")
        address = from_url(
            made.url("postgres", "lab", "localhost", sslmode="verify-full", sslrootcert=str(root))
        )
        asked = replace(address, schema=("logomesh",))
        with_it = {**asked.options, "sslcert": str(certificate), "sslkey": str(key)}
        found = examined(replace(asked, options=with_it))
        assert usable(found.values()), found
        without = the_failure(asked)
        assert "certificate" in without.finding
        key.chmod(0o644)
        readable = the_failure(replace(asked, options=with_it))
        assert (readable.step, "0600" in readable.remedy) == ("tls", True)


# --- signing in -----------------------------------------------------------------------------------------


def test_a_wrong_password(department: Server) -> None:
    failed = the_failure(replace(profile(department), password="wrong"))
    assert (failed.step, "does not take this password" in failed.finding) == ("sign-in", True)


def test_no_password(department: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    failed = the_failure(replace(profile(department), password=""))
    assert (failed.step, "there is none" in failed.finding) == ("sign-in", True)


def test_a_role_that_may_not_sign_in(department: Server) -> None:
    failed = the_failure(profile(department, user="nobody"))
    assert (failed.step, "ALTER ROLE" in failed.remedy) == ("sign-in", True)


def test_a_machine_that_is_not_let_in(department: Server) -> None:
    hba = department.data / "pg_hba.conf"
    before = hba.read_text()
    hba.write_text("local all all trust\n")
    department.sql("SELECT pg_reload_conf()", "SELECT pg_sleep(0.2)")
    try:
        failed = the_failure(profile(department))
    finally:
        hba.write_text(before)
        department.sql("SELECT pg_reload_conf()", "SELECT pg_sleep(0.2)")
    assert (failed.step, "pg_hba.conf" in failed.remedy) == ("sign-in", True)


def test_an_unknown_database(department: Server) -> None:
    failed = the_failure(profile(department, "departement"))
    assert (failed.step, "no database departement" in failed.finding) == ("database", True)


def test_a_database_that_the_role_may_not_enter(department: Server) -> None:
    failed = the_failure(profile(department, "closed"))
    assert (failed.step, "GRANT CONNECT" in failed.remedy) == ("database", True)


def test_used_up_connections_of_a_role(department: Server) -> None:
    with psycopg.connect(**profile(department, user="few").libpq()):
        failed = the_failure(profile(department, user="few"))
    assert (failed.step, "no connection left" in failed.finding) == ("connections", True)


def test_used_up_connections_of_a_server() -> None:
    with server(settings={"max_connections": "8", "superuser_reserved_connections": "3"}) as small:
        small.sql(f"CREATE ROLE lab LOGIN PASSWORD '{PASSWORD}'")
        asked = profile(small, "postgres")
        held = [psycopg.connect(**asked.libpq()) for _ in range(5)]
        failed = the_failure(asked)
        for connection in held:
            connection.close()
    assert failed.step == "connections"


def test_too_few_connections_for_our_pools(department: Server) -> None:
    found = examined(profile(department), replace(NEEDS, connections=100))
    assert found["connections"].status is Status.NOTE
    assert "WEB_CONCURRENCY" in found["connections"].remedy


# --- what is there --------------------------------------------------------------------------------------


def test_a_server_of_version_13() -> None:
    """Not a real one: it only says in the protocol that it is."""
    with answering(_pretend_to_be("13.18")) as port:
        failed = the_failure(Profile("127.0.0.1", port, "department", "lab"))
    assert (failed.step, "PostgreSQL 13" in failed.finding) == ("version", True)


@needs_an_old_one
def test_a_real_server_of_version_13() -> None:
    with server(OLD) as made:
        made.sql(
            f"CREATE ROLE lab LOGIN PASSWORD '{PASSWORD}'",
            "CREATE DATABASE department ENCODING 'UTF8' TEMPLATE template0",
        )
        failed = the_failure(profile(made))
    assert (failed.step, "PostgreSQL 13" in failed.finding) == ("version", True)


def _pretend_to_be(version: str) -> Any:
    def message(kind: bytes, body: bytes) -> bytes:
        return kind + struct.pack("!i", len(body) + 4) + body

    def talk(sock: socket.socket) -> None:
        while True:
            head = sock.recv(8)
            if len(head) < 8:
                return
            length, code = struct.unpack("!ii", head)
            if code == 80877103:
                sock.sendall(b"N")
                continue
            sock.recv(length - 8)
            break
        told = {"server_version": version, "client_encoding": "UTF8", "server_encoding": "UTF8"}
        parameters = b"".join(message(b"S", f"{k}\0{v}\0".encode()) for k, v in told.items())
        sock.sendall(message(b"R", struct.pack("!i", 0)) + parameters + message(b"Z", b"I"))
        sock.recv(1)

    return talk


def test_a_standby() -> None:
    with server(settings={"wal_level": "replica"}) as made:
        made.sql(f"CREATE ROLE lab LOGIN PASSWORD '{PASSWORD}'")
        made.stop()
        (made.data / "standby.signal").touch()
        made.start()
        failed = the_failure(profile(made, "postgres"))
    assert (failed.step, "standby" in failed.finding) == ("database", True)


def test_a_database_that_is_read_only(department: Server) -> None:
    found = examined(profile(department, "frozen"))
    assert found["database"].status is Status.FAILED
    assert "default_transaction_read_only" in found["database"].finding


def test_a_database_without_an_encoding(department: Server) -> None:
    found = examined(profile(department, "ascii"))
    assert found["encoding"].status is Status.FAILED
    assert "SQL_ASCII" in found["encoding"].finding
    assert any("ENCODING 'UTF8'" in line for line in found["encoding"].sql)


def test_no_schema_and_no_right_to_create_one(department: Server) -> None:
    failed = the_failure(replace(profile(department), schema=("absent",)))
    assert failed.step == "schema"
    assert failed.sql == ('CREATE SCHEMA "absent" AUTHORIZATION "lab";',)
    department.sql(*failed.sql, database="department")
    assert usable(examined(replace(profile(department), schema=("absent",))).values())


def test_a_schema_that_may_not_be_entered(department: Server) -> None:
    failed = the_failure(replace(profile(department), schema=("hidden",)))
    assert (failed.step, failed.sql) == ("schema", ('GRANT CREATE, USAGE ON SCHEMA "hidden" TO "lab";',))


def test_no_right_to_create_tables(department: Server) -> None:
    failed = the_failure(replace(profile(department), schema=("looked_at",)))
    assert failed.step == "rights"
    department.sql(*failed.sql, database="department")
    assert usable(examined(replace(profile(department), schema=("looked_at",))).values())


def test_the_schema_of_another_application(department: Server) -> None:
    failed = the_failure(replace(profile(department), schema=("others",)))
    assert (failed.step, "samples" in failed.finding) == ("tables", True)


def test_the_schema_of_another_django_project(department: Server) -> None:
    department.sql(
        "CREATE SCHEMA django AUTHORIZATION lab",
        "SET ROLE lab",
        "CREATE TABLE django.django_migrations (id int, app text, name text)",
        "INSERT INTO django.django_migrations VALUES (1, 'auth', '0001_initial')",
        database="department",
    )
    failed = the_failure(replace(profile(department), schema=("django",)))
    assert (failed.step, "something else" in failed.finding) == ("tables", True)


@pytest.fixture(scope="module")
def migrated(department: Server, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A schema with all tables, made by `migrate` as the department's role."""
    asked = profile(department)
    done = run_manage(asked, tmp_path_factory.mktemp("data"), "migrate", "--verbosity", "0")
    assert done.returncode == 0, done.stderr
    return asked


def run_manage(asked: Profile, data: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "LOGOMESH_DATA_DIR": str(data),
        "DATABASE_URL": asked.url(),
        "DATABASE_PASSWORD": PASSWORD,
        "LOGOMESH_DB_SCHEMA": ",".join(asked.schema),
        **more,
    }
    return subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip


def test_our_tables(migrated: Profile) -> None:
    found = examined(migrated)
    assert usable(found.values()), found
    assert found["tables"].finding.startswith("All ")


def test_a_lesser_role_gets_its_grant_lines(department: Server, migrated: Profile, tmp_path: Path) -> None:
    department.sql("GRANT USAGE ON SCHEMA logomesh TO guest", database="department")
    asked = replace(migrated, user="guest")
    found = examined(asked)
    assert found["rights"].status is Status.FAILED
    assert any("GRANT SELECT, INSERT" in line for line in found["rights"].sql)
    department.sql(*found["rights"].sql, database="department")
    found = examined(asked)
    assert usable(found.values()), found
    assert "not upgrade" in found["rights"].finding
    printed = run_manage(migrated, tmp_path, "database", "grants", "--to", "guest").stdout
    assert 'ON ALL TABLES IN SCHEMA "logomesh" TO "guest"' in printed


def test_tables_of_an_older_and_of_a_newer_server(department: Server, migrated: Profile) -> None:
    row = "app = 'sync' AND name = '0002_rules_of_the_database'"
    department.sql(f"DELETE FROM logomesh.django_migrations WHERE {row}", database="department")
    found = examined(migrated)
    assert (found["tables"].status, "older" in found["tables"].finding) == (Status.NOTE, True)
    department.sql(
        "INSERT INTO logomesh.django_migrations (app, name, applied) VALUES"
        " ('sync', '0002_rules_of_the_database', now()), ('sync', '9999_of_next_year', now())",
        database="department",
    )
    failed = the_failure(migrated)
    assert (failed.step, "newer" in failed.finding) == ("tables", True)
    department.sql(
        "DELETE FROM logomesh.django_migrations WHERE name = '9999_of_next_year'", database="department"
    )
    assert usable(examined(migrated).values())


def test_a_table_that_somebody_removed(department: Server, migrated: Profile) -> None:
    department.sql("ALTER TABLE logomesh.sync_receipt RENAME TO gone", database="department")
    try:
        failed = the_failure(migrated)
    finally:
        department.sql("ALTER TABLE logomesh.gone RENAME TO sync_receipt", database="department")
    assert (failed.step, "sync_receipt" in failed.finding) == ("tables", True)


@needs_debian
def test_without_pgvector(department: Server) -> None:
    found = examined(profile(department))
    assert found["vectors"].status is Status.NOTE
    assert "words alone" in found["vectors"].finding


def test_with_pgvector_out_of_sight() -> None:
    with server(embedded_programs()) as made:
        made.sql(f"CREATE ROLE lab LOGIN PASSWORD '{PASSWORD}'", "CREATE SCHEMA logomesh AUTHORIZATION lab")
        assert "can run this line" in examined(profile(made, "postgres"))["vectors"].remedy
        made.sql("CREATE EXTENSION vector")
        hidden = examined(profile(made, "postgres"))["vectors"]
        assert (hidden.status, "LOGOMESH_DB_SCHEMA=logomesh,public" in hidden.remedy) == (Status.NOTE, True)
        seen = examined(replace(profile(made, "postgres"), schema=("logomesh", "public")))["vectors"]
        assert (seen.status, seen.finding.startswith("pgvector 0.")) == (Status.OK, True)


# --- a pooler in between --------------------------------------------------------------------------------


@needs_pgbouncer
def test_pgbouncer_by_session(department: Server) -> None:
    with pgbouncer(department, "session") as port:
        found = examined(replace(profile(department), port=port))
    assert (found["pooler"].status, "session of its own" in found["pooler"].finding) == (Status.OK, True)


@needs_pgbouncer
def test_pgbouncer_by_transaction(department: Server) -> None:
    with pgbouncer(department) as port:
        asked = replace(profile(department), port=port)
        failed = the_failure(asked)
        assert (failed.step, "LOGOMESH_DB_POOLER=transaction" in failed.remedy) == ("pooler", True)
        told = replace(NEEDS, habits=Habits(18, pooled_by_transaction=True, prepared=False))
        failed = the_failure(asked, told)
        assert "search_path" in failed.finding
        with psycopg.connect(**profile(department).libpq(), autocommit=True) as connection:
            for line in failed.sql:  # the role can do it for itself
                connection.execute(line.encode())
        with pgbouncer(department) as fresh:
            found = examined(replace(asked, port=fresh), told)
            assert usable(found.values()), found
            assert "by transaction" in found["pooler"].finding
    department.sql("ALTER ROLE lab IN DATABASE department RESET ALL")


@needs_pgbouncer
def test_pgbouncer_with_a_wrong_password(department: Server) -> None:
    with pgbouncer(department) as port:
        failed = the_failure(replace(profile(department), port=port, password="wrong"))
    assert failed.step == "sign-in"


@needs_pgbouncer
@pytest.mark.parametrize("met_before", [True, False])
def test_pgbouncer_whose_postgresql_is_away(met_before: bool) -> None:
    with server() as made:
        made.sql(f"CREATE ROLE lab LOGIN PASSWORD '{PASSWORD}'")
        with pgbouncer(made, "session") as port:
            asked = replace(profile(made, database="postgres"), port=port)
            if met_before:  # it then lets in by itself
                examined(asked)
            made.stop()
            failed = the_failure(asked)
    assert failed.step == ("pooler" if met_before else "sign-in")
    assert "the PostgreSQL behind it" in failed.finding + failed.remedy
    assert failed.milliseconds < 10_000


# --- the command ----------------------------------------------------------------------------------------


def test_the_command_tells_verdicts_and_exit_codes(department: Server, tmp_path: Path) -> None:
    address = department.url("department", "lab")
    secret = tmp_path / "password"
    secret.write_text(PASSWORD + "\n")
    line = ["database", "test", "--url", address, "--schema", "logomesh", "--password-file", str(secret)]
    done = manage(tmp_path / "data", *line, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    said = json.loads(done.stdout)
    assert said["usable"] is True
    assert [step["step"] for step in said["steps"]][:3] == ["name", "port", "tls"]
    assert not (tmp_path / "data" / "postgres").exists(), "it needs no server of ours"
    secret.write_text("wrong")
    done = manage(tmp_path / "data", *line)
    assert done.returncode == 1
    assert "does not take this password" in done.stdout
    assert "Traceback" not in done.stderr
    done = manage(tmp_path / "data", "database", "test", "--host", "localhost", "--port", "99999")
    assert (done.returncode, "no number from 1 to 65535" in done.stderr) == (1, True)


def test_choosing_a_database_keeps_its_secret(department: Server, tmp_path: Path) -> None:
    data = tmp_path / "data"
    address = [
        "--host",
        "127.0.0.1",
        "--port",
        str(department.port),
        "--database",
        "department",
        "--user",
        "lab",
    ]
    done = manage(
        data, "database", "set", *address, "--schema", "logomesh", "--ask-password", given=PASSWORD + "\n"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert PASSWORD not in (data / "database.json").read_text()
    assert (data / "database-password").stat().st_mode & 0o777 == 0o600
    shown = manage(data, "database", "show", "--json").stdout
    assert PASSWORD not in shown
    assert json.loads(shown)["address"] == f"lab@127.0.0.1:{department.port}/department"
    found = kept(data)
    assert found is not None and found.password == PASSWORD
    assert PASSWORD not in repr(found)
    (data / "database-password").chmod(0o644)
    assert "chmod 600" in manage(data, "database", "show").stderr
    assert manage(data, "database", "forget").returncode == 1  # not before that is put right
    (data / "database-password").chmod(0o600)
    assert manage(data, "database", "forget").returncode == 0
    assert "embedded" in manage(data, "database", "show").stdout


def test_a_service_and_a_password_file(
    department: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "services").write_text(
        f"[lab]\nhost=127.0.0.1\nport={department.port}\ndbname=department\nuser=lab\n"
    )
    (tmp_path / "pass").write_text(f"127.0.0.1:{department.port}:department:lab:{PASSWORD}\n")
    (tmp_path / "pass").chmod(0o600)
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    asked = Profile(schema=("logomesh",), options={"service": "lab", "passfile": str(tmp_path / "pass")})
    found = examined(asked)
    assert usable(found.values()), found
    failed = the_failure(replace(asked, options={"service": "lib"}))
    assert "service file" in failed.finding
