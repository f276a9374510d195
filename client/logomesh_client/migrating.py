"""Takes a LogoMesh file into a space: snapshot, upload, assess, copy; goes on where it was stopped.

What is under way stands in a small file of ours, so that after a crash, or on the next day, the same call
goes on: the same snapshot, upload and import. The app may write meanwhile: what it changes after the snapshot
is no part of the import, and follows by sync where the file is attached afterwards. What is done is
remembered as well: a further run for a file that has not changed takes what the server has.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from logomesh_client.file import LogoMeshFile, NotLogoMesh
from logomesh_client.places import data_folder, only_one, write_atomically
from logomesh_client.wire import Problem, Server, Upload

STRATEGIES: Final = ("full", "hybrid", "gradual")
ENDED: Final = frozenset({"done", "failed", "cancelled", "undone"})
_NOT_BEGUN: Final = frozenset({"uploaded", "assessing", "ready"})
_BEGUN: Final = frozenset({"copying", "verifying", "paused"})
_BESIDE: Final = {"wal": "-wal", "journal": "-journal"}
_LOOK_SECONDS: Final = 0.5

Told = Callable[[str, int, int], None]
"""Hears (phase, done, of) as it goes: snapshot, upload, assess, copy, verify."""


class OtherChoices(Exception):
    """An import of this file, begun with other choices, is under way."""


@dataclass
class Journal:
    """How far a migration is; written before and after each step that costs something."""

    file: str
    server: str
    space: str
    modified: float
    """Of the file, when the snapshot was taken: another time means that it has gone on since."""
    set: str
    """The name under which the server puts together what belongs together."""
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

        After a rehearsal (`dry_run`) it is `ready` again, and the next call begins for good. A further call
        for a file that has not changed takes what the server has: nothing is uploaded twice. `salvage`: of a
        damaged file take what can still be read. Raises `OtherChoices`, and `Taken` where this is just
        being done.
        """
        with only_one(self.folder.with_suffix(".lock"), wait=False):
            found = self._assessed(salvage)
            if found["state"] in _BEGUN:
                found = self._go_on(found, strategy, filters or {}, dry_run)
            if found["state"] == "ready":
                found = self.server.start_import(found["id"], strategy, filters, dry_run, **choices)
            return self._until(found, _has_come_to_rest)

    def _go_on(
        self, found: dict[str, Any], strategy: str, filters: dict[str, Any], dry_run: bool
    ) -> dict[str, Any]:
        """An import that was begun, and stopped here: by a kill, or by somebody on its page."""
        if found["dry_run"] and not dry_run:  # a rehearsal changes nothing: let it come to its end
            if found["state"] == "paused":
                found = self.server.act_on_import(found["id"], "resume")
            return self._until(found, _has_come_to_rest)
        same_kinds = {name: value for name, value in filters.items() if name in ("tags", "clusters")}
        begun_with = {name: value for name, value in found["filters"].items() if name in ("tags", "clusters")}
        if (found["strategy"], found["dry_run"], begun_with) != (strategy, dry_run, same_kinds):
            raise OtherChoices(found["strategy"])
        if found["state"] == "paused":
            return self.server.act_on_import(found["id"], "resume")
        return found

    # The steps, each of which finds out whether it was done before

    def _assessed(self, salvage: bool) -> dict[str, Any]:
        """The import, ready to be started (or failed, or further on)."""
        journal = self._journal()
        found = self._kept(journal) if journal is not None and journal.import_id else None
        if found is None:
            found = self._begun(journal)
        found = self._until(found, lambda state: state not in ("uploaded", "assessing"))
        if salvage and found["state"] == "failed" and (found["problem"] or {}).get("type") == "damaged":
            found = self._until(
                self.server.act_on_import(found["id"], "salvage"),
                lambda state: state not in ("uploaded", "assessing"),
            )
        return found

    def _kept(self, journal: Journal) -> dict[str, Any] | None:
        """What is to become of the import that was begun before: go on with it, or with its file."""
        found = self._tried(self.server.find_import, journal.import_id)
        if found is None or found["state"] in _BEGUN:
            return found
        if found["state"] == "failed":
            if (found.get("problem") or {}).get("type") == "damaged" and self._is_same(journal, found):
                return found
            return self._tried(self.server.act_on_import, journal.import_id, "resume")
        if not self._is_same(journal, found):
            if found["state"] in _NOT_BEGUN:
                self._tried(self.server.act_on_import, journal.import_id, "cancel")
            return None
        if found["state"] in _NOT_BEGUN:
            return found
        again = self._tried(self.server.import_again, journal.import_id)
        if again is not None:
            journal.import_id = again["id"]
            journal.keep(self.folder)
        return again

    @staticmethod
    def _tried(ask: Callable[..., dict[str, Any]], *what: str) -> dict[str, Any] | None:
        """What the server answers; None where it has no such thing, or not in this state."""
        try:
            return ask(*what)
        except Problem as problem:
            if problem.status not in (404, 409):
                raise
            return None

    def _is_same(self, journal: Journal, found: dict[str, Any]) -> bool:
        """Whether what the server was sent is what the file holds now."""
        if abs(journal.modified - self._modified()) < 1e-6:
            return True
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            copy = Path(folder) / "copy"
            try:
                self._copy(copy)
            except (NotLogoMesh, sqlite3.DatabaseError):
                return False
            return _sha256(copy) == found.get("sha256")

    def _begun(self, journal: Journal | None) -> dict[str, Any]:
        """A new import: of the snapshot that was being sent, or of a new one."""
        if journal is None or journal.import_id or abs(journal.modified - self._modified()) >= 1e-6:
            shutil.rmtree(self.folder, ignore_errors=True)
            journal = self._snapshot()
        found = self._handed_over(journal) or self.server.create_import(self.space, self._upload(journal))
        journal.import_id = found["id"]
        journal.keep(self.folder)
        for snapshot in self.folder.glob("snapshot*"):
            snapshot.unlink()  # the server has it whole
        return found

    def _handed_over(self, journal: Journal) -> dict[str, Any] | None:
        """The import that was made of our upload where we never heard the answer."""
        upload = journal.uploads.get("file")
        if upload is None or self._tried_upload(upload) is not None:
            return None
        sha256 = _sha256(self.folder / "snapshot.file")
        return next(
            (
                one
                for one in self.server.imports()
                if one["space"] == self.space and one["sha256"] == sha256 and one["state"] in _NOT_BEGUN
            ),
            None,
        )

    def _journal(self) -> Journal | None:
        try:
            journal = Journal(**orjson.loads((self.folder / "journal.json").read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        return journal if journal.import_id or (self.folder / "snapshot.file").exists() else None

    def _modified(self) -> float:
        """When the app last wrote; with a write-ahead log it writes there."""
        log = self.path.with_name(f"{self.path.name}-wal")
        return max(part.stat().st_mtime for part in (self.path, log) if part.exists())

    def _snapshot(self) -> Journal:
        """Take a snapshot that nobody writes to."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        modified = self._modified()
        target = self.folder / "snapshot.file"
        try:
            self._copy(target)
        except NotLogoMesh:
            pass  # the server says what it is
        except sqlite3.DatabaseError as error:
            if any(word in str(error) for word in ("locked", "full")):
                raise
            # Damaged: the bytes as they are, for the server to save what it can.
            target.unlink(missing_ok=True)
            shutil.copyfile(self.path, target)
            for role, ending in _BESIDE.items():
                beside = self.path.with_name(self.path.name + ending)
                if beside.exists():
                    shutil.copyfile(beside, self.folder / f"snapshot.{role}")
        named = str(self.path).encode(errors="replace").decode()
        journal = Journal(named, self.server.address.url, self.space, modified, secrets.token_hex(16), {})
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
        for part in parts:
            role, size = part.suffix[1:], part.stat().st_size
            upload = self._tried_upload(journal.uploads[role]) if role in journal.uploads else None
            if upload is None or upload.length != size:
                set_ = journal.set if len(parts) > 1 else ""
                upload = self.server.begin_upload(self.path.name, size, role, set_)
                journal.uploads[role] = upload.id
                journal.keep(self.folder)

            def sent(offset: int, before: int = before) -> None:
                self._told("upload", before + offset, total)

            self.server.send_upload(upload, part, sent)
            before += size
        return journal.uploads["file"]

    def _tried_upload(self, id_: str) -> Upload | None:
        try:
            return self.server.find_upload(id_)
        except Problem as problem:
            if problem.status != 404:
                raise
            return None

    def _until(self, found: dict[str, Any], enough: Callable[[str], bool]) -> dict[str, Any]:
        while not enough(found["state"]):
            progress = found.get("progress") or {}
            phase = {"copying": "copy", "verifying": "verify"}.get(found["state"], "assess")
            self._told(phase, int(progress.get("rows") or 0), int(progress.get("of") or 0))
            time.sleep(_LOOK_SECONDS)
            found = self.server.find_import(found["id"])
        return found


def _has_come_to_rest(state: str) -> bool:
    return state in ENDED or state in ("paused", "ready")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
