"""Identifiers that the server makes: UUIDv7, so that rows made together lie together."""

from __future__ import annotations

import os
import time
from uuid import UUID


def uuid7() -> UUID:
    """A UUIDv7 (RFC 9562): milliseconds since 1970, then 74 random bits."""
    moment = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10))
    return UUID(int=moment << 80 | 7 << 76 | (random >> 68) << 64 | 2 << 62 | random & (1 << 62) - 1)
