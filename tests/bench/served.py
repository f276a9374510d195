"""A server as `make run` starts it, with durable embedded databases in a temporary folder, for benchmarks."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg

from logomesh_server.folder import Places
from tests.logomesh_server.processes import Serving, manage

LAB = "Bench lab"
PERSON = "bench@lab.example"


@dataclass
class Served:
    """A running server, and somebody with a device and a space on it."""

    serving: Serving
    token: str

    @property
    def data(self) -> Path:
        return self.serving.data

    @property
    def url(self) -> str:
        return self.serving.url

    def space(self, name: str) -> str:
        """The id of a new space of the person's own."""
        asked = {"workspace": LAB, "name": name, "kind": "private"}
        return str(self.client().post("/spaces", json=asked).raise_for_status().json()["id"])

    def client(self) -> httpx.Client:
        """A client that asks as the person's device, uncompressed unless it says otherwise."""
        headers = {"Authorization": f"Token {self.token}", "Accept-Encoding": "identity"}
        return httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=300)

    def database(self) -> psycopg.Connection:
        """The server's own database, for the raw limit."""
        return psycopg.connect(Places.of(self.data).database_url, autocommit=True)

    def manage(self, *arguments: str) -> str:
        done = manage(self.data, *arguments)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()


@contextmanager
def served() -> Iterator[Served]:
    folder = Path(tempfile.mkdtemp(prefix="logomesh-bench-"))
    serving = Serving(folder / "data")
    try:
        serving.until_ready()
        found = Served(serving, "")
        found.manage("account", PERSON, "--workspace", LAB, "--role", "manager")
        found.token = found.manage("token", PERSON, "--device", "bench")
        yield found
    finally:
        serving.end()
        shutil.rmtree(folder, ignore_errors=True)
