"""A real server: PostgreSQL, Redis and web processes on loopback, and all that can befall them.

It also looks into the database behind the server's back: that says what became of a push without an answer.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
from psycopg import sql

from logomesh_server.embedded import FOR_TESTS, Service, Wanted, start_services, stop_services
from logomesh_server.folder import DATABASE, Places, prepare_folder
from logomesh_server.processes import start_child
from tests.logomesh_server.processes import free_port

ROOT: Final = Path(__file__).parents[2]
BACKUP: Final = "backup"
# The machine does not crash in these runs, only processes do: what they gave to the kernel stays.
DURABLE_ENOUGH: Final = {**FOR_TESTS, "synchronous_commit": "on", "full_page_writes": "on"}
PATIENCE: Final = 60.0


class Server:
    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="logomesh-fuzz-"))
        self.places = Places.of(self.folder)
        self.port = free_port()
        self.services: list[Service] = []
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    def __enter__(self) -> Server:
        prepare_folder(self.places)
        self.services = start_services(self.places, Wanted(), DURABLE_ENOUGH)
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        stop_services(self.services)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def log(self) -> Path:
        return self.folder / "web.log"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return {
            **kept,
            "DJANGO_SETTINGS_MODULE": "logomesh_server.settings",
            "LOGOMESH_DATA_DIR": str(self.folder),
            "DATABASE_URL": self.places.database_url,
            "REDIS_URL": self.places.redis_url,
            "SECRET_KEY": "only-for-the-fuzzer",
            "LOG_LEVEL": "WARNING",
            "PYTHONPATH": str(ROOT),
        }

    def prepare(self, devices: int, spaces: int) -> dict[str, Any]:
        """Make people, spaces and devices, and start the web processes."""
        made = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.prepare", str(devices), str(spaces)],
            cwd=ROOT, env=self.environment, capture_output=True, text=True,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        self.services.append(Service("Web", self._start_web, signal.SIGTERM, first_to_end=True))
        self.until_ready()
        world: dict[str, Any] = json.loads(made.stdout)
        return world

    def _start_web(self) -> subprocess.Popen[bytes]:
        arguments = [
            sys.executable, "-m", "granian", "--interface", "asgi", "--host", "127.0.0.1",
            "--port", str(self.port), "--workers", "2", "--http", "1", "--no-ws",
            "--respawn-failed-workers", "--respawn-interval", "0.1", "--log-level", "warning",
            "tests.fuzz.faulty:application",
        ]  # fmt: skip
        return start_child(
            arguments, end_with=signal.SIGTERM, environment=self.environment, folder=ROOT, log=self.log
        )

    def until_ready(self) -> None:
        """Wait until the server answers as in its best days."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if self.http.get("/readyz").status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            assert time.monotonic() < deadline, f"The server did not come back:\n{self.said()}"
            time.sleep(0.05)

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    # What can befall it

    def arm(self, point: str, victim: str) -> None:
        """Have the next change set struck down at a point."""
        draft = self.folder / "strike.new"
        draft.write_text(f"{point} {victim}")
        draft.rename(self.folder / "strike")
        self.witness = psycopg.connect(self.places.database_url, autocommit=True)
        self.victim = victim

    def disarm(self) -> bool:
        """Whether it had struck. Where a session of the database was killed, all others have ended too."""
        with self.witness:
            try:
                (self.folder / "strike").unlink()
            except FileNotFoundError:
                if self.victim == "database":
                    self._await_the_end()
                return True
            return False

    def _await_the_end(self) -> None:
        """Wait until PostgreSQL has noticed the death of a session, for which it ends all of them."""
        deadline = time.monotonic() + PATIENCE
        try:
            while time.monotonic() < deadline:
                self.witness.execute("SELECT")
                time.sleep(0.01)
        except psycopg.OperationalError:
            return
        raise AssertionError("PostgreSQL did not notice that a session was killed")

    def purge(self) -> None:
        """Forget all deletions; the command for it spares those of the last day."""
        self._python("-c", "import django; django.setup(); import sync.purging as p; p.purge_tombstones(0)")

    def kill_database(self) -> None:
        """End PostgreSQL as a power cut would, and start it again."""
        postgres = self.services[0]
        postgres.process.send_signal(signal.SIGKILL)
        postgres.process.wait()
        postgres.revive()
        self.until_ready()

    def back_up(self) -> None:
        self._replace(BACKUP, DATABASE)

    def restore(self) -> None:
        """Put the state of the last backup in place of what is there now."""
        self._replace(DATABASE, BACKUP)

    def manage(self, command: str) -> None:
        """What the people who run the server do at its command line."""
        self._python("manage.py", command)

    def _python(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT, env=self.environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def _replace(self, target: str, source: str) -> None:
        owner = sql.Identifier(DATABASE)
        with psycopg.connect(self.places.url_of("postgres", "postgres"), autocommit=True) as admin:
            for name in (target, source):
                admin.execute(
                    sql.SQL("UPDATE pg_database SET datallowconn = false WHERE datname = {}").format(
                        sql.Literal(name)
                    )
                )
                admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
                )
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(target)))
            admin.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
                    sql.Identifier(target), sql.Identifier(source), owner
                )
            )
            admin.execute(
                "UPDATE pg_database SET datallowconn = true WHERE datname = ANY(%s)", [[target, source]]
            )
        self.until_ready()

    # What is in it

    def asked(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.places.database_url) as connection:
            return connection.execute(query, parameters).fetchall()

    def change_sets(self, space: str, after: int = 0) -> list[tuple[int, str | None]]:
        """(version, name of the device) of each change set, in order."""
        return self.asked(
            "SELECT c.version, d.name FROM sync_changeset c"
            " LEFT JOIN workspaces_device d ON d.id = c.device_id"
            " WHERE c.space_id = %s AND c.version > %s ORDER BY c.version",
            space, after,
        )  # fmt: skip

    def receipts(self, space: str) -> dict[tuple[str, str], int]:
        """(person, change_id) -> version"""
        rows = self.asked(
            "SELECT split_part(p.email, '@', 1), r.change_id::text, r.version FROM sync_receipt r"
            " JOIN workspaces_person p ON p.id = r.person_id WHERE r.space_id = %s",
            space,
        )
        return {(person, change_id): version for person, change_id, version in rows}

    def conflicts(self, space: str) -> list[tuple[str, str, str, str, int, dict[str, str]]]:
        return self.asked(
            "SELECT id::text, record_type, record_id, kind, version, proposal FROM sync_conflicts"
            " WHERE space_id = %s ORDER BY version, id",
            space,
        )
