"""How long to wait, and how much to ask for at once, on a network that may be bad."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Final

_CALM: Final = 8
"""So many in a row must pass before more is tried than what failed before."""


class Backoff:
    """Waiting times after failures: they grow, and chance spreads them over the whole span.

    Without the spreading all laptops of a lab would come back in the same second.
    """

    def __init__(
        self,
        least: float = 0.5,
        most: float = 60.0,
        longest_retry_after: float = 900.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._least, self._most, self._longest = least, most, longest_retry_after
        self._chance = chance
        self.failures = 0

    def wait(self, retry_after: float | None = None) -> float:
        """Count a failure; the seconds to wait before the next try.

        What the server asks for comes first, unless it is beyond reason, and the spread on top of it.
        """
        span = min(self._most, self._least * 2.0 ** min(self.failures, 30))
        self.failures += 1
        asked = min(retry_after or 0.0, self._longest)
        return asked + self._chance() * span

    def reset(self) -> None:
        """It worked again."""
        self.failures = 0


class Pace:
    """How much goes into one request: less after each that failed, more again after each that did not.

    Some VPNs pass small frames and swallow large ones without a word. A page of few records then still
    gets through, so a sync goes on slowly instead of never.
    """

    def __init__(self, most: int, least: int = 1) -> None:
        self._most, self._least = most, least
        self._ceiling, self._calm = most, 0
        self._lock = threading.Lock()
        self.size = most

    def failed(self) -> None:
        """What is as large as this does not pass; for some time nothing half as large is tried again."""
        with self._lock:
            self._ceiling, self._calm = max(self._least, self.size // 2), 0
            self.size = max(self._least, self.size // 8)

    def worked(self) -> None:
        with self._lock:
            self.size = min(self._ceiling, self.size * 2)
            self._calm += self.size == self._ceiling
            if self._calm >= _CALM:
                self._ceiling, self._calm = min(self._most, self._ceiling * 2), 0
