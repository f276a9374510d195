"""One server over HTTP: secured, named, with bounded waiting; failures come as `WireError`."""

from __future__ import annotations

import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import orjson
import truststore
import zstandard

from logomesh_client import VERSION
from logomesh_client.wire.addresses import Address, BadAddress, address_of_proxy, without_secret
from logomesh_client.wire.bodies import PACKINGS, TooLarge, parts_of, whole
from logomesh_client.wire.errors import (
    BadToken,
    Interrupted,
    NotLogoMesh,
    Problem,
    ProxyFailed,
    TimedOut,
    TlsFailed,
    Unreachable,
    WireError,
    problem_in,
    unreachable,
)
from logomesh_client.wire.pacing import Backoff

T = TypeVar("T")
Params = Mapping[str, Any] | list[tuple[str, str]]

JSON: Final = "application/json"
WORTH_PACKING: Final = 1024
_LARGEST_PROBLEM: Final = 1024**2


@dataclass(frozen=True)
class Timeouts:
    """Seconds. There is no limit for a whole answer: a long stream is well as long as something comes."""

    connect: float = 10.0
    idle: float = 30.0
    """Without a byte in either direction."""
    live: float = 45.0
    """Without a byte on the stream of live events; the server sends a comment every 15 s."""


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    headers: httpx.Headers
    content: bytes
    host: str
    request_id: str

    def json(self) -> Any:
        """Its JSON, or None where it has no body. Raises `NotLogoMesh`, or `Interrupted` for half of one."""
        if self.status == 204:
            return None
        if _type_of(self.headers) != JSON:
            raise self.stranger()
        try:
            return orjson.loads(self.content)
        except ValueError:
            error = Interrupted(f"The answer of {self.host} is broken.")
            error.request_id = self.request_id
            raise error from None

    def header(self, name: str) -> str:
        """A header that our server always sends here. Raises `NotLogoMesh`."""
        if (found := self.headers.get(name)) is None:
            raise self.stranger()
        return str(found)

    def stranger(self) -> NotLogoMesh:
        return _stranger(self.host, self.status, self.request_id)


