"""The data folder: where its parts lie, whose it is at the moment, and whether this version can use it.

<data folder>/version       which product and PostgreSQL versions the folder is for
             /server.lock   held by whoever runs the services: `serve`, or a management command
             /postgres/     PostgreSQL's own data folder
             /redis/        nothing of value: Redis only wakes jobs and holds caches
             /run/          sockets and process ids (elsewhere when the path is too long for a socket)
             /logs/         what PostgreSQL and Redis say
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import pwd
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

from .version import NAME, VERSION

POSTGRES_MAJOR: Final = 18
DATABASE: Final = "logomesh"  # also the name of its owner's role
LAYOUT: Final = 1  # of the data folder; counts up when a new version can no longer read it
SOCKET_PATH_LIMIT: Final = 103  # bytes; Linux takes 107, macOS 103
LEAST_FREE_BYTES: Final = 200 * 1024**2  # below this, PostgreSQL is not started: it would stop half-way


class CannotStart(Exception):
    """The services cannot be started; the message is one sentence for the person at the terminal."""


@dataclass(frozen=True)
class Places:
    """Where the parts of a data folder lie."""

    data: Path
    run: Path

    @classmethod
    def of(cls, data: Path) -> "Places":
        """The places of a data folder; sockets go to a short path when the folder's own is too long."""
        run = data / "run"
        if len(os.fsencode(run / ".s.PGSQL.5432.lock")) > SOCKET_PATH_LIMIT:
            name = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
            run = Path("/tmp") / f"logomesh-{name}"  # noqa: S108  (whose it is is checked before use)
        return cls(data, run)

    @property
    def postgres(self) -> Path:
        return self.data / "postgres"

    @property
    def redis(self) -> Path:
        return self.data / "redis"

    @property
    def redis_socket(self) -> Path:
        return self.run / "redis.sock"

    @property
    def database_url(self) -> str:
        return self.url_of(DATABASE)

    @property
    def redis_url(self) -> str:
        return f"unix://{self.redis_socket}"

    def url_of(self, database: str, user: str = DATABASE) -> str:
        return f"postgresql://{user}@/{database}?host={quote(str(self.run), safe='')}"


class FolderLock:
    """The right to run services on a data folder, held until `release` or the end of the process."""

    def __init__(self, places: Places, holder: str) -> None:
        self._path = places.data / "server.lock"
        self._holder = holder
        self._file: IO[str] | None = None

    def take(self) -> bool:
        """Whether this process now holds the folder."""
        file = self._path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        self._say(ready=False)
        return True

    def held_by(self) -> str:
        """What the present holder calls itself, for messages; "" when nobody says."""
        try:
            said = json.loads(self._path.read_text())
            return f"{said['holder']}, process {said['pid']}"
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def say_ready(self) -> None:
        """Tell commands that wait for the folder's services that these can be used."""
        assert self._file is not None
        self._say(ready=True)

    def holder_is_ready(self) -> bool:
        try:
            return bool(json.loads(self._path.read_text())["ready"])
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _say(self, *, ready: bool) -> None:
        assert self._file is not None
        self._file.truncate(0)
        self._file.write(json.dumps({"holder": self._holder, "pid": os.getpid(), "ready": ready}))
        self._file.flush()

    def release(self) -> None:
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None


def prepare_folder(places: Places) -> None:
    """Make the data folder and check that it is ours, writable, of this version, and has room.

    Raises CannotStart; the folder is then as it was.
    """
    data = places.data
    try:
        data.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data):
            pass
    except FileExistsError as error:
        raise CannotStart(
            f"{data} is a file, not a folder: choose another data folder with LOGOMESH_DATA_DIR."
        ) from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise CannotStart(_disk_is_full(data)) from error
        raise CannotStart(
            f"The data folder {data} cannot be written ({error.strerror}): give {_me()} the right to write"
            " there, or choose another folder with LOGOMESH_DATA_DIR."
        ) from error
    _check_version(places)
    if shutil.disk_usage(data).free < LEAST_FREE_BYTES:
        raise CannotStart(_disk_is_full(data))


def _check_version(places: Places) -> None:
    marker = places.data / "version"
    try:
        found = json.loads(marker.read_text())
        layout = int(found["layout"])
    except FileNotFoundError:
        layout = LAYOUT
    except (ValueError, KeyError, TypeError) as error:
        raise CannotStart(
            f"{marker} is not readable, so {places.data} may belong to another program: choose another"
            " data folder with LOGOMESH_DATA_DIR."
        ) from error
    if layout != LAYOUT:
        raise CannotStart(
            f"The data folder {places.data} was written by {NAME} {found.get('product', '(unknown)')}, which"
            f" this version ({VERSION}) cannot read: start the version that wrote it, or choose another"
            " folder with LOGOMESH_DATA_DIR. Nothing was changed."
        )
    with contextlib.suppress(FileNotFoundError):
        major = (places.postgres / "PG_VERSION").read_text().strip()
        if major != str(POSTGRES_MAJOR):
            raise CannotStart(
                f"{places.postgres} holds data of PostgreSQL {major}, and this version comes with PostgreSQL"
                f" {POSTGRES_MAJOR}: export it with the version that wrote it (pg_dump), or choose another"
                " folder with LOGOMESH_DATA_DIR. Nothing was changed."
            )


def mark_version(places: Places) -> None:
    """Write down which versions the folder is for, once it has been put to use."""
    said = {"layout": LAYOUT, "product": VERSION, "postgres": POSTGRES_MAJOR}
    (places.data / "version").write_text(json.dumps(said) + "\n")


def _disk_is_full(data: Path) -> str:
    return (
        f"The disk that holds {data} is full (less than {LEAST_FREE_BYTES // 1024**2} MB free):"
        " make room, or choose another folder with LOGOMESH_DATA_DIR. Nothing was changed."
    )


def _me() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"
