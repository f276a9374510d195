"""What comes from the feed of a space, and what answers a push."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import httpx
import orjson

from logomesh_client.wire.bodies import lines_of
from logomesh_client.wire.errors import CutOff, TimedOut, WireError, unreachable
from logomesh_client.wire.pacing import Pace

NDJSON = "application/x-ndjson"
Scope = Mapping[str, Any] | Literal["all"] | None
"""The filters of selective sync: `tag` and `cluster` (a text or a list), `updated_after`, `updated_before`.
"all" leaves the cursor's own filters; None goes on with them."""


def scope_params(scope: Scope) -> list[tuple[str, str]]:
    if scope is None:
        return []
    if isinstance(scope, str):
        return [("scope", scope)]
    return [
        (name, str(one))
        for name, value in scope.items()
        if value is not None
        for one in (value if isinstance(value, list | tuple | set | frozenset) else [value])
    ]


class Pull:
    """One page of a feed, to be gone through once: changes as they come, never all in memory.

    At its end `cursor`, `head`, `epoch` and `more` are there. Going through it raises `Problem`,
    `Unreachable`, or `CutOff` if it ends early: then what came may be applied, but the cursor stays.
    """

    cursor: str
    """Where the next pull goes on."""
    head: int
    """The space's version up to which was looked."""
    epoch: str
    more: bool
    """Whether the space has more than this page."""
    count: int = 0
    """How many changes came so far."""

    def __init__(self, opened: Callable[[], AbstractContextManager[httpx.Response]], pace: Pace) -> None:
        self._opened, self._pace = opened, pace

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            with self._opened() as answer:
                yield from self._changes(answer)
        except (CutOff, TimedOut) as error:
            if not isinstance(error, TimedOut) or error.connected:
                self._pace.failed()
            raise
        self._pace.worked()

    def _changes(self, answer: httpx.Response) -> Iterator[dict[str, Any]]:
        for line in self._lines(answer):
            try:
                found = orjson.loads(line)
                if "end" in found:
                    self._take_end(**found["end"])
                    return
                if not (isinstance(found["type"], str) and isinstance(found["id"], str)):
                    raise TypeError
            except (ValueError, TypeError, KeyError):
                raise self._cut(answer, "a line of it is broken") from None
            self.count += 1
            yield found
        raise self._cut(answer, "its end is missing")

    def _take_end(self, *, cursor: str, head: int, epoch: str, more: bool, **unknown: Any) -> None:
        self.cursor, self.head, self.epoch, self.more = cursor, head, epoch, more

    def _lines(self, answer: httpx.Response) -> Iterator[bytes]:
        try:
            yield from lines_of(answer)
        except httpx.HTTPError as error:
            broken = unreachable(error, answer.request.url.host, None)
            raise self._cut(answer, f"{broken}".rstrip(".")) from error

    def _cut(self, answer: httpx.Response, why: str) -> WireError:
        error = CutOff(f"The feed was cut off after {self.count:,} changes: {why}.")
        error.request_id = answer.request.headers["X-Request-ID"]
        return error


@dataclass(frozen=True)
class PushAnswer:
    """What became of a push."""

    version: int
    results: list[dict[str, Any]]
    """One for each change, in order: `status`, and `version`, `record`, `conflict` or `error`."""
