"""The web front: what reaches Django, what is refused before, and what happens to clients that misbehave."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from logomesh_server import rendering
from logomesh_server.intake import FileBlocks, Intake, Limits
from workspaces.problems import Unauthenticated

Environ = dict[str, Any]


def limits(spool: Path, **changed: Any) -> Limits:
    usual: dict[str, Any] = {
        "body_bytes": 1_000,
        "large_bodies": {r"^/large": 100_000},
        "memory_bytes": 5_000,
        "spool": spool,
        "grace_seconds": 0.3,
        "bytes_a_second": 10_000,
        "threads": 2,
        "streams": 1,
        "waiting": 2,
        "queue_seconds": 0.3,
        "send_seconds": 0.3,
    }
    return Limits(**usual | changed)


class Streamed(list[bytes]):
    """A WSGI response that says it is a stream, as Django's does."""

    streaming = True

    def __init__(self, parts: Iterable[bytes]) -> None:
        super().__init__()
        self.parts = parts
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.parts)

    def close(self) -> None:
        self.closed.set()


class Client:
    """One request, from the ASGI server's side."""

    def __init__(
        self, method: str = "GET", path: str = "/", headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        self.scope = {
            "type": "http", "http_version": "1.1", "method": method, "path": path, "raw_path": path.encode(),
            "query_string": b"a=1", "scheme": "http", "headers": [(b"host", b"localhost"), *headers],
            "server": ("127.0.0.1", "8000"), "client": ("127.0.0.1", "5000"),
        }  # fmt: skip
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.ended = False
        self.reads = asyncio.Event()
        self.reads.set()

    def sends(self, *parts: bytes) -> "Client":
        for index, part in enumerate(parts):
            more = index < len(parts) - 1
            self.incoming.put_nowait({"type": "http.request", "body": part, "more_body": more})
        return self

    def leaves(self) -> None:
        self.incoming.put_nowait({"type": "http.disconnect"})

    async def receive(self) -> dict[str, Any]:
        return await self.incoming.get()

    async def send(self, message: dict[str, Any]) -> None:
        await self.reads.wait()
        if message["type"] == "http.response.start":
            assert not self.status, "answered twice"
            self.status, self.headers = message["status"], dict(message["headers"])
        else:
            self.body += message["body"]
            self.ended = not message.get("more_body", False)

    async def asks(self, intake: Intake) -> "Client":
        await asyncio.wait_for(intake(self.scope, self.receive, self.send), 5)
        return self


def intake(application: Callable[..., Iterable[bytes]], given: Limits) -> Intake:
    return Intake(application, given, admit, rendering.answer_early, {})


def admit(environ: Environ) -> None:
    if environ.get("HTTP_AUTHORIZATION") == "Token stranger":
        raise Unauthenticated


def echo(environ: Environ, start: Callable[..., Any]) -> list[bytes]:
    start("200 OK", [("Content-Type", "text/plain"), ("X-Path", environ["PATH_INFO"])])
    return [environ["wsgi.input"].read()]


def body(size: int) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", str(size).encode())]


def test_a_whole_body_reaches_the_application(tmp_path: Path) -> None:
    async def run() -> None:
        for parts in ([b"abc"], [b"a", b"bc"], [b"x" * 4_000, b"y" * 4_000]):
            size = sum(map(len, parts))
            client = Client("POST", "/large", body(size)).sends(*parts)
            await client.asks(intake(echo, limits(tmp_path)))
            assert (client.status, client.body, client.ended) == (200, b"".join(parts), True)

    asyncio.run(run())


def test_the_environment_is_the_request(tmp_path: Path) -> None:
    seen: Environ = {}

    def application(environ: Environ, start: Callable[..., Any]) -> list[bytes]:
        seen.update(environ)
        start("204 No Content", [])
        return []

    async def run() -> None:
        headers = [
            (b"x-twice", b"1"), (b"x-twice", b"2"), (b"cookie", b"a=1"), (b"cookie", b"b=2"),
            (b"x_forwarded_for", b"spoofed"), (b"authorization", b"Token \xff\xfe"),
            (b"content-type", b"a/b"),
        ]  # fmt: skip
        await Client("GET", "/sp%C3%A4%2Fce", headers).asks(intake(application, limits(tmp_path)))

    asyncio.run(run())
    assert seen["PATH_INFO"].encode("latin-1").decode() == "/spä/ce"
    assert seen["QUERY_STRING"] == "a=1"
    assert seen["HTTP_X_TWICE"] == "1,2"
    assert seen["HTTP_COOKIE"] == "a=1; b=2"
    assert seen["CONTENT_TYPE"] == "a/b"
    assert seen["HTTP_AUTHORIZATION"] == "Token \xff\xfe"
    assert "HTTP_X_FORWARDED_FOR" not in seen


@pytest.mark.parametrize("announced", [True, False])
def test_too_large_a_body_is_refused(tmp_path: Path, announced: bool) -> None:
    async def run() -> None:
        headers = body(1_001) if announced else [(b"transfer-encoding", b"chunked")]
        client = Client("POST", "/api/v1/small", headers).sends(b"x" * 1_000, b"x", b"x")
        await client.asks(intake(echo, limits(tmp_path)))
        assert client.status == 413
        assert client.headers[b"connection"] == b"close"
        assert json.loads(client.body)["type"] == "/problems/body-too-large"
        large = Client("POST", "/large", body(1_001)).sends(b"x" * 1_001)
        assert (await large.asks(intake(echo, limits(tmp_path)))).status == 200

    asyncio.run(run())


@pytest.mark.parametrize("announced", [True, False])
def test_a_stranger_sends_no_large_body(tmp_path: Path, announced: bool) -> None:
    async def run() -> None:
        length = body(6_000)[0] if announced else (b"transfer-encoding", b"chunked")
        headers = [length, (b"authorization", b"Token stranger")]
        client = Client("POST", "/large", headers).sends(*[b"x" * 1_000] * 6)
        await client.asks(intake(echo, limits(tmp_path)))
        assert client.status == 401
        assert client.incoming.qsize() == (6 if announced else 0)

    asyncio.run(run())


def test_a_dripping_body_is_cut_off(tmp_path: Path) -> None:
    async def run() -> None:
        client = Client("POST", "/api/v1/x", body(500))

        async def drip() -> None:
            while True:
                client.incoming.put_nowait({"type": "http.request", "body": b"x", "more_body": True})
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        started = time.monotonic()
        await client.asks(intake(echo, limits(tmp_path)))
        dripping.cancel()
        assert client.status == 408
        assert 0.25 < time.monotonic() - started < 1

    asyncio.run(run())


def test_a_client_that_leaves_costs_no_thread(tmp_path: Path) -> None:
    called = threading.Event()

    def application(environ: Environ, start: Callable[..., Any]) -> list[bytes]:
        called.set()
        return []

    async def run() -> None:
        client = Client("POST", "/", body(500))
        client.leaves()
        await client.asks(intake(application, limits(tmp_path)))
        assert client.status == 0

    asyncio.run(run())
    assert not called.is_set()


def test_too_many_requests_wait_and_then_are_told_to_come_back(tmp_path: Path) -> None:
    release = threading.Event()

    def application(environ: Environ, start: Callable[..., Any]) -> list[bytes]:
        release.wait(5)
        start("200 OK", [])
        return [b"done"]

    async def run() -> None:
        front = intake(application, limits(tmp_path))
        clients = [Client(path="/api/v1/x") for _ in range(6)]
        tasks = [asyncio.create_task(client.asks(front)) for client in clients]
        await asyncio.sleep(0.1)
        # Two compute, two wait, two are refused at once; those that wait are refused in time.
        assert [client.status for client in clients] == [0, 0, 0, 0, 503, 503]
        assert clients[5].headers[b"retry-after"] == b"2"
        await asyncio.sleep(0.4)
        assert [client.status for client in clients] == [0, 0, 503, 503, 503, 503]
        release.set()
        await asyncio.gather(*tasks)
        assert [client.status for client in clients[:2]] == [200, 200]
        assert (await Client().asks(front)).status == 200

    asyncio.run(run())


def test_an_exception_in_the_application_is_answered(tmp_path: Path) -> None:
    def application(environ: Environ, start: Callable[..., Any]) -> list[bytes]:
        raise RuntimeError("secret")

    async def run() -> None:
        client = await Client(path="/api/v1/x").asks(intake(application, limits(tmp_path)))
        assert client.status == 500
        assert b"secret" not in client.body

    asyncio.run(run())


def streaming(response: Streamed) -> Callable[..., Iterable[bytes]]:
    def application(environ: Environ, start: Callable[..., Any]) -> Iterable[bytes]:
        start("200 OK", [("Content-Type", "application/x-ndjson")])
        return response

    return application


def test_a_stream_arrives_whole_and_is_closed(tmp_path: Path) -> None:
    async def run() -> None:
        response = Streamed(b"x" * 50_000 for _ in range(10))
        client = await Client().asks(intake(streaming(response), limits(tmp_path)))
        assert (client.status, len(client.body), client.ended) == (200, 500_000, True)
        assert await asyncio.to_thread(response.closed.wait, 1)

    asyncio.run(run())


def test_head_sends_no_body(tmp_path: Path) -> None:
    async def run() -> None:
        response = Streamed([b"x" * 100])
        client = await Client("HEAD").asks(intake(streaming(response), limits(tmp_path)))
        assert (client.status, client.body, client.ended) == (200, b"", True)
        assert await asyncio.to_thread(response.closed.wait, 1)

    asyncio.run(run())


def test_a_stream_stops_when_its_client_goes_or_does_not_read(tmp_path: Path) -> None:
    made = 0

    def endless() -> Iterator[bytes]:
        nonlocal made
        while True:
            made += 1
            yield b"x" * 100_000

    async def run() -> None:
        nonlocal made
        for misbehaves in ("leaves", "does not read"):
            response = Streamed(endless())
            client = Client()
            task = asyncio.create_task(client.asks(intake(streaming(response), limits(tmp_path))))
            while not client.body:
                await asyncio.sleep(0.01)
            if misbehaves == "leaves":
                client.leaves()
            else:
                client.reads.clear()
            await task
            assert await asyncio.to_thread(response.closed.wait, 2)
            assert not client.ended
            so_far = made
            await asyncio.sleep(0.1)
            assert made == so_far

    asyncio.run(run())


def test_a_stream_that_fails_at_once_is_a_problem_and_later_it_breaks_off(tmp_path: Path) -> None:
    def fails(after: int) -> Iterator[bytes]:
        for _ in range(after):
            yield b"x" * 100_000
        raise RuntimeError("secret")

    async def run() -> None:
        at_once = await Client(path="/api/v1/x").asks(intake(streaming(Streamed(fails(0))), limits(tmp_path)))
        assert at_once.status == 500
        assert at_once.headers[b"content-type"] == b"application/problem+json"
        later = await Client().asks(intake(streaming(Streamed(fails(2))), limits(tmp_path)))
        assert later.status == 200
        assert not later.ended

    asyncio.run(run())


def test_a_stream_leaves_its_place_to_others_but_there_are_not_endlessly_many(tmp_path: Path) -> None:
    async def run() -> None:
        responses = iter([Streamed(iter(lambda: b"x" * 100_000, b"")) for _ in range(2)])

        def application(environ: Environ, start: Callable[..., Any]) -> Iterable[bytes]:
            start("200 OK", [])
            return next(responses) if environ["PATH_INFO"] == "/stream" else [b"quick"]

        front = intake(application, limits(tmp_path, threads=1, send_seconds=5))
        first = Client(path="/stream")
        task = asyncio.create_task(first.asks(front))
        while not first.body:
            await asyncio.sleep(0.01)
        first.reads.clear()
        assert (await Client(path="/quick").asks(front)).body == b"quick"
        assert (await Client(path="/stream").asks(front)).status == 503
        first.leaves()
        first.reads.set()
        await task

    asyncio.run(run())


def test_a_file_is_sent_in_blocks_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"z" * 700_000)

    async def run() -> None:
        file = path.open("rb")

        def application(environ: Environ, start: Callable[..., Any]) -> Iterable[bytes]:
            start("200 OK", [])
            return FileBlocks(file, 4096)

        client = await Client().asks(intake(application, limits(tmp_path)))
        assert len(client.body) == 700_000
        for _ in range(100):
            if file.closed:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the file stays open")

    asyncio.run(run())
