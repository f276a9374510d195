"""How many connections this server opens at most, all its processes together."""

from __future__ import annotations

from django.conf import settings

from .. import env
from .checking import Needs

_OTHERS = 4  # supervisor, clock, and a command now and then
_A_WORKER = 2  # its work and its heartbeat


def of_this_server() -> Needs:
    habits = settings.DATABASE_HABITS
    web = env.number("WEB_CONCURRENCY", 2, least=1, most=64) * habits.connections
    workers = env.number("WORKER_CONCURRENCY", 2, least=1, most=64) * _A_WORKER
    folder = settings.DATA_DIR if settings.EMBEDDED_DATABASE else None
    return Needs(connections=web + workers + _OTHERS, habits=habits, folder=folder)
