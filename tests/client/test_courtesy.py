"""The app gets its turns at the file, however much the client has to write."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from logomesh_client.file import LogoMeshFile, SpaceLink, attached
from logomesh_client.file.store import Store
from tests.client.app import make
from tests.logomesh_server.processes import ROOT

SPACE = "00000000-0000-7000-8000-000000000001"


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


@pytest.fixture
def full(tmp_path: Path) -> Iterator[LogoMeshFile]:
    """A file with some thousand records."""
    path = make(tmp_path / "logomesh.sqlite3", "S2x")
    with LogoMeshFile.open(path) as file:
        file._store.db.execute("PRAGMA synchronous = OFF")
        file.attach(SpaceLink(SPACE, "http://localhost"))
        record = {"title": "x", "fields": {}, "metadata": {}, "created_at": None, "updated_at": None}
        record |= dict.fromkeys(("description", "color", "position_x", "position_y"))
        file.apply(
            SPACE,
            ({"type": "thoughts", "id": f"t{n}", "version": 1, "record": dict(record)} for n in range(2000)),
        )
        file.advance(SPACE, cursor="c", epoch="e", head=1, more=False)
        yield file


def test_the_app_writes_while_digests_are_computed(
    full: LogoMeshFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = sqlite3.connect(full.path, isolation_level=None, timeout=0)
    sector_of, writes = attached.sector_of, []

    def meanwhile(kind: int, id_: str) -> int:
        if len(writes) % 100 == 0:
            app.execute("UPDATE thoughts SET title = 'typed' WHERE thought_bubble_id = 't1'")
        writes.append(id_)
        return sector_of(kind, id_)

    monkeypatch.setattr(attached, "sector_of", meanwhile)
    before = full.digest(SPACE)
    full.recount(SPACE)
    assert full.digest(SPACE) == before
    assert len(full.sector_records(SPACE, range(256))) == 2000
    assert len(writes) == 4000
    app.close()


def test_a_lost_space_is_put_aside_a_piece_at_a_time(
    full: LogoMeshFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = sqlite3.connect(full.path, isolation_level=None)
    app.execute("UPDATE thoughts SET title = 'typed' WHERE rowid <= 1500")
    full.pending(SPACE, limit=700)
    app.execute("UPDATE thoughts SET title = 'typed again' WHERE rowid <= 1500")
    writing, db, most = full._store.writing, full._store.db, 0

    @contextmanager
    def counted(*args: Any, **options: Any) -> Iterator[None]:
        nonlocal most
        before = db.total_changes
        with writing(*args, **options):
            yield
        most = max(most, db.total_changes - before)

    monkeypatch.setattr(full._store, "writing", counted)
    assert full.put_aside(SPACE, "access-revoked") >= 1500
    assert most < 3000, "the app waits for each of them"
    assert len({one["id"] for one in full.rescue() if one.get("title") == "typed again"}) == 1500
    assert app.execute("SELECT count(*) FROM thoughts").fetchone() == (0,)
    app.close()
