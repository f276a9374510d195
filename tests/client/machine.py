"""A laptop on which somebody types commands, and what the app meanwhile does to its file."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import chdir, closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

from logomesh_client import cli
from tests.logomesh_files import LogoMeshFile as NewFile
from tests.logomesh_server.processes import ROOT

PASSWORD = "correct horse battery"
AT = "2025-09-20T10:00:00.000Z"


@dataclass
class Machine:
    """A laptop with a home of its own, on which somebody types commands."""

    home: Path
    url: str
    said: str = ""
    """What the last command said on standard error."""

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        folders = {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_DATA_HOME": str(self.home / "data"),
            "XDG_STATE_HOME": str(self.home / "state"),
        }
        return {**kept, **folders, "PYTHONPATH": str(ROOT / "client"), "LOGOMESH_SECRETS": "file"}

    def run(self, *arguments: object, given: str = "", exits: int | None = 0, **environment: str) -> str:
        """Standard output of a command that must end with `exits` (None: anyhow); what else it says is in
        `said`."""
        out, error = StringIO(), StringIO()
        with (
            patch.dict(os.environ, {**self.environment, **environment}, clear=True),
            patch.object(sys, "stdin", StringIO(given)),
            redirect_stdout(out),
            redirect_stderr(error),
            chdir(self.home),
        ):
            code = cli.run([*map(str, arguments)])
        self.said = error.getvalue()
        assert exits in (None, code), (arguments, code, out.getvalue(), self.said)
        assert "mistake" not in self.said
        return out.getvalue()

    def json(self, *arguments: object, exits: int | None = 0, **environment: str) -> Any:
        return json.loads(self.run(*arguments, "--json", exits=exits, **environment))

    def file(self, name: str = "logomesh.sqlite3", *titles: str) -> Path:
        path = self.home / name
        NewFile(path, "S2x").close()
        for title in titles:
            write(path, title)
        return path

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "logomesh_client", *map(str, arguments)],
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.home,
        )  # fmt: skip


def write(path: Path, title: str, id_: str = "") -> str:
    id_ = id_ or f"thought_{title.lower().replace(' ', '-')}"
    with closing(sqlite3.connect(path, timeout=10)) as app, app:
        app.execute(
            "INSERT INTO thoughts (thought_bubble_id, title, created_at, updated_at) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (thought_bubble_id) DO UPDATE SET title = excluded.title",
            (id_, title, AT, AT),
        )
    return id_


def titles(path: Path) -> list[str]:
    with closing(sqlite3.connect(path, timeout=10)) as app:
        return [title for (title,) in app.execute("SELECT title FROM thoughts ORDER BY title")]


def schema(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as app:
        return app.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()


def space(on: Machine, name: str, *options: str) -> str:
    found = on.json("spaces", "--create", name, *options)
    return next(one["id"] for one in found if one["name"] == name)
