"""Laptops in a lab: files in every dialect, attached to spaces of a server that runs in the test's process.

Requests go through the whole of the server's stack (Django's test client), without sockets.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.test import Client

from logomesh_client.file import LogoMeshFile, SpaceLink
from logomesh_client.records import TYPES, digest
from logomesh_client.sync import Report, sync_once
from logomesh_client.wire.errors import Problem, Unreachable
from logomesh_client.wire.feed import PushAnswer
from tests.logomesh_files import LogoMeshFile as NewFile
from tests.people import Member

ADDRESS = "http://testserver"


@dataclass
class Page:
    changes: list[dict[str, Any]]
    cursor: str
    head: int
    epoch: str
    more: bool

    def begin(self) -> None:
        """It is here already."""

    close = begin

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.changes)


@dataclass
class Wire:
    """A server as a device reaches it."""

    token: str
    page: int = 1000
    down: bool = False
    lose_answers: bool = False
    """The request arrives, its answer does not."""
    log: list[tuple[str, Any]] = field(default_factory=list)

    def changes(self, space: str, cursor: str | None = None, *, scope: Any = None) -> Page:
        query = f"limit={self.page}" + (f"&cursor={quote(cursor)}" if cursor else "")
        if scope == "all":
            query += "&scope=all"
        elif scope:
            for name, value in scope.items():
                for one in value if isinstance(value, list) else [value]:
                    query += f"&{name}={quote(one)}"
        found = self._ask("GET", f"/spaces/{space}/changes?{query}")
        return Page(*(found[name] for name in ("changes", "cursor", "head", "epoch", "more")))

    def push(self, space: str, epoch: str | None, seen: int, changes: list[dict[str, Any]]) -> Any:
        body = {"epoch": epoch, "seen": seen, "changes": changes}
        if epoch is None:
            del body["epoch"]
        self.log.append(("push", body))
        found = self._ask("POST", f"/spaces/{space}/changes", body)
        return PushAnswer(found["version"], found["results"])

    def fetch(self, space: str, ids: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        found = self._ask("POST", f"/spaces/{space}/changes/fetch", {"ids": [list(ref) for ref in ids]})
        changes: list[dict[str, Any]] = found["changes"]
        return changes

    def digest(self, space: str, sector: int | None = None, *, scope: Any = None) -> dict[str, Any]:
        query = "" if sector is None else f"sector={sector}&"
        for name, value in (scope or {}).items():
            for one in value if isinstance(value, list) else [value]:
                query += f"{name}={quote(one)}&"
        found: dict[str, Any] = self._ask("GET", f"/spaces/{space}/digest?{query}")
        return found

    def post(self, path: str, body: Any) -> Any:
        return self._ask("POST", path, body)

    def get(self, path: str) -> Any:
        return self._ask("GET", path)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        if self.down:
            raise Unreachable("no network")
        answer = Client().generic(
            method, f"/api/v1{path}", json.dumps(body) if body is not None else "",
            content_type="application/json", headers={"Authorization": f"Token {self.token}"},
        )  # fmt: skip
        if answer.status_code >= 400:
            found = answer.json()
            raise Problem(
                found["type"].rpartition("/")[2], answer.status_code, found["title"], found.get("detail", ""),
                reason=found.get("reason"),
            )  # fmt: skip
        if self.lose_answers:
            raise Unreachable("the answer was lost")
        return answer.json()


class Laptop:
    """A LogoMesh file, the app that writes it, and the client that keeps it in step."""

    def __init__(self, path: Path, who: Member | str, *spaces: Any, dialect: str = "S2x") -> None:
        self.path = path
        if not path.exists():
            NewFile(path, dialect).close()
        self.app = sqlite3.connect(path, isolation_level=None, timeout=1)
        self.wire = Wire(who if isinstance(who, str) else who.token)
        self.spaces = [str(getattr(space, "pk", space)) for space in spaces]
        self.file = LogoMeshFile.open(path)
        if self.spaces:
            links = [SpaceLink(space, ADDRESS) for space in self.spaces]
            self.file.attach(links[0], links[1:])

    @property
    def space(self) -> str:
        return self.spaces[0]

    def sql(self, query: str, *values: Any) -> list[Any]:
        """As the app."""
        return self.app.execute(query, values).fetchall()

    def thought(self, id_: str, **values: Any) -> None:
        self._add("thoughts", {"thought_bubble_id": id_, "title": "A thought", **_times(2), **values})

    def segment(self, id_: str, thought: str, **values: Any) -> None:
        fields = {"segment_id": id_, "thought_bubble_id": thought, "title": "A segment", "content": "Text."}
        self._add("segments", {**fields, **_times(2), **values})

    def tag(self, id_: str, name: str = "", **values: Any) -> None:
        self._add("tags", {"tag_id": id_, "name": name or id_, "color": "#10b981", **_times(1), **values})

    def link(self, thought: str, tag: str) -> None:
        self._add("thought_tags", {"thought_bubble_id": thought, "tag_id": tag, **_times(1)})

    def _add(self, table: str, values: dict[str, Any]) -> None:
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        self.app.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))

    def sync(self, **options: Any) -> Report:
        return sync_once(self.file, self.wire, **options)

    def synced(self) -> Report:
        """Sync, and see that both copies are equal."""
        report = self.sync()
        for one in report.spaces:
            assert one.proved, (one, self.file.waiting())
            theirs = self.wire.digest(one.space, scope=self.file.link(one.space).scope or None)
            mine = self.file.digest(one.space)
            assert [int(n, 16) for n in theirs["sectors"]] == list(mine.sectors)
            assert theirs["records"] == mine.records
        return report

    def records(self, space: str | None = None) -> dict[tuple[str, str], dict[str, Any]]:
        """What the rows themselves say, read anew, of a space (the home unless named)."""
        link = self.file.link(space or self.space)
        store = self.file._store
        found = {}
        for kind, id_ in store.db.execute(
            "SELECT kind, id FROM logomesh_sync_records WHERE space = ? AND kind < 100", (link.number,)
        ).fetchall():
            copy = store.copy(link.number, kind, id_)
            table = store.by_number.get(kind)
            row = self.file._rows.row(kind, id_)
            assert copy is not None
            type_ = next(name for name, known in TYPES.items() if known.number == kind)
            assert digest(type_, id_, copy.record) == copy.hash % 2**64
            if table is not None and copy.shown:
                assert row is not None, f"{type_} {id_} has no row"
                assert not table.edits(id_, copy.record, row, copy.aliases or {}), f"{type_} {id_} differs"
            found[type_, id_] = copy.record
        return found

    def close(self) -> None:
        self.app.close()
        self.file.close()


def _times(number: int) -> dict[str, str]:
    at = "2025-09-20T10:00:00.000Z"
    return dict.fromkeys(("created_at", "updated_at")[:number], at)
