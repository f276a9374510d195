"""Real processes against a real server: agents that talk to each other, and clients that are killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from logomesh_client.file import LogoMeshFile, SpaceLink, State
from logomesh_client.sync import Agent, sync_once
from logomesh_client.wire import Server
from tests.client.killed import POINTS
from tests.client.serving import Lab, lab
from tests.logomesh_files import NEW
from tests.logomesh_files import LogoMeshFile as NewFile
from tests.logomesh_server.processes import ROOT

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def made() -> Iterator[Lab]:
    with lab() as found:
        yield found


def attached(path: Path, made: Lab, space: str) -> sqlite3.Connection:
    """A new file, attached; the app's connection to it."""
    NewFile(path).close()
    with LogoMeshFile.open(path) as file:
        file.attach(SpaceLink(space, made.url))
    return sqlite3.connect(path, isolation_level=None, timeout=1, check_same_thread=False)


def add(app: sqlite3.Connection, id_: str) -> None:
    app.execute(
        "INSERT INTO thoughts (thought_bubble_id, title, created_at, updated_at) VALUES (?, ?, ?, ?)",
        (id_, f"Thought {id_}", NEW, NEW),
    )


def until(found: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@contextmanager
def running(path: Path, made: Lab, token: str) -> Iterator[Agent]:
    with Server(made.url, token) as server:
        agent = Agent(path, server, poll=5)
        thread = threading.Thread(target=agent.run)
        thread.start()
        try:
            yield agent
        finally:
            agent.stop()
            thread.join(20)
            assert not thread.is_alive()


def has_title(app: sqlite3.Connection, title: str) -> bool:
    return bool(app.execute("SELECT title FROM thoughts").fetchone() == (title,))


def state_of(path: Path, space: str) -> State:
    with LogoMeshFile.open(path) as file:
        return file.link(space).state


def test_agents_bring_every_edit_to_each_other(made: Lab, tmp_path: Path) -> None:
    space = made.space("eva", kind="shared")
    made.share(space, "eva", "ben")
    apps = [attached(tmp_path / f"{name}.sqlite3", made, space) for name in ("eva", "ben")]
    with running(tmp_path / "eva.sqlite3", made, made.device("eva")), \
            running(tmp_path / "ben.sqlite3", made, made.device("ben")):  # fmt: skip
        add(apps[0], "t1")
        until(lambda: apps[1].execute("SELECT title FROM thoughts").fetchall() == [("Thought t1",)])
        for number in range(5):
            writer, reader = apps[number % 2], apps[1 - number % 2]
            writer.execute("UPDATE thoughts SET title = ?", (f"Edit {number}",))
            until(lambda reader=reader, number=number: has_title(reader, f"Edit {number}"))
        assert state_of(tmp_path / "eva.sqlite3", space) is State.ONLINE
        made.share(space, "eva", "ben", None)
        until(lambda: apps[1].execute("SELECT count(*) FROM thoughts").fetchone() == (0,))
    assert state_of(tmp_path / "ben.sqlite3", space) is State.ACCESS_LOST
    for app in apps:
        app.close()


def test_the_app_writes_without_pause_and_is_never_kept_waiting(made: Lab, tmp_path: Path) -> None:
    space = made.space("eva")
    app = attached(tmp_path / "a.sqlite3", made, space)
    other = attached(tmp_path / "b.sqlite3", made, space)
    longest = 0.0
    with running(tmp_path / "a.sqlite3", made, made.device("eva")), \
            running(tmp_path / "b.sqlite3", made, made.device("eva")):  # fmt: skip
        for number in range(300):
            before = time.monotonic()
            add(app, f"t{number}")  # its busy timeout is LogoMesh's second
            app.execute("UPDATE thoughts SET position_x = ? WHERE thought_bubble_id = 't0'", (number,))
            longest = max(longest, time.monotonic() - before)
        until(lambda: other.execute("SELECT count(*) FROM thoughts").fetchone() == (300,))
    assert longest < 1
    app.close()
    other.close()


def test_killed_anywhere_it_goes_on_where_it_was(made: Lab, tmp_path: Path) -> None:
    space = made.space("eva")
    paths = [tmp_path / "a.sqlite3", tmp_path / "b.sqlite3"]
    apps = [attached(path, made, space) for path in paths]
    tokens = [made.device("eva"), made.device("eva")]
    rng = Random(7)
    expected: dict[str, str] = {}
    deaths = 0
    for round_, point in enumerate([*POINTS, *POINTS]):
        for number in range(12):
            add(apps[0], f"t{round_}.{number}")
            expected[f"t{round_}.{number}"] = f"Thought t{round_}.{number}"
        for id_ in rng.sample(sorted(expected), 5):
            expected[id_] = f"Edit {round_}"
            apps[0].execute("UPDATE thoughts SET title = ? WHERE thought_bubble_id = ?", (expected[id_], id_))
        for id_ in rng.sample(sorted(expected), 2):
            del expected[id_]
            apps[0].execute("DELETE FROM thoughts WHERE thought_bubble_id = ?", (id_,))
        which = round_ % 2 if "applied" in point or "cursor" in point else 0
        deaths += killed(paths[which], made, tokens[which], point, rng.randrange(1, 4))
    assert deaths >= 12
    for path, token in [*zip(paths, tokens, strict=True)] * 2:
        with LogoMeshFile.open(path) as file, Server(made.url, token) as server:
            report = sync_once(file, server)
            assert report.state is State.ONLINE, report
    assert report.proved
    for app in apps:
        rows = app.execute("SELECT thought_bubble_id, title FROM thoughts").fetchall()
        assert dict(rows) == expected
        app.close()
    assert not any(ref[0] == "conflicts" for ref in made.records("eva", space))


def killed(path: Path, made: Lab, token: str, point: str, count: int) -> bool:
    """Run a client that is killed at this point. Whether it came that far."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.client.killed", str(path), made.url, token, point, str(count)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'client'}"},
        capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode != 0
