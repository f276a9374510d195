"""The app gets its turns at the file, however much the client has to write."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from logomesh_client.file.store import Store
from tests.client.app import make
from tests.logomesh_server.processes import ROOT


@pytest.mark.processes
def test_one_transaction_after_another_does_not_keep_the_app_out(tmp_path: Path) -> None:
    path = make(tmp_path / "logomesh.sqlite3", "S2x")
    store = Store(path)
    store.db.execute("CREATE TABLE scratch (number INTEGER)")
    app = subprocess.Popen(
        [sys.executable, "-m", "tests.client.app", str(path), "S2x", "--seconds", "8"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    ours = 0
    while app.poll() is None:
        with store.writing(rows=False):
            store.db.execute("INSERT INTO scratch VALUES (1)")
            time.sleep(0.03)
        ours += 1
    store.close()
    assert app.stdout is not None
    said = json.loads(app.stdout.read())
    assert said["locked"] == 0, said
    assert said["acts"] > 20, said
    assert ours > 10
