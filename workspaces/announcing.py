"""Telling live streams what changed, through Redis: best effort, after the commit, never in it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cache
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from django.db import transaction
from redis import Redis
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

ACCESS = "logomesh:access:"
"""Before the id of a person: the channel that says that their rights changed."""


@cache
def _redis() -> Redis:
    return Redis.from_url(settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=1)


def publish(channel: str, message: dict[str, Any]) -> None:
    """Send to whoever listens. A lost message costs only time, so Redis being away is no error."""
    try:
        _redis().publish(channel, orjson.dumps(message))
    except (RedisError, OSError) as error:
        logger.warning("not announced on %s: %s", channel.rpartition(":")[0], error.__class__.__name__)


def access_changed(person_ids: Iterable[UUID], space_id: UUID | None = None, role: str | None = None) -> None:
    """After the commit, make the open streams of these people look again at what they may see."""
    message = {"space": None if space_id is None else str(space_id), "role": role}
    people = [*person_ids]

    def announce() -> None:
        for person in people:
            publish(f"{ACCESS}{person}", message)

    transaction.on_commit(announce, robust=True)
