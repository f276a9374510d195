"""Counts what the web processes do, for Prometheus.

Every process counts for itself and adds its sums to a hash in Redis now and then, so that any process can
answer for all. When Redis loses them, counters begin at zero again, which Prometheus expects of counters.
"""

import logging
import os
import socket
import threading
from collections import Counter
from typing import Final

import redis
from django.conf import settings
from django.db import connection

from sync import replica

from .figures import of_the_database as figures_of_the_database

logger = logging.getLogger(__name__)

SUMS: Final = "logomesh:metrics"
GAUGES: Final = "logomesh:gauges:"
FLUSH_SECONDS: Final = 5.0
GAUGE_SECONDS: Final = 20  # what a process that has ended said is forgotten

_HELP: Final = {
    "logomesh_requests_total": ("counter", "Requests answered, by method and status."),
    "logomesh_request_seconds_total": ("counter", "Seconds spent on them, waiting for a thread included."),
    "logomesh_refused_total": ("counter", "Requests that never reached a thread, by reason."),
    "logomesh_database_bytes": ("gauge", "Size of the database."),
    "logomesh_pushes_total": ("counter", "Pushes answered, by status."),
    "logomesh_pulls_total": ("counter", "Pages of changes answered, by status."),
    "logomesh_pool_requests_total": ("counter", "Connections asked of the web processes' pools."),
    "logomesh_pool_waits_total": ("counter", "Of these, such as had to wait for one."),
    "logomesh_pool_wait_seconds_total": ("counter", "Seconds that they waited."),
    "logomesh_pool_errors_total": ("counter", "Connections that could not be had."),
    "logomesh_pool_connections": ("gauge", "Connections that the pools hold."),
    "logomesh_pool_idle": ("gauge", "Of these, such as nobody uses."),
    "logomesh_replica_reads_total": ("counter", "Large reads, by who answered: replica or primary."),
    "logomesh_streams": ("gauge", "Open streams of live events."),
    "logomesh_jobs": ("gauge", "Imports, by state."),
    "logomesh_conflicts": ("gauge", "Conflicts, by state."),
    "logomesh_device_lag_versions": ("gauge", "How far a device's last pull is behind its space."),
    "logomesh_device_seen_seconds": ("gauge", "How long ago a device was last seen."),
    "logomesh_database_connections": ("gauge", "Open connections to the database, by what they do."),
    "logomesh_redis_up": ("gauge", "1 if Redis answers."),
    "logomesh_database_up": ("gauge", "1 if the database answers."),
}

_pending: Counter[str] = Counter()
_gauges: dict[str, float] = {}
"""What is so at the moment in this process."""
_lock = threading.Lock()


def count(name: str, amount: float = 1, **labels: str | int) -> None:
    """Add to a counter; flushed to Redis later, so this costs next to nothing."""
    with _lock:
        _pending[_series(name, labels)] += amount  # type: ignore[assignment]  # counters may be fractions


def gauge(name: str, value: float) -> None:
    """Say how something is in this process now; told by `/metrics` as the sum over all processes."""
    _gauges[name] = value


def flush() -> None:
    """Add what was counted since the last flush to the sums in Redis; kept for later if Redis is away."""
    _pool()
    for who, number in replica.taken_counts().items():
        count("logomesh_replica_reads_total", number, by=who)
    with _lock:
        taken = dict(_pending)
        _pending.clear()
    try:
        with redis.Redis.from_url(settings.REDIS_URL).pipeline(transaction=False) as pipeline:
            for series, amount in taken.items():
                pipeline.hincrbyfloat(SUMS, series, amount)
            if _gauges:
                mine = f"{GAUGES}{socket.gethostname()}:{os.getpid()}"
                pipeline.hset(mine, mapping={name: str(value) for name, value in _gauges.items()})
                pipeline.expire(mine, GAUGE_SECONDS)
            pipeline.execute()
    except redis.exceptions.RedisError:
        with _lock:
            _pending.update(taken)


def text() -> str:
    """All figures in Prometheus's text format."""
    flush()
    figures = {**_sums(), **figures_of_the_database()}
    lines: list[str] = []
    for name, (kind, meaning) in _HELP.items():
        mine = sorted((series, value) for series, value in figures.items() if series.split("{")[0] == name)
        if mine:
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
            lines += [f"{series} {value:g}" for series, value in mine]
    return "\n".join(lines) + "\n"


def _sums() -> dict[str, float]:
    found: Counter[str] = Counter()
    try:
        with redis.Redis.from_url(settings.REDIS_URL, decode_responses=True) as client:
            for key in [SUMS, *client.scan_iter(f"{GAUGES}*", count=1000)]:
                said: dict[str, str] = client.hgetall(key)
                found.update({name: float(value) for name, value in said.items()})
    except redis.exceptions.RedisError:
        return {"logomesh_redis_up": 0}
    return {"logomesh_redis_up": 1, **found}


def _pool() -> None:
    """Add what the pool of connections has counted since the last time."""
    pool = connection.pool  # type: ignore[attr-defined]
    if pool is None:
        return
    counted = pool.pop_stats()
    count("logomesh_pool_requests_total", counted.get("requests_num", 0))
    count("logomesh_pool_waits_total", counted.get("requests_queued", 0))
    count("logomesh_pool_wait_seconds_total", counted.get("requests_wait_ms", 0) / 1000)
    count(
        "logomesh_pool_errors_total", counted.get("requests_errors", 0) + counted.get("connections_errors", 0)
    )
    _gauges["logomesh_pool_connections"] = counted.get("pool_size", 0)
    _gauges["logomesh_pool_idle"] = counted.get("pool_available", 0)


def _series(name: str, labels: dict[str, str | int]) -> str:
    if not labels:
        return name
    return name + "{" + ",".join(f'{key}="{value}"' for key, value in sorted(labels.items())) + "}"
