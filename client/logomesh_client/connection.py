"""The test of a connection: step by step, each with what was found and, where it failed, what to do."""

from __future__ import annotations

import secrets
import socket
import ssl
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, Literal

from logomesh_client import PROTOCOL_VERSION
from logomesh_client.wire import (
    Address,
    BadAddress,
    BadToken,
    Problem,
    ProxyFailed,
    Server,
    TimedOut,
    Timeouts,
    TlsFailed,
    Unreachable,
    WireError,
)
from logomesh_client.wire.addresses import address_of_proxy, without_secret
from logomesh_client.wire.errors import about_tls
from logomesh_client.wire.transport import tls_context

Result = Literal["ok", "warning", "failed", "skipped"]

SKEW_SECONDS: Final = 60.0
SLOW_SECONDS: Final = 1.0
SOON_DAYS: Final = 14
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
"""What OpenSSL calls the two; both are what a clock that is far off looks like."""
_LARGE_BODY: Final = 64 * 1024


@dataclass(frozen=True)
class Step:
    """One thing that was looked at. `remedy` says what to do unless all is well."""

    name: str
    result: Result
    words: str
    remedy: str = ""
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": round(self.seconds, 4)}


def examine(
    url: str,
    token: str | None,
    *,
    ca: Path | str | None = None,
    timeouts: Timeouts = Timeouts(connect=5.0, idle=10.0),
) -> Iterator[Step]:
    """Look at everything between this device and its spaces. Ends at the first step that bars the rest."""
    try:
        address = Address.parse(url)
    except BadAddress as error:
        yield Step("address", "failed", str(error), "Write it as https://logomesh.lab.example.")
        return
    if address.is_secure:
        yield Step("address", "ok", address.url)
    else:
        yield Step(
            "address",
            "warning",
            f"{address.url} is not encrypted: everybody on the way can read your token.",
            "Use https:// as soon as the server has it; until then only inside a trusted network.",
        )
    proxy = without_secret(address.proxy)
    if proxy is None:
        yield Step("proxy", "ok", "None is used.")
        way = address
    else:
        try:
            way = address_of_proxy(proxy)
        except BadAddress as error:
            yield Step("proxy", "failed", str(error), ProxyFailed.remedy)
            return
        yield Step("proxy", "ok", f"The environment names {proxy}; all goes through it.")
    for look in (_dns, _tcp):
        step = _timed(look, way, timeouts)
        yield step
        if step.result == "failed":
            return
    if address.scheme == "https" and proxy is None:
        step = _timed(_tls, address, timeouts, ca)
        yield step
        if step.result == "failed":
            return
    try:
        server = Server(url, token, ca=ca, timeouts=timeouts)
    except TlsFailed as error:
        yield _failed("tls", error)
        return
    except BadToken as error:
        yield Step("token", "failed", str(error), "Sign in: logomesh login")
        return
    with server:
        yield from _ask(server, token)


def _ask(server: Server, token: str | None) -> Iterator[Step]:
    started = time.monotonic()
    try:
        answer = server.transport.send("GET", "about")
        asked_at = time.time() - (time.monotonic() - started) / 2
        step = _version(answer.json())
    except WireError as error:
        step = _failed("server", error)
    yield _with_time(step, started)
    if step.result == "failed":
        return
    yield _clock(answer.headers.get("Date", ""), asked_at)
    yield _timed(_latency, server)
    if token is None:
        yield Step("token", "failed", "There is none for this server.", "Sign in: logomesh login")
        return
    started = time.monotonic()
    try:
        spaces = server.spaces()
        step = Step("token", "ok", "It counts.")
    except WireError as error:
        refused = isinstance(error, Problem) and error.status in (401, 403)
        step = _failed("token" if refused else "spaces", error)
    if step.result == "ok":
        step = _token_age(server) or step
    yield _with_time(step, started)
    if step.result == "failed":
        return
    yield _roles(spaces)
    if opened := next((space["id"] for space in spaces if space["role"]), None):
        yield _timed(_large_frames, server, opened)


