"""A real server with people on it, for tests of the client: each has devices, and a space of their own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.client.link import NONE, Faults, Link
from tests.fuzz.server import Server

PEOPLE = ("eva", "ben", "cai", "dan")


@dataclass
class Lab:
    server: Server
    tokens: dict[str, str]
    """Of each person's first device."""
    workspace: str = ""
    private: dict[str, str] = field(default_factory=dict)
    """Person -> the id of a space of their own."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def ask(self, person: str, method: str, path: str, **options: Any) -> Any:
        """What the server answers that person, who must be allowed to ask."""
        answer = self.server.http.request(
            method, f"/api/v1{path}", headers={"Authorization": f"Token {self.tokens[person]}"}, **options
        )
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def device(self, person: str, name: str = "") -> str:
        """The token of a new device."""
        name = name or f"laptop {secrets.token_hex(4)}"
        return str(self.ask(person, "POST", "/devices", json={"name": name})["token"])

    def revoke(self, person: str, name: str) -> None:
        for device in self.ask(person, "GET", "/devices")["devices"]:
            if device["name"] == name:
                self.ask(person, "DELETE", f"/devices/{device['id']}")

    def space(self, person: str, name: str = "", kind: str = "private") -> str:
        asked = {"workspace": self.workspace, "name": name or secrets.token_hex(6), "kind": kind}
        return str(self.ask(person, "POST", "/spaces", json=asked)["id"])

    def share(self, space: str, owner: str, person: str, role: str | None = "editor") -> None:
        path = f"/spaces/{space}/roles/{person}@lab.example"
        if role is None:
            self.ask(owner, "DELETE", path)
        else:
            self.ask(owner, "PUT", path, json={"role": role})

    def records(self, person: str, space: str) -> dict[tuple[str, str], dict[str, Any]]:
        """All live records of a space, conflicts among them, as that person sees them."""
        found: dict[tuple[str, str], dict[str, Any]] = {}
        cursor = None
        while True:
            params = {"limit": 10_000} | ({"cursor": cursor} if cursor else {})
            page = self.ask(person, "GET", f"/spaces/{space}/changes", params=params)
            for change in page["changes"]:
                if "record" in change:
                    found[change["type"], change["id"]] = change["record"]
                else:
                    found.pop((change["type"], change["id"]), None)
            cursor = page["cursor"]
            if not page["more"]:
                return found

    def digest(self, person: str, space: str) -> tuple[int, str]:
        """(version, digest) of a space."""
        said = self.ask(person, "GET", f"/spaces/{space}/digest")
        return said["version"], said["digest"]

    def everything(self) -> str:
        """All that the database holds about records, as one text: history and conflicts too."""
        names = self.server.asked("SELECT tablename FROM pg_tables WHERE tablename LIKE 'sync_%%'")
        rows = [row for (name,) in names for row in self.server.asked(f"SELECT t::text FROM {name} AS t")]
        return "\n".join(text for (text,) in rows)

    @contextmanager
    def link(self, seed: int | str = 0, faults: Faults = NONE) -> Iterator[Link]:
        with Link("127.0.0.1", self.server.port, seed, faults) as link:
            yield link


@contextmanager
def lab() -> Iterator[Lab]:
    with Server() as server:
        world = server.prepare(len(PEOPLE), 1)
        tokens = {name: token for name, _, token in world["devices"]}
        made = Lab(server, tokens)
        headers = {"Authorization": f"Token {tokens['eva']}"}
        workspaces = httpx.get(f"{made.url}/api/v1/workspaces", headers=headers, timeout=30).json()
        made.workspace = workspaces["workspaces"][0]["name"]
        made.private = {name: made.space(name, f"{name}'s own") for name in PEOPLE}
        yield made
