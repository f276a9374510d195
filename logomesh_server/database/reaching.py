"""The way to a PostgreSQL, before anybody signs in: its name, its port, its TLS, and then the sign-in.

libpq says in one sentence that a connection failed. People who must call somebody about it need to know
whom: name service, firewall, certificate, or the database's own administrator. So each part is tried alone.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import queue
import re
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from .profile import Profile
from .verdicts import Status, Stop, Verdict

SECONDS: Final = 5  # patience with each part
_SSL_REQUEST: Final = struct.pack("!ii", 8, 80877103)
_VERIFYING: Final = {"verify-ca", "verify-full"}
_NEEDING_TLS: Final = {"require", *_VERIFYING}
_WITHOUT_TLS: Final = {"disable", "allow"}
_OF_A_HOST_NAME: Final = {62, 63, 64}  # OpenSSL's X509_V_ERR_…_MISMATCH
_EXPIRED: Final = 10


@dataclass(frozen=True, slots=True)
class Place:
    """An address that a name stands for, as the socket module has it."""

    family: socket.AddressFamily
    address: Any

    def __str__(self) -> str:
        return str(self.address[0] if isinstance(self.address, tuple) else self.address)


def port_of(profile: Profile) -> int:
    return profile.port or 5432


def resolve(profile: Profile) -> tuple[list[Place], Verdict]:
    """The places that the host's name stands for."""
    host, port = profile.host, port_of(profile)
    if host.startswith("/") or not host:
        folder = host or "/var/run/postgresql"
        place = Place(socket.AF_UNIX, f"{folder}/.s.PGSQL.{port}")
        return [place], Verdict("name", Status.OK, f"A socket on this machine: {folder}")
    found = _in_time(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    if found is None:
        raise Stop(
            Verdict(
                "name",
                Status.FAILED,
                f"The name service did not answer for {host} within {SECONDS} s.",
                "Is the VPN up? Else ask the network's people about the name service of this machine.",
            )
        )
    if isinstance(found, OSError | UnicodeError):
        raise Stop(
            Verdict(
                "name",
                Status.FAILED,
                f"The name {host} is not known here.",
                "Check it for typing errors; if it is right, the VPN may be down, or this machine asks"
                " another name service than the department's.",
            )
        )
    places = [Place(family, address) for family, _, _, _, address in found]
    try:
        ipaddress.ip_address(host)
        finding = f"{host} is an address already"
    except ValueError:
        finding = f"{host} is {', '.join(dict.fromkeys(map(str, places)))}"
    return places, Verdict("name", Status.OK, finding)


def _in_time(work: Any) -> Any:
    """What `work` returns or raises; None if that takes too long. getaddrinfo itself knows no limit."""
    box: queue.Queue[Any] = queue.Queue()

    def run() -> None:
        try:
            box.put(work())
        except (OSError, UnicodeError) as error:
            box.put(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return box.get(timeout=SECONDS)
    except queue.Empty:
        return None


@dataclass(frozen=True, slots=True)
class Door:
    """A port that answers as PostgreSQL does."""

    place: Place
    offers_tls: bool


def knock(profile: Profile, places: list[Place]) -> tuple[Door, Verdict]:
    """The first place at which a PostgreSQL answers."""
    failures = []
    for place in places:
        try:
            with _connected(place) as sock:
                answer = _asked_for_tls(sock)
        except OSError as error:
            failures.append(_unanswered(profile, place, error))
            continue
        if answer in {b"S", b"N"}:
            at = place if place.family == socket.AF_UNIX else f"port {port_of(profile)}"
            finding = f"A PostgreSQL answers on {at}"
            return Door(place, answer == b"S"), Verdict("port", Status.OK, finding)
        failures.append(_somebody_else(profile, answer))
    raise Stop(failures[0])


def _connected(place: Place) -> socket.socket:
    sock = socket.socket(place.family, socket.SOCK_STREAM)
    sock.settimeout(SECONDS)
    try:
        sock.connect(place.address)
    except BaseException:
        sock.close()
        raise
    return sock


class _Silent(OSError):
    """The connection was taken, but nobody speaks."""


def _asked_for_tls(sock: socket.socket) -> bytes:
    sock.sendall(_SSL_REQUEST)
    try:
        return sock.recv(1)
    except TimeoutError:
        raise _Silent from None
    except ConnectionResetError:
        return b""


def _unanswered(profile: Profile, place: Place, error: OSError) -> Verdict:
    port = port_of(profile)
    if place.family == socket.AF_UNIX:
        rights = isinstance(error, PermissionError)
        finding = f"The socket {place} {'may not be used by this user' if rights else 'is not there'}."
        remedy = (
            "Run as a user who may, or ask for the right to enter that folder."
            if rights
            else "Does PostgreSQL run on this machine? `SHOW unix_socket_directories` tells the folder;"
            " for a server elsewhere give its host."
        )
    elif isinstance(error, ConnectionRefusedError):
        finding = f"{place} is there, but nothing listens on its port {port}."
        remedy = (
            "Check the port. If it is right, PostgreSQL is down, or its listen_addresses leaves this network"
            " out: ask its administrator."
        )
    elif isinstance(error, _Silent):
        finding = f"{place} took the connection on port {port}, but nobody spoke within {SECONDS} s."
        remedy = (
            "A firewall or a proxy in between may hold it, or the server hangs: ask the network's people,"
            " then the database's administrator."
        )
    elif isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        finding = f"{place} did not answer on port {port} within {SECONDS} s."
        remedy = (
            "Most likely a firewall swallows it: ask the network's people to let this machine reach"
            f" {profile.host} on port {port}. Is the VPN up?"
        )
    else:
        finding = f"{place} cannot be reached: {error.strerror or error}."
        remedy = "There is no way there from this machine: is the VPN up?"
    return Verdict("port", Status.FAILED, finding, remedy)


def _somebody_else(profile: Profile, answer: bytes) -> Verdict:
    finding = (
        f"Port {port_of(profile)} closes the connection at once."
        if not answer
        else f"What answers on port {port_of(profile)} is no PostgreSQL."
    )
    return Verdict(
        "port",
        Status.FAILED,
        finding,
        "Check host and port: PostgreSQL's own is 5432, PgBouncer's 6432.",
    )


def secure(profile: Profile, door: Door) -> Verdict:
    """Whether the connection is encrypted, and with whom. What libpq will do is tried by Python's own TLS."""
    mode = profile.options.get("sslmode", "prefer")
    if door.place.family == socket.AF_UNIX:
        return Verdict("tls", Status.SKIPPED, "Not needed: what is said stays on this machine")
    if missing := _missing_file(profile):
        raise Stop(missing)
    if not door.offers_tls:
        if mode in _NEEDING_TLS:
            raise Stop(
                Verdict(
                    "tls",
                    Status.FAILED,
                    f"The server offers no TLS, and sslmode is {mode}.",
                    "Ask its administrator to switch on ssl. Only where the whole way is trusted (the same"
                    " machine, a network of its own): sslmode=disable.",
                )
            )
        return _not_encrypted(profile, "The server offers no TLS")
    if mode in _WITHOUT_TLS:
        return _not_encrypted(profile, f"TLS is offered, but sslmode is {mode}")
    return _shake_hands(profile, door, mode)


def _not_encrypted(profile: Profile, finding: str) -> Verdict:
    if profile.is_local:
        return Verdict("tls", Status.OK, f"{finding}; what is said stays on this machine")
    return Verdict(
        "tls",
        Status.NOTE,
        f"{finding}: everything travels readable, the password perhaps too.",
        "Use sslmode=verify-full with the department's root certificate.",
    )


def _missing_file(profile: Profile) -> Verdict | None:
    for name in ("sslrootcert", "sslcert", "sslkey"):
        path = profile.options.get(name, "")
        if path and path != "system" and not Path(path).expanduser().is_file():
            return Verdict(
                "tls",
                Status.FAILED,
                f"There is no readable file {path} ({name}).",
                "Give the path of the file as the department's IT sent it, readable by the server's user.",
            )
    return None


def _shake_hands(profile: Profile, door: Door, mode: str) -> Verdict:
    verified = mode in _VERIFYING
    root = profile.options.get("sslrootcert", "") or str(Path("~/.postgresql/root.crt").expanduser())
    try:
        context = _tls_context(root, verified, check_name=mode == "verify-full")
    except (OSError, ssl.SSLError) as error:
        raise Stop(
            Verdict(
                "tls",
                Status.FAILED,
                f"{root} is no root certificate: {getattr(error, 'strerror', None) or error}.",
                "Ask the department's IT for the root certificate in PEM format and name it with sslrootcert;"
                " sslrootcert=system takes the ones of this machine.",
            )
        ) from None
    try:
        with _connected(door.place) as plain:
            _asked_for_tls(plain)
            with context.wrap_socket(plain, server_hostname=profile.host) as sock:
                version, certificate = sock.version(), sock.getpeercert()
    except ssl.SSLCertVerificationError as error:
        raise Stop(_untrusted(profile, error, root)) from None
    except OSError as error:
        raise Stop(
            Verdict(
                "tls",
                Status.FAILED,
                f"TLS was begun, but not brought about: {getattr(error, 'reason', None) or error}.",
                "Server and this machine may share no version of TLS (at least 1.2): ask its administrator.",
            )
        ) from None
    if not verified:
        return Verdict(
            "tls",
            Status.OK if profile.is_local else Status.NOTE,
            f"{version}; who answers is not checked (sslmode {mode})",
            "" if profile.is_local else "Use sslmode=verify-full with the department's root certificate.",
        )
    until = certificate.get("notAfter", "") if certificate else ""
    return Verdict("tls", Status.OK, f"{version}; the certificate is valid until {until}")


def _tls_context(root: str, verified: bool, *, check_name: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = check_name
    context.verify_mode = ssl.CERT_REQUIRED if verified else ssl.CERT_NONE
    if verified:
        if root == "system":
            context.load_default_certs()
        else:
            context.load_verify_locations(cafile=root)
    return context


def _untrusted(profile: Profile, error: ssl.SSLCertVerificationError, root: str) -> Verdict:
    if error.verify_code in _OF_A_HOST_NAME:
        finding = f"The certificate is not for the name {profile.host}."
        remedy = (
            "Give the host as it stands in the certificate (its administrator knows it); sslmode=verify-ca"
            " checks everything but the name."
        )
    elif error.verify_code == _EXPIRED:
        finding = "The server's certificate has expired."
        remedy = "Ask its administrator for a new one. Check this machine's clock, too."
    else:
        finding = f"The server's certificate is not signed by what we trust ({root}): {error.verify_message}."
        remedy = (
            "Either the root certificate is the wrong one, or somebody else answers. Ask the department's IT"
            " for the root certificate of its PostgreSQL and name it with sslrootcert."
        )
    return Verdict("tls", Status.FAILED, finding, remedy)


# --- signing in -----------------------------------------------------------------------------------------


def sign_in(profile: Profile) -> psycopg.Connection[Any]:
    """A connection of our own. Raises `Stop` with the reason that libpq or the server gave."""
    options = {name: value for name, value in profile.libpq().items() if name != "options"}
    options.setdefault("connect_timeout", SECONDS)
    try:
        return psycopg.connect(
            **(options | {"application_name": "logomesh-test"}),
            autocommit=True,
            prepare_threshold=None,  # a pooler in between may not know prepared statements
        )
    except psycopg.Error as error:
        raise Stop(refusal(profile, str(error))) from None


def hear_from(connection: psycopg.Connection[Any]) -> None:
    """The answer to a first question. Raises `Stop`: a pooler lets in also where nobody is behind it."""
    try:
        with _hanging_up_in_time(connection):
            connection.execute("SELECT 1")
    except psycopg.Error:
        raise Stop(_NOBODY_BEHIND) from None


@contextmanager
def _hanging_up_in_time(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """libpq itself waits for an answer for as long as the connection stands."""
    with socket.socket(fileno=os.dup(connection.fileno())) as line:
        clock = threading.Timer(SECONDS, line.shutdown, [socket.SHUT_RDWR])
        clock.start()
        try:
            yield
        finally:
            clock.cancel()
            clock.join()


def changes_sessions(connection: psycopg.Connection[Any], profile: Profile) -> bool:
    """Whether a pooler in between gives our session to somebody else between our transactions."""

    def session(of: psycopg.Connection[Any]) -> int:
        row = of.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        return int(row[0])

    mine = session(connection)
    if connection.pgconn.backend_pid == mine:
        return False
    other = sign_in(profile)
    try:
        with other.transaction():
            return session(other) == mine or session(connection) != mine
    finally:
        other.close()


_NOBODY_BEHIND: Final = Verdict(
    "pooler",
    Status.FAILED,
    "A PgBouncer lets us in, but the PostgreSQL behind it does not answer.",
    "PostgreSQL is down, or PgBouncer has the wrong address of it, or no connection is free: ask its"
    " administrator. PgBouncer's log says which.",
)
_GRANT_CONNECT: Final = "GRANT CONNECT ON DATABASE {database} TO {user};"
_ONLY_WITH_TLS: Final = r"pg_hba\.conf.*(no encryption|SSL off|unverschlüsselt|SSL aus)"
# What the server says comes in its own language; German is what we have met besides English.
_REFUSALS: Final[tuple[tuple[str, str, str, str], ...]] = (
    (
        r"database .* does not exist|Datenbank .* existiert nicht|no such database",
        "database",
        "There is no database {database} on this server.",
        "Check its name, or ask the administrator to make it: CREATE DATABASE {database} ENCODING 'UTF8'"
        " TEMPLATE template0;",
    ),
    (
        r"permission denied for database|keine Berechtigung für Datenbank",
        "database",
        "{user} may not enter the database {database}.",
        f"Ask its administrator for: {_GRANT_CONNECT}",
    ),
    (
        r"too many (clients|connections)|remaining connection slots|zu viele Verbindungen|"
        r"no more connections",
        "connections",
        "The server has no connection left for {user}.",
        "Others use them up: wait, or ask the administrator to raise max_connections (or the role's or"
        " database's CONNECTION LIMIT), or to put PgBouncer in between.",
    ),
    (
        r"password authentication failed|Passwort-Authentifizierung|SASL authentication failed|auth failed|"
        r"wrong password|no such user",
        "sign-in",
        "The server does not take this password for {user}.",
        "Check user and password. The server does not say which of the two is wrong; its log does.",
    ),
    (
        r"no password supplied|fe_sendauth",
        "sign-in",
        "The server wants a password for {user}, and there is none.",
        "Give it with DATABASE_PASSWORD, DATABASE_PASSWORD_FILE, a password file (~/.pgpass, mode 0600), or"
        " `manage.py database set`.",
    ),
    (
        r"pg_hba\.conf",
        "sign-in",
        "The server lets nobody in from this machine as {user} to {database}.",
        "Ask its administrator for a line in pg_hba.conf: hostssl {database} {user} <address of this machine>"
        " scram-sha-256",
    ),
    (
        r"role .* does not exist|Rolle .* existiert nicht",
        "sign-in",
        "There is no role {user} on this server.",
        "Check its name, or ask the administrator to make it: CREATE ROLE {user} LOGIN PASSWORD '…';",
    ),
    (
        r"not permitted to log in|nicht erlaubt sich einzuloggen",
        "sign-in",
        "The role {user} may not sign in.",
        "Ask the administrator for: ALTER ROLE {user} LOGIN;",
    ),
    (
        r"starting up|shutting down|recovery mode|startet gerade|fährt herunter|Wiederherstellungsmodus",
        "sign-in",
        "The server is just starting or ending.",
        "Try again in a minute; if it stays so, ask its administrator.",
    ),
    (
        r"private key file|certificate required|client certificate|SSL error|certificate",
        "tls",
        "The server and this machine could not agree on TLS: {said}",
        "See sslmode, sslrootcert, sslcert and sslkey; a key must have mode 0600.",
    ),
    (
        r"definition of service",
        "sign-in",
        "The service is not in the service file: {said}",
        "It is ~/.pg_service.conf or what PGSERVICEFILE names; check the service's name.",
    ),
    (
        r"unsupported startup parameter",
        "pooler",
        "A PgBouncer in between refuses a setting: {said}",
        "Say LOGOMESH_DB_POOLER=transaction.",
    ),
    (
        r"timeout expired|timed out",
        "sign-in",
        "The server answered, but did not finish the sign-in in time.",
        "It may be overloaded, or it is a PgBouncer, and the PostgreSQL behind it is down or has no"
        " connection free: ask its administrator.",
    ),
)


def refusal(profile: Profile, said: str) -> Verdict:
    """What it means that libpq or the server refused a connection with these words."""
    last = said.strip().splitlines()[-1] if said.strip() else "no reason given"
    words = {"user": profile.user or "this user", "database": profile.database, "said": last}
    if profile.options.get("sslmode") in _WITHOUT_TLS and re.search(_ONLY_WITH_TLS, said):
        return Verdict(
            "sign-in",
            Status.FAILED,
            f"The server lets {words['user']} in only with TLS.",
            "Use sslmode=verify-full with the department's root certificate.",
        )
    for pattern, step, finding, remedy in _REFUSALS:
        if re.search(pattern, said, re.IGNORECASE):
            return Verdict(step, Status.FAILED, finding.format(**words), remedy.format(**words))
    return Verdict(
        "sign-in",
        Status.FAILED,
        f"The server refused: {last}",
        "Its administrator can read more about it in the server's log.",
    )
