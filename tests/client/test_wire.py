"""HTTP to a real server, over good lines and bad ones."""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
import uuid
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from logomesh_client.file import LogoMeshFile, SpaceLink
from logomesh_client.sync import sync_once
from logomesh_client.wire import (
    Address,
    Backoff,
    CutOff,
    Event,
    Interrupted,
    Live,
    NotLogoMesh,
    Pace,
    Problem,
    ProxyFailed,
    Refused,
    Server,
    TimedOut,
    Timeouts,
    Unreachable,
)
from logomesh_client.wire.ahead import Ahead
from tests.client import strangers
from tests.client.app import App, make, one_transaction
from tests.client.link import NONE, Faults
from tests.client.serving import Lab
from tests.logomesh_server.processes import free_port

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("client")]


@pytest.fixture
def server(lab: Lab) -> Iterator[Server]:
    with Server(lab.url, lab.device("eva")) as made:
        yield made


@pytest.fixture
def space(lab: Lab) -> str:
    return lab.space("eva")


def thought(id_: str, title: str = "A thought", base: int = 0) -> dict[str, Any]:
    change_id = str(uuid.uuid4())
    return {"change_id": change_id, "type": "thoughts", "id": id_, "base": base, "set": {"title": title}}


def filled(server: Server, space: str, number: int, title: str = "A thought") -> None:
    """Make thoughts t0, t1 …; without a title each has one that cannot be packed."""
    for start in range(0, number, 1000):
        numbers = range(start, min(number, start + 1000))
        answer = server.push(
            space, None, 0, [thought(f"t{n}", title or os.urandom(100).hex()) for n in numbers]
        )
        assert {result["status"] for result in answer.results} == {"applied"}


def test_pull_in_pages_and_push(server: Server, space: str) -> None:
    filled(server, space, 25, "a\u2028line\r\n\u0085 separator")
    pull = server.changes(space, limit=20)
    first = list(pull)
    assert (len(first), pull.more, pull.count) == (20, True, 20)
    rest = server.changes(space, pull.cursor)
    found = first + list(rest)
    assert rest.more is False
    assert {change["id"] for change in found} == {f"t{n}" for n in range(25)}
    assert {change["record"]["title"] for change in found} == {"a\u2028line\r\n\u0085 separator"}
    answer = server.push(space, rest.epoch, rest.head, [thought("t1", "Better", found[1]["version"])])
    assert answer.results[0]["status"] == "applied"
    assert answer.version == rest.head + 1
    digest = server.digest(space)
    assert digest["records"] == 25
    listed = [
        server.digest(space, sector)["records"] for sector in range(256) if int(digest["sectors"][sector], 16)
    ]
    assert sum(map(len, listed)) == 25
    fetched = server.fetch(space, [("thoughts", "t1"), ("thoughts", "unknown/one")])
    assert [change["record"]["title"] for change in fetched] == ["Better"]
    assert [entry["act"] for entry in server.history(space, "thoughts", "t1")] == ["edit", "create"]
    old = server.history(space, "thoughts", "t1")[-1]["version"]
    assert server.restore(space, "thoughts", "t1", old)["record"]["title"].startswith("a")
    assert [space_["role"] for space_ in server.spaces() if space_["id"] == space] == ["owner"]


def test_scope(server: Server, space: str) -> None:
    filled(server, space, 3)
    tag = {"change_id": str(uuid.uuid4()), "type": "tags", "id": "tag", "base": 0, "set": {"name": "Tag"}}
    link = {"change_id": str(uuid.uuid4()), "type": "thought_tags", "id": "t1/tag", "base": 0,
            "set": {"thought_id": "t1", "tag_id": "tag"}}  # fmt: skip
    server.push(space, None, 0, [tag, link])
    pull = server.changes(space, scope={"tag": ["tag"]})
    assert {change["id"] for change in pull} == {"t1", "tag", "t1/tag"}
    assert {change["id"] for change in server.changes(space, pull.cursor, scope="all")} >= {"t0", "t2"}
    assert server.digest(space, scope={"tag": "tag"})["records"] == 3


def test_conflict_and_move(lab: Lab, server: Server, space: str) -> None:
    filled(server, space, 2)
    server.push(space, None, 1, [thought("t0", "One", 1)])
    result = server.push(space, None, 1, [thought("t0", "Other", 1)]).results[0]
    assert result["status"] == "conflict"
    assert [one["id"] for one in server.conflicts(space, "open")] == [result["conflict"]]
    with pytest.raises(Problem) as raised:
        server.move(space, ["t0"], lab.space("eva"))
    assert raised.value.type == "still-in-conflict"
    assert raised.value.body["conflicts"] == [result["conflict"]]
    server.resolve(result["conflict"], {"take": "client"})
    assert server.move(space, ["t0"], lab.space("eva"))["moved"] == {"thoughts": 1}


