"""A LogoMesh file with the client beside the same file without it; and how fast files come into step."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from statistics import median, quantiles
from uuid import UUID

import psutil

from logomesh_client.file import LogoMeshFile, SpaceLink, State
from logomesh_client.sync import sync_once
from logomesh_client.wire import Server
from tests.bench.figures import Figures, seconds
from tests.bench.served import Served, served
from tests.bench.sync import fill
from tests.client import app
from tests.client.laptop import Laptop
from tests.logomesh_server.processes import ROOT

_JOURNALS = {
    "rollback journal, FULL": ("DELETE", "FULL"),
    "WAL, NORMAL": ("WAL", "NORMAL"),
}
_RATE = 220
"""Positions that LogoMesh's canvas writes in a second, for ever."""


def run(small: bool) -> None:
    """All figures; `small` for a look at whether it runs."""
    folder = Path(tempfile.mkdtemp(prefix="logomesh-bench-client-"))
    try:
        _local_work(folder, 60 if small else 2_000, 1 if small else 15)
        with served() as server:
            _first_sync(server, folder, 2_000 if small else 100_000)
            _push(server, folder, 500 if small else 10_000)
            _agents(server, folder, 5 if small else 60, 5 if small else 60)
            _canvas(server, folder, 3 if small else 20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# Local work, with and without capture


def _local_work(folder: Path, writes: int, turns: int) -> None:
    figures = Figures(f"Local work with change capture / without, {writes:,} writes a block")
    lab = app.lab(folder / "lab.sqlite3")
    for name, (journal, synchronous) in _JOURNALS.items():
        bare, attached = _copy(lab, journal), _copy(lab, journal)
        with LogoMeshFile.open(attached) as file:
            file.attach(SpaceLink("bench", "http://localhost"))
        with (
            _app(bare, synchronous) as without,
            _app(attached, synchronous) as with_,
            closing(sqlite3.connect(attached, isolation_level=None)) as marks,
        ):

            def in_step(marks: sqlite3.Connection = marks) -> None:
                """As after a sync: a row that is noted already costs less."""
                marks.execute("DELETE FROM logomesh_sync_dirty")

            if journal == "DELETE":
                ours, limit = _beside(turns, lambda it: it.thoughts(), with_, without, in_step)
                figures.add(
                    "reading the list of 847 thoughts", ours * 1e3, "ms", beside=limit * 1e3, aim="1.0"
                )
            for what, act in _WRITES.items():
                ours, limit = _beside(turns, lambda it, act=act: act(it, writes), with_, without, in_step)  # type: ignore[misc]
                aim = "≤ 1.1" if journal == "DELETE" else "≤ 1.5"
                figures.add(
                    f"single {what}, {name}", ours / writes * 1e6, "µs", beside=limit / writes * 1e6, aim=aim
                )


def _inserts(it: app.App, writes: int) -> None:
    thought = it.thought_ids()[0]
    for number in range(writes):
        it.create_segment(thought, f"Segment {number}", "A sentence or two of text. " * 10)


def _updates(it: app.App, writes: int) -> None:
    ids = it.segment_ids()
    for number in range(writes):
        it.update_segment(ids[number % len(ids)], content=f"Other text {number}. " * 10)


def _deletes(it: app.App, writes: int) -> None:
    for id_ in it.segment_ids()[-writes:]:
        it.delete_segment(id_)


_WRITES: dict[str, Callable[[app.App, int], None]] = {
    "inserts": _inserts,
    "updates": _updates,
    "deletes": _deletes,
}


def _beside(
    turns: int,
    act: Callable[[app.App], object],
    one: app.App,
    other: app.App,
    before: Callable[[], object],
) -> tuple[float, float]:
    """The medians of both in seconds, taken in turns, so that a busy minute touches both."""
    taken: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns):
        before()
        for place, it in ((0, one), (1, other)) if turn % 2 else ((1, other), (0, one)):
            taken[place].append(seconds(lambda it=it: act(it)))  # type: ignore[misc]
    return median(taken[0]), median(taken[1])


