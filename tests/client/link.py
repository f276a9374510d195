"""A link as a bad VPN is one: it refuses, delays, cuts in the middle, swallows large frames, reorders.

    with Link("127.0.0.1", 8000, seed=7) as link:
        link.faults = Faults(cut=0.2, delay=0.1)
        … talk to link.url …
        link.down()   # nothing passes until link.up()

What happens to a connection is drawn from the seed and the connection's number.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from random import Random
from typing import Any, Self

_CHUNK = 16 * 1024


@dataclass(frozen=True)
class Faults:
    """Chances are 0 to 1 for each connection; delays are in seconds."""

    drop: float = 0.0
    """The connection is reset at once."""
    cut: float = 0.0
    """It is reset after some of what the server (or the client) sends."""
    cut_after: int = 20_000
    """At most so many bytes pass before the cut."""
    delay: float = 0.0
    """The longest that a piece is held back."""
    swallow_over: int = 0
    """Pieces of more bytes than this vanish, and all that follows them, without an end; 0 lets all pass."""
    reorder: float = 0.0
    """The connection waits until the next one has been served, or for a second."""


NONE = Faults()


class Link:
    """A TCP proxy in a thread of its own. `happened` counts what it did."""

    def __init__(self, host: str, port: int, seed: int | str = 0, faults: Faults = NONE) -> None:
        self._target = (host, port)
        self._seed = seed
        self.faults = faults
        self.happened: Counter[str] = Counter()
        self.port = 0
        self._open = True
        self._number = 0
        self._loop = asyncio.new_event_loop()
        self._passing: set[asyncio.StreamWriter] = set()
        self._waiting: list[asyncio.Event] = []
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._listening.wait(10):
            raise RuntimeError("The link did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)

    def down(self) -> None:
        """Reset all connections, and each new one, until `up`."""
        self._open = False
        self._in_loop(self._reset_all())

    def up(self) -> None:
        self._open = True

    def aim(self, port: int) -> None:
        """The server has moved to another port."""
        self._target = (self._target[0], port)

    def _in_loop(self, act: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(act, self._loop).result(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._ended = asyncio.Event()
        server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._ended.wait()
        server.close()
        await self._reset_all()
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=1)

    async def _reset_all(self) -> None:
        for writer in list(self._passing):
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._number += 1
        chance, faults = Random(f"{self._seed}/{self._number}"), self.faults
        self._passing.add(writer)
        try:
            await self._let_overtake(chance, faults)
            if not self._open or chance.random() < faults.drop:
                self.happened["refused"] += 1
                return
            there, back = await asyncio.open_connection(*self._target)
            self._passing.add(back)
            cut = chance.randrange(1, faults.cut_after) if chance.random() < faults.cut else None
            sides = [cut, None] if chance.random() < 0.3 else [None, cut]
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._pump(reader, back, Random(chance.random()), faults, sides[0]))
                    both.create_task(self._pump(there, writer, Random(chance.random()), faults, sides[1]))
            finally:
                self._passing.discard(back)
                back.transport.abort()
        except* (OSError, _Cut, asyncio.CancelledError):
            pass  # cancelled: the link itself ends
        finally:
            self._passing.discard(writer)
            writer.transport.abort()
            self._served()

    async def _let_overtake(self, chance: Random, faults: Faults) -> None:
        if chance.random() < faults.reorder:
            self.happened["overtaken"] += 1
            other = asyncio.Event()
            self._waiting.append(other)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(other.wait(), 1)

    def _served(self) -> None:
        for other in self._waiting:
            other.set()
        self._waiting.clear()

    async def _frame(self, source: asyncio.StreamReader, faults: Faults) -> bytes:
        """What comes at once. A large frame may reach us in parts, which still belong together."""
        piece = await source.read(_CHUNK)
        while piece and 0 < len(piece) <= faults.swallow_over:
            try:
                more = await asyncio.wait_for(source.read(_CHUNK), 0.03)
            except TimeoutError:
                break
            if not more:
                break
            piece += more
        return piece

    async def _pump(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        chance: Random,
        faults: Faults,
        cut: int | None,
    ) -> None:
        passed = 0
        while piece := await self._frame(source, faults):
            if faults.delay:
                await asyncio.sleep(chance.uniform(0, faults.delay))
            if faults.swallow_over and len(piece) > faults.swallow_over:
                self.happened["swallowed"] += 1
                await asyncio.Event().wait()  # until somebody gives up
            passed += len(piece)
            if cut is not None and passed >= cut:
                target.write(piece[: len(piece) - (passed - cut)])
                await target.drain()
                self.happened["cut"] += 1
                raise _Cut
            target.write(piece)
            await target.drain()
        if target.can_write_eof():
            target.write_eof()


class _Cut(Exception):
    pass
