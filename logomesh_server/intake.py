"""The front of a web process: ASGI outside, Django's WSGI handler in a bounded pool of threads inside.

A thread, with its database connection, is dear; a socket is cheap. So a request gets a thread only once all
of its body is here, within limits of size and speed. A whole answer frees the thread before it is sent. A
client that drips its body, or reads slowly, costs a socket. Requests that find too long a queue are told to
come back. docs/decisions/web-server.md has the measurements.
"""

import asyncio
import contextlib
import functools
import logging
import queue
import re
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Final, TypeVar, cast
from urllib.parse import unquote_to_bytes

from sync.problems import PushTooLarge
from workspaces.problems import Problem

from . import counting, problems

logger = logging.getLogger(__name__)

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Environ = dict[str, Any]
Headers = list[tuple[bytes, bytes]]
T = TypeVar("T")

FILE_BLOCK: Final = 256 * 1024  # bytes read at once from a file that is sent
KNOWN_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
STREAM_BLOCK: Final = 64 * 1024  # smaller parts of a stream are sent together


@dataclass(frozen=True)
class Limits:
    """What one request may cost a process. Sizes in bytes, times in seconds."""

    body_bytes: int  # of any path that is not in large_bodies
    large_bodies: Mapping[str, int]  # pattern of a path: size
    memory_bytes: int  # a longer body is kept in a file in `spool` until it is whole
    spool: Path
    grace_seconds: float  # a body may take this long, and then as long as bytes_a_second gives it
    bytes_a_second: int
    threads: int  # requests that compute at the same time
    streams: int  # answers that are streamed at the same time
    waiting: int  # requests that wait for a thread
    queue_seconds: float  # how long they do
    send_seconds: float  # how long a client may take to read a part of a stream

    def for_path(self, path: str) -> int:
        """The largest body that the path takes."""
        for pattern, size in self._patterns:
            if pattern.search(path):
                return size
        return self.body_bytes

    @functools.cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], int]]:
        return [(re.compile(pattern), size) for pattern, size in self.large_bodies.items()]


@dataclass(frozen=True)
class Answer:
    """What Django answered: all of it, or its beginning and a stream."""

    status: int
    headers: Headers
    body: bytes = b""
    stream: "Stream | None" = None


class Disconnected(Exception):
    """The client went away before its request was whole."""


