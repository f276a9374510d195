"""What only a real server shows: memory that stays flat, bombs that cost little, a space that is held."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any

import httpx
import psycopg
import pytest
import zstandard

from tests.bench.served import Served, served
from tests.bench.sync import fill
from tests.sync.devices import change

RECORDS = 40_000  # of about 1.1 KB


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served() as running:
        yield running


def memory(server: Served) -> int:
    """Bytes that the web processes hold."""
    return sum(process.memory_info().rss for process in server.serving.children("granian"))


def growth(server: Served, work: Callable[[Callable[[], None]], None]) -> int:
    """By how much memory grew while `work`, which looks now and then, was under way."""
    before = most = memory(server)

    def look() -> None:
        nonlocal most
        most = max(most, memory(server))

    work(look)
    look()
    return most - before


def in_each_process(server: Served, work: Callable[[], None]) -> None:
    """Do it until each web process has done it once: which one gets a connection is chance."""
    all_ = server.serving.children("granian")
    workers = [process for process in all_ if process.ppid() in {it.pid for it in all_}]
    before = [process.cpu_times().user for process in workers]
    for _ in range(50):
        work()
        if all(it.cpu_times().user > used + 0.1 for it, used in zip(workers, before, strict=True)):
            return
    raise AssertionError("One web process gets no connections")


def test_a_first_pull_does_not_grow_the_servers_memory(server: Served) -> None:
    space = fill(server, "large", RECORDS)
    received = 0
    ends: list[Any] = []

    def pull(look: Callable[[], None]) -> None:
        nonlocal received
        headers = {"Accept": "application/x-ndjson"}
        with (
            server.client() as http,
            http.stream("GET", f"/spaces/{space}/changes", headers=headers) as answer,
        ):
            last = b""
            for number, piece in enumerate(answer.iter_bytes(256 * 1024)):
                received += len(piece)
                last = (last + piece)[-2000:]
                if number % 20 == 0:
                    look()
            ends.append(json.loads(last.splitlines()[-1])["end"])

    in_each_process(server, lambda: pull(lambda: None))  # what a process needs once
    received = 0
    grown = growth(server, pull)
    assert ends[-1]["more"] is False and ends[-1]["head"] == RECORDS // 1000
    assert received > 40_000_000
    assert grown < received // 2, f"{grown:,} bytes more for a stream of {received:,}"


@pytest.mark.parametrize("encoding", ["zstd", "gzip"])
def test_a_bomb_is_refused_before_it_goes_off(server: Served, encoding: str) -> None:
    space = server.space(f"bombs {encoding}")
    tenth = b" " * (2_000_000_000 // 10 if encoding == "zstd" else 60_000_000)
    # Both formats may be written one after the other.
    packed = (zstandard.compress(tenth) if encoding == "zstd" else gzip.compress(tenth, 1)) * 10

    def push(look: Callable[[], None]) -> None:
        with server.client() as http:
            answer = http.post(
                f"/spaces/{space}/changes", content=packed,
                headers={"Content-Encoding": encoding, "Content-Type": "application/json"},
            )  # fmt: skip
        assert (answer.status_code, answer.json()["type"]) == (413, "/problems/push-too-large")
        look()

    assert growth(server, push) < 600_000_000


def test_a_held_space_is_busy_and_nothing_is_half_done(server: Served) -> None:
    space = server.space("held")
    with server.database() as db, db.transaction(), server.client() as http:
        db.execute("SELECT FROM sync_spacehead WHERE space_id = %s FOR UPDATE", [space])
        answer = _push(http, space, change("thoughts", "t", set={}))
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/space-busy")
        assert int(answer.headers["Retry-After"]) > 0
        assert http.get(f"/spaces/{space}/changes").json()["changes"] == []  # reading goes on
    with server.client() as http:
        assert _push(http, space, change("thoughts", "t", set={})).json()["version"] == 1


def test_a_large_record_goes_in_and_comes_out(server: Served) -> None:
    space = server.space("large record")
    text = "A long day. " * 4_000_000  # 48 MB
    with server.client() as http:
        one = change("thoughts", "t", set={"description": text})
        assert _push(http, space, one).json()["results"][0]["status"] == "applied"
        page = http.get(f"/spaces/{space}/changes").json()
        assert page["changes"][0]["record"]["description"] == text
        several = _push(
            http, space, change("thoughts", "a", set={}), change("thoughts", "b", set={"title": text})
        )
        assert (several.status_code, several.json()["type"]) == (413, "/problems/push-too-large")


def test_a_body_that_is_announced_too_large_is_not_waited_for(server: Served) -> None:
    space = server.space("announced")
    http = HTTPConnection("127.0.0.1", server.serving.port, timeout=20)
    http.putrequest("POST", f"/api/v1/spaces/{space}/changes")
    http.putheader("Authorization", f"Token {server.token}")
    http.putheader("Content-Length", "300000000")
    http.endheaders()
    answer = http.getresponse()
    assert (answer.status, json.loads(answer.read())["type"]) == (413, "/problems/push-too-large")
    http.close()


def test_headers_that_are_no_text(server: Served) -> None:
    """Never a 500, whatever a header holds."""
    space = server.space("headers")
    for name in (
        b"Accept",
        b"Accept-Encoding",
        b"Content-Encoding",
        b"Content-Type",
        b"Authorization",
        b"Cookie",
    ):
        for value in (b"\xff\xfe", "é".encode(), b"Token \xff", b"a" * 4000):
            headers: list[tuple[bytes, bytes]] = [(name, value)]
            if name != b"Authorization":
                headers.append((b"Authorization", b"Token " + server.token.encode()))
            for method in ("GET", "POST"):
                answer = httpx.request(
                    method, f"{server.url}/api/v1/spaces/{space}/changes", headers=headers, content=b"{}"
                )
                assert answer.status_code < 500, (method, name, value, answer.text)


def test_every_step_of_a_pull_reads_by_the_index(server: Served) -> None:
    """An incremental pull costs the same in a space of any size: no plan sorts or scans the whole of it."""
    from sync.pull import reading

    space = fill(server, "plans", 3_000)
    with server.database() as db:
        values = {"space": space, "version": 2, "key": b"\xff" * 16, "fresh": 0, "until": 3}
        for query in (reading._TOUCHED, reading._query(128, tuple(reading._SOURCES))):
            plan = _plan(db, query, values)
            assert "Seq Scan" not in plan, plan
            assert "_feed" in plan, plan


def _plan(db: psycopg.Connection[Any], query: str, values: dict[str, Any]) -> str:
    text = query.replace("%b", "%s").replace(")b", ")s")
    return "\n".join(row[0] for row in db.execute(f"EXPLAIN {text}", values))


def _push(http: httpx.Client, space: str, *changes: dict[str, Any]) -> httpx.Response:
    return http.post(
        f"/spaces/{space}/changes", content=json.dumps({"changes": changes}).encode(),
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