def _dns(way: Address, timeouts: Timeouts) -> Step:
    try:
        found = socket.getaddrinfo(way.host, way.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        words = f"The name {way.host} has no address here ({getattr(error, 'strerror', None) or error})."
        return Step(
            "dns",
            "failed",
            words,
            "Check the name for typing errors. Inside an institute: is the VPN on? Without a network this"
            " is normal; LogoMesh goes on, and the rest follows later.",
        )
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    return Step("dns", "ok", f"{way.host} is at {', '.join(addresses[:4])}.")


def _tcp(way: Address, timeouts: Timeouts) -> Step:
    try:
        socket.create_connection((way.host, way.port), timeouts.connect).close()
    except TimeoutError:
        return Step(
            "tcp",
            "failed",
            f"No connection to port {way.port} of {way.host} in {timeouts.connect:g} s.",
            "A firewall swallows the packets, or the machine is off. Try the VPN; ask whether the port is"
            " open from your network.",
        )
    except OSError as error:
        return Step(
            "tcp",
            "failed",
            f"Port {way.port} of {way.host} does not take connections ({error.strerror or error}).",
            "Check the port. If it is right, the server does not run: ask whoever runs it.",
        )
    return Step("tcp", "ok", f"Port {way.port} takes connections.")


def _tls(address: Address, timeouts: Timeouts, ca: Path | str | None) -> Step:
    try:
        context = tls_context(ca)
        with (
            socket.create_connection((address.host, address.port), timeouts.connect) as line,
            context.wrap_socket(line, server_hostname=address.host) as secured,
        ):
            certificate, version = secured.getpeercert() or {}, secured.version()
    except TlsFailed as error:
        return Step("tls", "failed", str(error), "Check the path of the file after --ca; it must be PEM.")
    except ssl.SSLError as error:
        return Step("tls", "failed", about_tls(error, address.host), _tls_remedy(error))
    except TimeoutError:
        return Step(
            "tls",
            "failed",
            f"{address.host} says nothing on port {address.port}.",
            "Another program may listen there, or a firewall swallows what is sent. Check the port.",
        )
    except OSError as error:
        return Step(
            "tls",
            "failed",
            f"{address.host} ended the connection ({error.strerror or error}).",
            "Is it http:// instead of https://? Otherwise a firewall may have stepped in.",
        )
    ends = certificate.get("notAfter")
    if isinstance(ends, str):
        days = (ssl.cert_time_to_seconds(ends) - time.time()) / 86_400
        if days < SOON_DAYS:
            return Step(
                "tls",
                "warning",
                f"The certificate ends in {days:.0f} days.",
                "Tell whoever runs the server to renew it.",
            )
    return Step("tls", "ok", f"{version}; the certificate is trusted.")


def _tls_remedy(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in (_NOT_YET_VALID, _EXPIRED):
            return "Check this machine's date first. If it is right, ask whoever runs the server to renew it."
        if error.verify_code in (62, 64):
            return "The certificate is for another name: use the name that it was made for."
        return (
            "If your institute has a certificate authority of its own, save its root certificate and name"
            " it: --ca FILE. If it has not, somebody may sit in between: do not go on."
        )
    return TlsFailed.remedy


def _version(about: Any) -> Step:
    spoken = about.get("protocol_versions") if isinstance(about, dict) else None
    if not isinstance(spoken, list) or not all(isinstance(one, int) for one in spoken):
        return Step("server", "failed", "What answers is no LogoMesh server.", "Check the address.")
    named = f"{about.get('name')} {about.get('version')}"
    if PROTOCOL_VERSION in spoken:
        return Step("server", "ok", f"{named}, protocol {PROTOCOL_VERSION}.")
    older = max(spoken, default=0) < PROTOCOL_VERSION
    return Step(
        "server",
        "failed",
        f"{named} speaks protocol {', '.join(map(str, spoken))}, this client {PROTOCOL_VERSION}.",
        "Ask whoever runs the server to update it." if older else "Update this client.",
    )


def _clock(date: str, asked_at: float) -> Step:
    """The server's clock has whole seconds only, so a second more or less is nothing."""
    try:
        skew = asked_at - parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError):
        return Step("clock", "skipped", "The server does not tell its time.")
    if abs(skew) <= SKEW_SECONDS:
        return Step("clock", "ok", "The same time here and there.")
    return Step(
        "clock",
        "warning",
        f"This machine's clock is {_span(abs(skew))} {'ahead of' if skew > 0 else 'behind'} the server's.",
        "Let this machine set its time by the network. Sync does not depend on clocks, but the times of"
        " your thoughts, and certificates, do.",
    )


def _latency(server: Server) -> Step:
    times = []
    try:
        for _ in range(5):
            started = time.monotonic()
            server.about()
            times.append(time.monotonic() - started)
    except WireError as error:
        return _failed("latency", error)
    middle = statistics.median(times)
    words = f"{middle * 1000:.0f} ms for a request (from {min(times) * 1000:.0f} to {max(times) * 1000:.0f})."
    if middle > SLOW_SECONDS:
        return Step("latency", "warning", words, "Slow, but sync works: it never makes LogoMesh wait.")
    return Step("latency", "ok", words)


def _token_age(server: Server) -> Step | None:
    """A warning if the token ends soon."""
    try:
        device = next((one for one in server.devices() if one["current"]), None)
    except WireError:
        return None
    if device is None or device["expires_at"] is None:
        return None
    left = datetime.fromisoformat(device["expires_at"]) - datetime.now(UTC)
    if left.days >= SOON_DAYS:
        return None
    return Step("token", "warning", f"It ends in {left.days} days.", "Sign in again: logomesh login")


def _roles(spaces: list[dict[str, Any]]) -> Step:
    mine = [space for space in spaces if space["role"]]
    if not mine:
        return Step(
            "roles",
            "warning",
            "You have a role in no space.",
            "Make one in the browser, or ask a manager of your workspace to share one with you.",
        )
    named = [f"{space['name']} ({_role(space)})" for space in mine[:12]]
    more = f" and {len(mine) - 12} more" if len(mine) > 12 else ""
    return Step("roles", "ok", f"{', '.join(named)}{more}.")


def _role(space: dict[str, Any]) -> str:
    return f"{space['role']}{', archived' if space['archived'] else ''}"


def _large_frames(server: Server, space: str) -> Step:
    """Some VPNs pass small packets and swallow large ones: ask something harmless with a long question."""
    ids = [["thoughts", f"no-such-thought-{secrets.token_hex(16)}"] for _ in range(_LARGE_BODY // 64)]
    try:
        # In one piece: `server.fetch` would get through in smaller ones, and hide what we look for.
        server.transport.ask("POST", f"spaces/{space}/changes/fetch", body={"ids": ids})
    except TimedOut:
        return Step(
            "large requests",
            "warning",
            "Short requests come through, long ones vanish.",
            "Typical of a VPN whose packets are too large (MTU). Sync goes on in small pieces, slowly; tell"
            " whoever runs the network to lower the MTU (1280 always works).",
        )
    except WireError as error:
        return _failed("large requests", error)
    return Step("large requests", "ok", "They come through whole.")


def _failed(name: str, error: WireError) -> Step:
    words = f"{error} (request {error.request_id})" if error.request_id else str(error)
    if isinstance(error, Unreachable):
        return Step(name, "failed", words, error.remedy)
    if isinstance(error, Problem) and error.status == 401:
        return Step(name, "failed", words, "Sign in again: logomesh login. What is in your files stays.")
    return Step(name, "failed", words, "Ask whoever runs the server; the request's id is in its log.")


def _timed(look: Any, *what: Any) -> Step:
    started = time.monotonic()
    return _with_time(look(*what), started)


def _with_time(step: Step, started: float) -> Step:
    return Step(step.name, step.result, step.words, step.remedy, time.monotonic() - started)


def _span(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
