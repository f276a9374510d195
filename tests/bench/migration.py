"""The whole workflow of an import (inspected, copied, verified) beside raw binary COPY of the same rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import quantiles
from typing import Any
from uuid import uuid4

import psutil

from sync.tables import TABLES
from tests.bench.figures import Figures, seconds
from tests.bench.served import PERSON, Served, served
from tests.logomesh_files import large, many
from tests.logomesh_server.processes import ROOT, environment

_LOOK = 0.05  # seconds
_PAUSE = 0.05
_IDLE = 10
"""So many seconds pushes are measured at rest."""


def run(small: bool) -> None:
    """Small rows in great number, large rows, and a member at work meanwhile; `small`: does it run?

    BENCH_SEGMENTS and BENCH_MEGABYTES set the sizes of both files.
    """
    segments = int(os.environ.get("BENCH_SEGMENTS", 5_000 if small else 1_000_000))
    megabytes = int(os.environ.get("BENCH_MEGABYTES", 20 if small else 2_300))
    with served() as server, tempfile.TemporaryDirectory(prefix="logomesh-bench-") as folder:
        few = _measure(server, many(Path(folder) / "few.sqlite3", max(1, segments // 20)), "≤ 3.0")
        file = many(Path(folder) / "many.sqlite3", segments)
        each = _measure(server, file, "≤ 3.0")
        cost = Figures("Cost of a row, copied and verified")
        cost.add("in the larger file / in the smaller", each * 1e6, "µs", beside=few * 1e6, aim="≤ 1.2")
        _company(server, file)
        file.unlink()
        _measure(server, large(Path(folder) / "large.sqlite3", megabytes), "≤ 2.5")


def _measure(server: Served, path: Path, aim: str) -> float:
    """Import a file beside raw COPY. Seconds for copying and verifying a row."""
    figures = Figures(f"Import of {path.name}, {path.stat().st_size / 1e6:,.0f} MB")
    space = server.space(path.stem)
    peak, took, report = _import(server, path, space)
    with tempfile.TemporaryDirectory(prefix="logomesh-bench-") as folder:
        rows, raw = _raw_copy(server, space, Path(folder) / "rows")
    figures.add("inspected, copied, verified / raw COPY", took, "s", beside=raw, aim=aim)
    figures.add("rows imported and verified", rows / took, "/s", beside=rows / raw)
    figures.add("peak memory of the worker", peak / 1e6, "MB", aim="≤ 200, however large the file")
    return float(report["seconds"]) / rows


def _company(server: Served, path: Path) -> None:
    """How long a member's pushes take while a file is imported into the same space."""
    figures = Figures("A member's push of one thought, every 50 ms, 95th percentile")
    space = server.space("company")
    idle = _pushing(server, space, lambda: time.sleep(_IDLE))
    busy = _pushing(server, space, lambda: _import(server, path, space))
    figures.add("during an import / at rest", busy * 1e3, "ms", beside=idle * 1e3, aim="≤ 3.0")


def _pushing(server: Served, space: str, act: Callable[[], object]) -> float:
    """Push a thought every 50 ms while something is done. The 95th percentile in seconds."""
    took: list[float] = []
    with ThreadPoolExecutor(1) as pool, server.client() as client:
        done = pool.submit(act)
        while not done.done():
            change = {"type": "thoughts", "id": str(uuid4()), "base": 0, "set": {"title": "Meanwhile"}}
            change["change_id"] = str(uuid4())
            body = {"epoch": None, "seen": 0, "changes": [change]}
            took.append(
                seconds(
                    lambda body=body: client.post(f"/spaces/{space}/changes", json=body).raise_for_status()
                )
            )
            time.sleep(_PAUSE)
        done.result()
    return quantiles(took, n=20)[-1]


def _import(server: Served, path: Path, space: str) -> tuple[int, float, dict[str, Any]]:
    """Import a file in a process of its own: its peak memory without the reader, the seconds, the report.

    A worker of the server may do the work instead, so theirs counts too.
    """
    began = time.perf_counter()
    arguments = ["manage.py", "import_sqlite", str(path), "--space", space, "--as", PERSON, "--json"]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env=environment(server.data, 1), stdout=said
        )
        watched = [psutil.Process(process.pid), *server.serving.children("celery")]
        peak = 0
        while process.poll() is None:
            peak = max(peak, *map(_memory, watched))
            time.sleep(_LOOK)
        took = time.perf_counter() - began
        said.seek(0)
        report: dict[str, Any] = json.loads(said.read().splitlines()[-1])
    if process.returncode:
        raise RuntimeError(f"The import failed: {report}")
    return peak, took, report


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _raw_copy(server: Served, space: str, folder: Path) -> tuple[int, float]:
    """Write the space's rows out as they stand in the file, and COPY them into like tables: how many, and how
    long the latter took. (An import stores the rows of a chunk by key, which is faster.)"""
    folder.mkdir()
    with server.database() as database:
        database.execute("UPDATE sync_searchindex SET not_before = now() + interval '1 hour'")
        rows, spent = 0, 0.0
        for table in TABLES.values():
            file = folder / table.name
            columns = ", ".join(("space_id", *table.columns))
            of_space = f"SELECT {columns} FROM {table.name} WHERE space_id = '{space}'"
            chosen = f"{of_space} ORDER BY version, length(id), id"
            query = f"COPY ({chosen}) TO STDOUT (FORMAT binary)"
            with file.open("wb") as out, database.cursor().copy(query) as copy:  # type: ignore[arg-type]
                for block in copy:
                    out.write(block)
            database.execute(f"CREATE TABLE raw_{table.name} (LIKE {table.name} INCLUDING ALL)")  # type: ignore[arg-type]
            spent += seconds(
                lambda file=file, name=table.name, columns=columns: _load(database, file, name, columns)
            )
            found: Any = database.execute(f"SELECT count(*) FROM raw_{table.name}").fetchone()  # type: ignore[arg-type]
            rows += found[0]
            database.execute(f"DROP TABLE raw_{table.name}")  # type: ignore[arg-type]
    return rows, spent


def _load(database: Any, file: Path, name: str, columns: str) -> None:
    with (
        file.open("rb") as source,
        database.cursor().copy(f"COPY raw_{name} ({columns}) FROM STDIN (FORMAT binary)") as copy,
    ):
        while block := source.read(1024**2):
            copy.write(block)