def test_problems_say_what_the_server_says(server: Server, space: str) -> None:
    with pytest.raises(Problem) as raised:
        list(server.changes(space, "no-cursor"))
    assert (raised.value.type, raised.value.status, raised.value.reason) == ("cursor-expired", 410, "foreign")
    assert len(raised.value.request_id) == 32
    with pytest.raises(Problem) as raised:
        server.digest("a space/../of ours?")
    assert raised.value.type == "not-found"


def test_a_device_that_is_signed_in_by_password(lab: Lab) -> None:
    with Server(lab.url) as server, pytest.raises(Problem) as raised:
        server.new_device("laptop", email="eva@lab.example", password="wrong: ü")
    assert raised.value.status == 401
    with Server(lab.url, lab.device("eva")) as server:
        made = server.new_device("clone")
        assert made.token not in repr(made)
    with Server(lab.url, made.token) as server:
        assert [device["name"] for device in server.devices() if device["current"]] == ["clone"]


def test_a_feed_that_is_cut_off_does_not_count(lab: Lab, server: Server, space: str) -> None:
    filled(server, space, 3000, title="")
    with lab.link("cut", Faults(cut=1.0, cut_after=60_000)) as link:
        address, token = f"http://127.0.0.1:{link.port}", lab.device("eva")
        cut = 0
        for _ in range(8):
            with Server(address, token) as far:  # on a connection of its own: a link cuts connections
                pull, came = far.changes(space, limit=10_000), 0
                try:
                    came = len(list(pull))
                except (CutOff, Interrupted):
                    cut += 1
            assert hasattr(pull, "cursor") == (came == 3000)
        assert cut > 0
        link.faults = NONE
        with Server(address, token) as far:
            assert len(list(far.changes(space, limit=10_000))) == 3000


def test_what_comes_ahead_comes_in_order_and_a_failure_after_it() -> None:
    def lines() -> Generator[list[bytes], None, None]:
        for number in range(100):
            yield [b"%d" % number] * 3
        raise CutOff("the line broke")

    came = []
    with pytest.raises(CutOff):
        for line in Ahead(lines, most=10):
            came.append(int(line))
    assert came == [number for number in range(100) for _ in range(3)]


def test_what_nobody_reads_is_fetched_no_further() -> None:
    fetched: list[int] = []
    ended = threading.Event()

    def lines() -> Generator[list[bytes], None, None]:
        try:
            for number in range(100):
                fetched.append(number)
                yield [b"0123456789"]
        finally:
            ended.set()

    ahead = Ahead(lines, most=20)
    assert next(iter(ahead)) == b"0123456789"
    ahead.close()
    assert ended.wait(10)
    assert len(fetched) < 10


def test_more_than_one_push_and_page_of_edits_comes_through(
    server: Server, space: str, tmp_path: Path
) -> None:
    ours, theirs = (make(tmp_path / f"{name}.sqlite3", "S2x") for name in ("ours", "theirs"))
    with closing(App.of(ours, "S2x", "ours")) as app, one_transaction(app):
        for number in range(250):
            thought = app.create_thought(f"Thought {number}")
            app.create_segment(thought, "A segment", "Its text")
    server.push_pace, server.pull_pace = Pace(60), Pace(110)
    with LogoMeshFile.open(ours) as one, LogoMeshFile.open(theirs) as other:
        for file in (one, other):
            file.attach(SpaceLink(space, "http://here"))
        report = sync_once(one, server)
        assert (report.sent, report.proved) == (500, True)
        report = sync_once(other, server)
        assert (report.received, report.proved) == (500, True)


def test_small_pages_pass_where_large_ones_vanish(lab: Lab, server: Server, space: str) -> None:
    filled(server, space, 400, title="")
    with lab.link("vpn", Faults(swallow_over=6_000)) as link:
        far = Server(f"http://127.0.0.1:{link.port}", lab.device("eva"), timeouts=Timeouts(idle=0.8))
        cursor, came, failures = None, 0, 0
        while failures < 10:
            pull = far.changes(space, cursor)
            try:
                came += len(list(pull))
            except (CutOff, Unreachable):
                failures += 1
                continue
            cursor = pull.cursor
            if not pull.more:
                break
        assert (came, 0 < failures < 10) == (400, True)
        far.close()


