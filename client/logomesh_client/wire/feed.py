"""What comes from the feed of a space, and what answers a push."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import httpx
import orjson

from logomesh_client.wire.ahead import Ahead
from logomesh_client.wire.bodies import groups_of_lines
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
        self._ahead: Ahead | None = None
        self._request: httpx.Request | None = None

    def begin(self) -> None:
        """Ask for it now and fetch ahead; going through it does that otherwise."""
        if self._ahead is None:
            self._ahead = Ahead(self._fetched)

    def close(self) -> None:
        """It will not be gone through (to its end)."""
        if self._ahead is not None:
            self._ahead.close()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.begin()
        assert self._ahead is not None
        try:
            yield from self._changes(self._lines_of(self._ahead))
        except (CutOff, TimedOut) as error:
            if not isinstance(error, TimedOut) or error.connected:
                self._pace.failed()
            raise
        finally:
            self.close()
        self._pace.worked()

    def _changes(self, lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
        for line in lines:
            try:
                found = orjson.loads(line)
                if "end" in found:
                    self._take_end(**found["end"])
                    return
                if not (isinstance(found["type"], str) and isinstance(found["id"], str)):
                    raise TypeError
            except (ValueError, TypeError, KeyError):
                raise self._cut("a line of it is broken") from None
            self.count += 1
            yield found
        raise self._cut("its end is missing")

    def _take_end(self, *, cursor: str, head: int, epoch: str, more: bool, **unknown: Any) -> None:
        self.cursor, self.head, self.epoch, self.more = cursor, head, epoch, more

    def _lines_of(self, ahead: Ahead) -> Iterator[bytes]:
        try:
            yield from ahead
        except httpx.HTTPError as error:
            broken = unreachable(error, self._request.url.host if self._request else "", None)
            raise self._cut(f"{broken}".rstrip(".")) from error

    def _fetched(self) -> Generator[list[bytes], None, None]:
        with self._opened() as answer:
            self._request = answer.request
            yield from groups_of_lines(answer)

    def _cut(self, why: str) -> WireError:
        error = CutOff(f"The feed was cut off after {self.count:,} changes: {why}.")
        if self._request is not None:
            error.request_id = self._request.headers["X-Request-ID"]
        return error


@dataclass(frozen=True)
class PushAnswer:
    """What became of a push."""

    version: int
    results: list[dict[str, Any]]
    """One for each change, in order: `status`, and `version`, `record`, `conflict` or `error`."""
