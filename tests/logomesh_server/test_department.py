"""The server on a department's PostgreSQL: an ordinary role, its own schema, no pgvector, a PgBouncer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.logomesh_server.department import Department, make_client, make_department
from tests.logomesh_server.processes import Serving, manage
from tests.logomesh_server.servers import needs_pgbouncer, pgbouncer, server

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("department")]


@pytest.fixture(scope="module")
def department(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Department]:
    with server() as made:
        yield make_department(made, tmp_path_factory.mktemp("data"))


def sync_and_import(data: Path, variables: dict[str, str], email: str) -> None:
    serving = Serving(data, **variables).until_ready()
    try:
        client = make_client(serving.url, data, variables, email)
        client.push(*(f"t{number}" for number in range(300)))
        pulled = client.pull()
        assert len(pulled["changes"]) == 300
        for number in range(12):  # often enough for a statement to be prepared, were it allowed
            client.push(f"more{number}")
            pulled = client.pull(pulled["cursor"])
            assert [change["id"] for change in pulled["changes"]] == [f"more{number}"]

        assert client.digest()["records"] == 312
        assert httpx.get(f"{serving.url}/readyz").json()["database"] == "ok"
    finally:
        assert serving.end() == 0


def test_a_lesser_role_runs_what_another_has_migrated(department: Department, tmp_path: Path) -> None:
    sync_and_import(tmp_path / "data", department.variables(), "eva@lab.example")
    owners = department.server.sql(
        "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'logomesh'", database="department"
    )
    assert owners == [("owner",)]


@needs_pgbouncer
def test_through_pgbouncer_by_transaction(department: Department, tmp_path: Path) -> None:
    pooled = {"LOGOMESH_DB_POOLER": "transaction"}
    lines = manage(
        tmp_path / "data", "database", "grants", "--to", "runner", "--owner", "owner", "--pooled",
        **department.variables("owner", **pooled),
    )  # fmt: skip
    department.server.sql(*lines.stdout.splitlines(), database="department")
    with pgbouncer(department.server, default_pool_size="4") as port:
        sync_and_import(tmp_path / "data", department.variables(port=port, **pooled), "ben@lab.example")
    department.server.sql("ALTER ROLE runner IN DATABASE department RESET ALL")


def test_a_role_that_may_not_upgrade_is_told_who_may(department: Department, tmp_path: Path) -> None:
    newest = "(SELECT max(id) FROM logomesh.django_migrations WHERE app = 'sync')"
    undo = f"UPDATE logomesh.django_migrations SET app = 'aside' WHERE id = {newest}"
    department.server.sql(undo, database="department")
    done = manage(tmp_path / "data", "serve", **department.variables())
    department.server.sql(
        "UPDATE logomesh.django_migrations SET app = 'sync' WHERE app = 'aside'", database="department"
    )
    assert done.returncode == 1
    assert "the role that owns them" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_fails_the_test_is_not_started_on(department: Department, tmp_path: Path) -> None:
    done = manage(tmp_path / "data", "serve", **department.variables(DATABASE_PASSWORD="wrong"))
    assert done.returncode == 1
    assert "does not take this password" in done.stderr
    assert "wrong" not in done.stderr.replace("which of the two is wrong", "")
    assert "Traceback" not in done.stderr


def test_each_session_has_its_limits(department: Department, tmp_path: Path) -> None:
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "search_path")
    code = f"""
from django.db import connection
with connection.cursor() as cursor:
    for name in {names}:
        cursor.execute(f"SHOW {{name}}")
        print(cursor.fetchone()[0])
"""
    done = manage(tmp_path / "data", "shell", "--no-imports", "-c", code, **department.variables())
    assert done.stdout.split() == ["5min", "30s", "1min", '"logomesh"'], done.stderr
