"""Runs the whole server as one process tree: databases, web, background work; `manage.py serve` calls it."""

import contextlib
import hashlib
import json
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Final, cast

import psutil
import psycopg
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.db import DatabaseError, ProgrammingError, connection, connections
from django.db.backends.postgresql.base import DatabaseWrapper

from . import env
from .database import profile
from .database.checking import examine
from .database.needs import of_this_server
from .database.verdicts import as_lines
from .embedded import STOP_SECONDS, Service, start_services, wanted
from .folder import CannotStart, FolderLock, Places, prepare_folder
from .processes import end_group, start_child
from .version import NAME, VERSION

logger = logging.getLogger(__name__)

WATCH_SECONDS: Final = 0.2  # how soon a dead child is noticed
SETTLED_SECONDS: Final = 10  # a child that dies sooner is started again with growing pauses
LONGEST_PAUSE: Final = 30.0
# Its warning about root is not for us: tasks come from our own Redis, as JSON.
CELERY: Final = (
    sys.executable, "-W", "ignore:You're running the worker", "-m", "celery", "--quiet",
    "-A", "logomesh_server.celery",
)  # fmt: skip
PATIENCE_SECONDS: Final = 30  # for a management command that holds the folder, and for the web to answer


def serve(host: str, port: int, say: Callable[[str], None]) -> None:
    """Run until SIGINT, SIGTERM or SIGHUP. Raises CannotStart, with everything ended again."""
    places: Places = settings.PLACES
    address = settings.PUBLIC_URL or f"http://{_reachable(host)}:{port}"
    with _until_a_signal(), _folder_for_us(places) as lock:
        _end_orphans(places)
        _check_port(host, port)
        _raise_file_limit()
        tree = Tree(places)
        try:
            for service in start_services(places, wanted()):
                tree.add(service)
            say(f"{NAME} {VERSION}, data in {settings.DATA_DIR}")
            for name in env.unknown_names():
                say(f"Warning: nothing reads the variable {name}.")
            _prepare_database()
            _collect_static(places)
            _clear_incoming()
            link = _first_link(address)
            _postgres().close()
            _postgres().close_pool()
            tree.add(_part("Web", web_arguments(host, port), stop_seconds=10))
            # A job goes on from its checkpoint at the next start: no need to wait long for its end.
            tree.add(_part("Worker", worker_arguments(), stop_seconds=3))
            tree.add(_part("Beat", beat_arguments(), stop_seconds=3))
            _wait_for_an_answer(host, port)
            lock.say_ready()
            say(f"Ready at {address} (Ctrl-C ends it)")
            if link:
                say(f"Create the first account here; the link works once:\n  {link}")
            while True:
                tree.revive()
                time.sleep(WATCH_SECONDS)
        finally:
            say("Ending …")
            tree.stop()