class Transport:
    """Sends requests to one server. May be used by several threads."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        ca: Path | str | None = None,
        timeouts: Timeouts = Timeouts(),
        patience: float = 0.0,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self.address = Address.parse(url)
        self.timeouts = timeouts
        self._patience, self._wait = patience, wait
        self._proxy = self.address.proxy
        if self._proxy is not None:
            _require_usable(self._proxy)
        headers = {
            "User-Agent": f"logomesh-client/{VERSION}",
            "Accept": JSON,
            "Accept-Encoding": PACKINGS,
        }
        if token is not None:
            _require_token(token)
            headers["Authorization"] = f"Token {token}"
        self._http = httpx.Client(
            base_url=f"{self.address.url}/api/v1",
            headers=headers,
            verify=tls_context(ca) if self.address.scheme == "https" else False,
            proxy=self._proxy,
            trust_env=False,
            timeout=httpx.Timeout(timeouts.idle, connect=timeouts.connect),
            limits=httpx.Limits(max_connections=8, keepalive_expiry=60),
        )

    def close(self) -> None:
        self._http.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: Any = None,
        repeatable: bool = True,
        auth: tuple[str, str] | None = None,
        packed: bool = False,
        members: Mapping[str, type] = {},
    ) -> Any:
        """The answer as JSON (None where it has no body). With patience, passing failures are tried again.

        `repeatable`: whether sending it twice does no harm, so that it may be sent again after a
        lost answer. `packed`: whether the place takes a body in zstd. `members`: what the answer must have
        to be that of a LogoMesh server.
        """
        headers, content = _encoded(body, packed)

        def once() -> Any:
            answer = self.send(method, path, params=params, headers=headers, content=content, auth=auth)
            found = answer.json()
            if members and not isinstance(found, dict):
                raise answer.stranger()
            for name, kind in members.items():
                if not isinstance(found.get(name), kind):
                    raise answer.stranger()
            return found

        return self.patiently(once, repeatable=repeatable)

    def patiently(self, act: Callable[[], T], *, repeatable: bool = True) -> T:
        """Do it, and again after passing failures, for as long as patience lasts."""
        backoff, until = Backoff(), time.monotonic() + self._patience
        while True:
            try:
                return act()
            except Problem as problem:
                if not problem.is_passing:
                    raise
                error: WireError = problem
                wait = backoff.wait(problem.retry_after)
            except Unreachable as failure:
                if not (repeatable and failure.is_passing):
                    raise
                error, wait = failure, backoff.wait(failure.retry_after)
            if time.monotonic() + wait > until:
                raise error
            self._wait(wait)

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        auth: tuple[str, str] | None = None,
    ) -> Answer:
        """A whole answer that is no error."""
        with self.open(method, path, params=params, headers=headers, content=content, auth=auth) as answer:
            with self._translated(answer.request):
                found = whole(answer)
            return Answer(
                answer.status_code, answer.headers, found,
                answer.request.url.host, answer.request.headers["X-Request-ID"],
            )  # fmt: skip

    @contextmanager
    def open(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        auth: tuple[str, str] | None = None,
        idle: float | None = None,
    ) -> Iterator[httpx.Response]:
        """The beginning of an answer that is no error; its body is still to be read."""
        request = self._http.build_request(
            method,
            path,
            params=params,  # type: ignore[arg-type]
            headers={"X-Request-ID": uuid.uuid4().hex, **(headers or {})},
            content=content,
            timeout=httpx.Timeout(idle or self.timeouts.idle, connect=self.timeouts.connect),
        )
        with self._translated(request):
            answer = self._http.send(request, stream=True, auth=httpx.BasicAuth(*auth) if auth else None)
        try:
            if not answer.is_success:
                with self._translated(request):
                    content = _problem_of(answer)
                raise problem_in(answer, content)
            yield answer
        finally:
            answer.close()

    def parts_of(self, answer: httpx.Response) -> Iterator[bytes]:
        """The body of an open answer, as it comes."""
        with self._translated(answer.request):
            yield from parts_of(answer)

    @contextmanager
    def _translated(self, request: httpx.Request) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            failure = unreachable(error, self.address.host, without_secret(self._proxy))
            if isinstance(failure, TimedOut | Interrupted):  # the others never came to the server
                failure.request_id = request.headers["X-Request-ID"]
            raise failure from error


def tls_context(ca: Path | str | None) -> ssl.SSLContext:
    """Trusts what this machine trusts, or only the authorities of the file `ca`. Raises `TlsFailed`."""
    if ca is None:
        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return ssl.create_default_context(cafile=str(ca))
    except (OSError, ssl.SSLError) as error:
        raise TlsFailed(f"The certificate file {ca} cannot be read: {error}.") from None


def require_type(answer: httpx.Response, content_type: str) -> None:
    """Raises `NotLogoMesh` for a log-in page or another site that answers with success."""
    if _type_of(answer.headers) != content_type:
        request = answer.request
        raise _stranger(request.url.host, answer.status_code, request.headers["X-Request-ID"])


def _type_of(headers: httpx.Headers) -> str:
    return str(headers.get("Content-Type", "")).partition(";")[0].strip().lower()


def _stranger(host: str, status: int, request_id: str) -> NotLogoMesh:
    error = NotLogoMesh(f"What answers at {host} is no LogoMesh server.", status)
    error.request_id = request_id
    return error


def _require_usable(proxy: str) -> None:
    try:
        address_of_proxy(proxy)
    except BadAddress as error:
        raise ProxyFailed(str(error)) from None


def _require_token(token: str) -> None:
    """The HTTP library would show in its error what it cannot send."""
    if not token or not token.isascii() or not all(sign.isprintable() and sign != " " for sign in token):
        raise BadToken("The token has signs that no token has, such as a space or the end of a line.")


def _encoded(body: Any, packed: bool) -> tuple[dict[str, str], bytes | None]:
    """Headers and bytes of a JSON body."""
    if body is None:
        return {}, None
    content = orjson.dumps(body)
    headers = {"Content-Type": JSON}
    if packed and len(content) > WORTH_PACKING:
        headers["Content-Encoding"] = "zstd"
        content = zstandard.ZstdCompressor(level=3).compress(content)
    return headers, content


def _problem_of(answer: httpx.Response) -> bytes:
    """The body of an error, which is short; what is not is none of ours."""
    try:
        return whole(answer, _LARGEST_PROBLEM)
    except TooLarge:
        return b""
