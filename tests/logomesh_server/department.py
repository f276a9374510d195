"""What tests of the whole server on a department's PostgreSQL share."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from tests.logomesh_server.processes import manage
from tests.logomesh_server.servers import PASSWORD, Server


@dataclass
class Department:
    """A server on which the DBA has made a database, a schema for its owner, and a role that runs."""

    server: Server
    migrated: dict[str, str]

    def variables(self, role: str = "runner", port: int | None = None, **more: str) -> dict[str, str]:
        return {
            "DATABASE_URL": f"postgresql://{role}@127.0.0.1:{port or self.server.port}/department",
            "DATABASE_PASSWORD": PASSWORD,
            "LOGOMESH_DB_SCHEMA": "logomesh",
            **redis(),
            **more,
        }


def make_department(made: Server, data: Path) -> Department:
    made.sql(
        f"CREATE ROLE owner LOGIN PASSWORD '{PASSWORD}'",
        f"CREATE ROLE runner LOGIN PASSWORD '{PASSWORD}'",
        "CREATE DATABASE department ENCODING 'UTF8' TEMPLATE template0",
    )
    made.sql(
        "CREATE SCHEMA logomesh AUTHORIZATION owner",
        "REVOKE ALL ON SCHEMA public FROM public",
        database="department",
    )
    department = Department(made, {})
    owner = department.variables("owner")
    done = manage(data, "migrate", "--verbosity", "0", **owner)
    assert done.returncode == 0, done.stderr
    lines = manage(data, "database", "grants", "--to", "runner", **owner)
    assert lines.returncode == 0, lines.stderr
    made.sql(*lines.stdout.splitlines(), database="department")
    return department


def redis() -> dict[str, str]:
    """The test run's Redis, a part of it that no other process of the run uses; outside of one, nothing."""
    if "REDIS_URL" not in os.environ:
        return {}
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return {"REDIS_URL": f"{os.environ['REDIS_URL'].split('?')[0]}?db={12 + worker % 4}"}


def line_of(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


@dataclass
class Client:
    """A device's token and space, by the public interface alone."""

    url: str
    token: str
    space: str

    def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Token {self.token}"}
        address = f"{self.url}/api/v1/spaces/{self.space}{path}"
        return httpx.request(method, address, headers=headers, timeout=30, **more)

    def push(self, *ids: str) -> dict[str, Any]:
        """New thoughts, all of which must be taken."""
        answer = self.call("POST", "/changes", json={"changes": [new_thought(id_) for id_ in ids]})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        assert all(result["status"] == "applied" for result in found["results"]), found
        return found

    def pull(self, cursor: str | None = None) -> dict[str, Any]:
        """One page, which must be all there is."""
        answer = self.call("GET", "/changes", params={"cursor": cursor} if cursor else {})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        assert not found["more"]
        return found

    def digest(self) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GET", "/digest").json()
        return found


def new_thought(id_: str) -> dict[str, Any]:
    title = {"title": f"Thought {id_}"}
    return {"change_id": str(uuid4()), "type": "thoughts", "id": id_, "base": 0, "set": title}


def make_client(url: str, data: Path, variables: dict[str, str], email: str = "eva@lab.example") -> Client:
    """Somebody with a private space and a device, made on the command line."""
    where = ["--workspace", "Lab"]
    line_of(manage(data, "account", email, *where, "--role", "manager", **variables))
    kind = ["--owner", email, "--kind", "private"]
    space = line_of(manage(data, "space", "Notes", *where, *kind, **variables))
    token = line_of(manage(data, "token", email, "--device", "laptop", **variables))
    return Client(url, token, space)
