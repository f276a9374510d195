"""Steps of a scenario with several laptops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.client.lab import Laptop


def in_step(*laptops: Laptop) -> dict[tuple[str, str], Any]:
    """Sync until nothing moves, prove all equal, and return the records."""
    for _ in range(3):
        for one in laptops:
            one.sync()
    for one in laptops:
        one.synced()
    first, *others = [one.records() for one in laptops]
    for records in others:
        assert records == first
    return first
