"""Everything moves from the embedded PostgreSQL to a department's and back, and no client begins anew."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.logomesh_server.department import Client, line_of, make_client, new_thought, redis
from tests.logomesh_server.processes import ROOT, Serving, environment, manage
from tests.logomesh_server.servers import PASSWORD, Server, server
from tests.logomesh_server.test_outage import Pusher, until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("moving")]


@pytest.fixture
def department() -> Iterator[Server]:
    with server() as made:
        made.sql(
            f"CREATE ROLE lab LOGIN PASSWORD '{PASSWORD}'",
            "CREATE DATABASE department ENCODING 'UTF8' TEMPLATE template0",
        )
        made.sql("CREATE SCHEMA logomesh AUTHORIZATION lab", database="department")
        yield made


def where(department: Server, secret: Path, schema: str = "logomesh") -> list[str]:
    address = ["--url", department.url("department", "lab"), "--schema", schema]
    return [*address, "--password-file", str(secret)]


def the_move(department: Server, secret: Path) -> list[str]:
    return ["database", "move", *where(department, secret)]


def everything(serving: Serving, client: Client) -> dict[str, Any]:
    headers = {"Authorization": f"Token {client.token}"}
    return {
        "digest": client.digest(),
        "space": httpx.get(f"{serving.url}/api/v1/spaces/{client.space}", headers=headers).json(),
        "history": client.call("GET", "/history", params={"type": "thoughts", "id": "t1"}).json(),
        "devices": httpx.get(f"{serving.url}/api/v1/devices", headers=headers).json(),
    }


def edit(client: Client, id_: str, base: int, title: str) -> None:
    change = new_thought(id_) | {"base": base, "set": {"title": title}}
    answer = client.call("POST", "/changes", json={"changes": [change]})
    assert answer.json()["results"][0]["status"] == "applied", answer.text


def without_last_seen(found: dict[str, Any]) -> str:
    text = json.dumps(found, sort_keys=True)
    for device in found["devices"]["devices"]:
        text = text.replace(json.dumps(device.get("last_seen_at")), '"then"')
    return text


def test_there_and_back_again(department: Server, tmp_path: Path) -> None:
    data, secret = tmp_path / "data", tmp_path / "password"
    secret.write_text(PASSWORD)
    serving = Serving(data, **redis()).until_ready()
    client = make_client(serving.url, data, redis())
    first = client.push("t1", "t2", "t3")
    edit(client, "t1", first["version"], "Another title")
    pulled = client.pull()
    client.push("after")
    before = everything(serving, client)

    # A server that works on the embedded one is not disturbed by a command that takes it for unused.
    mistaken = {"DATABASE_URL": department.url("department", "lab"), "DATABASE_PASSWORD": PASSWORD}
    refused = manage(data, "database", "move", "--to", "embedded", **mistaken)
    assert (refused.returncode, "End the server first" in refused.stderr) == (1, True), refused.stderr

    # Somebody goes on working while the move begins.
    pusher = Pusher(client, "meanwhile")
    pusher.start()
    until(lambda: len(pusher.acknowledged) > 3, 20, lambda: serving.said)
    moved = manage(data, *the_move(department, secret))
    assert moved.returncode == 0, moved.stdout + moved.stderr
    assert "every one verified" in moved.stdout
    assert PASSWORD not in moved.stdout + moved.stderr
    refused = client.call("POST", "/changes", json={"changes": [new_thought("late")]})
    assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
    assert serving.end() == 0
    pusher.over.set()
    pusher.join(30)
    assert set(pusher.answers) <= {0, 200, 503}

    serving = Serving(data, serving.port, **redis()).until_ready(times=2)
    assert not serving.children("postgres -D"), "the embedded one is not needed any more"
    continued = client.pull(pulled["cursor"])
    ids = [change["id"] for change in continued["changes"]]
    assert ids[0] == "after"
    assert set(pusher.acknowledged) <= set(ids)
    after = everything(serving, client)
    assert after["digest"]["epoch"] == before["digest"]["epoch"]
    assert after["history"] == before["history"]
    again = client.pull(continued["cursor"])
    client.push("there")
    assert [change["id"] for change in client.pull(again["cursor"])["changes"]] == ["there"]
    there = everything(serving, client)
    assert serving.end() == 0
    # As the tables' rules say: they were switched off while rows were copied.
    [(off,)] = department.sql(
        "SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
        " WHERE c.relnamespace = 'logomesh'::regnamespace AND tgenabled = 'D'",
        database="department",
    )
    assert off == 0
    twice = manage(data, *the_move(department, secret))
    assert twice.returncode != 0
    assert "same database" in twice.stderr

    back = manage(data, "database", "move", "--to", "embedded")
    assert back.returncode == 0, back.stdout + back.stderr
    left = manage(data, "database", "test", *where(department, secret))
    assert "this copy is a backup" in left.stdout
    serving = Serving(data, serving.port, **redis()).until_ready(times=3)
    assert without_last_seen(everything(serving, client)) == without_last_seen(there)
    client.push("home")
    assert serving.end() == 0


@pytest.fixture(scope="module")
def two_schemas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, str], Path]]:
    """A server with a filled schema `old` and an empty one, `new`; and the environment of the old one."""
    data = tmp_path_factory.mktemp("data")
    with server() as made:
        made.sql(
            f"CREATE ROLE lab LOGIN PASSWORD '{PASSWORD}'",
            "CREATE DATABASE department ENCODING 'UTF8' TEMPLATE template0",
        )
        made.sql(
            "CREATE SCHEMA old AUTHORIZATION lab",
            "CREATE SCHEMA new AUTHORIZATION lab",
            database="department",
        )
        old = {
            "DATABASE_URL": made.url("department", "lab"),
            "DATABASE_PASSWORD": PASSWORD,
            "LOGOMESH_DB_SCHEMA": "old",
            **redis(),
        }
        assert manage(data, "migrate", "--verbosity", "0", **old).returncode == 0
        filled = manage(data, "shell", "--no-imports", "-c", FILL, **old)
        assert filled.returncode == 0, filled.stderr
        (data / "password").write_text(PASSWORD)
        yield made, old, data


FILL = """
from tests.sync.devices import change, make_device, make_space
for name in ("one", "two"):
    device = make_device(make_space(name))
    device.push(*(change("thoughts", f"t{n}", set={"title": f"Thought {n}"}) for n in range(300)))
