"""Looks at everything that the server needs, one check after the other, each with its remedy."""

from __future__ import annotations

import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Final

import psycopg
import redis
from django.conf import settings
from django.core.checks import CheckMessage, run_checks
from django.core.checks import messages as levels
from django.db import DatabaseError, connection
from django.db.models.functions import Now

from migration.models import WORKING, Import

from . import env
from .backup import last_backup
from .celery import app
from .database.checking import examine
from .database.needs import of_this_server
from .database.profile import Profile
from .database.verdicts import Status, Verdict
from .folder import LEAST_FREE_BYTES

ROOMY_BYTES: Final = 5 * 1024**3
BACKUP_DAYS: Final = 7
BEHIND_BYTES: Final = 64 * 1024**2
_FOLLOWS_FROM_HTTP: Final = {f"security.W{number:03}" for number in (4, 8, 10, 12, 16)}  # said by W007 once
STUCK: Final = timedelta(minutes=5)  # a job that nobody has taken for so long waits for a worker


def look() -> Iterator[Verdict]:
    """All checks, in the order in which one would look for what is wrong."""
    yield from _timed(_configuration)
    yield from _timed(_data_folder)
    database = list(examine(settings.DATABASE, of_this_server()))
    yield from database
    if any(verdict.failed for verdict in database):
        return
    if settings.REPLICA is not None:
        yield from _timed(partial(_replica, settings.REPLICA))
    yield from _timed(_redis)
    yield from _timed(_worker)
    yield from _timed(_jobs)
    yield from _timed(_web)
    yield from _timed(_backup)


def _timed(check: Callable[[], list[Verdict]]) -> Iterator[Verdict]:
    began = time.perf_counter()
    for verdict in check():
        yield replace(verdict, milliseconds=(time.perf_counter() - began) * 1000)


def _configuration() -> list[Verdict]:
    found = [
        message
        for message in run_checks(include_deployment_checks=True)
        if not message.is_silenced() and (settings.HTTPS or message.id not in _FOLLOWS_FROM_HTTP)
    ]
    if not found:
        return [Verdict("configuration", Status.OK, "Nothing to say about it")]
    return [_told(message) for message in found]


def _told(message: CheckMessage) -> Verdict:
    status = Status.FAILED if message.level >= levels.ERROR else Status.NOTE
    return Verdict("configuration", status, f"{message.msg} ({message.id})", message.hint or "")


def _data_folder() -> list[Verdict]:
    folder = settings.DATA_DIR
    if not os.access(folder, os.W_OK):
        return [
            Verdict(
                "data-folder",
                Status.FAILED,
                f"{folder} cannot be written by this user.",
                "Run this as the user who runs the server, or give that user the right.",
            )
        ]
    free = shutil.disk_usage(folder).free
    said = f"{folder} has {free / 1e9:.1f} GB free"
    if free < LEAST_FREE_BYTES:
        return [Verdict("data-folder", Status.FAILED, f"{said}: the server stops working.", "Make room.")]
    if free < ROOMY_BYTES:
        return [Verdict("data-folder", Status.NOTE, f"{said}.", "Make room before somebody imports a file.")]
    return [Verdict("data-folder", Status.OK, said)]


def _replica(replica: Profile) -> list[Verdict]:
    meanwhile = "Meanwhile the primary answers: nothing is wrong but its load."
    where = f"The replica {replica.address}"
    try:
        with psycopg.connect(**replica.libpq(connect_timeout=3)) as found:
            row = found.execute("SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn()").fetchone()
    except psycopg.Error as error:
        said = (str(error).strip().splitlines() or ["no reason given"])[-1]
        return [Verdict("replica", Status.NOTE, f"{where} cannot be asked: {said}", meanwhile)]
    assert row is not None
    if not row[0]:
        return [
            Verdict(
                "replica",
                Status.NOTE,
                f"{where} is no standby: it follows nobody.",
                "Give the address of a streaming replica of the database (DATABASE_REPLICA_URL). "
                + meanwhile,
            )
        ]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), %s)", [row[1]])
        behind = int(cursor.fetchone()[0])
    if behind > BEHIND_BYTES:
        finding = f"{where} is {behind / 1e6:.0f} MB of changes behind."
        return [Verdict("replica", Status.NOTE, finding, "Its administrator can see why. " + meanwhile)]
    return [Verdict("replica", Status.OK, f"{where} is {max(behind, 0) / 1e6:.1f} MB of changes behind")]


def _redis() -> list[Verdict]:
    try:
        redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=2, socket_timeout=2).ping()
    except (redis.exceptions.RedisError, OSError) as error:
        return [
            Verdict(
                "redis",
                Status.FAILED,
                f"It does not answer: {error}.",
                "Sync goes on without it; live events, imports and limits on sign-ins wait. Start it,"
                " or check REDIS_URL.",
            )
        ]
    return [Verdict("redis", Status.OK, "It answers")]


def _worker() -> list[Verdict]:
    try:
        answers: list[Any] = app.control.ping(timeout=1.5)
    except Exception as error:  # whatever the broker's client raises
        return [Verdict("worker", Status.NOTE, f"It cannot be asked: {error}.", "See Redis.")]
    if not answers:
        return [
            Verdict(
                "worker",
                Status.FAILED,
                "No worker answers: imports wait.",
                "Start the server, or its worker (`manage.py run worker`); see its log for why it ended.",
            )
        ]
    return [Verdict("worker", Status.OK, f"{len(answers)} answer")]


def _jobs() -> list[Verdict]:
    try:
        stuck = Import.objects.filter(state__in=WORKING, leased_until__lt=Now() - STUCK).count()
    except DatabaseError as error:
        return [Verdict("jobs", Status.SKIPPED, f"Not known: {error}")]
    if stuck:
        return [
            Verdict(
                "jobs",
                Status.NOTE,
                f"{stuck} imports are waiting for a worker.",
                "They go on by themselves once a worker and the clock (`manage.py run beat`) run.",
            )
        ]
    return [Verdict("jobs", Status.OK, "None is stuck")]


def _web() -> list[Verdict]:
    host = env.text("LOGOMESH_HOST", "127.0.0.1")
    port = env.number("PORT", 8000, least=1, most=65535)
    host = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104  (compared, not bound)
    request = urllib.request.Request(f"http://{host}:{port}/readyz", headers={"Host": "localhost"})
    try:
        urllib.request.urlopen(request, timeout=5).close()  # noqa: S310  (our own address)
    except urllib.error.HTTPError as error:
        return [
            Verdict(
                "web",
                Status.FAILED,
                f"It answers on port {port} that it is not ready ({error.code}).",
                "What it lacks stands above, or in its log.",
            )
        ]
    except OSError as error:
        return [
            Verdict(
                "web",
                Status.FAILED,
                f"Nothing answers on {host}:{port} ({error}).",
                "Start the server, or set PORT and LOGOMESH_HOST as the server has them.",
            )
        ]
    return [Verdict("web", Status.OK, f"Ready on port {port}")]


def _backup() -> list[Verdict]:
    age = last_backup(settings.DATA_DIR)
    remedy = "Run `manage.py backup FOLDER` every night, or take no notice if your administrator does it."
    if age is None:
        return [Verdict("backup", Status.NOTE, "None was ever made with `manage.py backup`.", remedy)]
    if age > timedelta(days=BACKUP_DAYS):
        return [Verdict("backup", Status.NOTE, f"The last one is {age.days} days old.", remedy)]
    return [Verdict("backup", Status.OK, f"The last one is {age.total_seconds() / 3600:.0f} hours old")]