@contextlib.contextmanager
def _until_a_signal() -> Iterator[None]:
    """Leave the block on the first signal that asks us to end; later ones do not disturb the end."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def leave(number: int, frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, leave)
    with contextlib.suppress(KeyboardInterrupt):
        yield


@contextlib.contextmanager
def _folder_for_us(places: Places) -> Iterator[FolderLock]:
    prepare_folder(places)
    lock = FolderLock(places, "serve")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not lock.take():
        if lock.held_by().startswith("serve") or time.monotonic() > deadline:
            raise CannotStart(
                f"A server already runs on the data folder {places.data} ({lock.held_by() or 'unknown'}):"
                " end it first, or choose another folder with LOGOMESH_DATA_DIR."
            )
        time.sleep(0.1)
    try:
        yield lock
    finally:
        lock.release()


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError as error:
            raise CannotStart(
                f"Port {port} needs more rights than you have: choose one above 1023 with PORT."
            ) from error
        except OSError as error:
            raise CannotStart(
                f"Port {port} on {host} cannot be used ({error.strerror}): end the program that uses it, or"
                f" choose another with PORT, for instance PORT={port + 1}."
            ) from error


def _reachable(host: str) -> str:
    if host in {"0.0.0.0", "::"}:  # noqa: S104  (compared, not bound)
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))


# --- before the first request --------------------------------------------------------------------------


def _postgres() -> DatabaseWrapper:
    return cast(DatabaseWrapper, connections["default"])


def _prepare_database() -> None:
    """Create or upgrade the tables, in a database that has passed the test."""
    found = examine(settings.DATABASE, of_this_server())
    if failed := [verdict for verdict in found if verdict.failed]:
        lines = (line for verdict in failed for line in as_lines(verdict))
        raise CannotStart(f"{settings.DATABASE.address} cannot be used:\n" + "\n".join(lines))
    try:
        if settings.DATABASE_SCHEMA:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT to_regnamespace(%s) IS NULL", [profile.quoted(settings.DATABASE_SCHEMA[0])]
                )
                if cursor.fetchone()[0]:
                    cursor.execute(f"CREATE SCHEMA {profile.quoted(settings.DATABASE_SCHEMA[0])}")
        call_command("migrate", verbosity=0, interactive=False)
    except ProgrammingError as error:
        if not isinstance(error.__cause__, psycopg.errors.InsufficientPrivilege):
            raise
        raise CannotStart(
            f"The tables are not of this version yet, and {settings.DATABASE.user} may not change them: run"
            " `manage.py migrate` with the role that owns them (DATABASE_URL), then start again."
        ) from error
    except DatabaseError as error:
        raise CannotStart(
            f"The database {settings.DATABASE.address} cannot be used: {str(error).strip().splitlines()[-1]}"
        ) from error


def _collect_static(places: Places) -> None:
    """Gather and compress the static files, unless they are the ones gathered last time."""
    fingerprint = hashlib.sha256(VERSION.encode())
    for finder in get_finders():
        for path, storage in finder.list([]):
            fingerprint.update(f"{path} {storage.size(path)} {storage.get_modified_time(path)}".encode())
    marker = Path(settings.STATIC_ROOT) / ".gathered"
    if marker.exists() and marker.read_text() == fingerprint.hexdigest():
        return
    call_command(
        "collectstatic", verbosity=0, interactive=False, clear=marker.parent.is_relative_to(places.data)
    )
    marker.write_text(fingerprint.hexdigest())


def _clear_incoming() -> None:
    """Remove the parts of requests that a killed run was reading."""
    folder: Path = settings.INTAKE["spool"]
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.iterdir():
        left.unlink()


def _first_link(address: str) -> str | None:
    """Where the first person makes an account; None once there is one."""
    from workspaces.invitations import first_account_link
    from workspaces.models import Person

    return None if Person.objects.exists() else first_account_link(address)


def _wait_for_an_answer(host: str, port: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    request = urllib.request.Request(f"http://{_reachable(host)}:{port}/livez", headers={"Host": "localhost"})
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(request, timeout=2).close()  # noqa: S310  (our own address)
        except urllib.error.HTTPError:
            return  # an answer, if not a friendly one
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise CannotStart(
        f"The web server did not answer on {host}:{port} within {PATIENCE_SECONDS} s; see above."
    )


# --- the process tree ----------------------------------------------------------------------------------


class Tree:
    """Our children, in the order they were started; written down so that a later run can find orphans."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._services: list[Service] = []
        self._failures: dict[str, int] = {}
        self._not_before: dict[str, float] = {}
        self._since: dict[str, float] = {}

    def add(self, service: Service) -> None:
        self._services.append(service)
        self._since[service.name] = time.monotonic()
        self._write()

    def revive(self) -> None:
        """Start again what has died, with growing pauses where it dies again and again."""
        for service in self._services:
            now = time.monotonic()
            if service.process.poll() is None or now < self._not_before.get(service.name, 0):
                continue
            if now - self._since[service.name] > SETTLED_SECONDS:
                self._failures[service.name] = 0
            self._failures[service.name] = failures = self._failures.get(service.name, 0) + 1
            self._not_before[service.name] = now + min(LONGEST_PAUSE, 0.5 * 2 ** (failures - 1))
            logger.warning("%s ended unexpectedly; starting it again.", service.name)
            try:
                service.revive()
            except CannotStart as error:
                logger.error(str(error))
            self._since[service.name] = time.monotonic()
            self._write()

    def stop(self) -> None:
        """End all: first what uses the databases, together, and then these."""
        for service in self._services:
            if service.first_to_end:
                service.ask_to_stop()
        for service in reversed(self._services):
            service.stop()
        self._file.unlink(missing_ok=True)

    @property
    def _file(self) -> Path:
        return self._places.data / "processes.json"

    def _write(self) -> None:
        entries = []
        for service in self._services:
            with contextlib.suppress(psutil.NoSuchProcess):
                started = psutil.Process(service.process.pid).create_time()
                entries.append(
                    {
                        "name": service.name,
                        "pid": service.process.pid,
                        "started": started,
                        "end_with": int(service.end_with),
                    }
                )
        self._file.write_text(json.dumps(entries))


