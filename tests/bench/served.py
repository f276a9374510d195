"""A server as `make run` starts it, but with one web process, on durable databases in a temporary folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import httpx
import psycopg

from logomesh_server.folder import Places
from tests.logomesh_server.processes import Serving, manage

LAB = "Bench lab"
PERSON = "bench@lab.example"
STRANGER = "idle@lab.example"


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

    @cached_property
    def stranger(self) -> str:
        """The token of somebody else, with a space of their own and nothing in common."""
        self.manage("account", STRANGER, "--workspace", "Another lab", "--role", "manager")
        token = self.manage("token", STRANGER, "--device", "idle")
        asked = {"workspace": "Another lab", "name": "Quiet", "kind": "private"}
        headers = {"Authorization": f"Token {token}"}
        httpx.post(f"{self.url}/api/v1/spaces", json=asked, headers=headers).raise_for_status()
        return token

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
    serving = Serving(folder / "data", WEB_CONCURRENCY="1")
    try:
        serving.until_ready()
        found = Served(serving, "")
        found.manage("account", PERSON, "--workspace", LAB, "--role", "manager")
        found.token = found.manage("token", PERSON, "--device", "bench")
        yield found
    finally:
        serving.end()
        shutil.rmtree(folder, ignore_errors=True)
