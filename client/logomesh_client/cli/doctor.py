"""`doctor`: looks at a file, its tokens and its server, and says what is not as it should be."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from logomesh_client import VERSION
from logomesh_client.cli.desk import Desk
from logomesh_client.cli.endings import Exit, ending
from logomesh_client.cli.options import some_files, with_desk
from logomesh_client.cli.saying import count
from logomesh_client.connection import examine
from logomesh_client.file import LogoMeshFile, NotLogoMesh
from logomesh_client.profiles import BadProfile, SyncMode
from logomesh_client.secrets import SecretsAway

_SIGNS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red")}
_LEAST_FREE = 100 * 1024**2


@dataclass(frozen=True)
class Finding:
    about: str
    result: Literal["ok", "warning", "failed"]
    words: str
    remedy: str = ""


@click.command(short_help="Look at files, tokens and servers.")
@some_files
@with_desk
def doctor(desk: Desk, files: tuple[Path, ...]) -> int:
    """Look at FILES (without them: all that are attached here), their tokens and their servers."""
    findings = list(_everything(desk, list(files)))
    for one in findings:
        sign, color = _SIGNS[one.result]
        desk.voice.say(f"{sign} {one.about}: {one.words}", fg=color)
        if one.remedy and one.result != "ok":
            desk.voice.say(f"    {one.remedy}")
    bad = [one for one in findings if one.result == "failed"]
    desk.voice.say("All is well." if not bad else f"{count(len(bad), 'thing')} to mend.", bold=True)
    desk.voice.result({"ok": not bad, "findings": [one.__dict__ for one in findings]})
    return Exit.ATTENTION if bad else Exit.DONE


def _everything(desk: Desk, files: list[Path]) -> Iterator[Finding]:
    yield Finding("client", "ok", f"logomesh-client {VERSION}, SQLite {sqlite3.sqlite_version}")
    try:
        profiles = desk.profiles.all()
        yield Finding("profiles", "ok", ", ".join(one.name for one in profiles) or "none yet")
    except BadProfile as error:
        profiles = []
        yield Finding("profiles", "failed", str(error))
    for path in files or desk.known_files():
        if not path.exists():
            yield Finding(
                str(path), "warning", "It was attached, but is not there.", "Was it moved? Sync it there."
            )
            continue
        yield from _of_file(desk, path)
    for profile in profiles:
        if profile.sync_mode is SyncMode.LOCAL_ONLY:
            yield Finding(profile.name, "ok", "It is local-only: its server is not asked for anything.")
            continue
        failed = None
        try:
            token = desk.secrets.get(profile.secret_name)
        except SecretsAway as error:
            end = ending(error)
            yield Finding(profile.name, "failed", end.words, end.remedy)
            continue
        for step in examine(profile.url, token, ca=profile.ca):
            if step.result != "ok":
                failed = step
                result: Any = "failed" if step.result == "failed" else "warning"
                yield Finding(f"{profile.name}, {step.name}", result, step.words, step.remedy)
        if failed is None:
            yield Finding(profile.name, "ok", f"{profile.url} is reached.")


def _of_file(desk: Desk, path: Path) -> Iterator[Finding]:
    about = path.name
    yield from _integrity(path)
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
        yield Finding(about, "failed", "It, or its folder, cannot be written.", "Check the permissions.")
        return
    if shutil.disk_usage(path.parent).free < _LEAST_FREE:
        yield Finding(about, "warning", "The disk is nearly full.", "Make room: SQLite needs it to write.")
    try:
        with LogoMeshFile.open(path) as file:
            if not file.attached:
                yield Finding(about, "ok", f"A LogoMesh file ({file.dialect.value}), not attached.")
                return
            yield Finding(about, "ok", f"A LogoMesh file ({file.dialect.value}), attached.")
            for link in file.links():
                if link.state.value in ("attention", "access-lost"):
                    words = f"{link.name}: {link.state.value}. {link.reason}"
                    yield Finding(about, "failed", words, f"logomesh status {path}")
            for url in dict.fromkeys(link.server for link in file.links()):
                if desk.profile_of(url, path) is None:
                    words = f"There is no profile for {url}."
                    yield Finding(about, "failed", words, f"logomesh login {url}")
            if hidden := file.hidden():
                words = f"{count(len(hidden), 'record')} cannot be shown: another space has the same id."
                yield Finding(about, "warning", words, "They are safe; the pages of the server show them.")
            if refused := [one for one in file.waiting() if one.refused]:
                words = f"The server did not take {count(len(refused), 'record')}."
                yield Finding(about, "warning", words, f"logomesh status {path}")
    except NotLogoMesh as error:
        yield Finding(about, "failed", error.found, error.advice)
    except (sqlite3.DatabaseError, OSError) as error:
        yield Finding(about, "failed", f"It cannot be opened: {error}.", "Close what holds it, or see above.")


def _integrity(path: Path) -> Iterator[Finding]:
    """SQLite's own check. It reads only, and waits a moment for the app."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as db:
            found = [str(row[0]) for row in db.execute("PRAGMA quick_check(5)")]
    except sqlite3.DatabaseError as error:
        found = [str(error)]
    if found == ["ok"]:
        yield Finding(path.name, "ok", "SQLite finds it whole.")
    else:
        yield Finding(
            path.name,
            "failed",
            f"SQLite finds it damaged: {'; '.join(found)[:200]}.",
            "Keep a copy as it is. LogoMesh's backup, or the server, may have it whole: logomesh export.",
        )
