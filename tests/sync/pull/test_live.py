"""Live events: the application is asked as a web server asks it, with real Redis and PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import Client

from sync.pull import live
from tests.people import Member, People
from tests.sync.devices import Device, change
from workspaces import actions, announcing

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE = 20


class Listener:
    """The other end of a stream."""

    def __init__(self) -> None:
        self.status = 0
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.ended = False
        self.gone = asyncio.Event()
        self._came = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            for block in message.get("body", b"").decode().split("\n\n"):
                if block.startswith("event: "):
                    name, data = block.split("\n")
                    self.events.append((name[7:], json.loads(data[6:])))
            self.ended = not message.get("more_body", False)
        self._came.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._came.clear()
                await self._came.wait()

    def versions(self) -> list[int]:
        return [data["version"] for name, data in self.events if name == "head"]


@asynccontextmanager
async def listening(member: Member, session: str = "") -> AsyncIterator[Listener]:
    """A device listens, or a browser by its session."""
    listener = Listener()
    signed = (
        (b"cookie", f"sessionid={session}".encode())
        if session
        else (b"authorization", f"Token {member.token}".encode())
    )
    scope = {
        "type": "http", "method": "GET", "path": "/api/v1/live", "query_string": b"", "http_version": "1.1",
        "headers": [signed, (b"host", b"testserver")],
    }  # fmt: skip
    task = asyncio.create_task(live.live(scope, listener.receive, listener.send))
    try:
        await listener.until(lambda: listener.status != 0)
        yield listener
    finally:
        listener.gone.set()
        async with asyncio.timeout(PATIENCE):
            await task


def run(scenario: Coroutine[Any, Any, None]) -> None:
    async def whole() -> None:
        live.hub = live.Hub()
        try:
            await scenario
        finally:
            if live.hub._listening is not None:
                live.hub._listening.cancel()

    asyncio.run(whole())


async def aside(work: Callable[..., Any], *args: Any, **more: Any) -> Any:
    """Do something in a thread, as another request would."""

    def run() -> Any:
        try:
            return work(*args, **more)
        finally:
            connection.close()

    return await sync_to_async(run, thread_sensitive=False)()


async def subscribed(listener: Listener) -> None:
    """Wait until the process hears from Redis."""
    from django.conf import settings
    from redis.asyncio import Redis

    async with asyncio.timeout(PATIENCE), Redis.from_url(settings.REDIS_URL) as redis:
        while not (await redis.info("clients")).get("pubsub_clients") and not await redis.pubsub_numpat():
            await asyncio.sleep(0.02)


def push(people: People, title: str) -> None:
    Device(people.eva.caller, people.space.pk).push(change("thoughts", title, set={"title": title}))


def test_a_commit_is_told_to_whom_it_concerns(people: People) -> None:
    async def scenario() -> None:
        async with listening(people.ben) as ben, listening(people.dan) as dan:
            await subscribed(ben)
            await aside(push, people, "one")
            await ben.until(lambda: ben.versions() != [])
            assert ben.events[-1] == ("head", {"space": str(people.space.pk), "version": 1})
            assert dan.events == []

    run(scenario())


def test_another_role_is_told_and_what_was_lost_is_silent(people: People) -> None:
    async def scenario() -> None:
        space = str(people.space.pk)
        async with listening(people.ben) as ben:
            await subscribed(ben)
            await aside(actions.share_with_person, space, people.ben.email, "viewer", by=people.eva.person)
            await ben.until(lambda: ("access", {"space": space, "role": "viewer"}) in ben.events)
            await aside(actions.unshare_with_person, space, people.ben.email, by=people.eva.person)
            await ben.until(lambda: ("access", {"space": space, "role": None}) in ben.events)
            await aside(push, people, "after")
            await asyncio.sleep(0.3)
            assert ben.versions() == []

    run(scenario())


def test_a_revoked_device_is_cut_off_in_the_open_stream(people: People) -> None:
    async def scenario() -> None:
        async with listening(people.ben) as ben:
            await subscribed(ben)
            await aside(actions.revoke_device, people.ben.device.pk, by=people.ben.person)
            await ben.until(lambda: ben.ended)

    run(scenario())


def test_who_may_not_listen_hears_why(people: People) -> None:
    actions.revoke_device(people.ben.device.pk, by=people.ben.person)

    async def scenario() -> None:
        async with listening(people.ben) as ben:
            assert ben.status == 401

    run(scenario())


def test_a_page_listens_by_its_session_until_it_ends(people: People, client: Client) -> None:
    client.force_login(people.ben.person)
    session = client.session.session_key or ""

    async def scenario() -> None:
        async with listening(people.ben, session) as ben, listening(people.ben, "no-such-session") as nobody:
            assert (ben.status, nobody.status) == (200, 401)
            await subscribed(ben)
            await aside(push, people, "one")
            await ben.until(lambda: ben.versions() == [1])
            await aside(client.logout)
            await aside(
                actions.share_with_person, people.space.pk, people.ben.email, "viewer", by=people.eva.person
            )
            await ben.until(lambda: ben.ended)

    run(scenario())


def test_without_redis_the_heads_are_asked_for(
    people: People, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setattr(live, "POLL_SECONDS", 0.05)

    async def scenario() -> None:
        async with listening(people.ben) as ben:
            await aside(push, people, "one")
            await ben.until(lambda: 1 in ben.versions())

    run(scenario())


def test_what_is_committed_before_the_process_hears_from_redis_is_told(
    people: People, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    announcing._redis()  # whoever commits has a way of their own
    opened = asyncio.Event()
    real = str(settings.REDIS_URL)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await opened.wait()
        there = await asyncio.open_unix_connection(real.removeprefix("unix://").partition("?")[0])
        with suppress(ConnectionError):
            await asyncio.gather(_pour(reader, there[1]), _pour(there[0], writer))

    async def scenario() -> None:
        slow = tmp_path / "slow.sock"
        async with await asyncio.start_unix_server(pass_on, slow):
            settings.REDIS_URL = f"unix://{slow}"
            async with listening(people.ben) as ben:
                await aside(push, people, "one")
                opened.set()
                await ben.until(lambda: 1 in ben.versions())

    run(scenario())


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while block := await reader.read(4096):
        writer.write(block)
    writer.close()


def test_a_waiting_stream_holds_no_database_connection(people: People) -> None:
    async def scenario() -> None:
        before = await aside(_connections)
        streams = [listening(member) for member in [people.ben, people.cai, people.eva] * 10]
        for stream in streams:
            await stream.__aenter__()
        assert await aside(_connections) <= before + 1
        for stream in streams:
            await stream.__aexit__(None, None, None)

    run(scenario())


def _connections() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        count: int = cursor.fetchone()[0]
        return count
