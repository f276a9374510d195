"""Processes that are really killed while an import runs: nothing is lost, nothing doubled, and it goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import pytest
from django.db import connection
from django.test import Client

from logomesh_server.folder import Places
from migration import imports, jobs
from migration.choosing import Choices
from migration.models import Import, ImportChunk
from tests.logomesh_files import many
from tests.logomesh_server.processes import ROOT, Serving, manage, processes_of
from tests.migration.importing import assess, digest_of, records_of
from tests.people import People
from workspaces.ids import uuid7

SECONDS = 120  # far more than anything here takes
WORK = (
    "import django, sys, uuid; django.setup(); from migration import jobs; jobs.run(uuid.UUID(sys.argv[1]))"
)


def worker(id_: Any) -> subprocess.Popen[bytes]:
    """A process that works on an import in this test's database."""
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    environment = {**os.environ, "DATABASE_URL": url}
    return subprocess.Popen([sys.executable, "-c", WORK, str(id_)], cwd=ROOT, env=environment)


def until(question: Any, seconds: float = SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)
    return answer


def push(people: People, changes: list[dict[str, Any]]) -> list[str]:
    head = Client().get(f"/api/v1/spaces/{people.space.pk}", headers=people.eva.headers).json()["head"]
    answer = Client().post(
        f"/api/v1/spaces/{people.space.pk}/changes",
        orjson.dumps({"seen": head, "changes": changes}),
        content_type="application/json",
        headers=people.eva.headers,
    )
    return [each["status"] for each in answer.json()["results"]]


@pytest.mark.django_db(transaction=True)
def test_killed_workers_bring_each_row_exactly_once(people: People, tmp_path: Path) -> None:
    imported = assess(people.ben.caller, people.space.pk, many(tmp_path / "many.sqlite3", 25_000))
    imports.start(people.ben.caller, imported.pk, Choices())
    for chunks in (1, 3):
        process = worker(imported.pk)
        until(lambda chunks=chunks: ImportChunk.objects.count() >= chunks)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        imported.refresh_from_db()
        assert imported.state == "copying", "the file is too small to be killed in the middle"
        # Members go on meanwhile.
        new = {
            "change_id": str(uuid7()),
            "type": "thoughts",
            "id": f"own{chunks}",
            "base": 0,
            "set": {"title": "X"},
        }
        assert push(people, [new]) == ["applied"]
        assert not jobs.run(imported.pk), "the killed worker's lease must be waited for"
        Import.objects.update(leased_until="2020-01-01T00:00:00Z")
    thought, record = next(iter(records_of(people.space.pk, "thoughts").items()))
    edit = {"change_id": str(uuid7()), "type": "thoughts", "id": thought, "base": record["version"]}
    assert push(people, [{**edit, "set": {"title": "Edited meanwhile"}}]) == ["applied"]
    assert worker(imported.pk).wait(SECONDS) == 0
    imported.refresh_from_db()
    assert imported.state == "done", imported.problem
    report: Any = imported.report
    assert report["source_digest"] == report["target_digest"]
    assert report["changed_since"] == (0 if thought.startswith("own") else 1)
    migrated = {name: counts["migrated"] for name, counts in report["tables"].items()}
    assert migrated["segments"] == 25_000
    assert migrated["thoughts"] == migrated["thought_tags"] == 2_500
    assert sum(ImportChunk.objects.values_list("rows", flat=True)) == sum(migrated.values())
    assert digest_of(people.space.pk)[1] == sum(migrated.values()) + 2
    assert records_of(people.space.pk, "thoughts")[thought]["title"] == "Edited meanwhile"


@pytest.fixture
def serving() -> Iterator[Serving]:
    # Not in pytest's folder: another run closes that to the account under which PostgreSQL runs.
    data = Path(tempfile.mkdtemp(prefix="logomesh-killed-")) / "data"
    yield Serving(data).until_ready()
    for process in processes_of(data):
        process.kill()
    shutil.rmtree(Places.of(data).run, ignore_errors=True)
    shutil.rmtree(data.parent, ignore_errors=True)


@pytest.mark.processes
@pytest.mark.xdist_group("serving")
def test_after_the_loss_of_worker_database_and_redis_it_goes_on_by_itself(
    serving: Serving, tmp_path: Path
) -> None:
    email = "eva@example.org"
    manage(serving.data, "account", email, "--workspace", "Lab", "--role", "manager")
    owner = ("--workspace", "Lab", "--owner", email, "--kind", "private")
    space = manage(serving.data, "space", "Notes", *owner).stdout.strip()
    token = manage(serving.data, "token", email, "--device", "Laptop").stdout.strip()
    path = many(tmp_path / "many.sqlite3", 30_000)
    with httpx.Client(base_url=f"{serving.url}/api/v1", timeout=60) as client:
        client.headers["Authorization"] = f"Token {token}"
        with path.open("rb") as file:
            sent = client.post("/imports", data={"space": space}, files={"file": file})
        assert sent.status_code == 201, sent.text
        address = f"/imports/{sent.json()['id']}"

        def state() -> dict[str, Any]:
            try:
                answer = client.get(address)
            except httpx.HTTPError:
                return {"state": "away"}
            return answer.json() if answer.status_code == 200 else {"state": "away"}

        until(lambda: state()["state"] == "ready")
        assert client.post(f"{address}/start", json={"strategy": "full"}).status_code == 200
        until(lambda: state().get("progress", {}).get("rows", 0) > 0 and state()["state"] == "copying")
        for part in ("celery", "redis-server", "bin/postgres"):
            for process in serving.children(part):
                process.kill()
        found = until(lambda: (seen := state())["state"] in ("done", "failed") and seen)
        assert found["state"] == "done", found
        report = found["report"]
        digest = until(lambda: client.get(f"/spaces/{space}/digest").json())
        assert report["source_digest"] == report["target_digest"] == digest["digest"]
        assert digest["records"] == sum(counts["migrated"] for counts in report["tables"].values())
    assert serving.end() == 0
