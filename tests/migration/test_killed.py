"""Workers that are really killed while an import runs: nothing is lost, nothing doubled, and it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from django.db import connection
from django.test import Client

from migration import imports, jobs
from migration.models import Import, ImportChunk
from tests.logomesh_files import many
from tests.logomesh_server.processes import ROOT
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
    imports.start(people.ben.caller, imported.pk, imports.Choices())
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
