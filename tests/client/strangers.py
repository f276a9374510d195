"""Servers that are not what one hoped for: they swallow, lie about the time, or are somebody else."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx


@contextmanager
def swallowing() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as line:
        yield line.getsockname()[1]


@contextmanager
def full() -> Iterator[int]:
    """A port whose packets go nowhere: its queue is full, so nothing more is let in."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as line:
        waiting = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(line.getsockname())
            waiting.append(one)
        try:
            yield line.getsockname()[1]
        finally:
            for one in waiting:
                one.close()


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext | None = None) -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join(10)


class Quiet(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class WebSite(Quiet):
    """Answers everything with a page, as the log-in page of a network does."""

    def do_GET(self) -> None:
        body = b"<!doctype html><title>Welcome to the airport</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET


def answering(status: int, headers: dict[str, str], body: bytes = b"") -> type[Quiet]:
    """A server that has one answer to everything."""

    class One(Quiet):
        def do_GET(self) -> None:
            self.send_response_only(status)  # without a date of its own
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

    return One


def before(
    url: str, change: Callable[[str, dict[str, str], bytes], tuple[dict[str, str], bytes]]
) -> type[Quiet]:
    """A proxy before a server, which changes answers: `change(path, headers, body)` gives both anew."""

    class Proxy(Quiet):
        def send_response(self, code: int, message: str | None = None) -> None:
            self.send_response_only(code, message)  # without a date of its own

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in ("host", "accept-encoding")
            }
            path = "/" + self.path.split("/", 3)[3] if "://" in self.path else self.path
            with httpx.Client(trust_env=False, timeout=30) as http:
                found = http.request(self.command, url + path, headers=headers, content=body)
            kept = {
                name: value
                for name, value in found.headers.items()
                if name not in ("content-length", "transfer-encoding", "content-encoding")
            }
            kept, content = change(path, kept, found.content)
            self.send_response(found.status_code)
            for name, value in {**kept, "content-length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

    return Proxy


def as_it_is(path: str, headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
    return headers, body


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
