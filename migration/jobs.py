"""Runs imports. What is to be done stands in PostgreSQL; a task queue only says "look now".

A worker takes a job by a lease and keeps it by a heartbeat. One that is killed loses it when
the lease ends, and whoever looks next goes on at the checkpoint.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from django.db import Error as DatabaseError
from django.db import connection, models, transaction
from django.db.models.functions import Now
from django.utils import timezone

from migration.dialects import NotLogoMesh
from migration.models import WORKING, Import, State
from migration.sandbox.supervision import SandboxFailed
from workspaces.access import Caller
from workspaces.problems import Problem

log = logging.getLogger(__name__)

LEASE: Final = timedelta(seconds=20)
_HEARTBEAT: Final = 5.0  # seconds
_SHOWN_EVERY: Final = 0.5
_ATTEMPTS: Final = 5
"""So often a job may be taken without getting further before it is given up."""
_TO_DO: Final = models.Q(state__in=WORKING) | models.Q(undoing=True)


class Stopped(Exception):
    """The job is not this worker's any more: paused, cancelled, or taken over."""


@dataclass
class Job:
    """An import in this worker's hands."""

    id: UUID
    lease: UUID
    _shown: float = 0.0

    def load(self) -> Import:
        return Import.objects.select_related("space", "person").get(id=self.id)

    def save(self, state: State | str, /, **values: Any) -> None:
        """Write values while the job is ours and in this state. Raises `Stopped` if it is not."""
        held = Import.objects.filter(id=self.id, lease=self.lease, state=state)
        if not held.update(leased_until=Now() + LEASE, attempts=0, **values):
            raise Stopped

    def show(self, state: State, progress: dict[str, Any]) -> bool:
        """Write what is shown of the job, twice a second at most; says whether it did. Raises `Stopped`."""
        if time.monotonic() < self._shown + _SHOWN_EVERY:
            return False
        self.save(state, progress=progress)
        self._shown = time.monotonic()
        return True

    def move(self, old: State, new: State, **values: Any) -> None:
        self.save(old, state=new, **values)


def caller_of(job: Import) -> Caller:
    """The person for whom an import writes: what they may do is asked anew for every chunk."""
    return Caller(job.person_id, job.person.email, job.device_id)


def run(id_: UUID) -> bool:
    """Do all that an import has to do now. False if another worker has it or nothing is to be done."""
    job = _take(id_)
    if job is None:
        return False
    try:
        with _heartbeat(job):
            _work(job)
    except Stopped:
        log.info("import stopped", extra={"import": str(id_)})
    finally:
        Import.objects.filter(id=id_, lease=job.lease).update(lease=None, leased_until=None)
    return True


def orphans() -> list[UUID]:
    """Imports that have something to do and nobody who does it."""
    waiting = Import.objects.filter(_TO_DO)
    free = models.Q(leased_until=None) | models.Q(leased_until__lt=Now())
    return list(waiting.filter(free).values_list("id", flat=True))


def wake_after_commit(id_: UUID) -> None:
    """Have a worker look at an import as soon as this transaction is committed."""
    from migration.tasks import run_import

    def wake() -> None:
        try:
            run_import.delay(str(id_))
        except Exception as error:  # a lost alarm costs ten seconds: wake_orphans finds the job
            log.warning("no worker could be woken: %s", error)

    transaction.on_commit(wake, robust=True)


def _take(id_: UUID) -> Job | None:
    job = Job(id_, uuid4())
    free = models.Q(leased_until=None) | models.Q(leased_until__lt=Now())
    taken = Import.objects.filter(_TO_DO, free, id=id_).update(
        lease=job.lease, leased_until=Now() + LEASE, attempts=models.F("attempts") + 1
    )
    return job if taken else None


def _work(job: Job) -> None:
    from migration.stages.copying import copy
    from migration.stages.inspecting import inspect
    from migration.stages.undoing import undo
    from migration.stages.verifying import verify

    stages: dict[str, Callable[[Job], None]] = {
        State.UPLOADED: inspect,
        State.ASSESSING: inspect,
        State.COPYING: copy,
        State.VERIFYING: verify,
    }
    while stage := undo if (current := job.load()).undoing else stages.get(current.state):
        if current.attempts > _ATTEMPTS:
            _fail(job, "interrupted", "The work was interrupted again and again, and did not get further.")
            return
        try:
            stage(job)
        except NotLogoMesh as refusal:
            _fail(job, refusal.kind, str(refusal))
        except SandboxFailed as failure:
            _fail(job, "unreadable", str(failure))
        except Problem as problem:
            _fail(job, problem.type, problem.detail)
        except DatabaseError:
            log.exception("import interrupted", extra={"import": str(job.id)})
            raise


def _fail(job: Job, kind: str, detail: str) -> None:
    held = Import.objects.filter(id=job.id, lease=job.lease)
    problem, now = {"type": kind, "detail": detail}, timezone.now()
    if not held.filter(undoing=True).update(undoing=False, problem=problem, finished_at=now):
        held.filter(state__in=WORKING).update(state=State.FAILED, problem=problem, finished_at=now)


@contextmanager
def _heartbeat(job: Job) -> Iterator[None]:
    """Keep the lease while a stage is busy with something that writes nothing."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(_HEARTBEAT):
            try:
                Import.objects.filter(id=job.id, lease=job.lease).update(leased_until=Now() + LEASE)
            except DatabaseError:
                log.warning("a heartbeat was lost", exc_info=True)
            finally:
                connection.close()

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