def _end_orphans(places: Places) -> None:
    """End what a killed run left behind on this folder; we hold its lock, so it is nobody else's."""
    file = places.data / "processes.json"
    try:
        entries = json.loads(file.read_text())
    except (OSError, ValueError):
        return
    for entry in reversed(entries):
        with contextlib.suppress(psutil.NoSuchProcess, KeyError, TypeError):
            if psutil.Process(entry["pid"]).create_time() == entry["started"]:
                logger.warning("Ending %s, which an earlier run left behind.", entry["name"])
                end_group(entry["pid"], signal.Signals(entry["end_with"]), STOP_SECONDS)
    file.unlink(missing_ok=True)


# --- the parts, also run one by one where containers or systemd do the supervising -----------------------


def web_arguments(host: str, port: int, processes: int | None = None) -> list[str]:
    """The command line of the web server, with as many web processes as WEB_CONCURRENCY says or are named."""
    processes = processes or env.number("WEB_CONCURRENCY", 2, least=1, most=64)
    return [
        sys.executable, "-m", "granian", "--interface", "asgi", "--host", host, "--port", str(port),
        "--workers", str(processes), "--http", "1", "--no-ws",
        "--backlog", "2048", "--backpressure", "4096", "--http1-header-read-timeout", "15000",
        "--respawn-failed-workers", "--respawn-interval", "0.5", "--workers-kill-timeout", "5",
        "--log-level", "warning", "logomesh_server.asgi:application",
    ]  # fmt: skip


def worker_arguments() -> list[str]:
    """The command line of the Celery worker."""
    concurrency = env.number("WORKER_CONCURRENCY", 2, least=1, most=64)
    return [
        *CELERY, "worker", "--loglevel", "WARNING", "--concurrency", str(concurrency),
        "--without-gossip", "--without-mingle", "--hostname", "worker@%h",
    ]  # fmt: skip


def beat_arguments() -> list[str]:
    """The command line of Celery's clock."""
    schedule = settings.CELERY_BEAT_SCHEDULE_FILENAME
    return [*CELERY, "beat", "--loglevel", "WARNING", "--schedule", schedule, "--pidfile", ""]


def environment() -> dict[str, str]:
    """What the parts are told besides their command line."""
    return {**os.environ, "DJANGO_SETTINGS_MODULE": "logomesh_server.settings"}


def _part(name: str, arguments: list[str], stop_seconds: float) -> Service:
    def start() -> "subprocess.Popen[bytes]":
        return start_child(
            arguments, end_with=signal.SIGTERM, environment=environment(), folder=settings.BASE_DIR
        )

    return Service(name, start, signal.SIGTERM, stop_seconds, first_to_end=True)