"""


def test_a_place_that_is_taken(two_schemas: tuple[Server, dict[str, str], Path]) -> None:
    made, old, data = two_schemas
    made.sql("CREATE SCHEMA other AUTHORIZATION lab", database="department")
    there = {**old, "LOGOMESH_DB_SCHEMA": "other"}
    assert manage(data, "migrate", "--verbosity", "0", **there).returncode == 0
    line_of(manage(data, "account", "dan@lab.example", **there))
    done = manage(data, "database", "move", *where(made, data / "password", "other"), **old)
    assert (done.returncode, "in use already" in done.stderr) == (1, True)
    done = manage(data, "database", "move", *where(made, data / "password", "old"), **old)
    assert (done.returncode, "same database" in done.stderr) == (1, True)


def test_an_interrupted_move_goes_on(two_schemas: tuple[Server, dict[str, str], Path]) -> None:
    made, old, data = two_schemas
    line = ["database", "move", *where(made, data / "password", "new")]
    _killed_at("sync_changeset", data, line, old)
    unfinished = manage(data, "database", "test", *where(made, data / "password", "new"))
    assert (unfinished.returncode, "is not finished" in unfinished.stdout) == (1, True)
    # What differs is copied anew, what does not is left as it is.
    made.sql("UPDATE new.workspaces_person SET name = 'changed'", database="department")
    [(before,)] = made.sql(
        "SELECT max(xmin::text::int8) FROM new.workspaces_workspace", database="department"
    )
    done = manage(data, *line, **old)
    assert done.returncode == 0, done.stdout + done.stderr
    [(after,)] = made.sql("SELECT max(xmin::text::int8) FROM new.workspaces_workspace", database="department")
    assert after == before
    for table in (
        "workspaces_person",
        "sync_thoughts",
        "sync_spacehead",
        "sync_changeset",
        "auth_permission",
    ):
        [rows] = made.sql(
            f"SELECT count(*), bit_xor(hashtext(t::text)) FROM old.{table} t"
            f" UNION SELECT count(*), bit_xor(hashtext(t::text)) FROM new.{table} t",
            database="department",
        )
        assert rows[0] > 0
    # Killed after the end, before the next start's database was written down: the same command says it again.
    again = manage(data, *line, **old)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Now start the server with" in again.stdout
    made.sql("CREATE SCHEMA third AUTHORIZATION lab", database="department")
    elsewhere = manage(data, "database", "move", *where(made, data / "password", "third"), **old)
    assert (elsewhere.returncode, "There is nothing to move" in elsewhere.stderr) == (1, True)
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        made.sql("UPDATE old.sync_spacehead SET head = head + 1", database="department")
    new = {**old, "LOGOMESH_DB_SCHEMA": "new"}
    written = manage(data, "shell", "--no-imports", "-c", FILL.replace('"one", "two"', '"three",'), **new)
    assert written.returncode == 0, written.stderr


def _killed_at(table: str, data: Path, arguments: list[str], variables: dict[str, str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env=environment(data, 1, **variables),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if table in line:
            break
    else:
        pytest.fail("the move ended before it could be killed: " + "".join(said))
    process.kill()
    process.wait()
