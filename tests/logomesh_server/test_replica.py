"""Large reads from a real streaming replica: only where it has caught up, and never at anybody's cost."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson
import pytest

from tests.logomesh_server.department import Client, Department, make_client, make_department, new_thought
from tests.logomesh_server.processes import Serving, manage
from tests.logomesh_server.servers import Server, server

pytestmark = [pytest.mark.department, pytest.mark.processes, pytest.mark.xdist_group("replica")]
RECORDS = 12_000


@dataclass
class Replicated:
    primary: Server
    standby: Server
    variables: dict[str, str]
    serving: Serving
    client: Client

    def caught_up(self) -> None:
        [(place,)] = self.primary.sql("SELECT pg_current_wal_lsn()")
        deadline = time.monotonic() + 30
        while not self.standby.sql(f"SELECT pg_last_wal_replay_lsn() >= '{place}'")[0][0]:
            assert time.monotonic() < deadline, self.standby.said
            time.sleep(0.05)

    def reads(self) -> dict[str, float]:
        """How many large reads each has answered since the server began."""
        told = httpx.get(f"{self.serving.url}/metrics", timeout=30).text
        found = re.findall(r'logomesh_replica_reads_total\{by="(\w+)"\} (\S+)', told)
        return {"replica": 0.0, "primary": 0.0} | {who: float(number) for who, number in found}

    def stream(self) -> Iterator[str]:
        """The ids of the whole feed."""
        headers = {
            "Authorization": f"Token {self.client.token}",
            "Accept": "application/x-ndjson",
            "Accept-Encoding": "identity",
        }
        address = f"{self.serving.url}/api/v1/spaces/{self.client.space}/changes"
        with httpx.stream("GET", address, headers=headers, timeout=60) as answer:
            assert answer.status_code == 200
            for line in answer.iter_lines():
                found = orjson.loads(line)
                if "end" in found:
                    return
                yield found["id"]
        pytest.fail("the stream has no end")


@pytest.fixture(scope="module")
def replicated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicated]:
    folder = tmp_path_factory.mktemp("replicated")
    with server(settings={"wal_level": "replica", "max_wal_senders": "4"}) as primary:
        department: Department = make_department(primary, folder / "made")
        with server(primary.programs, standby_of=primary, settings={"hot_standby": "on"}) as standby:
            replica = f"postgresql://127.0.0.1:{standby.port}/department"
            # One web process, so that the figures are whole whenever they are asked for.
            variables = department.variables(DATABASE_REPLICA_URL=replica, WEB_CONCURRENCY="1")
            serving = Serving(folder / "data", **variables).until_ready()
            client = make_client(serving.url, serving.data, variables)
            for start in range(0, RECORDS, 1000):
                changes = [new_thought(f"t{number}") for number in range(start, start + 1000)]
                for change in changes:
                    change["set"]["description"] = "what was seen on this day " * 40
                assert client.call("POST", "/changes", json={"changes": changes}).status_code == 200
            yield Replicated(primary, standby, variables, serving, client)
            assert serving.end() == 0


def test_what_is_large_is_read_where_it_is_caught_up(replicated: Replicated) -> None:
    replicated.caught_up()
    before = replicated.reads()
    assert len(set(replicated.stream())) == RECORDS
    digest = replicated.client.digest()
    assert digest["records"] == RECORDS
    after = replicated.reads()
    assert after["replica"] >= before["replica"] + 2
    assert after["primary"] == before["primary"]

    # What only the primary knows yet is read there, by whoever comes next.
    replicated.standby.sql("SELECT pg_wal_replay_pause()")
    try:
        replicated.client.push("news")
        ids = list(replicated.stream())
        assert "news" in ids
        assert len(ids) == len(set(ids)) == RECORDS + 1
        assert replicated.client.digest()["records"] == RECORDS + 1
    finally:
        replicated.standby.sql("SELECT pg_wal_replay_resume()")
    behind = replicated.reads()
    assert behind["replica"] == after["replica"]
    assert behind["primary"] >= after["primary"] + 2

    replicated.caught_up()
    assert "news" in set(replicated.stream())
    assert replicated.reads()["replica"] > behind["replica"]


def test_whoever_lost_access_is_not_let_in_by_an_older_state(replicated: Replicated) -> None:
    email = "dan@lab.example"
    client = make_client(replicated.serving.url, replicated.serving.data, replicated.variables, email)
    client.push("mine")
    replicated.caught_up()
    replicated.standby.sql("SELECT pg_wal_replay_pause()")
    try:
        schema = "logomesh"
        replicated.primary.sql(
            f"UPDATE {schema}.workspaces_device SET revoked_at = now()"
            f" WHERE person_id = (SELECT id FROM {schema}.workspaces_person WHERE email = '{email}')",
            database="department",
        )
        assert client.call("GET", "/changes").status_code == 401
    finally:
        replicated.standby.sql("SELECT pg_wal_replay_resume()")


def test_a_read_that_the_replica_breaks_off_goes_on_at_the_primary(replicated: Replicated) -> None:
    replicated.caught_up()
    seen = []
    for number, id_ in enumerate(replicated.stream()):
        seen.append(id_)
        if number == 500:
            replicated.standby.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'runner'"
            )
    assert len(seen) == len(set(seen)) >= RECORDS
    digest = replicated.client.digest()
    assert digest["records"] == len(seen)


def test_without_the_replica_all_goes_on(replicated: Replicated, tmp_path: Path) -> None:
    replicated.caught_up()
    replicated.standby.stop()
    try:
        assert len(set(replicated.stream())) >= RECORDS
        assert httpx.get(f"{replicated.serving.url}/readyz", timeout=20).json()["database"] == "ok"
        replicated.client.push("alone")
        told = manage(tmp_path, "doctor", **replicated.variables).stdout
        assert "The replica" in told and "the primary answers" in told
    finally:
        replicated.standby.start()
    replicated.caught_up()
    before = replicated.reads()
    deadline = time.monotonic() + 30
    while replicated.reads()["replica"] == before["replica"]:
        assert time.monotonic() < deadline, "it is used again once it is back"
        assert "alone" in set(replicated.stream())
