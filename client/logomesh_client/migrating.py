"""Takes a LogoMesh file into a space: snapshot, upload, assess, copy; goes on where it was stopped.

What is under way stands in a small file of ours, so that after a crash, or on the next day, the same call
goes on: the same snapshot, upload and import. The app may write meanwhile: what it changes after the snapshot
is no part of the import, and follows by sync where the file is attached afterwards.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson

from logomesh_client.file import LogoMeshFile, NotLogoMesh
from logomesh_client.places import data_folder, write_atomically
from logomesh_client.wire import Problem, Server

STRATEGIES: Final = ("full", "hybrid", "gradual")
ENDED: Final = frozenset({"done", "failed", "cancelled", "undone"})
_BESIDE: Final = {"wal": "-wal", "journal": "-journal"}
_LOOK_SECONDS: Final = 0.5

Told = Callable[[str, int, int], None]
"""Hears (phase, done, of) as it goes: snapshot, upload, assess, copy, verify."""


@dataclass
class Journal:
    """How far a migration is; written before and after each step that costs something."""

    file: str
    server: str
    space: str
    modified: float
    """Of the file, when the snapshot was taken: another time means that it has gone on since."""
    uploads: dict[str, str]
    """Role (file, wal, journal) -> the id of its upload."""
    import_id: str = ""

    def keep(self, folder: Path) -> None:
        write_atomically(folder / "journal.json", orjson.dumps(asdict(self)), mode=0o600)


class Migration:
    """One file on its way into one space. `run` begins it or goes on with it."""

    def __init__(
        self, path: Path, server: Server, space: str, told: Told = lambda phase, done, of: None
    ) -> None:
        self.path, self.server, self.space, self._told = path.resolve(), server, space, told
        named = f"{self.path}\0{server.address.url}\0{space}".encode(errors="surrogatepass")
        self.folder = data_folder() / "migrations" / hashlib.sha256(named).hexdigest()[:32]

    def assess(self, salvage: bool = False) -> dict[str, Any]:
        """The import, assessed and ready to be started (or failed); nothing is in the space yet.

        `salvage`: of a damaged file take what can still be read.
        """
        found = self._until(self._import(), _is_assessed)
        if salvage and found["state"] == "failed" and (found["problem"] or {}).get("type") == "damaged":
            found = self._until(self.server.act_on_import(found["id"], "salvage"), _is_assessed)
        return found

    def run(
        self,
        strategy: str,
        filters: dict[str, Any] | None = None,
        *,
        dry_run: bool = False,
        salvage: bool = False,
        **choices: str,
    ) -> dict[str, Any]:
        """Copy it, and wait for the end. Returns the import as it ended, with its report.

        After a rehearsal (`dry_run`) it is `ready` again, and the next call begins for good.
        """
        found = self.assess(salvage)
        if found["state"] == "ready":
            found = self.server.start_import(found["id"], strategy, filters, dry_run, **choices)
        elif found["state"] == "paused":
            found = self.server.act_on_import(found["id"], "resume")
        found = self._until(found, lambda state: state in ENDED or state in ("paused", "ready"))
        if found["state"] == "done":
            self.forget()
        return found

    def forget(self) -> None:
        """What was kept to go on with is not needed any more."""
        shutil.rmtree(self.folder, ignore_errors=True)

    # The steps, each of which finds out whether it was done before

    def _import(self) -> dict[str, Any]:
        journal = self._journal()
        if journal is not None and journal.import_id:
            try:
                found = self.server.find_import(journal.import_id)
                if found["state"] not in ENDED:
                    return found
            except Problem as problem:
                if problem.status != 404:
                    raise
            journal = None
        if journal is None:
            self.forget()
            journal = self._begin()
        upload = self._upload(journal)
        found = self.server.create_import(self.space, upload)
        journal.import_id = found["id"]
        journal.keep(self.folder)
        for snapshot in self.folder.glob("snapshot*"):
            snapshot.unlink()  # the server has it whole
        return found

    def _journal(self) -> Journal | None:
        try:
            journal = Journal(**orjson.loads((self.folder / "journal.json").read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        whole = journal.import_id or (self.folder / "snapshot.file").exists()
        same = abs(journal.modified - self.path.stat().st_mtime) < 1e-6
        return journal if whole and (same or journal.import_id) else None

    def _begin(self) -> Journal:
        """Take a snapshot that nobody writes to."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        modified = self.path.stat().st_mtime
        target = self.folder / "snapshot.file"
        try:
            self._copy(target)
        except NotLogoMesh:
            pass  # the server says what it is
        except sqlite3.DatabaseError:  # damaged: the bytes as they are, for the server to save what it can
            target.unlink(missing_ok=True)
            shutil.copyfile(self.path, target)
            for role, ending in _BESIDE.items():
                beside = self.path.with_name(self.path.name + ending)
                if beside.exists():
                    shutil.copyfile(beside, self.folder / f"snapshot.{role}")
        journal = Journal(str(self.path), self.server.address.url, self.space, modified, {})
        journal.keep(self.folder)
        return journal

    def _copy(self, target: Path) -> None:
        """By SQLite's own backup: consistent, with what stands in a -wal, without holding up the app."""
        source = sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True, timeout=5)
        with closing(source), closing(sqlite3.connect(target)) as copy:

            def progress(status: int, remaining: int, total: int) -> None:
                self._told("snapshot", total - remaining, total)

            source.backup(copy, pages=2000, progress=progress, sleep=0.01)
        with LogoMeshFile.open(target) as copied:
            if copied.attached:
                copied.detach()  # what is ours is nobody's thought

    def _upload(self, journal: Journal) -> str:
        """Send the snapshot, and what lies beside it, from where it stopped; the id of its upload."""
        parts = sorted(self.folder.glob("snapshot.*"))
        total, before = sum(part.stat().st_size for part in parts), 0
        set_ = secrets.token_hex(16) if len(parts) > 1 else ""
        for part in parts:
            role, size = part.suffix[1:], part.stat().st_size
            upload = None
            if role in journal.uploads:
                try:
                    upload = self.server.find_upload(journal.uploads[role])
                except Problem as problem:
                    if problem.status != 404:
                        raise
            if upload is None or upload.length != size:
                upload = self.server.begin_upload(self.path.name, size, role, set_)
                journal.uploads[role] = upload.id
                journal.keep(self.folder)

            def sent(offset: int, before: int = before) -> None:
                self._told("upload", before + offset, total)

            self.server.transport.patiently(partial(self.server.send_upload, upload, part, sent))
            before += size
        return journal.uploads["file"]

    def _until(self, found: dict[str, Any], enough: Callable[[str], bool]) -> dict[str, Any]:
        while not enough(found["state"]):
            progress = found.get("progress") or {}
            phase = {"copying": "copy", "verifying": "verify"}.get(found["state"], "assess")
            self._told(phase, int(progress.get("rows") or 0), int(progress.get("of") or 0))
            time.sleep(_LOOK_SECONDS)
            found = self.server.find_import(found["id"])
        return found


def _is_assessed(state: str) -> bool:
    return state not in ("uploaded", "assessing")
