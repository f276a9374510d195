"""The server and the client of the version before, really run: an upgrade while people hold unsent work.

Their code is the one of that time (see tests/previous/README.md), on the libraries of today.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from logomesh_client.file import LogoMeshFile
from tests.client.app import App, make
from tests.logomesh_server.department import line_of
from tests.logomesh_server.processes import ROOT, Serving, environment, manage

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("upgrade")]
PREVIOUS = next((ROOT / "tests" / "previous").glob("*.tar.xz"))
PASSWORD = "seven quiet herons"


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the version before."""
    folder = tmp_path_factory.mktemp("previous")
    with tarfile.open(PREVIOUS) as archive:
        archive.extractall(folder, filter="data")
    return folder / "before"


@dataclass
class Laptop:
    """A home with a LogoMesh file, the app that writes it, and the command `logomesh` of some version."""

    home: Path
    client: Path
    app: App

    @classmethod
    def of(cls, home: Path, client: Path) -> Laptop:
        home.mkdir()
        return cls(home, client, App.of(make(home / "thoughts.sqlite3", "S2x"), "S2x", home.name))

    def logomesh(self, *arguments: str, given: str = "", exits: int = 0) -> str:
        done = self._python("-m", "logomesh_client", *arguments, given=given)
        assert done.returncode == exits, done.stdout + done.stderr
        return done.stdout

    def where_the_client_lies(self) -> Path:
        done = self._python("-c", "import logomesh_client; print(logomesh_client.__file__)")
        return Path(done.stdout.strip()).parent.parent

    def _python(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        ours = {"HOME": str(self.home), "LOGOMESH_SECRETS": "file", "PYTHONPATH": str(self.client)}
        return subprocess.run(
            [sys.executable, *arguments], cwd=self.home, env=kept | ours,
            input=given, capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    def connect(self, url: str, space: str) -> None:
        self.logomesh("login", url, "--email", "eva@lab.example", "--password-stdin", given=f"{PASSWORD}\n")
        self.logomesh("attach", "thoughts.sqlite3", "--home", space)

    def titles(self) -> dict[str, str]:
        return {thought["thought_bubble_id"]: thought["title"] for thought in self.app.thoughts()}

    def digest(self, space: str) -> str:
        with LogoMeshFile.open(self.home / "thoughts.sqlite3") as file:
            return f"{file.digest(space).whole:016x}"


@pytest.fixture
def laptops(before: Path, tmp_path: Path) -> Iterator[tuple[Laptop, Laptop]]:
    both = [Laptop.of(tmp_path / name, before / "client") for name in ("desk", "train")]
    with closing(both[0].app), closing(both[1].app):
        yield both[0], both[1]


def test_people_with_unsent_work_go_through_an_upgrade(
    before: Path, laptops: tuple[Laptop, Laptop], tmp_path: Path
) -> None:
    desk, train = laptops
    assert desk.where_the_client_lies() == train.where_the_client_lies() == before / "client"
    data = tmp_path / "data"

    class ServingBefore(Serving):
        root = before

    def manage_before(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=before, env=environment(data, 1),
            input=given, capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    serving: Serving = ServingBefore(data).until_ready()
    try:
        account = [
            "account",
            "eva@lab.example",
            "--workspace",
            "Lab",
            "--role",
            "manager",
            "--password-stdin",
        ]
        line_of(manage_before(*account, given=PASSWORD))
        private = ["--workspace", "Lab", "--owner", "eva@lab.example", "--kind", "private"]
        space = line_of(manage_before("space", "Notes", *private))
        kept, changed, dropped = map(desk.app.create_thought, ("Kept", "To change", "To drop"))
        desk.connect(serving.url, space)
        train.connect(serving.url, space)
        assert train.titles() == desk.titles()
    finally:
        assert serving.end() == 0

    # The server is away, and both go on.
    desk.app.update_thought(changed, title="Changed at the desk")
    new_at_the_desk = desk.app.create_thought("New at the desk")
    desk.logomesh("sync", exits=3)
    train.app.delete_thought(dropped)
    new_in_the_train = train.app.create_thought("New in the train")
    train.logomesh("sync", exits=3)

    older = manage(data, "database", "test")
    assert (older.returncode, "older LogoMesh Server" in older.stdout) == (0, True), older.stdout
    serving = Serving(data, serving.port).until_ready(times=2)
    try:
        newest = manage(data, "database", "test").stdout
        assert "of this version" in newest, newest
        # The desk keeps the client of before; in the train the client, too, is upgraded with work unsent.
        desk.logomesh("sync")
        train.client = ROOT / "client"
        assert train.where_the_client_lies() == ROOT / "client"
        train.logomesh("sync")
        desk.logomesh("sync")
        expected = {
            kept: "Kept", changed: "Changed at the desk",
            new_at_the_desk: "New at the desk", new_in_the_train: "New in the train",
        }  # fmt: skip
        assert desk.titles() == train.titles() == expected
        assert desk.digest(space) == train.digest(space)
        # From then on they work together as ever.
        train.app.update_thought(kept, title="Kept, and seen by both")
        train.logomesh("sync")
        desk.logomesh("sync")
        assert desk.titles()[kept] == "Kept, and seen by both"
        backed_up = line_of(manage(data, "backup", str(tmp_path / "backups")))
        assert Path(backed_up).is_dir()
    finally:
        assert serving.end() == 0
