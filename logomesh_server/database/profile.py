"""How a PostgreSQL is reached: where the configuration comes from, and what libpq is told of it.

DATABASE_URL comes first; else what `manage.py database set` wrote into the data folder; else the embedded
PostgreSQL serves. Nothing that libpq understands is parsed here: service files, password files and TLS
options go to it as they are.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import psycopg
from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import make_conninfo

from .. import env

LOCAL_HOSTS: Final = frozenset({"", "localhost", "127.0.0.1", "::1"})
SHOWN_OPTIONS: Final = frozenset(
    {"sslmode", "sslrootcert", "sslcert", "sslkey", "service", "passfile", "channel_binding"}
    | {"target_session_attrs", "application_name", "connect_timeout"}
)
KEYCHAIN: Final = "logomesh-server"
PLACES_OF_SECRETS: Final = ("file", "keychain", "nowhere")
KEPT: Final = "database.json"
KEPT_SECRET: Final = "database-password"  # noqa: S105  (a file name)


@dataclass(frozen=True)
class Profile:
    """A database and whom we are there. The password is never part of what is shown."""

    host: str = ""
    """A name, an address, or the folder of a unix socket; empty: as libpq decides."""
    port: int | None = None
    database: str = ""
    user: str = ""
    schema: tuple[str, ...] = ()
    """The first holds our tables; further ones (say, where pgvector lives) are only read."""
    options: Mapping[str, str] = field(default_factory=dict)
    """What else libpq is told: sslmode, sslrootcert, service, …"""
    password: str = field(default="", repr=False)

    @property
    def is_local(self) -> bool:
        """On this machine: what is said does not travel over a network."""
        return "service" not in self.options and (self.host in LOCAL_HOSTS or self.host.startswith("/"))

    @property
    def address(self) -> str:
        """For people: who, where, which database. Without any secret."""
        if service := self.options.get("service"):
            return f"service {service}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        where = f"{host or 'this machine'}{f':{self.port}' if self.port else ''}"
        return f"{self.user + '@' if self.user else ''}{where}/{self.database}"

    def shown(self) -> dict[str, Any]:
        """Everything but secrets."""
        return {
            "host": self.host,
            "port": self.port,
            "database": self.database,
            "user": self.user,
            "schema": list(self.schema),
            "options": {name: value for name, value in self.options.items() if name in SHOWN_OPTIONS},
            "password": "given" if self.password else "not given",
        }

    def libpq(self, **more: Any) -> dict[str, Any]:
        """The parameters of a connection, for `psycopg.connect`."""
        given = {
            "host": self.host,
            "port": self.port,
            "dbname": self.database,
            "user": self.user,
            "password": self.password,
        }
        found = {name: value for name, value in given.items() if value} | dict(self.options) | more
        if not self.password and "service" not in found:  # a service may have one of its own
            found["password"] = ""  # else libpq would take PGPASSWORD, which is for the configured database
        return found

    def url(self) -> str:
        """A postgresql:// address, without the password."""
        host = "" if self.host.startswith("/") else f"[{self.host}]" if ":" in self.host else self.host
        query = {**({"host": self.host} if self.host.startswith("/") else {}), **self.options}
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"postgresql://{user}{host}{port}/{quote(self.database, safe='')}?{urlencode(query)}"

    def program_environment(self) -> dict[str, str]:
        """For pg_dump and its like: the password stays out of their command lines."""
        return {**os.environ, **({"PGPASSWORD": self.password} if self.password else {})}

    def checked(self) -> Profile:
        """The same, once libpq has understood it. Raises ImproperlyConfigured."""
        if not self.database and "service" not in self.options:
            raise ImproperlyConfigured("The database has no name: postgresql://user@host:5432/NAME.")
        try:
            make_conninfo(**self.libpq())
        except psycopg.ProgrammingError as error:
            raise ImproperlyConfigured(f"The database's configuration is not understood: {error}.") from None
        return self

    def secured(self) -> Profile:
        """A server elsewhere is asked for a verified certificate unless something else was asked for.

        Passwords and research data must not travel to whoever answers.
        """
        if (
            self.is_local
            or "service" in self.options
            or "sslmode" in self.options
            or "PGSSLMODE" in os.environ
        ):
            return self
        options = {**self.options, "sslmode": "verify-full"}
        if "PGSSLROOTCERT" not in os.environ and not Path("~/.postgresql/root.crt").expanduser().exists():
            options.setdefault("sslrootcert", "system")
        return replace(self, options=options)


