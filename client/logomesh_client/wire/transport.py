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
from logomesh_client.wire.addresses import Address, without_secret
from logomesh_client.wire.errors import (
    Interrupted,
    NotLogoMesh,
    Problem,
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
        headers = {"User-Agent": f"logomesh-client/{VERSION}", "Accept": JSON}
        if token is not None:
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
    ) -> Any:
        """The answer as JSON (None where it has no body). With patience, passing failures are tried again.

        `repeatable`: whether sending it twice does no harm, so that it may be sent again after a
        lost answer. `packed`: whether the place takes a body in zstd.
        """
        headers, content = _encoded(body, packed)

        def once() -> Any:
            answer = self.send(method, path, params=params, headers=headers, content=content, auth=auth)
            return self.json_in(answer)

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
                error, wait = failure, backoff.wait()
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
    ) -> httpx.Response:
        """A whole answer that is no error."""
        with self.open(method, path, params=params, headers=headers, content=content, auth=auth) as answer:
            with self._translated(answer.request):
                answer.read()
            return answer

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
                    content = _beginning(answer)
                raise problem_in(answer, content)
            yield answer
        finally:
            answer.close()

    def parts_of(self, answer: httpx.Response) -> Iterator[bytes]:
        """The body of an open answer, as it comes."""
        with self._translated(answer.request):
            yield from answer.iter_bytes()

    def json_in(self, answer: httpx.Response) -> Any:
        """The JSON of an answer, or None where it has no body."""
        if answer.status_code == 204:
            return None
        require_type(answer, JSON)
        try:
            return orjson.loads(answer.content)
        except ValueError:
            raise _no_server(answer) from None

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
    if answer.headers.get("Content-Type", "").partition(";")[0].strip() != content_type:
        raise _no_server(answer)


def _no_server(answer: httpx.Response) -> WireError:
    host = answer.request.url.host
    error = NotLogoMesh(f"What answers at {host} is no LogoMesh server.", answer.status_code)
    error.request_id = answer.request.headers["X-Request-ID"]
    return error


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


def _beginning(answer: httpx.Response) -> bytes:
    """An error is short; of what is not, only so much is read."""
    found = b""
    for part in answer.iter_bytes():
        found += part
        if len(found) > _LARGEST_PROBLEM:
            break
    return found
