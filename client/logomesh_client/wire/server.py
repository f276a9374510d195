"""A server, as a device sees it: one method for each thing that it can be asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote

import httpx

from logomesh_client.wire import uploading
from logomesh_client.wire.errors import TimedOut
from logomesh_client.wire.feed import NDJSON, Pull, PushAnswer, Scope, scope_params
from logomesh_client.wire.live import Live
from logomesh_client.wire.pacing import Backoff, Pace
from logomesh_client.wire.transport import Timeouts, Transport, require_type
from logomesh_client.wire.uploading import Upload

Json = dict[str, Any]

LARGEST_PAGE: Final = 10_000
LARGEST_PUSH: Final = 1_000
_IMPORT: Final = {"id": str, "state": str}
"""What an import has in each answer."""
_EXPORTED: Final = {"sqlite": "application/vnd.sqlite3", "json": "application/json"}


@dataclass(frozen=True)
class NewDevice:
    """A device that was just made. Its token is told only this once."""

    id: str
    name: str
    token: str
    expires_at: str | None

    def __repr__(self) -> str:
        return f"NewDevice(id={self.id!r}, name={self.name!r})"


class Server:
    """Asks one server for one device. Its methods raise `WireError` and nothing else.

    `url` is as people write it (`BadAddress` where it cannot be one), `ca` a file of certificates to trust
    instead of the machine's. `patience`: seconds for which one call is tried again after passing failures
    (nothing reached, 429, 503); 0 for an agent, which has its own rhythm. May be used by several threads.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        ca: Path | str | None = None,
        timeouts: Timeouts = Timeouts(),
        patience: float = 0.0,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self.transport = Transport(url, token, ca=ca, timeouts=timeouts, patience=patience, wait=wait)
        self.address = self.transport.address
        self.pull_pace = Pace(LARGEST_PAGE)
        self.push_pace = Pace(LARGEST_PUSH)
        """How many changes a push should have, as the network bears them."""

    def close(self) -> None:
        self.transport.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # What it is, and what is there

    def about(self) -> Json:
        """Name, version, protocol versions and limits; asks for no token."""
        return cast(Json, self._ask("GET", "about"))

    def spaces(self) -> list[Json]:
        """The spaces that the device may know of, with its role in each (None: it may not be opened)."""
        return self._listed("spaces", "spaces")

    def workspaces(self) -> list[Json]:
        return self._listed("workspaces", "workspaces")

    def create_space(self, workspace: str, name: str, kind: str = "private") -> Json:
        body = {"workspace": workspace, "name": name, "kind": kind}
        return cast(Json, self._ask("POST", "spaces", body=body, repeatable=False))

    def devices(self) -> list[Json]:
        return self._listed("devices", "devices")

    def new_device(self, name: str, *, email: str | None = None, password: str | None = None) -> NewDevice:
        """A token for another device: with e-mail address and password, or with the token that is there."""
        auth = (email, password) if email is not None and password is not None else None
        made = self._ask(
            "POST", "devices", body={"name": name}, repeatable=False, auth=auth,
            members={"id": str, "name": str, "token": str},
        )  # fmt: skip
        return NewDevice(made["id"], made["name"], made["token"], made.get("expires_at"))

    def revoke_device(self, device: str) -> None:
        self._ask("DELETE", f"devices/{_part(device)}")

    # Sync

    def changes(
        self,
        space: str,
        cursor: str | None = None,
        *,
        limit: int | None = None,
        scope: Scope = None,
        embeddings: bool = False,
    ) -> Pull:
        """One page of the feed from `cursor` on; without `limit` as large as the network bears."""
        params = [("limit", str(limit or self.pull_pace.size)), *scope_params(scope)]
        if cursor is not None:
            params.append(("cursor", cursor))
        if embeddings:
            params.append(("include", "embeddings"))

        @contextmanager
        def opened() -> Iterator[httpx.Response]:
            path, headers = f"spaces/{_part(space)}/changes", {"Accept": NDJSON}
            with self.transport.open("GET", path, params=params, headers=headers) as answer:
                require_type(answer, NDJSON)
                yield answer

        return Pull(opened, self.pull_pace)

    def push(self, space: str, epoch: str | None, seen: int, changes: Sequence[Json]) -> PushAnswer:
        """Send changes, in as many transactions as the network makes necessary; one where it is good.

        After a lost answer, send the very same again. Where nothing of some size comes through, it is
        sent in smaller pieces; what came through before counts once.
        """
        results: list[Json] = []
        sent = 0
        while True:
            piece = changes[sent : sent + self.push_pace.size]
            body: Json = {"seen": seen, "changes": piece}
            if epoch is not None:
                body["epoch"] = epoch
            try:
                found = self._ask(
                    "POST", f"spaces/{_part(space)}/changes", body=body, packed=True,
                    members={"version": int, "results": list},
                )  # fmt: skip
            except TimedOut as error:
                if not error.connected or len(piece) <= 1:
                    raise
                self.push_pace.failed()
                continue
            self.push_pace.worked()
            results += found["results"]
            sent += len(piece)
            if sent >= len(changes):
                return PushAnswer(found["version"], results)

    def fetch(self, space: str, ids: Iterable[tuple[str, str]]) -> list[Json]:
        """Records by type and id, as the feed shows them; unknown ones are left out."""
        wanted, found = [list(pair) for pair in ids], []
        while wanted:
            size = self.pull_pace.size
            body = {"ids": wanted[:size]}
            try:
                found += self._ask(
                    "POST", f"spaces/{_part(space)}/changes/fetch", body=body, members={"changes": list}
                )["changes"]
            except TimedOut as error:
                if not error.connected or size <= 1:
                    raise
                self.pull_pace.failed()
                continue
            self.pull_pace.worked()
            del wanted[:size]
        return found

    def digest(self, space: str, sector: int | None = None, *, scope: Scope = None) -> Json:
        """The proof of equality of a space, or the list of one sector's records."""
        params = scope_params(scope)
        if sector is not None:
            params.append(("sector", str(sector)))
        members = {"version": int, "sectors": list} if sector is None else {"records": list}
        return cast(Json, self._ask("GET", f"spaces/{_part(space)}/digest", params=params, members=members))

    def record(self, space: str, type_: str, id_: str) -> Json:
        """One record, as in the feed."""
        params = {"type": type_, "id": id_}
        return cast(Json, self._ask("GET", f"spaces/{_part(space)}/record", params=params))

    def live(self, backoff: Backoff | None = None) -> Live:
        """Live events, reconnecting by itself."""

        @contextmanager
        def opened() -> Iterator[httpx.Response]:
            headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
            idle = self.transport.timeouts.live
            with self.transport.open("GET", "live", headers=headers, idle=idle) as answer:
                require_type(answer, "text/event-stream")
                yield answer

        return Live(opened, backoff or Backoff(least=1.0))

    # Conflicts, history, moves, search

    def conflicts(self, space: str, state: str | None = None) -> list[Json]:
        params = {} if state is None else {"state": state}
        return self._all_pages(f"spaces/{_part(space)}/conflicts", "conflicts", params)

    def resolve(self, conflict: str, decision: Json) -> Json:
        """`{"take": "server" | "client" | "proposal" | "both"}` or `{"set": {…}}`."""
        path = f"conflicts/{_part(conflict)}/resolve"
        return cast(Json, self._ask("POST", path, body=decision, repeatable=False))

    def history(self, space: str, type_: str, id_: str, *, limit: int | None = None) -> list[Json]:
        """Who changed which field, newest first."""
        params = {"type": type_, "id": id_}
        return self._all_pages(f"spaces/{_part(space)}/history", "entries", params, limit)

    def restore(self, space: str, type_: str, id_: str, version: int, moves_ago: int = 0) -> Json:
        body = {"type": type_, "id": id_, "version": version, "moves_ago": moves_ago}
        path = f"spaces/{_part(space)}/restore"
        return cast(Json, self._ask("POST", path, body=body, members={"version": int}))

    def move(self, space: str, thoughts: Sequence[str], to: str) -> Json:
        """Thoughts, with all that hangs on them, go to another space."""
        body = {"thoughts": list(thoughts), "to": to}
        path, members = f"spaces/{_part(space)}/move", {"moved": dict, "left": list}
        return cast(Json, self._ask("POST", path, body=body, repeatable=False, members=members))

    def search(self, words: str, space: str | None = None, limit: int = 20) -> list[Json]:
        params = {"q": words, "limit": str(limit), **({"space": space} if space else {})}
        return self._listed("search", "results", params)

    @contextmanager
    def export(self, space: str, format_: str = "sqlite") -> Iterator[Iterator[bytes]]:
        """The bytes of an export, as they come. Whoever reads them must see that the last one came."""
        path, params = f"spaces/{_part(space)}/export", {"format": format_}
        with self.transport.open("GET", path, params=params, headers={"Accept": "*/*"}) as answer:
            require_type(answer, _EXPORTED[format_])
            yield self.transport.parts_of(answer)

    # Migration

    def begin_upload(self, name: str, length: int, role: str = "file", set_: str = "") -> Upload:
        return uploading.begin(self.transport, name, length, role, set_)

    def find_upload(self, upload: str) -> Upload:
        return uploading.find(self.transport, upload)

    def send_upload(
        self, upload: Upload, path: Path, sent: Callable[[int], object] = lambda offset: None
    ) -> Upload:
        """Send what the server does not have yet, piece by piece; after a failure just again."""
        return uploading.send(self.transport, upload, path, sent)

    def create_import(self, space: str, upload: str) -> Json:
        """Hand a complete upload over to be assessed for a space."""
        body = {"space": space, "upload": upload}
        return cast(Json, self._ask("POST", "imports", body=body, repeatable=False, members=_IMPORT))

    def imports(self) -> list[Json]:
        return self._listed("imports", "imports")

    def find_import(self, import_: str) -> Json:
        return cast(Json, self._ask("GET", f"imports/{_part(import_)}", members=_IMPORT))

    def start_import(
        self,
        import_: str,
        strategy: str = "full",
        filters: Json | None = None,
        dry_run: bool = False,
        **choices: str,
    ) -> Json:
        """`choices`: `existing`, `orphans`, `missing_tags`, `ids`, where not the default is wanted."""
        body = {"strategy": strategy, "filters": filters or {}, "dry_run": dry_run, **choices}
        path = f"imports/{_part(import_)}/start"
        return cast(Json, self._ask("POST", path, body=body, repeatable=False, members=_IMPORT))

    def act_on_import(self, import_: str, act: str) -> Json:
        """`pause`, `resume`, `cancel`, `undo` or `salvage`."""
        path = f"imports/{_part(import_)}/{act}"
        return cast(Json, self._ask("POST", path, repeatable=False, members=_IMPORT))

    def import_again(self, import_: str) -> Json:
        """A new import of the file of an old one, if the server still has it (else `Problem`, 409)."""
        path = f"imports/{_part(import_)}/again"
        return cast(Json, self._ask("POST", path, repeatable=False, members=_IMPORT))

    def set_aside(self, import_: str) -> list[Json]:
        """The rows of an import that could not become records."""
        return self._all_pages(f"imports/{_part(import_)}/set-aside", "rows", {})

    def _listed(self, path: str, member: str, params: dict[str, str] | None = None) -> list[Json]:
        return cast(list[Json], self._ask("GET", path, params=params, members={member: list})[member])

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        return self.transport.ask(method, path, **options)

    def _all_pages(
        self, path: str, member: str, params: dict[str, str], limit: int | None = None
    ) -> list[Json]:
        found: list[Json] = []
        while limit is None or len(found) < limit:
            page = self._ask("GET", path, params=params, members={member: list})
            found += page[member]
            if not page.get("cursor"):
                break
            params = {**params, "cursor": page["cursor"]}
        return found[:limit]


def _part(text: str) -> str:
    """A text as one part of a path."""
    return quote(text, safe="")
