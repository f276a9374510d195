"""What can go wrong between a device and its server."""

from __future__ import annotations

import email.utils
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import httpx
import orjson

LONGEST_DETAIL = 2000


class WireError(Exception):
    """A request had no good answer. `request_id` finds it in the server's log, if it came that far."""

    request_id: str = ""
    retry_after: float | None = None
    """Seconds after which the same request may succeed, where somebody said so."""


class BadToken(ValueError):
    """A text that cannot be a token. Its words do not show it."""


class Problem(WireError):
    """The server answered, and said what is wrong (RFC 9457)."""

    def __init__(
        self,
        type: str,
        status: int,
        title: str,
        detail: str = "",
        *,
        reason: str | None = None,
        retry_after: float | None = None,
        request_id: str = "",
        body: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{title}. {detail}".strip() if detail else title)
        self.type = type
        """The short stable word, such as `cursor-expired`."""
        self.status = status
        self.title = title
        self.detail = detail
        self.reason = reason
        """Of `cursor-expired`: purged, rolled-back, cloned, future or foreign."""
        self.retry_after = retry_after
        self.request_id = request_id
        self.body = body or {}
        """The whole problem, with the members that belong to its type."""

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed later, without anybody doing anything."""
        return self.status in (408, 423, 425, 429, 503)


class Unreachable(WireError):
    """No answer of the server came: the normal state of a laptop on a train."""

    remedy: ClassVar[str] = "Check the network, then try again. What you do meanwhile is kept."
    is_passing: ClassVar[bool] = True
    """Whether waiting may help."""


class DnsFailed(Unreachable):
    """The name of the server has no address here."""

    remedy = "Check the name for typing errors; inside an institute a VPN may be needed."


class Refused(Unreachable):
    """The machine is there, but nothing listens on that port, or the way to it is barred."""

    remedy = "Check the port, and that the server runs; a firewall may also refuse."


class TimedOut(Unreachable):
    """Nothing came for too long."""

    remedy = "The server or the network is slow or swallows what is sent. Try again; check the VPN."

    def __init__(self, words: str, connected: bool = True) -> None:
        super().__init__(words)
        self.connected = connected
        """Whether there was a connection: then a smaller request may still pass."""


class Interrupted(Unreachable):
    """The connection broke before the answer was here."""


class TlsFailed(Unreachable):
    """The connection could not be secured, so nothing was sent."""

    remedy = (
        "If your institute has a certificate authority of its own, name its file with --ca."
        " Otherwise ask whoever runs the server: the certificate may be old or for another name."
    )
    is_passing = False


class ProxyFailed(Unreachable):
    """The proxy that the environment names could not be used."""

    remedy = "Check HTTPS_PROXY and HTTP_PROXY, or name the server in NO_PROXY."


class Redirected(Unreachable):
    """The address sends us elsewhere. A token is never sent after it."""

    remedy = "If that is your server, use that address. If it is the log-in page of a network, log in there."
    is_passing = True

    def __init__(self, words: str, location: str) -> None:
        super().__init__(words)
        self.location = location


class NotLogoMesh(Unreachable):
    """Something answered that is no LogoMesh server: a proxy, a log-in page, another web site."""

    remedy = "Check the address. In a network with a log-in page, log in there first."

    def __init__(self, words: str, status: int) -> None:
        super().__init__(words)
        self.status = status


class CutOff(WireError):
    """A stream ended before its end line: nothing of it counts as read to the end."""


def problem_in(answer: httpx.Response, content: bytes) -> WireError:
    """What an answer with an error says, of which `content` is the body."""
    request_id = answer.headers.get("X-Request-ID", "")
    if "application/problem+json" in answer.headers.get("Content-Type", ""):
        try:
            body = orjson.loads(content)
            error: WireError = Problem(
                str(body["type"]).rpartition("/")[2],
                answer.status_code,
                str(body["title"]),
                str(body.get("detail") or "")[:LONGEST_DETAIL],
                reason=body.get("reason"),
                request_id=str(body.get("request_id") or request_id),
                body=body,
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            error = _stranger(answer)
    else:
        error = _stranger(answer)
    error.request_id = error.request_id or request_id
    error.retry_after = seconds_in(answer.headers.get("Retry-After", ""), answer.headers.get("Date", ""))
    return error


def _stranger(answer: httpx.Response) -> WireError:
    status, host = answer.status_code, answer.request.url.host
    if 300 <= status < 400:
        location = str(httpx.URL(answer.request.url).join(answer.headers.get("Location", "")))
        return Redirected(f"{host} sends us to {location[:300]}.", location)
    if status == 407:
        return ProxyFailed("The proxy wants a name and a password.")
    if status == 429:
        return NotLogoMesh(f"A proxy before {host} asks to wait: there are too many requests.", status)
    if status in (502, 503, 504):
        return NotLogoMesh(f"A proxy before {host} answers {status}: the server behind it is away.", status)
    return NotLogoMesh(f"What answers at {host} is no LogoMesh server (status {status}).", status)


def seconds_in(retry_after: str, date: str = "") -> float | None:
    """The seconds of a Retry-After, which is a number or a time; None where it is neither.

    A time is by the clock of whoever sent it, which `date` tells: ours may be hours off.
    """
    if retry_after.isascii() and retry_after.strip().isdigit():
        return float(retry_after)
    until = _moment(retry_after)
    if until is None:
        return None
    return max(0.0, until - (_moment(date) or time.time()))


def _moment(date: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def unreachable(error: httpx.HTTPError, host: str, proxy: str | None) -> Unreachable:
    """Why nothing came, from what the HTTP library raised."""
    causes = list(_causes(error))
    found: Unreachable
    if isinstance(error, httpx.ProxyError):
        found = ProxyFailed(f"The proxy {proxy} did not let us through: {error}.")
    elif isinstance(error, httpx.TimeoutException):
        connected = not isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout)
        what = "Nothing came" if connected else "No connection came about"
        found = TimedOut(f"{what} in time from {proxy or host}.", connected)
    elif tls := next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None):
        found = TlsFailed(about_tls(tls, host))
    elif any(isinstance(cause, socket.gaierror) for cause in causes) or "Name or service" in str(error):
        found = (ProxyFailed if proxy else DnsFailed)(f"The name {proxy or host} has no address here.")
    elif isinstance(error, httpx.ConnectError):
        words = next(
            (cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror), ""
        )
        kind = ProxyFailed if proxy else Refused
        found = kind(f"{proxy or host} does not take connections{f' ({words})' if words else ''}.")
    else:
        found = Interrupted(f"The connection to {host} broke: {error or type(error).__name__}.")
    found.__cause__ = error
    return found


def about_tls(error: ssl.SSLError, host: str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"The certificate of {host} cannot be trusted: {error.verify_message or error.reason}."
    if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return f"{host} does not speak TLS on this port; is it http:// instead of https://?"
    return f"No secure connection to {host}: {error.reason or error}."


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