def from_url(url: str, *, password: str = "", schema: tuple[str, ...] = ()) -> Profile:
    """A postgresql:// address; its query goes to libpq as it is. Raises ImproperlyConfigured."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its words would repeat a part of the url, and that may be one of the password
        raise _unreadable() from None
    if "@" in parts.path or parts.fragment:  # what follows a / or # in the password is no name of a host
        raise _unreadable()
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured(
            "The database's address must look like postgresql://user:password@host:5432/database;"
            f" it begins with {parts.scheme + '://' if parts.scheme else 'no scheme'}."
        )
    options = dict(parse_qsl(parts.query))
    in_query = {name: options.pop(name, "") for name in ("host", "port", "dbname", "user", "password")}
    if in_query["port"]:
        port = port_number(in_query["port"])
    return Profile(
        host=in_query["host"] or unquote(parts.hostname or ""),
        port=port,
        database=in_query["dbname"] or unquote(parts.path.lstrip("/")),
        user=in_query["user"] or unquote(parts.username or ""),
        schema=schema,
        options=options,
        password=in_query["password"] or unquote(parts.password or "") or password,
    ).checked()


def _unreadable() -> ImproperlyConfigured:
    return ImproperlyConfigured(
        "The database's address cannot be read: write postgresql://user:password@host:5432/database, with"
        " %2F for a / in the password, %3A for :, %40 for @, %23 for #."
    )


def password_of_the_environment() -> str:
    """DATABASE_PASSWORD, or else the one that libpq itself would read."""
    return env.text("DATABASE_PASSWORD") or env.text("PGPASSWORD")


def chosen(folder: Path) -> Profile | None:
    """The database that the environment or the data folder names; None: the embedded one serves.

    Raises ImproperlyConfigured.
    """
    schema = tuple(env.listing("LOGOMESH_DB_SCHEMA"))
    if url := env.text("DATABASE_URL"):
        with _named("DATABASE_URL"):
            return from_url(url, password=password_of_the_environment(), schema=schema).secured()
    found = kept(folder)
    if found is None:
        return None
    return replace(found, schema=schema or found.schema).secured()


@contextmanager
def _named(variable: str) -> Iterator[None]:
    """Say which variable it is that makes no sense."""
    try:
        yield
    except ImproperlyConfigured as error:
        raise ImproperlyConfigured(f"{variable}: {error}") from None


def same_door(one: Profile, other: Profile) -> bool:
    """Whether a password for the one goes to the same server, role and database, as well protected."""
    return replace(one, schema=(), password="") == replace(other, schema=(), password="")


def replica(primary: Profile) -> Profile | None:
    """The replica that DATABASE_REPLICA_URL names, for large reads. Raises ImproperlyConfigured."""
    if not (url := env.text("DATABASE_REPLICA_URL")):
        return None
    password = env.text("DATABASE_REPLICA_PASSWORD") or primary.password
    with _named("DATABASE_REPLICA_URL"):
        named = from_url(url, password=password, schema=primary.schema).secured()
    return replace(named, user=named.user or primary.user)


# --- kept in the data folder ----------------------------------------------------------------------------


def kept(folder: Path) -> Profile | None:
    """What `keep` wrote. Raises ImproperlyConfigured where it cannot be read."""
    path = folder / KEPT
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ImproperlyConfigured(f"{path} cannot be read: {error}.") from None
    try:
        profile = Profile(
            said["host"],
            said["port"],
            said["database"],
            said["user"],
            tuple(said["schema"]),
            dict(said["options"]),
        )
        where = said["password_in"]
    except (KeyError, TypeError) as error:
        raise ImproperlyConfigured(f"{path} is not complete: {error}.") from None
    password = env.text("DATABASE_PASSWORD") or _kept_password(folder, profile, where)
    return replace(profile, password=password or password_of_the_environment()).checked()


def keeps_a_password(folder: Path) -> bool:
    """Whether `keep` put one somewhere."""
    try:
        where = json.loads((folder / KEPT).read_text(encoding="utf-8"))["password_in"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return where in {"file", "keychain"}


def keep(folder: Path, profile: Profile, kept_in: str) -> None:
    """Remember a database in the data folder.

    `kept_in` says where its password goes: "keychain", "file" (readable by its owner only), or "nowhere"
    (the environment, a password file or a certificate gives it). Raises ImproperlyConfigured.
    """
    check_keeping(profile, kept_in)
    folder.mkdir(parents=True, exist_ok=True)
    if kept_in == "keychain":
        _in_keychain("set_password", profile, profile.password)
    if kept_in == "file":
        _write_private(folder / KEPT_SECRET, profile.password)
    else:
        (folder / KEPT_SECRET).unlink(missing_ok=True)
    said = profile.shown() | {"options": dict(profile.options), "password_in": kept_in}
    del said["password"]
    _write_private(folder / KEPT, json.dumps(said, indent=1) + "\n")


def check_keeping(profile: Profile, kept_in: str) -> None:
    """Raises ImproperlyConfigured where it cannot be kept so; asked before a long move that ends with it."""
    if env.text("DATABASE_PASSWORD") not in {"", profile.password}:
        raise ImproperlyConfigured(
            "DATABASE_PASSWORD holds another password than this one and comes first: change it, or remove it."
        )
    if "sslpassword" in profile.options:
        raise ImproperlyConfigured("sslpassword is a secret: take a key without a passphrase, mode 0600.")
    if kept_in == "keychain":
        _in_keychain("get_password", profile)


def forget(folder: Path) -> None:
    """From the next start on, the embedded PostgreSQL serves again."""
    (folder / KEPT).unlink(missing_ok=True)
    (folder / KEPT_SECRET).unlink(missing_ok=True)


def _kept_password(folder: Path, profile: Profile, where: str) -> str:
    if where == "keychain":
        return str(_in_keychain("get_password", profile) or "")
    if where != "file":
        return ""
    path = folder / KEPT_SECRET
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise ImproperlyConfigured(f"Others can read {path}: run `chmod 600 {path}`.")
        return path.read_text(encoding="utf-8").rstrip("\n")
    except OSError as error:
        raise ImproperlyConfigured(f"{path} cannot be read: {error.strerror}.") from None


def _in_keychain(act: str, profile: Profile, *more: str) -> Any:
    """What the keychain answers. Raises ImproperlyConfigured where there is none, or it is locked."""
    if importlib.util.find_spec("keyring") is None:
        raise ImproperlyConfigured(
            "The system's keychain needs the package keyring: `pip install keyring`, or keep the password in"
            " a file."
        )
    keyring = importlib.import_module("keyring")
    try:
        return getattr(keyring, act)(KEYCHAIN, profile.address, *more)
    except keyring.errors.KeyringError as error:
        raise ImproperlyConfigured(
            f"The system's keychain does not answer ({type(error).__name__}): unlock it, or give the password"
            " with DATABASE_PASSWORD."
        ) from None


def _write_private(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(
        os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
    draft.replace(path)


def port_number(text: str) -> int:
    """Raises ImproperlyConfigured."""
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise ImproperlyConfigured(f"The port {text!r} is no number from 1 to 65535.")
    return int(text)


# --- as Django is told ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Habits:
    """How we use our connections. Times are in seconds; 0 means no limit."""

    connections: int
    """At most so many for one process."""
    pooled_by_transaction: bool = False
    """A pooler in between gives us another session for each transaction."""
    pool: bool = True
    """Connections are kept for the next request; else each makes its own."""
    prepared: bool = True
    """Statements may be prepared: the hot paths ask for it."""
    statement_seconds: int = 300
    lock_seconds: int = 30
    idle_in_transaction_seconds: int = 60


# psycopg prepares a statement when it is asked to, or after so many uses: we want only the first.
_ONLY_WHEN_ASKED: Final = 2**31


def django(profile: Profile, habits: Habits) -> dict[str, Any]:
    """An entry of DATABASES."""
    options: dict[str, Any] = {
        # Whether somebody answers is known soon, and a connection to a host that vanished ends by itself.
        "connect_timeout": "5",
        "keepalives_idle": "30",
        "keepalives_interval": "10",
        "keepalives_count": "3",
        "tcp_user_timeout": "30000",
        "application_name": "logomesh",
        **profile.options,
        "prepare_threshold": _ONLY_WHEN_ASKED if habits.prepared else None,
    }
    if habits.pool:
        # An attempt to reconnect is given up soon, so that the next request begins a new one: the pool's own
        # pauses grow to minutes, and a database that is back would wait for us.
        sizes = {"min_size": 0, "max_size": habits.connections}
        options["pool"] = {**sizes, "timeout": 5, "reconnect_timeout": 2}
    return {
        "ENGINE": "logomesh_server.database.backend",
        "NAME": profile.database,
        "USER": profile.user,
        "PASSWORD": profile.password,
        "HOST": profile.host,
        "PORT": str(profile.port or ""),
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": False,  # the backend has a check of its own that costs nothing
        "DISABLE_SERVER_SIDE_CURSORS": habits.pooled_by_transaction,
        "OPTIONS": options,
        # Said after connecting, since a PgBouncer knows no options of a connection.
        "SESSION": {} if habits.pooled_by_transaction else session_settings(profile, habits),
    }


def session_settings(profile: Profile, habits: Habits) -> dict[str, str]:
    """What every session of ours has set. Behind a pooler it is the role that has them."""
    set_to = {
        "statement_timeout": f"{habits.statement_seconds}s",
        "lock_timeout": f"{habits.lock_seconds}s",
        "idle_in_transaction_session_timeout": f"{habits.idle_in_transaction_seconds}s",
    }
    return ({"search_path": search_path(profile)} if profile.schema else {}) | set_to


def search_path(profile: Profile) -> str:
    return ",".join(quoted(name) for name in profile.schema)


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def role_settings(profile: Profile, habits: Habits) -> list[str]:
    """SQL that gives the role its settings: a pooler passes no `options` on. A role may do it for itself."""
    where = f"ALTER ROLE {quoted(profile.user)} IN DATABASE {quoted(profile.database)}"
    return [
        f"{where} SET {name} = {value if name == 'search_path' else repr(value)};"
        for name, value in session_settings(profile, habits).items()
    ]