@contextmanager
def _app(path: Path, synchronous: str) -> Iterator[app.App]:
    with closing(app.App.of(path, "S2x", "bench")) as it:
        it.by_hand(f"PRAGMA synchronous = {synchronous}")
        yield it


def _copy(path: Path, journal: str = "DELETE") -> Path:
    target = path.with_name(f"{time.time_ns()}.sqlite3")
    shutil.copy(path, target)
    with closing(sqlite3.connect(target)) as db:
        db.execute(f"PRAGMA journal_mode = {journal}")
    return target


# Coming into step


def _first_sync(served: Served, folder: Path, records: int) -> None:
    figures = Figures(f"First sync of {records:,} records of 1 KB into a fresh file")
    space = fill(served, "first sync", records, _ids_of_the_app(records))
    path = app.make(folder / "fresh.sqlite3", "S2x")
    with LogoMeshFile.open(path) as file, Server(served.url, served.token) as server:
        file.attach(SpaceLink(space, served.url))

        def sync() -> None:
            _well(sync_once(file, server).state)

        took = seconds(sync)
        figures.add("records pulled, applied and proved", records / took, "/s", aim="≥ 40,000/s")
        figures.add("a quiet round after it", seconds(sync) * 1e3, "ms")
    path = app.make(folder / "busy.sqlite3", "S2x")
    with LogoMeshFile.open(path) as file, Server(served.url, served.token) as server:
        file.attach(SpaceLink(space, served.url))
        writer = subprocess.Popen(
            [sys.executable, "-m", "tests.client.app", str(path), "S2x", "--seconds", f"{took + 1:.1f}"],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        sync_once(file, server)
        waited = json.loads(writer.communicate()[0])
    figures.add("an act of the app meanwhile, p99", waited["milliseconds"]["p99"], "ms")
    figures.add("the longest", waited["milliseconds"]["longest"], "ms", aim="locks ≤ 100 ms")
    figures.add("acts that found the file locked", waited["locked"], "", aim="0")


def _ids_of_the_app(count: int) -> list[str]:
    """LogoMesh makes random ones: each new row goes to another page of the file's indexes."""
    chance = Random(1)
    return [f"thought_{UUID(int=chance.getrandbits(128), version=4)}" for _ in range(count)]


def _push(served: Served, folder: Path, edits: int) -> None:
    figures = Figures(f"Push of {edits:,} local edits")
    path = app.make(folder / "edits.sqlite3", "S2x")
    with _app(path, "OFF") as it, app.one_transaction(it):
        for number in range(edits):
            it.create_thought(f"Thought {number}", description="What it is about. " * 20)
    with LogoMeshFile.open(path) as file, Server(served.url, served.token) as server:
        file.attach(SpaceLink(served.space("edits"), served.url))

        def sync() -> None:
            _well(sync_once(file, server).state)

        figures.add("new thoughts", edits / seconds(sync), "/s")
        with closing(sqlite3.connect(path)) as db:
            db.execute("UPDATE thoughts SET title = title || ' again', description = description || ' More.'")
            db.commit()
        figures.add("edits of each", edits / seconds(sync), "/s", aim="≥ 5,000/s")


def _well(state: State) -> None:
    if state is not State.ONLINE:
        raise RuntimeError(f"The client is {state.value}.")


# Agents


def _agents(served: Served, folder: Path, edits: int, idle_seconds: int) -> None:
    figures = Figures("Two agents on one space")
    space = served.space("agents")
    laptops = [
        Laptop.at(
            app.make(folder / f"{name}.sqlite3", "S2x"), "S2x", served.url,
            served.manage("token", "bench@lab.example", "--device", name), [space], name,
        )
        for name in ("a", "b")
    ]  # fmt: skip
    try:
        for laptop in laptops:
            laptop.start(poll=60, layout=10)
        one, two = (laptop.hands.app for laptop in laptops)
        thought = one.create_thought("Seen by both")
        _until(lambda: two.value("thoughts", thought, "title") is not None)
        chance, took = Random(1), []
        for number in range(edits):
            time.sleep(chance.uniform(0.2, 0.6))
            began = time.perf_counter()
            one.update_thought(thought, title=f"Title {number}")
            _until(lambda number=number: two.value("thoughts", thought, "title") == f"Title {number}")  # type: ignore[misc]
            took.append((time.perf_counter() - began) * 1e3)
        figures.add("edit in one file → in the other, p50", median(took), "ms", aim="≤ 250 ms")
        figures.add("the same, p95", quantiles(took, n=20)[-1], "ms")
        time.sleep(15)  # until they look less often
        assert laptops[1].process is not None
        process = psutil.Process(laptops[1].process.pid)
        before = sum(process.cpu_times()[:2])
        time.sleep(idle_seconds)
        used = sum(process.cpu_times()[:2]) - before
        figures.add("idle agent, of one core", used / idle_seconds * 100, "%", aim="< 0.5%")
        figures.add("idle agent, resident memory", process.memory_info().rss / 1e6, "MB", aim="< 60 MB")
    finally:
        for laptop in laptops:
            laptop.kill()
            laptop.hands.app.close()


def _canvas(served: Served, folder: Path, for_seconds: int) -> None:
    """The canvas moves twenty thoughts for ever; an agent looks on."""
    figures = Figures(f"The canvas: {_RATE} positions a second, {for_seconds} s")
    space = served.space("canvas")
    bare = app.make(folder / "still.sqlite3", "S2x")
    path = app.make(folder / "canvas.sqlite3", "S2x")
    laptop = Laptop.at(path, "S2x", served.url, served.token, [space], "canvas")
    try:
        laptop.start(poll=60, layout=10)
        with _app(bare, "FULL") as still:
            beside = _moves(still, for_seconds)
        before = _traffic(served, space)
        assert laptop.process is not None
        process = psutil.Process(laptop.process.pid)
        used = sum(process.cpu_times()[:2])
        ours = _moves(laptop.hands.app, for_seconds)
        used = sum(process.cpu_times()[:2]) - used
        figures.add("a position, median", median(ours) * 1e3, "ms", beside=median(beside) * 1e3, aim="≤ 1.1")
        figures.add("a position, p99", _p99(ours) * 1e3, "ms", beside=_p99(beside) * 1e3)
        figures.add("agent, of one core", used / for_seconds * 100, "%")
        figures.add("pushes", _traffic(served, space) - before, "", aim="one in 10 s")
        grown = (path.stat().st_size - bare.stat().st_size) / 1024
        figures.add("the file is larger by", grown, "KiB")
    finally:
        laptop.kill()
        laptop.hands.app.close()


def _moves(it: app.App, for_seconds: int) -> list[float]:
    """How long each write of a position took, in seconds."""
    ids = [it.create_thought(f"Thought {number}") for number in range(20)]
    chance, took = Random(1), []
    began = time.perf_counter()
    for number in range(_RATE * for_seconds):
        time.sleep(max(0.0, began + number / _RATE - time.perf_counter()))
        x, y = chance.random(), chance.random()
        took.append(seconds(lambda number=number, x=x, y=y: it.move(ids[number % 20], x, y)))  # type: ignore[misc]
    return took


def _traffic(served: Served, space: str) -> int:
    """How many versions the space has had."""
    with served.client() as client:
        return int(client.get(f"/spaces/{space}").raise_for_status().json()["head"])


def _p99(values: list[float]) -> float:
    return sorted(values)[-1 - len(values) // 100]


def _until(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not seen():
        if time.monotonic() > deadline:
            raise RuntimeError("The edit did not arrive within a minute.")
        time.sleep(0.005)
