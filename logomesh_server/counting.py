"""Counts what the web processes do, for Prometheus.

Every process counts for itself and adds its sums to a hash in Redis now and then, so that any process can
answer for all. When Redis loses them, counters begin at zero again, which Prometheus expects of counters.
"""

import logging
import threading
from collections import Counter
from typing import Final

import redis
from django.conf import settings
from django.db import DatabaseError, connection

logger = logging.getLogger(__name__)

SUMS: Final = "logomesh:metrics"
FLUSH_SECONDS: Final = 5.0

_HELP: Final = {
    "logomesh_requests_total": ("counter", "Requests answered, by method and status."),
    "logomesh_request_seconds_total": ("counter", "Seconds spent on them, waiting for a thread included."),
    "logomesh_refused_total": ("counter", "Requests that never reached a thread, by reason."),
    "logomesh_database_bytes": ("gauge", "Size of the database."),
    "logomesh_database_connections": ("gauge", "Open connections to the database."),
    "logomesh_redis_up": ("gauge", "1 if Redis answers."),
    "logomesh_database_up": ("gauge", "1 if the database answers."),
}

_pending: Counter[str] = Counter()
_lock = threading.Lock()


def count(name: str, amount: float = 1, **labels: str | int) -> None:
    """Add to a counter; flushed to Redis later, so this costs next to nothing."""
    with _lock:
        _pending[_series(name, labels)] += amount  # type: ignore[assignment]  # counters may be fractions


def flush() -> None:
    """Add what was counted since the last flush to the sums in Redis; kept for later if Redis is away."""
    with _lock:
        taken = dict(_pending)
        _pending.clear()
    if not taken:
        return
    try:
        with redis.Redis.from_url(settings.REDIS_URL).pipeline(transaction=False) as pipeline:
            for series, amount in taken.items():
                pipeline.hincrbyfloat(SUMS, series, amount)
            pipeline.execute()
    except redis.exceptions.RedisError:
        with _lock:
            _pending.update(taken)


def text() -> str:
    """All figures in Prometheus's text format."""
    flush()
    figures = {**_sums(), **_database()}
    lines: list[str] = []
    for name, (kind, meaning) in _HELP.items():
        mine = sorted((series, value) for series, value in figures.items() if series.split("{")[0] == name)
        if mine:
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
            lines += [f"{series} {value:g}" for series, value in mine]
    return "\n".join(lines) + "\n"


def _sums() -> dict[str, float]:
    try:
        sums: dict[bytes, bytes] = redis.Redis.from_url(settings.REDIS_URL).hgetall(SUMS)  # type: ignore[assignment]
    except redis.exceptions.RedisError:
        return {"logomesh_redis_up": 0}
    return {"logomesh_redis_up": 1, **{name.decode(): float(value) for name, value in sums.items()}}


def _database() -> dict[str, float]:
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_database_size(current_database()),"
                " (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database())"
            )
            size, connections = cursor.fetchone()
    except DatabaseError:
        return {"logomesh_database_up": 0}
    return {
        "logomesh_database_up": 1,
        "logomesh_database_bytes": size,
        "logomesh_database_connections": connections,
    }


def _series(name: str, labels: dict[str, str | int]) -> str:
    if not labels:
        return name
    return name + "{" + ",".join(f'{key}="{value}"' for key, value in sorted(labels.items())) + "}"
