"""Kinto, the peer that is nearest to us, on the same PostgreSQL in the same run.

Only where it is installed: `pip install "kinto[postgresql]"` into an environment of its own, whose program
`kinto` is on the PATH or named by the variable KINTO.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
from psycopg.conninfo import conninfo_to_dict

from logomesh_server.folder import Places
from logomesh_server.processes import end_group
from tests.bench.figures import seconds, typical
from tests.bench.served import Served
from tests.bench.wire import Wire
from tests.logomesh_server.processes import free_port

BATCH = 200  # requests in one of Kinto's; larger ones gain nothing
PAGE = 10_000
_SETTINGS = """
[server:main]
use = egg:waitress#main
host = 127.0.0.1
port = {port}
[app:main]
use = egg:kinto
kinto.storage_backend = kinto.core.storage.postgresql
kinto.storage_url = {database}
kinto.permission_backend = kinto.core.permission.postgresql
kinto.permission_url = {database}
kinto.cache_backend = kinto.core.cache.memory
kinto.batch_max_requests = {batch}
kinto.storage_max_fetch_size = {page}
kinto.paginate_by = {page}
kinto.userid_hmac_secret = bench
multiauth.policies = basicauth
kinto.bucket_create_principals = system.Authenticated
"""


@dataclass(frozen=True)
class Rates:
    """Records a second."""

    pushed: float
    pulled: float


def program() -> str | None:
    return os.environ.get("KINTO") or shutil.which("kinto")


def rates(server: Served, records: Mapping[str, dict[str, Any]]) -> Rates:
    """What Kinto does with these records, one client, its best size of batch and page."""
    with _started(server) as url:
        wire = Wire(f"{url}/v1", {"Authorization": f"Basic {b64encode(b'bench:bench').decode()}"})
        for path in ("/buckets/lab", "/buckets/lab/collections/thoughts"):
            _ask(wire, [{"method": "PUT", "path": path}])
        known = list(records)
        batches = [
            [
                {
                    "method": "PUT",
                    "path": f"/buckets/lab/collections/thoughts/records/{id_}",
                    "body": {"data": records[id_]},
                }
                for id_ in known[start : start + BATCH]
            ]
            for start in range(0, len(known), BATCH)
        ]
        pushed = len(known) / seconds(lambda: [_ask(wire, batch) for batch in batches])
        path = f"/buckets/lab/collections/thoughts/records?_limit={PAGE}"
        pulled = len(known) / typical(5, lambda: json.loads(wire.get(path).body)["data"])
        assert len(json.loads(wire.get(path).body)["data"]) == len(known)
        wire.close()
    return Rates(pushed, pulled)


def _ask(wire: Wire, requests: Sequence[dict[str, Any]]) -> None:
    answer = wire.post("/batch", json.dumps({"requests": requests}).encode())
    assert answer.status == 200, answer.body[:500]
    answers = json.loads(answer.body)["responses"]
    assert all(one["status"] in (200, 201) for one in answers), answers[:2]


@contextmanager
def _started(server: Served) -> Iterator[str]:
    """Kinto on a database of its own beside ours."""
    kinto = program()
    assert kinto is not None
    with server.database() as db:
        db.execute("CREATE DATABASE kinto ENCODING 'UTF8' TEMPLATE template0")
    parts = conninfo_to_dict(Places.of(server.data).database_url)
    query = urlencode({name: str(parts[name]) for name in ("host", "port") if parts.get(name)})
    database = f"postgresql://{parts['user']}@/kinto?{query}".replace("%", "%%")  # as an ini file has it
    port = free_port()
    settings = Path(server.data).parent / "kinto.ini"
    settings.write_text(_SETTINGS.format(port=port, database=database, batch=BATCH, page=PAGE))
    made = subprocess.run([kinto, "migrate", "--ini", str(settings)], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr[-2000:]
    process = subprocess.Popen(
        [kinto, "start", "--ini", str(settings)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"{url}/v1/").raise_for_status()
                break
            except httpx.HTTPError:
                assert time.monotonic() < deadline, "Kinto did not start"
                time.sleep(0.2)
        yield url
    finally:
        end_group(process.pid, 15, 10)
        with server.database() as db:
            db.execute("DROP DATABASE kinto WITH (FORCE)")
