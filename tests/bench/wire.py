"""The thinnest HTTP client that there can be: it must not be what is measured."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Wire:
    """One kept-alive connection."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 80), timeout=300)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb", buffering=1024**2)
        self._prefix = parts.path
        self._head = f"Host: {parts.netloc}\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in self.headers.items()
        )

    def get(self, path: str, **headers: str) -> Answer:
        self.ask("GET", path, b"", headers)
        return self._answer()

    def post(self, path: str, body: bytes, **headers: str) -> Answer:
        self.ask("POST", path, body, {"Content-Type": "application/json", **headers})
        return self._answer()

    def ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        head = f"{method} {self._prefix}{path} HTTP/1.1\r\n{self._head}{more}{length}\r\n"
        self._socket.sendall(head.encode() + body)

    def lines(self) -> Iterator[bytes]:
        """What comes on an answer that does not end, line by line, chunk sizes among them."""
        while line := self._file.readline():
            yield line

    def close(self) -> None:
        with contextlib.suppress(OSError):  # gone already
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes a thread that reads
        self._file.close()
        self._socket.close()

    def _answer(self) -> Answer:
        status = int(self._file.readline().split()[1])
        headers = {}
        while (line := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        if headers.get("transfer-encoding") == "chunked":
            body = b"".join(self._chunks())
        else:
            body = self._file.read(int(headers.get("content-length", 0)))
        return Answer(status, headers, body)

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._file.readline().split(b";")[0], 16):
            yield self._file.read(size)
            self._file.readline()
        self._file.readline()
