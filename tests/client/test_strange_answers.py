"""What a client makes of answers that no LogoMesh server gives: nothing worse than a failure with words."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import zstandard

from logomesh_client.connection import examine
from logomesh_client.wire import (
    Address,
    BadAddress,
    BadToken,
    CutOff,
    Interrupted,
    NotLogoMesh,
    Problem,
    ProxyFailed,
    Server,
    WireError,
)
from tests.client import strangers
from tests.logomesh_server.processes import ROOT

JSON = {"Content-Type": "application/json"}
FEED = {"Content-Type": "application/x-ndjson"}
CHANGE = b'{"type":"tags","id":"a","version":1,"deleted":true}\n'
END = b'{"end":{"cursor":"c","head":1,"epoch":"e","more":false}}\n'


def asked(
    ask: Callable[[Server], Any], status: int, headers: dict[str, str], body: bytes, **options: Any
) -> Any:
    with (
        strangers.serving(strangers.answering(status, headers, body)) as port,
        Server(f"http://127.0.0.1:{port}", "t", **options) as server,
    ):
        return ask(server)


def pulled(server: Server) -> list[dict[str, Any]]:
    return list(server.changes("s"))


ASKS: dict[str, Callable[[Server], Any]] = {
    "spaces": lambda it: it.spaces(),
    "workspaces": lambda it: it.workspaces(),
    "devices": lambda it: it.devices(),
    "new device": lambda it: it.new_device("laptop"),
    "feed": pulled,
    "push": lambda it: it.push("s", None, 0, [{"change_id": "x"}]),
    "fetch": lambda it: it.fetch("s", [("tags", "a")]),
    "digest": lambda it: it.digest("s"),
    "conflicts": lambda it: it.conflicts("s"),
    "history": lambda it: it.history("s", "tags", "a"),
    "move": lambda it: it.move("s", ["a"], "t"),
    "import": lambda it: it.find_import("i"),
    "new import": lambda it: it.create_import("s", "u"),
    "upload": lambda it: it.begin_upload("a.sqlite3", 10),
    "find upload": lambda it: it.find_upload("u"),
    "export": lambda it: exported(it),
}


def exported(server: Server) -> bytes:
    with server.export("s") as parts:
        return b"".join(parts)


@pytest.mark.parametrize("body", [b"[]", b"{}", b"null", b"7", b'{"spaces": 1}', b"{", b"<html>"])
@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_json_of_somebody_else(ask: Callable[[Server], Any], body: bytes) -> None:
    with pytest.raises(WireError):
        asked(ask, 200, JSON, body)


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_a_page_of_somebody_else(ask: Callable[[Server], Any]) -> None:
    with pytest.raises(NotLogoMesh):
        asked(ask, 200, {"Content-Type": "text/html; charset=utf-8"}, b"<title>Log in</title>")


@pytest.mark.parametrize(
    "line",
    [
        b"7\n",
        b'"end"\n',
        b'["end"]\n',
        b'{"end": 1}\n',
        b'{"end": {}}\n',
        b"{}\n",
        b'{"type": 1, "id": "a"}\n',
    ],
)
def test_lines_that_are_no_changes(line: bytes) -> None:
    with pytest.raises(CutOff):
        asked(pulled, 200, FEED, CHANGE + line + END)


@pytest.mark.parametrize("cut", ["half", "no end", "inside the last line"])
@pytest.mark.parametrize("packing", ["", "gzip", "zstd"])
def test_a_feed_that_ends_too_early(packing: str, cut: str) -> None:
    whole = CHANGE * 200 + END
    plain = {"half": whole, "no end": CHANGE * 200, "inside the last line": whole[:-5]}[cut]
    body = packed(plain, packing)
    if cut == "half":
        body = body[: len(body) // 2]
    with pytest.raises((CutOff, Interrupted)):
        asked(pulled, 200, FEED | ({"Content-Encoding": packing} if packing else {}), body)


@pytest.mark.parametrize("packing", ["", "gzip", "zstd", "deflate", "br"])
def test_packed_answers(packing: str) -> None:
    body = os.urandom(300_000).hex().encode()
    content = packed(b'{"spaces": ["' + body + b'"]}', packing)
    headers = JSON | ({"Content-Encoding": packing} if packing else {})
    if packing in ("deflate", "br"):  # nobody asked for that
        with pytest.raises(WireError):
            asked(Server.spaces, 200, headers, content)
        return
    assert asked(Server.spaces, 200, headers, content) == [body.decode()]
    for wrong in (content[:-1000], b"nonsense" * 100):
        with pytest.raises(WireError):
            asked(Server.spaces, 200, JSON | {"Content-Encoding": packing or "zstd"}, wrong)


def packed(content: bytes, packing: str) -> bytes:
    match packing:
        case "gzip":
            return gzip.compress(content)
        case "zstd":
            return zstandard.ZstdCompressor().compress(content)
        case "deflate":
            return zlib.compress(content)
    return content


def bomb(packing: str, size: int) -> bytes:
    """So many zeros, in a few kilobytes."""
    found = io.BytesIO()
    made: Any = (
        gzip.GzipFile(fileobj=found, mode="wb")
        if packing == "gzip"
        else zstandard.ZstdCompressor().stream_writer(found, closefd=False)
    )
    with made:
        for _ in range(size // 2**20):
            made.write(bytes(2**20))
    return found.getvalue()


_IN_LITTLE_ROOM = """
import resource, sys
from logomesh_client.wire import Server, WireError
resource.setrlimit(resource.RLIMIT_AS, (1500 * 2**20, 1500 * 2**20))
from tests.client.test_strange_answers import ASKS
try:
    ASKS[sys.argv[2]](Server(f"http://127.0.0.1:{sys.argv[1]}", "t"))
