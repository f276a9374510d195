"""Web and worker on two hosts, one request's way through both; and the tables of the version before.

The hosts are two data folders and sets of processes: all that they share goes over TCP, but for the uploads.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.logomesh_files import full
from tests.logomesh_server.department import Client, Department, make_client, make_department, redis
from tests.logomesh_server.processes import ROOT, Serving, environment, free_port, manage
from tests.logomesh_server.servers import server
from tests.logomesh_server.test_outage import until

pytestmark = [pytest.mark.department, pytest.mark.processes, pytest.mark.xdist_group("hosts")]


@pytest.fixture(scope="module")
def department(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Department]:
    with server() as made:
        yield make_department(made, tmp_path_factory.mktemp("data"))


class Host:
    """Some parts of the server, each started by `manage.py run` as systemd would."""

    def __init__(self, folder: Path, uploads: Path, variables: dict[str, str]) -> None:
        self.data, self.port = folder / "data", free_port()
        self.data.mkdir(parents=True)
        (self.data / "uploads").symlink_to(uploads)  # a folder that all hosts mount
        self.variables = {**variables, "WEB_CONCURRENCY": "1", "WORKER_CONCURRENCY": "1"}
        self.processes: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(self, part: str) -> None:
        with (self.data / f"{part}.log").open("wb") as log:
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "manage.py", "run", part],
                    cwd=ROOT,
                    stdout=log,
                    stderr=log,
                    env=environment(self.data, self.port, **self.variables),
                    start_new_session=True,
                )
            )

    def said(self, part: str) -> list[dict[str, Any]]:
        lines = (self.data / f"{part}.log").read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def until_answering(self) -> None:
        def ready() -> bool:
            try:
                return httpx.get(f"{self.url}/readyz", timeout=10).status_code == 200
            except httpx.HTTPError:
                return False

        until(ready, 60, lambda: (self.data / "web.log").read_text())

    def end(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(30)


@pytest.fixture
def hosts(department: Department, tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    variables = department.variables(SECRET_KEY="of all hosts")
    one, two = (Host(tmp_path / name, uploads, variables) for name in ("one", "two"))
    assert manage(one.data, "collectstatic", "--no-input", "--verbosity", "0", **variables).returncode == 0
    one.run("web")
    for part in ("web", "worker", "beat"):
        two.run(part)
    try:
        one.until_answering()
        two.until_answering()
        yield one, two
    finally:
        one.end()
        two.end()


def test_two_hosts_are_one_server(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    one, two = hosts
    here = make_client(one.url, one.data, one.variables)
    there = Client(two.url, here.token, here.space)

    # A cursor of the one is good at the other, and its live events come from both.
    here.push("own1")
    pulled = there.pull()
    assert [change["id"] for change in pulled["changes"]] == ["own1"]
    heard = threading.Event()

    def listen() -> None:
        headers = {"Authorization": f"Token {there.token}"}
        with httpx.stream("GET", f"{two.url}/api/v1/live", headers=headers, timeout=60) as live:
            heard.set()
            for line in live.iter_lines():
                if line.startswith("data:") and there.space in line:
                    events.append(line)
                    return

    events: list[str] = []
    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    assert heard.wait(30)
    time.sleep(0.5)
    here.push("own2")
    listener.join(30)
    assert events
    assert [change["id"] for change in there.pull(pulled["cursor"])["changes"]] == ["own2"]

    # A file that the one took is brought in by the other's worker; the request's id goes all the way.
    headers = {"Authorization": f"Token {here.token}", "X-Request-ID": "evas-file.1"}
    with httpx.Client(base_url=f"{one.url}/api/v1", headers=headers, timeout=60) as client:
        with full(tmp_path / "file.sqlite3", "S2x").open("rb") as file:
            sent = client.post("/imports", data={"space": here.space}, files={"file": file})
        assert (sent.status_code, sent.headers["x-request-id"]) == (201, "evas-file.1"), sent.text
        address = f"/imports/{sent.json()['id']}"
        state = lambda: client.get(address).json()["state"]  # noqa: E731
        until(lambda: state() == "ready", 60, lambda: str(two.said("worker")[-20:]))
        assert client.post(f"{address}/start", json={"strategy": "full"}).status_code == 200
        until(lambda: state() == "done", 60, lambda: str(two.said("worker")[-20:]))
    mine = [
        (part, line["message"])
        for host, part in ((one, "web"), (two, "worker"))
        for line in host.said(part)
        if line.get("request_id") == "evas-file.1"
    ]
    assert ("web", "POST api/v1/imports: 201") in mine
    assert ("worker", "migration.run_import begins") in mine
    assert ("worker", "migration.run_import ends: SUCCESS") in mine
    for host in hosts:
        for path in host.data.glob("*.log"):
            said = path.read_text(errors="replace")
            assert here.token not in said and "eva@lab.example" not in said, f"{path} tells too much"

    # Whichever is asked, the figures are those of both.
    def pushes() -> float:
        told = httpx.get(f"{two.url}/metrics", timeout=30).text
        return sum(float(n) for n in re.findall(r"^logomesh_pushes_total\{.*?\} (\S+)$", told, re.M))

    there.push("own3")
    until(lambda: pushes() >= 3, 30, lambda: httpx.get(f"{two.url}/metrics").text)


PREVIOUS = """
from django.db import connection
from django.db.migrations.loader import MigrationLoader
loader = MigrationLoader(connection)
for app in ("migration", "sync", "workspaces"):
    leaf = loader.graph.leaf_nodes(app)[0]
    print(app, next(name for at, name in loader.get_migration(*leaf).dependencies if at == app))
"""


def test_tables_of_the_version_before_are_upgraded_and_clients_go_on(tmp_path: Path) -> None:
    data = tmp_path / "data"
    serving = Serving(data, **redis()).until_ready()
    client = make_client(serving.url, data, redis())
    client.push("t1", "t2")
    pulled = client.pull()
    client.push("t3")
    before = client.digest()
    assert serving.end() == 0

    asked = manage(data, "shell", "--no-imports", "-c", PREVIOUS, **redis())
    assert asked.returncode == 0, asked.stderr
    for app, name in (line.split() for line in asked.stdout.splitlines()):
        back = manage(data, "migrate", app, name, "--verbosity", "0", **redis())
        assert back.returncode == 0, back.stderr
    older = manage(data, "database", "test", **redis())
    assert (older.returncode, "older LogoMesh Server" in older.stdout) == (0, True), older.stdout

    serving = Serving(data, serving.port, **redis()).until_ready(times=2)
    try:
        continued = client.pull(pulled["cursor"])
        assert [change["id"] for change in continued["changes"]] == ["t3"]
        assert client.digest() == before
        client.push("t4")
        assert "All " in manage(data, "database", "test", **redis()).stdout
    finally:
        assert serving.end() == 0