class Intake:
    """The ASGI application.

    `admit` raises where somebody may not send a large body; `refuse` words an exception as (status, headers,
    body); `native` maps paths to coroutines that need no thread.
    """

    def __init__(
        self,
        wsgi: Callable[[Environ, Callable[..., Any]], Iterable[bytes]],
        limits: Limits,
        admit: Callable[[Environ], None],
        refuse: Callable[[Environ, Exception], tuple[int, Headers, bytes]],
        native: Mapping[str, Application],
    ) -> None:
        self._wsgi = wsgi
        self._limits = limits
        self._admit = admit
        self._refuse = refuse
        self._native = native
        self._threads = Threads(limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            native = self._native.get(scope["path"])
            await (native or self._serve)(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1003})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.monotonic()
        environ = environ_of(scope)
        head = scope["method"] == "HEAD"
        try:
            body = await self._body(scope, environ, receive)
            try:
                environ["wsgi.input"] = body
                answer = await self._threads.run(lambda: self._call(environ))
                if answer.stream is not None and head:
                    answer.stream.stop()
                elif answer.stream is not None:
                    await self._send_stream(answer, answer.stream, receive, send)
                    _count(scope, answer.status, started)
                    return
            finally:
                body.close()
        except Disconnected:
            counting.count("logomesh_refused_total", reason="client-gone")
            return
        except Exception as error:
            if isinstance(error, Problem):
                counting.count("logomesh_refused_total", reason=error.type)
            status, headers, text = self._refuse(environ, error)
            answer = Answer(status, [*headers, (b"connection", b"close")], text)
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": b"" if head else answer.body})
        _count(scope, answer.status, started)

    def _call(self, environ: Environ) -> Answer:
        """Run Django, in the thread that calls."""
        status = 500
        headers: Headers = []

        def start_response(line: str, given: list[tuple[str, str]], _: Any = None) -> None:
            nonlocal status
            status = int(line[:3])
            headers.extend((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in given)

        response = self._wsgi(environ, start_response)
        if isinstance(response, FileBlocks) or getattr(response, "streaming", False):
            return Answer(status, headers, stream=Stream(response))
        try:
            return Answer(status, headers, b"".join(response))
        finally:
            _close(response)

    # --- bodies ----------------------------------------------------------------------------------------

    async def _body(self, scope: Scope, environ: Environ, receive: Receive) -> IO[bytes]:
        """All of the request's body.

        Raises BodyTooLarge, BodyTooSlow, Disconnected, and for a large one what `admit` raises: strangers
        shall not fill the disk.
        """
        announced = _announced_length(scope)
        if announced == 0:
            return BytesIO()
        limit = self._limits.for_path(scope["path"])
        if announced is not None and announced > limit:
            raise _too_large(scope["path"], limit)
        admitted = announced is not None and announced > self._limits.memory_bytes
        if admitted:
            await self._threads.run(lambda: self._admit(environ))
        start = time.monotonic()
        message = await self._receive(receive, start, 0)
        received = len(message.get("body", b""))
        if not message.get("more_body") and received <= limit:
            return BytesIO(message.get("body", b""))
        body = cast(
            IO[bytes],  # in all but its type
            tempfile.SpooledTemporaryFile(  # noqa: SIM115  (closed by whoever serves the request)
                max_size=self._limits.memory_bytes, dir=str(self._limits.spool)
            ),
        )
        try:
            while True:
                if received > limit:
                    raise _too_large(scope["path"], limit)
                if received > self._limits.memory_bytes and not admitted:
                    await self._threads.run(lambda: self._admit(environ))
                    admitted = True
                body.write(message.get("body", b""))
                if not message.get("more_body"):
                    body.seek(0)
                    return body
                message = await self._receive(receive, start, received)
                received += len(message.get("body", b""))
        except BaseException:
            body.close()
            raise

    async def _receive(self, receive: Receive, start: float, received: int) -> Message:
        allowed = self._limits.grace_seconds + received / self._limits.bytes_a_second
        try:
            async with asyncio.timeout(max(0.0, start + allowed - time.monotonic())):
                message = await receive()
        except TimeoutError as error:
            raise problems.BodyTooSlow(
                f"The request came with less than {self._limits.bytes_a_second} bytes a second. Send it again"
                " over a better connection, or in smaller parts."
            ) from error
        if message["type"] == "http.disconnect":
            raise Disconnected
        return message

    # --- streams ---------------------------------------------------------------------------------------

    async def _send_stream(self, answer: Answer, stream: "Stream", receive: Receive, send: Send) -> None:
        """Send a stream part by part, the next one being made meanwhile; stop it when the client goes.

        What goes wrong before the first part is raised, to be answered; afterwards the connection breaks off,
        which a client can tell from an end.
        """
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            with self._threads.room_for_a_stream():
                part = await stream.next()
                await send(
                    {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
                )
                try:
                    while part and not gone.done():
                        part = await self._send_part(part, stream, send)
                except Exception:
                    logger.exception("A stream broke off")
                    return
            if not gone.done():
                await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()
            stream.stop()

    async def _send_part(self, part: bytes, stream: "Stream", send: Send) -> bytes:
        coming = asyncio.ensure_future(stream.next())
        try:
            async with asyncio.timeout(self._limits.send_seconds):
                await send({"type": "http.response.body", "body": part, "more_body": True})
        except BaseException:
            coming.cancel()
            raise
        return await coming


def _announced_length(scope: Scope) -> int | None:
    """The body's length; None when it is told only by its end."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
        if name == b"transfer-encoding":
            return None
    return 0 if scope["http_version"] != "2" or scope["method"] in {"GET", "HEAD"} else None


_CHANGES = re.compile(r"/api/v1/spaces/[^/]+/changes")
_SYNCED = {"POST": "logomesh_pushes_total", "GET": "logomesh_pulls_total"}


def _count(scope: Scope, status: int, started: float) -> None:
    method = scope["method"] if scope["method"] in KNOWN_METHODS else "OTHER"
    counting.count("logomesh_requests_total", method=method, status=status)
    counting.count("logomesh_request_seconds_total", time.monotonic() - started)
    if _CHANGES.fullmatch(scope["path"]) and method in _SYNCED:
        counting.count(_SYNCED[method], status=status)


def _too_large(path: str, limit: int) -> Problem:
    kind = PushTooLarge if path.endswith("/changes") else problems.BodyTooLarge
    return kind(f"The request's body is over {limit} bytes, the most that this address takes.")


def _overloaded() -> Problem:
    return problems.Overloaded(
        "The server has too much to do at the moment. Try again shortly.", retry_after=2
    )


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _lifespan(receive: Receive, send: Send) -> None:
    flusher: asyncio.Task[None] | None = None
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            flusher = asyncio.create_task(_flush_for_ever())
            await send({"type": "lifespan.startup.complete"})
        else:
            if flusher is not None:
                flusher.cancel()
            await asyncio.to_thread(counting.flush)
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _flush_for_ever() -> None:
    while True:
        await asyncio.sleep(counting.FLUSH_SECONDS)
        await asyncio.to_thread(counting.flush)


# --- threads -------------------------------------------------------------------------------------------


class Threads:
    """At most `threads` requests compute at once; up to `waiting` more wait, for `queue_seconds` at most.

    A stream keeps the thread that began it, since its database connection is that thread's, but gives its
    place among the computing ones to the next request.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._places = asyncio.Semaphore(limits.threads)
        self._waiting = 0
        self._streaming = 0
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._idle = 0
        self._lock = threading.Lock()

    async def run(self, compute: Callable[[], T]) -> T:
        """What `compute` returns, run in a thread. Raises Overloaded, and whatever `compute` raises."""
        await self._wait_for_a_place()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def settle(result: T, stream: Stream | None) -> None:
            self._places.release()
            if not done.cancelled():
                done.set_result(result)
            elif stream is not None:
                stream.stop()

        def fail(error: BaseException) -> None:
            self._places.release()
            if not done.cancelled():
                done.set_exception(error)

        def job() -> None:
            try:
                result = compute()
            except BaseException as error:
                loop.call_soon_threadsafe(fail, error)
                return
            stream = result.stream if isinstance(result, Answer) else None
            loop.call_soon_threadsafe(settle, result, stream)
            if stream is not None:
                stream.make(loop)

        self._hand_over(job)
        return await done

    async def _wait_for_a_place(self) -> None:
        if not self._places.locked():
            await self._places.acquire()
            return
        if self._waiting >= self._limits.waiting:
            raise _overloaded()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._limits.queue_seconds):
                await self._places.acquire()
        except TimeoutError as error:
            raise _overloaded() from error
        finally:
            self._waiting -= 1

    @contextlib.contextmanager
    def room_for_a_stream(self) -> Iterator[None]:
        """Raises Overloaded where too many streams are being sent already."""
        if self._streaming >= self._limits.streams:
            raise _overloaded()
        self._streaming += 1
        try:
            yield
        finally:
            self._streaming -= 1

    def _hand_over(self, job: Callable[[], None]) -> None:
        with self._lock:
            if self._idle:
                self._idle -= 1
            else:
                threading.Thread(target=self._work, name="request", daemon=True).start()
        self._jobs.put(job)

    def _work(self) -> None:
        while True:
            self._jobs.get()()
            with self._lock:
                self._idle += 1


class Stream:
    """Parts of an answer, made by one thread, one ahead of what another sends."""

    def __init__(self, source: Iterable[bytes]) -> None:
        self._source = source
        self._wanted: queue.SimpleQueue[asyncio.Future[bytes] | None] = queue.SimpleQueue()

    def next(self) -> Awaitable[bytes]:
        """The next part; empty at the end. Raises what the source raises."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._wanted.put(future)
        return future

    def stop(self) -> None:
        """Make no more, and close the source."""
        self._wanted.put(None)

    def make(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make the parts, in the thread that calls, until stopped."""
        try:
            parts = iter(self._source)
            while (future := self._wanted.get()) is not None:
                try:
                    part = _joined(parts)
                except Exception as error:
                    loop.call_soon_threadsafe(_fail, future, error)
                else:
                    loop.call_soon_threadsafe(_settle, future, part)
        finally:
            _close(self._source)


def _joined(parts: Iterator[bytes]) -> bytes:
    taken: list[bytes] = []
    size = 0
    for part in parts:
        taken.append(part)
        size += len(part)
        if size >= STREAM_BLOCK:
            break
    return taken[0] if len(taken) == 1 else b"".join(taken)


def _settle(future: "asyncio.Future[bytes]", part: bytes) -> None:
    if not future.done():
        future.set_result(part)


def _fail(future: "asyncio.Future[bytes]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


class FileBlocks:
    """WSGI's file wrapper: Django closes the response with it."""

    def __init__(self, file: IO[bytes], block_size: int = FILE_BLOCK) -> None:
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self._file.read(FILE_BLOCK), b"")

    def close(self) -> None:
        self._file.close()


def _close(response: Iterable[bytes]) -> None:
    close = getattr(response, "close", None)
    if close is not None:
        close()


# --- requests ------------------------------------------------------------------------------------------


def environ_of(scope: Scope) -> Environ:
    """The WSGI environment of an ASGI request, `wsgi.input` to be set later.

    Header names with an underscore are left out: in this form they could pass for ones with a hyphen that a
    proxy vouches for.
    """
    environ: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(scope["raw_path"]).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "0",
        "REMOTE_ADDR": "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileBlocks,
    }
    if server := scope.get("server"):
        environ["SERVER_NAME"], environ["SERVER_PORT"] = str(server[0]), str(server[1])
    if client := scope.get("client"):
        environ["REMOTE_ADDR"] = str(client[0])
    for raw_name, raw_value in scope["headers"]:
        if b"_" in raw_name:
            continue
        name, value = raw_name.decode("latin-1").upper().replace("-", "_"), raw_value.decode("latin-1")
        if name not in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
            name = f"HTTP_{name}"
        if name in environ:
            value = f"{environ[name]}{'; ' if name == 'HTTP_COOKIE' else ','}{value}"
        environ[name] = value
    return environ
