"""Live events: telling open clients *that* there is something, over server-sent events.

One Redis subscription a process serves all its streams; a stream holds no database
connection while it waits. Without Redis the process asks PostgreSQL for the heads of the
watched spaces every few seconds instead. Losing an event costs only time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from uuid import UUID

import orjson
import psycopg
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.db import Error, connection
from redis.asyncio import Redis
from redis.exceptions import RedisError

from sync.announcing import HEADS
from sync.sql import cursor
from workspaces.access import Caller, visible_spaces
from workspaces.announcing import ACCESS
from workspaces.problems import Problem
from workspaces.signing_in import authenticate, read_session

logger = logging.getLogger(__name__)

COMMENT_SECONDS = 15
RECHECK_SECONDS = 60
POLL_SECONDS = 2

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(eq=False)
class Stream:
    """One open client: what it may hear of, and what it has not been told yet."""

    caller: Caller
    roles: dict[str, str | None]
    """Space -> role, for the spaces that the caller can pull."""
    heads: dict[str, int] = field(default_factory=dict)
    recheck: bool = False
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, space: str, version: int) -> None:
        self.heads[space] = max(version, self.heads.get(space, 0))
        self.woken.set()

    def ask_again(self) -> None:
        self.recheck = True
        self.woken.set()


class Hub:
    """All streams of this process, and the one place that hears from Redis."""

    def __init__(self) -> None:
        self.by_space: dict[str, set[Stream]] = defaultdict(set)
        self.by_person: dict[str, set[Stream]] = defaultdict(set)
        self._listening: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many streams are open."""
        return sum(map(len, self.by_person.values()))

    def add(self, stream: Stream) -> None:
        self.by_person[str(stream.caller.person_id)].add(stream)
        for space in stream.roles:
            self.by_space[space].add(stream)
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._listen())

    def discard(self, stream: Stream) -> None:
        _discard(self.by_person, str(stream.caller.person_id), stream)
        for space in stream.roles:
            _discard(self.by_space, space, stream)

    async def _listen(self) -> None:
        """Hear from Redis for as long as there are streams; poll while Redis is away."""
        known: dict[str, int] = {}
        while self.by_person:
            try:
                await self._hear(known)
            except (RedisError, OSError, Error, psycopg.Error):
                with suppress(Exception):  # PostgreSQL may be away too; the next round asks again
                    await self._poll(known)
                await asyncio.sleep(POLL_SECONDS)

    async def _hear(self, known: dict[str, int]) -> None:
        patterns = (f"{HEADS}*", f"{ACCESS}*")
        async with Redis.from_url(settings.REDIS_URL) as redis, redis.pubsub() as subscription:
            await subscription.psubscribe(*patterns)
            while self.by_person:
                message = await subscription.get_message(timeout=5)
                if message is None:
                    continue
                if message["type"] == "pmessage":
                    self._dispatch(message["channel"].decode(), orjson.loads(message["data"]))
                elif message["data"] == len(patterns):  # from now on nothing is missed; what was before?
                    for streams in [*self.by_person.values()]:
                        for stream in streams:
                            stream.ask_again()
                    await self._poll(known)

    def _dispatch(self, channel: str, message: dict[str, Any]) -> None:
        if channel.startswith(HEADS):
            for stream in self.by_space.get(message["space"], ()):
                stream.tell(message["space"], message["version"])
        else:
            for stream in self.by_person.get(channel.removeprefix(ACCESS), ()):
                stream.ask_again()

    async def _poll(self, known: dict[str, int]) -> None:
        heads = await _in_thread(_heads, list(self.by_space))
        for space, version in heads.items():
            if known.get(space, 0) != version:
                known[space] = version
                for stream in self.by_space.get(space, ()):
                    stream.tell(space, version)


hub = Hub()


async def live(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """The ASGI application of `GET /api/v1/live`."""
    try:
        caller, roles = await _in_thread(_admitted, scope)
    except Problem as problem:
        await _refuse(problem, send)
        return
    stream = Stream(caller, roles)
    hub.add(stream)
    gone = asyncio.create_task(_disconnected(receive))
    try:
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", b"text/event-stream"),
                    (b"cache-control", b"no-store, no-transform"),
                    (b"x-accel-buffering", b"no"),
                ],
            }
        )
        # Some proxies hold back the first kilobytes of an answer.
        await _write(send, f":{' ' * 2048}\nretry: 3000\n\n")
        await _stream(stream, scope, send, gone)
    finally:
        gone.cancel()
        hub.discard(stream)


async def _stream(stream: Stream, scope: dict[str, Any], send: Send, gone: asyncio.Task[None]) -> None:
    loop = asyncio.get_running_loop()
    recheck_at = loop.time() + RECHECK_SECONDS
    while not gone.done():
        woken = asyncio.create_task(stream.woken.wait())
        await asyncio.wait({woken, gone}, timeout=COMMENT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        quiet = not woken.done()
        woken.cancel()
        if gone.done():
            return
        stream.woken.clear()
        if stream.recheck or loop.time() >= recheck_at:
            stream.recheck = False
            recheck_at = loop.time() + RECHECK_SECONDS
            try:
                events = await _rechecked(stream, scope)
            except Problem:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            await _write(send, "".join(events))
        heads, stream.heads = stream.heads, {}
        told = [_event("head", {"space": space, "version": version}) for space, version in heads.items()]
        if told or quiet:
            await _write(send, "".join(told) or ":\n\n")


async def _rechecked(stream: Stream, scope: dict[str, Any]) -> list[str]:
    """Ask again who this is and what they may see. Raises a `Problem` when the stream must end."""
    caller, roles = await _in_thread(_admitted, scope)
    before = stream.roles
    hub.discard(stream)
    stream.caller, stream.roles = caller, roles
    stream.heads = {space: version for space, version in stream.heads.items() if space in roles}
    hub.add(stream)
    return [
        _event("access", {"space": space, "role": roles.get(space)})
        for space in {*before, *roles}
        if before.get(space) != roles.get(space)
    ]


def _admitted(scope: dict[str, Any]) -> tuple[Caller, dict[str, str | None]]:
    request = ASGIRequest(scope, BytesIO())
    read_session(request)
    caller = authenticate(request)
    return caller, {str(space.id): space.role for space in visible_spaces(caller) if space.role is not None}


def _heads(spaces: list[str]) -> dict[str, int]:
    rows = cursor().execute(
        "SELECT space_id, head FROM sync_spacehead WHERE space_id = ANY(%b)",
        ([UUID(space) for space in spaces],),
    )
    return {str(space): head for space, head in rows}


async def _in_thread(work: Callable[..., Any], *args: Any) -> Any:
    """Run database work in a thread that gives its connection back at once."""

    def run() -> Any:
        try:
            return work(*args)
        finally:
            connection.close()

    return await sync_to_async(run, thread_sensitive=False)()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _write(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def _refuse(problem: Problem, send: Send) -> None:
    body = orjson.dumps(problem.body(""))
    await send(
        {
            "type": "http.response.start",
            "status": problem.status,
            "headers": [(b"content-type", b"application/problem+json")],
        }
    )
    await send({"type": "http.response.body", "body": body})


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {orjson.dumps(data).decode()}\n\n"


def _discard(streams: dict[str, set[Stream]], key: str, stream: Stream) -> None:
    streams[key].discard(stream)
    if not streams[key]:
        del streams[key]