def test_patience(lab: Lab) -> None:
    waits: list[float] = []
    with lab.link("patience") as link:
        link.down()

        def wait(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 3:
                link.up()

        with Server(f"http://127.0.0.1:{link.port}", patience=60, wait=wait) as server:
            assert server.about()["name"] == "LogoMesh Server"
        assert len(waits) == 3
        link.down()
        with Server(f"http://127.0.0.1:{link.port}") as server, pytest.raises(Unreachable):
            server.about()
    with Server(f"http://127.0.0.1:{link.port}") as server, pytest.raises(Refused):
        server.about()


def test_who_asks_to_wait_is_waited_for() -> None:
    body = b'{"type": "/problems/space-busy", "title": "The space is busy", "status": 503}'
    headers = {"Content-Type": "application/problem+json", "Retry-After": "7"}
    waits: list[float] = []

    class EnoughOfIt(Exception):
        pass

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise EnoughOfIt

    with strangers.serving(strangers.answering(503, headers, body)) as port:
        with (
            Server(f"http://127.0.0.1:{port}", "t", patience=60, wait=wait) as server,
            pytest.raises(EnoughOfIt),
        ):
            server.spaces()
        with (
            Server(f"http://127.0.0.1:{port}", "t", patience=5, wait=wait) as server,
            pytest.raises(Problem) as raised,
        ):
            server.spaces()  # it would have to wait longer than its patience
    assert (raised.value.type, raised.value.retry_after) == ("space-busy", 7.0)
    assert [7 <= seconds <= 7 + most for seconds, most in zip(waits, (0.5, 1, 2), strict=True)] == [True] * 3


def test_a_page_of_somebody_else_is_no_feed() -> None:
    with strangers.serving(strangers.WebSite) as port, Server(f"http://127.0.0.1:{port}", "t") as server:
        for ask in (server.spaces, lambda: list(server.changes("s"))):
            with pytest.raises(NotLogoMesh):
                ask()


def test_a_token_never_follows_a_redirect() -> None:
    seen: list[str] = []

    class Thief(strangers.WebSite):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization", ""))
            super().do_GET()

    with strangers.serving(Thief) as port:
        there = {"Location": f"http://127.0.0.1:{port}/api/v1/spaces"}
        with strangers.serving(strangers.answering(307, there)) as first:
            server = Server(f"http://127.0.0.1:{first}", "secret")
            with pytest.raises(Unreachable):
                server.spaces()
            server.close()
    assert seen == []


def test_a_proxy_of_the_environment(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def noted(path: str, headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
        asked.append(path)
        return headers, body

    monkeypatch.setenv("no_proxy", "other.example")
    with strangers.serving(strangers.before(lab.url, noted)) as port:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        with Server("http://logomesh.lab.example", lab.device("eva")) as server:
            assert server.about()["name"] == "LogoMesh Server"
            assert server.spaces()
        assert asked == ["/api/v1/about", "/api/v1/spaces"]
        with Server(lab.url) as server:
            server.about()  # this machine needs no proxy
        assert len(asked) == 2
        assert Address.parse("http://other.example").proxy is None
    with strangers.serving(strangers.answering(407, {})) as port:
        monkeypatch.setenv("http_proxy", f"http://eva:secret@127.0.0.1:{port}")
        with Server("http://logomesh.lab.example") as server, pytest.raises(ProxyFailed) as raised:
            server.about()
    monkeypatch.setenv("http_proxy", f"http://eva:secret@127.0.0.1:{free_port()}")
    with Server("http://logomesh.lab.example") as server, pytest.raises(ProxyFailed) as raised:
        server.about()
    assert "secret" not in str(raised.value)


def test_live_events(lab: Lab, server: Server, space: str) -> None:
    with lab.link("live") as link:
        far = Server(f"http://127.0.0.1:{link.port}", lab.device("eva"))
        live = far.live(Backoff(least=0.05, most=0.1))
        events = iter(live)
        assert next(events).kind == "open"
        assert pushed_and_heard(server, space, "t0", events)
        link.down()
        assert until(events, "lost").error is not None
        link.up()
        until(events, "open")
        assert pushed_and_heard(server, space, "t1", events)
        threading.Timer(0.3, live.close).start()
        assert [event.kind for event in events if event.kind not in ("quiet", "lost")] == []
        far.close()


def test_live_events_end_with_the_token(lab: Lab) -> None:
    with Server(lab.url, "lm_unknown") as server, pytest.raises(Problem):
        list(server.live())


def pushed_and_heard(server: Server, space: str, id_: str, events: Iterator[Event]) -> bool:
    """Events are no promise: a line that is just open may miss one. So there is a new one each second."""
    versions: set[int] = set()
    heard = threading.Event()

    def push() -> None:
        for number in range(60):
            versions.add(server.push(space, None, 0, [thought(f"{id_}/{number}")]).version)
            if heard.wait(1):
                return

    pushing = threading.Thread(target=push)
    pushing.start()
    # Her other spaces may have news as well, and a line that is just open may tell of what was before.
    ours = (event for event in itertools.islice(events, 100) if event.space == space)
    found = any(event.kind == "head" and event.version in versions for event in ours)
    heard.set()
    pushing.join()
    return found


def until(events: Iterator[Event], kind: str) -> Event:
    return next(event for event in itertools.islice(events, 100) if event.kind == kind)


def test_an_upload_goes_on_after_every_break(lab: Lab, tmp_path: Path) -> None:
    content = os.urandom(300_000)
    path = tmp_path / "file.sqlite3"
    path.write_bytes(content)
    told: list[int] = []
    with lab.link("upload", Faults(cut=0.5, cut_after=100_000)) as link:
        far = Server(
            f"http://127.0.0.1:{link.port}", lab.device("eva"), timeouts=Timeouts(idle=3), patience=20
        )
        upload = far.begin_upload("ünïcode.sqlite3", len(content))
        for _ in range(40):
            try:
                upload = far.send_upload(upload, path, told.append)
                break
            except (Unreachable, Problem):
                continue
        assert upload.offset == len(content) == told[-1]
        assert sorted(told) == told
        link.faults = NONE
        made = far.create_import(lab.space("eva"), upload.id)
        assert made["sha256"] == hashlib.sha256(content).hexdigest()
        assert made["file"] == "ünïcode.sqlite3"
        far.close()


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("lab.example", "https://lab.example"),
        ("localhost:8000", "http://localhost:8000"),
        ("http://10.0.0.1:80/api/v1/", "http://10.0.0.1"),
        ("https://lab.example/mesh/", "https://lab.example/mesh"),
        ("[::1]:8000", "http://[::1]:8000"),
        (" HTTPS://Lab.Example ", "https://lab.example"),
    ],
)
def test_addresses(text: str, url: str) -> None:
    assert Address.parse(text).url == url


def test_backoff_spreads_and_grows() -> None:
    most = Backoff(least=1, most=8, chance=lambda: 1.0)
    assert [most.wait() for _ in range(6)] == [1, 2, 4, 8, 8, 8]
    most.reset()
    assert most.wait(retry_after=5) == 6
    assert most.wait(retry_after=1e9) == 902
    assert Backoff(chance=lambda: 0.0).wait() == 0


def test_pace() -> None:
    pace = Pace(1000)
    sizes = []
    for _ in range(4):
        sizes.append(pace.size)
        pace.failed()
    assert sizes == [1000, 125, 15, 1]
    for _ in range(200):
        pace.worked()
    assert pace.size == 1000


def test_pace_does_not_run_into_the_same_wall_again_and_again() -> None:
    pace, failures = Pace(1000), 0
    for _ in range(100):
        if pace.size > 20:
            failures += 1
            pace.failed()
        else:
            pace.worked()
    assert failures < 12


def test_a_large_push_passes_in_small_pieces(lab: Lab, space: str) -> None:
    changes = [thought(f"t{n}", os.urandom(100).hex()) for n in range(200)]
    with lab.link("vpn", Faults(swallow_over=6_000)) as link:
        far = Server(f"http://127.0.0.1:{link.port}", lab.device("eva"), timeouts=Timeouts(idle=0.8))
        answer = far.push(space, None, 0, changes)
        assert [result["change_id"] for result in answer.results] == [one["change_id"] for one in changes]
        assert {result["status"] for result in answer.results} <= {"applied", "duplicate"}
        far.close()


def test_live_is_a_thing_that_ends() -> None:
    """Closed before it is begun, it has no events."""
    with Server("http://127.0.0.1:9") as server:
        live: Live = server.live()
        live.close()
        assert list(live) == []
        with pytest.raises((Refused, TimedOut)):
            server.about()
