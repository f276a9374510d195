"""The department's PostgreSQL goes away while a file is brought in, through a PgBouncer if there is one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.logomesh_files import many
from tests.logomesh_server.department import Client, Department, make_client, make_department
from tests.logomesh_server.processes import Serving, manage
from tests.logomesh_server.servers import PGBOUNCER, pgbouncer, server
from tests.logomesh_server.test_outage import Pusher, until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("outage")]
SEGMENTS = 10_000


@pytest.fixture(scope="module")
def department(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Department]:
    with server(settings={"fsync": "on"}) as made:
        yield make_department(made, tmp_path_factory.mktemp("data"))


class Importing:
    """An import by the public interface, asked about through outages."""

    def __init__(self, url: str, client: Client, path: Path) -> None:
        self.http = httpx.Client(
            base_url=f"{url}/api/v1", headers={"Authorization": f"Token {client.token}"}, timeout=60
        )
        with path.open("rb") as file:
            sent = self.http.post("/imports", data={"space": client.space}, files={"file": file})
        assert sent.status_code == 201, sent.text
        self.address = f"/imports/{sent.json()['id']}"

    def now(self) -> dict[str, Any]:
        try:
            answer = self.http.get(self.address)
        except httpx.HTTPError:
            return {"state": "away"}
        assert answer.status_code in {200, 503}, answer.text
        found: dict[str, Any] = answer.json() if answer.status_code == 200 else {"state": "away"}
        return found

    @property
    def rows(self) -> int:
        found = self.now()
        return int(found.get("progress", {}).get("rows", 0)) if found["state"] == "copying" else 0


def test_an_import_outlives_its_database(department: Department, tmp_path: Path) -> None:
    data = tmp_path / "data"
    made = department.server
    with ExitStack() as stack:
        variables = department.variables()
        if PGBOUNCER:
            told = {"LOGOMESH_DB_POOLER": "transaction"}
            lines = manage(
                data, "database", "grants", "--to", "runner", "--owner", "owner", "--pooled",
                **department.variables("owner", **told),
            )  # fmt: skip
            made.sql(*lines.stdout.splitlines(), database="department")
            port = stack.enter_context(pgbouncer(made))
            variables = department.variables(port=port, **told)
        serving = Serving(data, **variables).until_ready()
        try:
            _bring_in_through_outages(department, serving, variables, tmp_path)
        finally:
            assert serving.end() == 0


def _bring_in_through_outages(
    department: Department, serving: Serving, variables: dict[str, str], folder: Path
) -> None:
    said = lambda: serving.said[-3000:]  # noqa: E731
    client = make_client(serving.url, serving.data, variables)
    importing = Importing(serving.url, client, many(folder / "many.sqlite3", SEGMENTS))
    until(lambda: importing.now()["state"] == "ready", 90, said)
    assert importing.http.post(f"{importing.address}/start", json={"strategy": "full"}).status_code == 200
    pusher = Pusher(client, "meanwhile")
    pusher.start()
    # Killed in the middle of a chunk, and later ended and started as an administrator would.
    for lose in (signal.SIGKILL, signal.SIGINT):
        before = importing.rows
        until(lambda before=before: importing.rows > before, 90, said)  # type: ignore[misc]
        department.server.stop(lose)
        assert importing.now()["state"] == "away"
        department.server.start()
    until(lambda: importing.now()["state"] in {"done", "failed"}, 120, said)
    pusher.over.set()
    pusher.join(30)
    found = importing.now()
    assert found["state"] == "done", found
    report = found["report"]
    assert report["source_digest"] == report["target_digest"]
    migrated = sum(counts["migrated"] for counts in report["tables"].values())
    assert report["tables"]["segments"]["migrated"] == SEGMENTS
    mistakes = [line for line in serving.said.splitlines() if "Unexpected exception" in line]
    assert set(pusher.answers) <= {0, 200, 503}, (pusher.answers, mistakes)
    records = client.digest()["records"]
    extra = records - migrated - len(pusher.acknowledged)
    assert 0 <= extra <= 1, (
        "each row and each acknowledged change once; the last push may have been under way"
    )
