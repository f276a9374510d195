"""Where the database's password may come from: keychain, files, a service. Each is really used."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.logomesh_server.processes import ROOT, environment, manage
from tests.logomesh_server.servers import PASSWORD, Server, server

pytestmark = pytest.mark.xdist_group("checking")
needs_keychain = pytest.mark.skipif(
    not (shutil.which("dbus-run-session") and shutil.which("gnome-keyring-daemon")),
    reason="needs a Secret Service (apt-get install dbus gnome-keyring)",
)


@pytest.fixture(scope="module")
def department() -> Iterator[Server]:
    with server() as made:
        made.sql(
            f"CREATE ROLE lab LOGIN PASSWORD '{PASSWORD}'",
            "CREATE DATABASE department ENCODING 'UTF8' TEMPLATE template0",
        )
        made.sql("CREATE SCHEMA logomesh AUTHORIZATION lab", database="department")
        yield made


def no_secret_below(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            assert PASSWORD.encode() not in path.read_bytes(), path


def signed_in(data: Path, **variables: str) -> None:
    """The configured database lets us in, whatever gives the password."""
    done = manage(data, "database", "test", "--json", **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["address"] != ""


@needs_keychain
@pytest.mark.department
def test_the_system_s_keychain(department: Server, tmp_path: Path) -> None:
    data, home = tmp_path / "data", tmp_path / "home"
    home.mkdir()

    def in_a_session(*steps: str) -> subprocess.CompletedProcess[str]:
        """Shell lines within a session whose keychain is open; `$M` is manage.py."""
        script = "\n".join(
            [
                "set -e",
                f"M='{sys.executable} manage.py'",
                "printf 'keychain' | gnome-keyring-daemon --unlock --components=secrets >/dev/null",
                *steps,
            ]
        )
        return subprocess.run(
            ["dbus-run-session", "--", "sh", "-c", script], cwd=ROOT, capture_output=True, text=True,
            timeout=120, env=environment(data, 1) | {"HOME": str(home), "XDG_DATA_HOME": str(home)},
        )  # fmt: skip

    done = in_a_session(
        f"printf '{PASSWORD}\\n' | $M database set --url '{department.url('department', 'lab')}'"
        " --schema logomesh --ask-password --keep-password keychain",
        "$M database show --json",
        "$M database test",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "can be used." in done.stdout
    assert '"password": "given"' in done.stdout
    assert PASSWORD not in done.stdout + done.stderr
    assert json.loads((data / "database.json").read_text())["password_in"] == "keychain"
    no_secret_below(data)
    assert (home / "keyrings").is_dir(), "it lies there, encrypted"
    no_secret_below(home)

    locked = manage(data, "database", "show", HOME=str(home))
    assert locked.returncode == 1
    assert "keychain does not answer" in locked.stderr
    assert "Traceback" not in locked.stderr
    signed_in(data, DATABASE_PASSWORD=PASSWORD, HOME=str(home))


def test_a_move_does_not_begin_where_the_password_cannot_be_kept(department: Server, tmp_path: Path) -> None:
    line = ["database", "move", "--schema", "logomesh", "--ask-password", "--keep-password", "keychain"]
    done = manage(
        tmp_path / "data", *line, "--to", department.url("department", "lab"),
        given=PASSWORD + "\n", HOME=str(tmp_path), DBUS_SESSION_BUS_ADDRESS="disabled:",
    )  # fmt: skip
    assert (done.returncode, "keychain" in done.stderr) == (1, True), done.stdout + done.stderr
    tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'logomesh'::regnamespace"
    assert department.sql(tables, database="department") == [(0,)]


def test_files_that_hold_the_address_and_the_password(department: Server, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(department.url("department", "lab") + "\n")
    (tmp_path / "password").write_text(PASSWORD + "\n")
    given = {
        "DATABASE_URL_FILE": str(tmp_path / "url"),
        "DATABASE_PASSWORD_FILE": str(tmp_path / "password"),
        "LOGOMESH_DB_SCHEMA": "logomesh",
    }
    signed_in(tmp_path / "data", **given)
    (tmp_path / "password").unlink()
    done = manage(tmp_path / "data", "database", "test", **given)
    assert (done.returncode, "DATABASE_PASSWORD_FILE" in done.stderr) == (1, True)
    assert "Traceback" not in done.stderr


def test_a_password_file_and_a_service_are_remembered_by_name(department: Server, tmp_path: Path) -> None:
    data, passfile, services = tmp_path / "data", tmp_path / "pass", tmp_path / "services"
    passfile.write_text(f"127.0.0.1:{department.port}:department:lab:{PASSWORD}\n")
    passfile.chmod(0o600)
    address = ["--url", department.url("department", "lab"), "--passfile", str(passfile)]
    done = manage(data, "database", "set", *address, "--schema", "logomesh")
    assert done.returncode == 0, done.stdout + done.stderr
    signed_in(data)

    services.write_text(f"[lab]\nhost=127.0.0.1\nport={department.port}\ndbname=department\nuser=lab\n")
    surroundings = {"PGSERVICEFILE": str(services), "PGPASSFILE": str(passfile)}
    done = manage(data, "database", "set", "--service", "lab", "--schema", "logomesh", **surroundings)
    assert done.returncode == 0, done.stdout + done.stderr
    signed_in(data, **surroundings)
    no_secret_below(data)


def test_another_place_leaves_no_secret_in_the_first(department: Server, tmp_path: Path) -> None:
    data = tmp_path / "data"
    line = ["database", "set", "--url", department.url("department", "lab"), "--schema", "logomesh"]
    for keep, kept in (("file", True), ("nowhere", False)):
        done = manage(data, *line, "--ask-password", "--keep-password", keep, given=PASSWORD + "\n")
        assert done.returncode == 0, done.stderr
        assert (data / "database-password").exists() is kept


def test_the_environment_s_password_replaces_the_kept_one_only_where_it_says_so(
    department: Server, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    line = ["--url", department.url("department", "lab"), "--schema", "logomesh", "--ask-password"]
    another = {"DATABASE_PASSWORD": "of another database"}
    for act in ("set", "move"):
        refused = manage(data, "database", act, *line, given=PASSWORD + "\n", **another)
        assert (refused.returncode, "comes first" in refused.stderr) == (1, True), refused.stderr
        assert not (data / "database.json").exists()
    assert manage(data, "database", "set", *line, given=PASSWORD + "\n").returncode == 0
    told = manage(data, "check", **another)
    assert "logomesh.W008" in told.stderr
    assert "logomesh.W008" not in manage(data, "check").stderr
    for secret in (PASSWORD, another["DATABASE_PASSWORD"]):
        assert secret not in told.stderr + told.stdout
