"""An operator connects the department's PostgreSQL in a real browser, and moves everything into it.

The department's has all that one meets at once: an ordinary role with one schema, TLS with a root
certificate of its own, pgvector in another schema, and a PgBouncer in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from playwright.sync_api import Page, expect

from tests.logomesh_server.department import make_client, redis
from tests.logomesh_server.processes import Serving, manage
from tests.logomesh_server.servers import (
    PASSWORD,
    Server,
    certificates,
    embedded_programs,
    needs_openssl,
    needs_pgbouncer,
    pgbouncer,
    server,
)
from tests.pages.test_first_day import PASSWORD as MY_PASSWORD

pytestmark = [
    pytest.mark.department,
    pytest.mark.processes, pytest.mark.xdist_group("database page"), needs_pgbouncer, needs_openssl,
]  # fmt: skip


class Department(NamedTuple):
    server: Server
    root: Path
    by_session: int
    by_transaction: int


@pytest.fixture
def department(tmp_path: Path) -> Iterator[Department]:
    root, certificate, key = certificates(tmp_path / "tls")
    tls = certificate, key
    with server(embedded_programs()) as made:
        made.sql(
            f"CREATE ROLE lab LOGIN PASSWORD '{PASSWORD}'",
            "CREATE DATABASE department ENCODING 'UTF8' TEMPLATE template0",
        )
        made.sql("CREATE SCHEMA logomesh AUTHORIZATION lab", "CREATE EXTENSION vector", database="department")
        with pgbouncer(made, "session", tls) as session, pgbouncer(made, "transaction", tls) as transaction:
            yield Department(made, root, session, transaction)


def test_the_department_s_database_is_tested_and_moved_into(
    page: Page, department: Department, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    serving = Serving(data, **redis()).until_ready()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    link = serving.said.split("the link works once:\n")[1].split()[0]
    page.goto(link)
    page.get_by_label("Your name").fill("Ana")
    page.get_by_label("E-mail address").fill("ana@lab.example")
    page.get_by_label("Password").fill(MY_PASSWORD)
    page.get_by_label("Name of your lab").fill("Lab")
    page.get_by_role("button", name="Make the account").click()
    client = make_client(serving.url, data, redis(), "ana@lab.example")
    client.push(*(f"t{number}" for number in range(300)))
    pulled = client.pull()

    # A test that fails says what to do; the form is still there to be put right.
    page.goto(f"{serving.url}/admin/")
    page.get_by_role("link", name="Database").click()
    expect(page.get_by_text("comes with the server")).to_be_visible()
    page.get_by_label("Host", exact=True).fill("localhost")
    page.get_by_label("Port").fill(str(department.by_session))
    page.get_by_label("Database", exact=True).fill("department")
    page.get_by_label("User").fill("lab")
    page.get_by_label("Schema").fill("logomesh,public")
    page.get_by_label("TLS").select_option("verify-full")
    page.get_by_label("Root certificate").fill(str(department.root))
    page.get_by_label("Password", exact=True).fill("not this one")
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.get_by_text("does not take this password")).to_be_visible(timeout=30_000)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.get_by_text("It can be used.")).to_be_visible(timeout=60_000)
    for found in ("the certificate is valid until", "pgvector 0.", "a session of its own"):
        expect(page.get_by_text(found)).to_be_visible()
    assert PASSWORD not in page.content()
    assert errors == []

    # The move goes on by itself, whoever looks.
    page.get_by_role("button", name="Move everything there").click()
    expect(page.get_by_role("heading", name="The move to another database")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("Everything is there")).to_be_visible(timeout=120_000)
    assert PASSWORD not in page.content() + (data / "logs" / "database-move.log").read_text()
    late = client.call("POST", "/changes", json={"changes": []})
    assert late.status_code in {200, 503}, "nothing to change, or nowhere to write it"
    assert errors == []
    assert serving.end() == 0

    # By transaction, with the role's own settings and prepared statements off.
    pooled = {
        "DATABASE_URL": f"postgresql://lab@localhost:{department.by_transaction}/department"
        f"?sslmode=verify-full&sslrootcert={department.root}",
        "DATABASE_PASSWORD": PASSWORD,
        "LOGOMESH_DB_SCHEMA": "logomesh,public",
        "LOGOMESH_DB_POOLER": "transaction",
        **redis(),
    }
    lines = manage(data, "database", "grants", "--to", "lab", "--pooled", **pooled).stdout.splitlines()
    with psycopg.connect(
        f"host=127.0.0.1 port={department.server.port} dbname=department user=lab", password=PASSWORD
    ) as own:
        for line in lines:
            if line.startswith("ALTER ROLE"):
                own.execute(line.encode())
    serving = Serving(data, serving.port, **pooled).until_ready(times=2)
    try:
        assert client.pull(pulled["cursor"])["changes"] == []
        client.push(*(f"pooled{number}" for number in range(20)))
        assert client.digest()["records"] == 320
        refused = manage(data, "backup", str(tmp_path / "backups"), **pooled)
        assert "gives each transaction another session" in refused.stderr
        assert "Traceback" not in refused.stderr
        again = client.pull(pulled["cursor"])
    finally:
        assert serving.end() == 0

    # Without the environment the next start finds what the page has kept; and from there all goes back.
    serving = Serving(data, serving.port, **redis()).until_ready(times=3)
    try:
        assert not serving.children("postgres -D")
        client.push("after")
        page.goto(f"{serving.url}/database")
        expect(page.get_by_text(f"lab@localhost:{department.by_session}/department")).to_be_visible()
        expect(page.get_by_label("Password", exact=True)).to_have_value("")
        page.get_by_text("Back to the PostgreSQL that comes with the server").click()
        page.get_by_role("button", name="Move everything back").click()
        expect(page.get_by_text("Everything is there")).to_be_visible(timeout=120_000)
        expect(page.get_by_text("the embedded PostgreSQL").first).to_be_visible()
        assert errors == []
    finally:
        assert serving.end() == 0
    serving = Serving(data, serving.port, **redis()).until_ready(times=4)
    try:
        assert [change["id"] for change in client.pull(again["cursor"])["changes"]] == ["after"]
        client.push("home")
        assert client.digest()["records"] == 322
    finally:
        assert serving.end() == 0
