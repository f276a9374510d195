"""PostgreSQL goes away while devices push: no lie, no 500, no loss, and nobody has to restart anything."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.logomesh_server.department import Client, Department, make_client, make_department, new_thought
from tests.logomesh_server.processes import Serving, manage
from tests.logomesh_server.servers import Server, needs_pgbouncer, pgbouncer, server

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("outage")]

END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'runner'"


class Pusher(threading.Thread):
    """A device that pushes thought after thought, each until it is acknowledged, and keeps the books."""

    def __init__(self, client: Client, name: str) -> None:
        super().__init__(daemon=True)
        self.client, self.label = client, name
        self.acknowledged: list[str] = []
        self.answers: Counter[int] = Counter()
        self.without_retry_after = 0
        self.longest = 0.0
        self.over = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.over.is_set():
            change = new_thought(f"{self.label}-{number}")
            while not self._sent(change):
                if self.over.is_set():
                    return
            self.acknowledged.append(change["id"])
            number += 1

    def _sent(self, change: dict[str, Any]) -> bool:
        began = time.monotonic()
        try:
            answer = self.client.call("POST", "/changes", json={"changes": [change]})
        except httpx.HTTPError:
            self.answers[0] += 1
            return False
        self.longest = max(self.longest, time.monotonic() - began)
        self.answers[answer.status_code] += 1
        if answer.status_code != 200:
            self.without_retry_after += "retry-after" not in answer.headers
            time.sleep(0.05)
            return False
        assert answer.json()["results"][0]["status"] in {"applied", "duplicate"}, answer.text
        return True


@pytest.fixture(scope="module")
def department(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Department]:
    with server(settings={"fsync": "on"}) as made:
        yield make_department(made, tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def serving(department: Department, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    running = Serving(tmp_path_factory.mktemp("served") / "data", **department.variables()).until_ready()
    yield running
    assert running.end() == 0


@pytest.fixture(scope="module")
def client(department: Department, serving: Serving) -> Client:
    return make_client(serving.url, serving.data, department.variables())


def until(true: Callable[[], bool], seconds: float, why: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, why()
        time.sleep(0.05)


def stop_now(made: Server) -> None:
    made.stop(signal.SIGQUIT)  # "immediate": sessions are cut off, recovery at the next start


def kill(made: Server) -> None:
    made.stop(signal.SIGKILL)  # nobody is told; the machine itself stays up


def restart(made: Server) -> None:
    made.stop(signal.SIGINT)


@pytest.mark.parametrize("lose", [stop_now, kill, restart])
def test_nothing_acknowledged_is_lost(
    lose: Callable[[Server], None], department: Department, serving: Serving, client: Client
) -> None:
    pushers = [Pusher(client, f"{lose.__name__}{number}") for number in range(3)]
    for pusher in pushers:
        pusher.start()
    books = lambda: str([(p.answers, len(p.acknowledged)) for p in pushers]) + serving.said[-3000:]  # noqa: E731
    until(lambda: all(len(pusher.acknowledged) > 5 for pusher in pushers), 20, books)
    lose(department.server)
    _while_it_is_away(serving, client)
    department.server.start()
    back = time.monotonic()
    reached = [len(pusher.acknowledged) for pusher in pushers]
    until(lambda: all(len(p.acknowledged) > n + 3 for p, n in zip(pushers, reached, strict=True)), 20, books)
    recovered = time.monotonic() - back
    for pusher in pushers:
        pusher.over.set()
        pusher.join(30)
    assert recovered < 20
    for pusher in pushers:
        assert set(pusher.answers) <= {0, 200, 503}, books()
        assert pusher.answers[503] > 0
        assert pusher.without_retry_after == 0
        assert pusher.longest < 15
    found = Counter(change["id"] for change in client.pull()["changes"])
    acknowledged = [id_ for pusher in pushers for id_ in pusher.acknowledged]
    assert set(acknowledged) <= set(found)
    assert 0 < serving.said.count("The database is away") < 30, "a line for each process, not for each try"
    until(lambda: "The database is back" in serving.said, 20, books)
    mine = [id_ for id_ in found if id_.startswith(lose.__name__)]
    assert len(mine) - len(acknowledged) <= len(pushers), "only what was under way at the end may be more"
    assert set(found.values()) == {1}
    assert serving.process.poll() is None


def _while_it_is_away(serving: Serving, client: Client) -> None:
    ready = httpx.get(f"{serving.url}/readyz", timeout=20)
    assert (ready.status_code, ready.json()["database"]) == (503, "away")
    assert httpx.get(f"{serving.url}/livez", timeout=20).status_code == 200
    answer = client.call("GET", "/changes")
    assert (answer.status_code, answer.json()["type"].rsplit("/", 1)[-1]) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0
    page = httpx.get(f"{serving.url}/sign-in", headers={"Accept": "text/html"}, timeout=20)
    if page.status_code != 404:  # needs no database where nobody is signed in
        assert page.status_code in {200, 503}
    browser = {"Accept": "text/html", "Cookie": f"sessionid={'a' * 32}"}
    admin = httpx.get(f"{serving.url}/admin/", headers=browser, timeout=20)
    assert admin.status_code == 503
    assert "text/html" in admin.headers["content-type"]
    assert "does not answer at the moment" in admin.text
    headers = {"Authorization": f"Token {client.token}"}
    live = httpx.get(f"{serving.url}/api/v1/live", headers=headers, timeout=20)
    assert (live.status_code, int(live.headers["retry-after"]) > 0) == (503, True)


def test_an_outage_does_not_use_up_the_threads(
    department: Department, serving: Serving, client: Client
) -> None:
    department.server.stop()
    try:
        client.call("GET", "/changes")
        client.call("GET", "/changes")  # both web processes may have to learn of it
        together = [threading.Thread(target=client.call, args=("GET", "/changes")) for _ in range(60)]
        began = time.monotonic()
        for thread in together:
            thread.start()
        for thread in together:
            thread.join()
        assert time.monotonic() - began < 15, "sixty at once are not answered one after the other"
    finally:
        department.server.start()
    serving.until_answering()


def test_a_restored_primary_that_is_still_a_standby(
    department: Department, serving: Serving, client: Client
) -> None:
    """After a failover, the address may lead to a server that can only be read."""
    role = "ALTER ROLE runner IN DATABASE department"
    department.server.sql(f"{role} SET default_transaction_read_only = on")
    department.server.sql(END_SESSIONS)
    try:
        answer = client.call("POST", "/changes", json={"changes": [new_thought("standby")]})
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True), answer.text
    finally:
        department.server.sql(f"{role} RESET default_transaction_read_only")
        department.server.sql(END_SESSIONS)
    until(
        lambda: client.call("POST", "/changes", json={"changes": [new_thought("after")]}).status_code == 200,
        20,
        lambda: serving.said[-2000:],
    )


@pytest.mark.department
@needs_pgbouncer
def test_behind_a_pooler_by_transaction(department: Department, tmp_path: Path) -> None:
    """The PgBouncer stays, and takes questions that nobody answers."""
    pooled = {"LOGOMESH_DB_POOLER": "transaction"}
    grants = ["database", "grants", "--to", "runner", "--owner", "owner", "--pooled"]
    lines = manage(tmp_path / "data", *grants, **department.variables("owner", **pooled))
    department.server.sql(*lines.stdout.splitlines(), database="department")
    with pgbouncer(department.server, query_wait_timeout="5", server_login_retry="2") as port:
        variables = department.variables(port=port, **pooled)
        serving = Serving(tmp_path / "data", **variables).until_ready()
        try:
            client = make_client(serving.url, serving.data, variables, "ben@lab.example")
            pushers = [Pusher(client, f"pooled{number}") for number in range(3)]
            for pusher in pushers:
                pusher.start()
            books = lambda: str([(p.answers, len(p.acknowledged)) for p in pushers]) + serving.said[-3000:]  # noqa: E731
            until(lambda: all(len(pusher.acknowledged) > 5 for pusher in pushers), 20, books)
            kill(department.server)
            until(lambda: all(pusher.answers[503] > 2 for pusher in pushers), 30, books)
            department.server.start()
            reached = [len(pusher.acknowledged) for pusher in pushers]
            further = lambda: all(len(p.acknowledged) > n for p, n in zip(pushers, reached, strict=True))  # noqa: E731
            until(further, 30, books)
            for pusher in pushers:
                pusher.over.set()
                pusher.join(30)
                assert set(pusher.answers) <= {0, 200, 503}, books()
                assert pusher.without_retry_after == 0
                assert pusher.longest < 15
            found = {change["id"] for change in client.pull()["changes"]}
            assert {id_ for pusher in pushers for id_ in pusher.acknowledged} <= found
        finally:
            assert serving.end() == 0
    department.server.sql("ALTER ROLE runner IN DATABASE department RESET ALL")
