"""The restore drill: a backup brings the server back, and devices that knew more notice and heal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.logomesh_server.department import Department, line_of, make_client, make_department, new_thought
from tests.logomesh_server.processes import Serving, manage
from tests.logomesh_server.servers import (
    Server,
    certificates,
    embedded_programs,
    needs_debian,
    needs_openssl,
    needs_pgbouncer,
    pgbouncer,
    server,
    tls_server,
)

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("backup")]


@pytest.fixture(scope="module")
def department(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Department]:
    with server() as made:
        yield make_department(made, tmp_path_factory.mktemp("data"))


def make_empty(made: Server, name: str) -> str:
    made.sql(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0")
    made.sql("CREATE SCHEMA logomesh AUTHORIZATION owner", database=name)
    return f"postgresql://owner@127.0.0.1:{made.port}/{name}"


def test_the_restore_drill(department: Department, tmp_path: Path) -> None:
    data, variables = tmp_path / "data", department.variables("owner")
    serving = Serving(data, **variables).until_ready()
    client = make_client(serving.url, data, variables)
    client.push("kept1", "kept2")
    (data / "uploads" / "a").mkdir(parents=True)
    (data / "uploads" / "a" / "file").write_bytes(b"uploaded")
    made = Path(line_of(manage(data, "backup", str(tmp_path / "backups"), **variables)))
    assert {path.name for path in made.iterdir()} == {"backup.json", "database.dump", "uploads.tar"}
    assert made.stat().st_mode & 0o777 == 0o700
    listed = json.loads((made / "backup.json").read_text())
    assert client.space in listed["spaces"]
    client.push("later1", "later2")
    pulled = client.pull()
    known = {change["id"]: change["record"] for change in pulled["changes"]}
    before = client.digest()
    assert serving.end() == 0

    # The database is lost. The DBA makes a new one.
    elsewhere = {**variables, "DATABASE_URL": make_empty(department.server, "restored")}
    (data / "uploads" / "a" / "file").unlink()
    done = manage(data, "restore", str(made), **elsewhere)
    assert done.returncode == 0, done.stderr
    assert (data / "uploads" / "a" / "file").read_bytes() == b"uploaded"
    serving = Serving(data, serving.port, **elsewhere).until_ready(times=2)

    refused = client.call("GET", "/changes", params={"cursor": pulled["cursor"]})
    assert (refused.status_code, refused.json()["reason"]) == (410, "rolled-back")
    late = client.call("POST", "/changes", json={"epoch": before["epoch"], "changes": [new_thought("x")]})
    assert (late.status_code, late.json()["reason"]) == (410, "rolled-back")
    # What a client does: it compares, sends what the server lost, and is equal again.
    there = {change["id"] for change in client.pull()["changes"]}
    assert there == {"kept1", "kept2"}
    lost = [new_thought(id_) | {"set": written(known[id_])} for id_ in known if id_ not in there]
    assert len(lost) == 2
    assert client.call("POST", "/changes", json={"changes": lost}).status_code == 200
    after = client.digest()
    assert after["digest"] == before["digest"]
    assert after["epoch"] != before["epoch"]
    assert serving.end() == 0


def written(record: dict[str, Any]) -> dict[str, Any]:
    """What a push sets of a record as it came: its fields that have a value."""
    return {name: value for name, value in record.items() if name not in {"type", "id", "version"} and value}


def test_a_backup_that_cannot_be_restored(department: Department, tmp_path: Path) -> None:
    data, variables = tmp_path / "data", department.variables("owner")
    made = Path(line_of(manage(data, "backup", str(tmp_path / "backups"), **variables)))
    again = manage(data, "restore", str(made), **variables)
    assert (again.returncode, "is not empty" in again.stderr) == (1, True)
    with (made / "database.dump").open("ab") as dump:
        dump.write(b"!")
    elsewhere = {**variables, "DATABASE_URL": make_empty(department.server, "damaged")}
    damaged = manage(data, "restore", str(made), **elsewhere)
    assert (damaged.returncode, "is not what was written" in damaged.stderr) == (1, True)
    nothing = manage(data, "restore", str(tmp_path), **elsewhere)
    assert (nothing.returncode, "is no backup" in nothing.stderr) == (1, True)
    for _ in range(2):
        line_of(manage(data, "backup", str(tmp_path / "backups"), "--keep", "2", **variables))
    assert len(list((tmp_path / "backups").iterdir())) == 2


@needs_pgbouncer
def test_a_backup_goes_past_a_pooler_by_transaction(department: Department, tmp_path: Path) -> None:
    data, target = tmp_path / "data", tmp_path / "backups"
    with pgbouncer(department.server) as port:
        behind = department.variables("owner", port, LOGOMESH_DB_POOLER="transaction")
        refused = manage(data, "backup", str(target), **behind)
        assert (refused.returncode, "the address of PostgreSQL itself" in refused.stderr) == (1, True)
        assert not list(target.iterdir()), "nothing half made is left"
        # As systemd reads backup.env after logomesh.env.
        past = {"DATABASE_URL": department.variables("owner")["DATABASE_URL"], "LOGOMESH_DB_POOLER": ""}
        assert Path(line_of(manage(data, "backup", str(target), **{**behind, **past}))).is_dir()


@needs_debian
@needs_openssl
def test_a_backup_travels_over_tls(tmp_path: Path) -> None:
    with tls_server(tmp_path / "ca") as (made, root):
        encrypted = make_department(made, tmp_path / "made")
        owner = encrypted.variables("owner")
        address = owner["DATABASE_URL"].replace("127.0.0.1", "localhost")
        verified = {**owner, "DATABASE_URL": f"{address}?sslmode=verify-full&sslrootcert={root}"}
        kept = Path(line_of(manage(tmp_path / "data", "backup", str(tmp_path / "backups"), **verified)))
        assert (kept / "database.dump").stat().st_size > 10_000


@needs_pgbouncer
@needs_openssl
@pytest.mark.skipif(
    Path("/usr/lib/postgresql/18/bin/pg_dump").exists(), reason="there is a pg_dump of version 18 here"
)
def test_the_programs_that_come_with_the_server_speak_no_tls(tmp_path: Path) -> None:
    root, *pair = certificates(tmp_path / "ca")
    with server(embedded_programs()) as made:
        newest = make_department(made, tmp_path / "made")
        with pgbouncer(made, "session", tls=(pair[0], pair[1])) as port:
            address = f"postgresql://owner@localhost:{port}/department?sslmode=verify-full&sslrootcert={root}"
            variables = {**newest.variables("owner"), "DATABASE_URL": address}
            done = manage(tmp_path / "data", "backup", str(tmp_path / "backups"), **variables)
    assert done.returncode == 1
    assert "no pg_dump for PostgreSQL 18 that speaks TLS: install postgresql-client-18" in done.stderr


def test_the_doctor(department: Department, tmp_path: Path) -> None:
    data, variables = tmp_path / "data", department.variables("owner")
    data.mkdir()
    ill = manage(data, "doctor", "--json", **variables)
    assert ill.returncode == 2, ill.stderr
    found = {check["step"]: check for check in json.loads(ill.stdout)["checks"]}
    assert found["tables"]["status"] == "ok"
    assert found["web"]["status"] == "failed"
    for check in found.values():
        assert check["remedy"] or check["status"] != "failed"
    serving = Serving(data, **variables).until_ready()
    well = manage(data, "doctor", "--json", **variables, PORT=str(serving.port))
    assert well.returncode in {0, 1}, well.stdout
    found = {check["step"]: check for check in json.loads(well.stdout)["checks"]}
    assert {found[step]["status"] for step in ("redis", "worker", "jobs", "web", "configuration")} == {
        "ok"
    }, well.stdout
    metrics = httpx.get(f"{serving.url}/metrics").text
    for name in ("logomesh_database_connections", "logomesh_database_up 1", "logomesh_redis_up 1"):
        assert name in metrics
    assert serving.end() == 0
    lost = manage(data, "doctor", **{**variables, "DATABASE_PASSWORD": "wrong"})
    assert (lost.returncode, "does not take this password" in lost.stdout) == (2, True)
    wrong = manage(data, "check", "--deploy", **variables, LOGOMESH_HTTPS="1", LOGOMESH_TYPO="1")
    for code in ("logomesh.W001", "logomesh.W005", "logomesh.W006"):
        assert code in wrong.stderr
    clean = {"LOGOMESH_HTTPS": "1", "LOGOMESH_URL": "https://lab.example", "ALLOWED_HOSTS": "lab.example"}
    right = manage(data, "check", "--deploy", "--fail-level", "WARNING", **variables, **clean)
    assert right.returncode == 0, right.stderr
