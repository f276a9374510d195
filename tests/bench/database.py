"""The departmental PostgreSQL: requests with and without a pool, and what a move costs beside raw COPY.

Debian's PostgreSQL 15 where it is installed, else the embedded one's programs; durable, over TCP.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import httpx

from logomesh_server.database import moving
from logomesh_server.database.profile import Profile, from_url
from tests.bench.figures import Figures
from tests.bench.wire import Wire
from tests.logomesh_server.department import Department, line_of, make_client, make_department
from tests.logomesh_server.processes import Serving, manage
from tests.logomesh_server.servers import PASSWORD, PGBOUNCER, Server, pgbouncer, server

CLIENTS = 16


def run(small: bool) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "logomesh_server.settings")
    os.environ.setdefault("SECRET_KEY", "only-for-benchmarks")
    figures = Figures("The departmental PostgreSQL")
    with tempfile.TemporaryDirectory(prefix="logomesh-bench-") as folder, server(settings=DURABLE) as made:
        department = make_department(made, Path(folder) / "made")
        pooled(figures, department, Path(folder), seconds=2 if small else 15)
        move(figures, department, Path(folder), spaces=2 if small else 20, records=2_000 if small else 50_000)


DURABLE = {"fsync": "on", "shared_buffers": "256MB", "max_wal_size": "4GB", "max_connections": "100"}


# --- with and without a pool ----------------------------------------------------------------------------


def pooled(figures: Figures, department: Department, folder: Path, seconds: float) -> None:
    """Requests that ask for the list of spaces: one connection each, or one of the pool."""
    without = _rate(department, folder / "without", seconds, {"LOGOMESH_DB_POOL": "0"})
    rate = _rate(department, folder / "pooled", seconds, {})
    figures.add("requests with our pool, beside without", rate, "/s", beside=without)
    if not PGBOUNCER:
        figures.say("PgBouncer is not installed here")
        return
    lines = manage(
        folder / "made", "database", "grants", "--to", "runner", "--owner", "owner", "--pooled",
        **department.variables("owner", LOGOMESH_DB_POOLER="transaction"),
    )  # fmt: skip
    department.server.sql(*lines.stdout.splitlines(), database="department")
    with pgbouncer(department.server) as port:
        behind = {"LOGOMESH_DB_POOLER": "transaction"}
        rate = _rate(department, folder / "both", seconds, behind, port)
        figures.add("with our pool behind PgBouncer, beside without", rate, "/s", beside=without)
        rate = _rate(department, folder / "pgbouncer", seconds, {**behind, "LOGOMESH_DB_POOL": "0"}, port)
        figures.add("PgBouncer alone, beside without", rate, "/s", beside=without)
    department.server.sql("ALTER ROLE runner IN DATABASE department RESET ALL")


def _rate(
    department: Department, data: Path, seconds: float, more: dict[str, str], port: int | None = None
) -> float:
    variables = department.variables(port=port, **more)
    serving = Serving(data, **variables).until_ready()
    try:
        client = make_client(serving.url, data, variables, f"{data.name}@lab.example")
        headers = {"Authorization": f"Token {client.token}"}
        httpx.get(f"{serving.url}/api/v1/spaces", headers=headers).raise_for_status()
        until, counts = time.monotonic() + seconds, [0] * CLIENTS

        def ask(number: int) -> None:
            wire = Wire(f"{serving.url}/api/v1", headers)
            while time.monotonic() < until:
                assert wire.get("/spaces").status == 200
                counts[number] += 1
            wire.close()

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(counts) / seconds
    finally:
        serving.end()


# --- a move ---------------------------------------------------------------------------------------------


def move(figures: Figures, department: Department, folder: Path, spaces: int, records: int) -> None:
    """Everything into another schema, every row verified on both sides, beside copying it and no more."""
    made = department.server
    made.sql(
        "CREATE SCHEMA raw AUTHORIZATION owner",
        "CREATE SCHEMA moved AUTHORIZATION owner",
        database="department",
    )
    owner = department.variables("owner")
    fill = FILL.format(spaces=spaces, records=records)
    line_of(manage(folder / "made", "shell", "--no-imports", "-c", fill, **owner))
    line_of(manage(folder / "made", "migrate", "--verbosity", "1", **{**owner, "LOGOMESH_DB_SCHEMA": "raw"}))
    began = time.perf_counter()
    rows = _raw_copy(made)
    raw = rows / (time.perf_counter() - began)
    moved = moving.move(_profile(made, "logomesh"), _profile(made, "moved"), lambda progress: None)
    aim = "verified, in one go"
    figures.add("rows moved, beside raw COPY", moved.rows / moved.seconds, "rows/s", beside=raw, aim=aim)


FILL = """
from sync.models import Origin
from sync.writing import Author, change_set
from tests.sync.devices import make_device, make_space
for number in range({spaces}):
    device = make_device(make_space(f"bench {{number}}"))
    with change_set(device.space_id, author=Author(device.caller.person_id), origin=Origin.IMPORT) as changes:
        same = dict.fromkeys(("color", "position_x", "position_y", "created_at", "updated_at"))
        same |= {{"description": "word " * 200, "fields": {{}}, "metadata": {{}}}}
        changes.copy_new("thoughts", [
            (f"t{{n}}", {{"title": f"Thought {{n}}", **same}}) for n in range({records})
        ])
print("filled")
"""


def _profile(made: Server, schema: str) -> Profile:
    return from_url(made.url("department", "owner"), password=PASSWORD, schema=(schema,))


def _raw_copy(made: Server) -> int:
    """The record table, as psql pipes it."""
    psql = [str(made.programs / "psql"), "-qX", made.admin_url("department"), "-c"]
    out = subprocess.Popen(
        [*psql, "COPY logomesh.sync_thoughts TO STDOUT (FORMAT binary)"], stdout=subprocess.PIPE
    )
    subprocess.run([*psql, "COPY raw.sync_thoughts FROM STDIN (FORMAT binary)"], stdin=out.stdout, check=True)
    out.wait()
    [(rows,)] = made.sql("SELECT count(*) FROM raw.sync_thoughts", database="department")
    return int(rows)
