"""The embedded services: started, ended, killed; and data folders that cannot be used."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from logomesh_server import embedded, folder
from logomesh_server.embedded import FOR_TESTS, Service, Wanted, start_services, stop_services
from logomesh_server.folder import CannotStart, FolderLock, Places, prepare_folder

# Durable here, since the tests kill: only the machine's own crash is not part of them.
SETTINGS = {**FOR_TESTS, "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    places = Places.of(tmp_path / "data")
    prepare_folder(places)
    yield places
    if places.run.parent == Path("/tmp"):
        shutil.rmtree(places.run, ignore_errors=True)


def processes_of(places: Places) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        of_ours = any(str(places.data) in part for part in process.info["cmdline"] or ())
        if of_ours and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def start(places: Places) -> list[Service]:
    return start_services(places, Wanted(), SETTINGS)


def test_data_outlives_a_restart(places: Places) -> None:
    running = start(places)
    with psycopg.connect(places.database_url) as connection:
        connection.execute("CREATE TABLE kept (word text)")
        connection.execute("INSERT INTO kept VALUES ('ἀρχή')")
    assert redis.Redis.from_url(places.redis_url).ping()
    stop_services(running)
    assert processes_of(places) == []

    begun = time.monotonic()
    running = start(places)
    assert time.monotonic() - begun < 5
    with psycopg.connect(places.database_url) as connection:
        assert connection.execute("SELECT word FROM kept").fetchone() == ("ἀρχή",)
        extension = connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'")
        assert extension.fetchone()
        (superuser,) = connection.execute(
            "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert not superuser
    stop_services(running)


def test_only_the_owner_reaches_the_sockets(places: Places) -> None:
    running = start(places)
    assert places.run.stat().st_mode & 0o077 == 0
    assert places.postgres.stat().st_mode & 0o077 == 0
    stop_services(running)


def test_a_killed_service_is_started_again(places: Places) -> None:
    running = start(places)
    postgres, _ = running
    with psycopg.connect(places.database_url) as connection:
        connection.execute("CREATE TABLE kept (number int)")
    with psycopg.connect(places.database_url) as connection:
        connection.execute("INSERT INTO kept VALUES (1)")
    for service in running:
        os.kill(service.process.pid, signal.SIGKILL)
        service.process.wait()
        assert service.revive()
    with psycopg.connect(places.database_url) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (1,)
    assert redis.Redis.from_url(places.redis_url).ping()
    assert not postgres.revive()
    stop_services(running)


def test_orphans_of_a_killed_supervisor_do_not_stand_in_the_way(places: Places) -> None:
    program = (
        "import os, sys, time; from pathlib import Path\n"
        "from logomesh_server.embedded import *; from logomesh_server.folder import Places\n"
        f"start_services(Places.of(Path({str(places.data)!r})), Wanted())\n"
        "print('up', flush=True); time.sleep(60)"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    assert supervisor.stdout.readline() == "up\n"
    supervisor.kill()
    supervisor.wait()
    running = start(places)
    with psycopg.connect(places.database_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    stop_services(running)
    assert processes_of(places) == []


def test_a_long_path_gets_a_short_socket_folder(tmp_path: Path) -> None:
    places = Places.of(tmp_path / ("a-long-name-" * 10) / "data")
    assert len(os.fsencode(places.run / ".s.PGSQL.5432")) < 104
    assert Places.of(places.data) == places
    prepare_folder(places)
    running = start(places)
    stop_services(running)
    shutil.rmtree(places.run)


def test_a_data_folder_of_another_postgresql_is_left_alone(places: Places) -> None:
    places.postgres.mkdir()
    (places.postgres / "PG_VERSION").write_text("16\n")
    with pytest.raises(CannotStart, match=r"PostgreSQL 16.*comes with PostgreSQL 18.*Nothing was changed"):
        prepare_folder(places)
    assert [path.name for path in places.postgres.iterdir()] == ["PG_VERSION"]


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        ('{"layout": 99, "product": "7.0.0", "postgres": 31}', "written by LogoMesh Server 7.0.0"),
        ("not JSON", "may belong to another program"),
        ("[]", "may belong to another program"),
    ],
)
def test_a_data_folder_of_another_version_is_left_alone(places: Places, marker: str, said: str) -> None:
    (places.data / "version").write_text(marker)
    with pytest.raises(CannotStart, match=said):
        prepare_folder(places)
    assert (places.data / "version").read_text() == marker


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CannotStart, match="is a file, not a folder"):
        prepare_folder(Places.of(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"


def test_no_right_to_write(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o555)
    program = (
        "import os; from pathlib import Path\n"
        "from logomesh_server.folder import *\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try:\n"
        f"    prepare_folder(Places.of(Path({str(tmp_path / 'closed' / 'data')!r})))\n"
        "except CannotStart as error:\n    print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout
    assert "cannot be written" in said
    assert "LOGOMESH_DATA_DIR" in said


def test_too_little_room(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "LEAST_FREE_BYTES", 2**62)
    with pytest.raises(CannotStart, match=r"is full .* make room"):
        prepare_folder(places)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = tmp_path / "small"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", mount], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield mount
    subprocess.run(["umount", "--lazy", mount], check=True)


def test_a_full_disk_during_the_first_start(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "LEAST_FREE_BYTES", 0)
    places = Places.of(small_disk / "data")
    prepare_folder(places)
    with pytest.raises(CannotStart, match=r"could not be made|full"):
        start(places)
    assert not places.postgres.exists()
    assert not (places.data / "postgres.new").exists()
    assert processes_of(places) == []


def test_the_cause_of_a_failed_start_is_told_and_not_what_followed(places: Places, tmp_path: Path) -> None:
    said = (
        'postgres: could not access directory "postgres.new": Permission denied',
        "child process exited with exit code 1",
        "initdb: error: failed to remove contents of data directory",
    )
    program = tmp_path / "initdb"
    program.write_text("#!/bin/sh\n" + "".join(f"echo '{line}' >&2\n" for line in said) + "exit 1\n")
    program.chmod(0o755)
    places.data.mkdir(exist_ok=True)
    with pytest.raises(CannotStart, match="Permission denied"):
        embedded._initialise(places, tmp_path, None, durable=False)


def test_a_full_disk_before_the_first_start(small_disk: Path) -> None:
    places = Places.of(small_disk / "data")
    with pytest.raises(CannotStart, match="full"):
        prepare_folder(places)


def test_a_folder_has_one_holder(places: Places) -> None:
    first, second = FolderLock(places, "serve"), FolderLock(places, "a management command")
    assert first.take()
    assert not second.take()
    assert second.held_by() == f"serve, process {os.getpid()}"
    assert not second.holder_is_ready()
    first.say_ready()
    assert second.holder_is_ready()
    first.release()
    assert second.take()
    second.release()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_runs_the_services_himself(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    if not _may_run_python(nobody.pw_uid):
        pytest.skip("this Python lies in a folder that only root may enter")
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    for parent in tmp_path.parents:
        parent.chmod(parent.stat().st_mode | 0o001)
    tmp_path.chmod(0o711)
    program = (
        "from pathlib import Path\n"
        "from logomesh_server.embedded import *; from logomesh_server.folder import *\n"
        f"places = Places.of(Path({str(home / 'data')!r})); prepare_folder(places)\n"
        "running = start_services(places, Wanted()); stop_services(running); print('fine')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True,
        user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[],
        env={"PYTHONPATH": str(Path.cwd()), "PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert done.stdout == "fine\n", done.stderr


def _may_run_python(user: int) -> bool:
    try:
        return subprocess.run([sys.executable, "--version"], user=user, capture_output=True).returncode == 0
    except PermissionError:
        return False
