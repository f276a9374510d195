"""The whole workflow of an import (inspected, copied, verified) beside raw binary COPY of the same rows."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from sync.tables import TABLES
from tests.bench.figures import Figures, seconds
from tests.bench.served import PERSON, Served, served
from tests.logomesh_files import many
from tests.logomesh_server.processes import ROOT, environment

_LOOK = 0.05  # seconds


def run(small: bool) -> None:
    """A generated file of a million segments; `small` for a look at whether it runs."""
    main(10_000 if small else 1_000_000)


def main(segments: int) -> None:
    with served() as server, tempfile.TemporaryDirectory(prefix="logomesh-bench-") as folder:
        path = many(Path(folder) / "many.sqlite3", segments)
        figures = Figures(f"Import of {segments:,} segments, {path.stat().st_size / 1e6:,.0f} MB")
        space = server.space("import")
        peak, took = _import(server, path, space)
        rows, raw = _raw_copy(server, space, Path(folder) / "rows")
        figures.add("inspected, copied, verified / raw COPY", took, "s", beside=raw, aim="≤ 3.0")
        figures.add("rows imported and verified", rows / took, "/s", beside=rows / raw)
        figures.add("peak memory of the worker", peak / 1e6, "MB", aim="≤ 200, however large the file")


def _import(server: Served, path: Path, space: str) -> tuple[int, float]:
    """Import a file in a process of its own: its peak memory in bytes, without the reader, and the time."""
    began = time.perf_counter()
    arguments = ["manage.py", "import_sqlite", str(path), "--space", space, "--as", PERSON, "--json"]
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment(server.data, 1),
        stdout=subprocess.DEVNULL,
    )
    peak = 0
    while process.poll() is None:
        for each in (psutil.Process(process.pid), *server.serving.children("celery")):
            peak = max(peak, _memory(each))
        time.sleep(_LOOK)
    if process.returncode:
        raise RuntimeError("The import failed.")
    return peak, time.perf_counter() - began


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _raw_copy(server: Served, space: str, folder: Path) -> tuple[int, float]:
    """Write the space's rows out, and COPY them into like tables: how many, and how long the latter took."""
    folder.mkdir()
    with server.database() as database:
        rows, spent = 0, 0.0
        for table in TABLES.values():
            file = folder / table.name
            columns = ", ".join(("space_id", *table.columns))
            chosen = f"SELECT {columns} FROM {table.name} WHERE space_id = '{space}'"
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