except WireError as error:
    print(type(error).__name__, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
@pytest.mark.parametrize(("name", "status"), [("feed", 200), ("feed", 500), ("spaces", 500)])
def test_a_small_answer_does_not_become_a_large_one(packing: str, name: str, status: int) -> None:
    headers = (FEED if status == 200 else {"Content-Type": "application/problem+json"}) | {
        "Content-Encoding": packing
    }
    body = bomb(packing, 2**31)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'client'}"}
    with strangers.serving(strangers.answering(status, headers, body)) as port:
        done = subprocess.run(
            [sys.executable, "-c", _IN_LITTLE_ROOM, str(port), name],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[1]) < 900, done.stdout


def test_a_long_line_takes_no_longer_than_it_must() -> None:
    """A record of many megabytes is one line, which comes in thousands of pieces."""
    record = (
        b'{"type":"thoughts","id":"a","version":1,"record":{"description":"' + b"x" * 60_000_000 + b'"}}\n'
    )
    began = time.process_time()
    [change] = asked(pulled, 200, FEED, record + END)
    assert len(change["record"]["description"]) == 60_000_000
    assert time.process_time() - began < 20  # joined piece by piece it would be minutes


# Waiting


@pytest.mark.parametrize("ahead", [-7200, 0, 7200])
def test_a_time_to_wait_until_is_by_the_servers_clock(ahead: int) -> None:
    now = time.time() + ahead
    headers = {
        "Content-Type": "application/problem+json",
        "Date": formatdate(now, usegmt=True),
        "Retry-After": formatdate(now + 40, usegmt=True),
    }
    body = b'{"type": "/problems/space-busy", "title": "Busy", "status": 503}'
    with pytest.raises(Problem) as raised:
        asked(Server.spaces, 503, headers, body)
    assert raised.value.retry_after == pytest.approx(40, abs=2)


@pytest.mark.parametrize("status", [429, 503])
def test_a_proxy_may_ask_to_wait_too(status: int) -> None:
    headers = {"Content-Type": "text/html", "Retry-After": "12"}
    with pytest.raises(NotLogoMesh) as raised:
        asked(Server.spaces, status, headers, b"<h1>Slow down</h1>")
    assert raised.value.retry_after == 12


@pytest.mark.parametrize("nonsense", ["²", "soon", "-5", "Mon, 99 Foo 10000", "9" * 400, ""])
def test_a_time_to_wait_that_is_none(nonsense: str) -> None:
    headers = {"Content-Type": "application/problem+json", "Retry-After": nonsense}
    body = b'{"type": "/problems/space-busy", "title": "Busy", "status": 503}'
    with pytest.raises(Problem) as raised:
        asked(Server.spaces, 503, headers, body)
    assert raised.value.retry_after is None or raised.value.retry_after > 1e9


# What cannot be sent


@pytest.mark.parametrize("token", ["lm_secret\n", "lm_secret ", "lm_sécret", "lm_\x00secret", "", "a b"])
def test_a_token_that_cannot_be_one_is_not_shown(token: str) -> None:
    with pytest.raises(BadToken) as raised:
        Server("http://127.0.0.1:9", token)
    assert "secret" not in str(raised.value) + repr(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "https://" + "a" * 64 + ".example",
        "https://a..example",
        "https://\udcff.example",
        "https://lab.example:port",
        "https://eva:secret@lab.example:port",
        "https://[::1",
        "https://xn--a.example/\x00",
    ],
)
def test_a_host_that_cannot_be_one(text: str) -> None:
    with pytest.raises(BadAddress) as raised:
        Address.parse(text)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "proxy",
    ["gopher://proxy:1", "http://proxy:port", "http://[::1", "http://eva:secret@proxy:port", "http://"],
)
def test_a_proxy_that_cannot_be_one(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(ProxyFailed) as raised:
        Server("https://logomesh.lab.example")
    assert "secret" not in str(raised.value)
    *_, last = examine("https://logomesh.lab.example", None)
    assert (last.name, last.result) == ("proxy", "failed")
    assert "secret" not in str(last)


# Uploads


def test_patience_with_an_upload_begins_anew_with_each_piece(tmp_path: Path) -> None:
    """Ten minutes into an upload the line breaks for a second: that is no reason to give up."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(9 * 2**20))
    state = {"offset": 0, "asked": 0}
    clock = [0.0]

    class Tus(strangers.Quiet):
        def do_GET(self) -> None:
            found = {"id": "u", "offset": state["offset"], "length": path.stat().st_size}
            self._say(200, json.dumps(found).encode())

        def do_PATCH(self) -> None:
            size = int(self.headers["Content-Length"])
            self.rfile.read(size)
            state["asked"] += 1
            if state["asked"] % 2:
                self._say(503, b'{"type": "/problems/busy", "title": "Busy"}', "application/problem+json")
                return
            state["offset"] += size
            clock[0] += 300  # a slow line
            self.send_response(204)
            self.send_header("Upload-Offset", str(state["offset"]))
            self.end_headers()

        def _say(self, status: int, body: bytes, type_: str = "application/json") -> None:
            self.send_response(status)
            self.send_header("Content-Type", type_)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with (
        strangers.serving(Tus) as port,
        Server(f"http://127.0.0.1:{port}", "t", patience=20, wait=lambda seconds: None) as server,
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setattr("time.monotonic", lambda: clock[0])
        sent = server.send_upload(server.find_upload("u"), path)
    assert sent.offset == path.stat().st_size
    assert state["asked"] == 6
