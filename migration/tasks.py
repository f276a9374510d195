"""Alarm clocks. What is to be done stands in PostgreSQL: a task that is lost or doubled costs nothing."""

from uuid import UUID

from celery import shared_task

from migration import jobs, uploads


@shared_task(name="migration.run_import", ignore_result=True)
def run_import(id_: str) -> None:
    """Go on with an import, if nobody else does."""
    jobs.run(UUID(id_))


@shared_task(name="migration.wake_orphans", ignore_result=True)
def wake_orphans() -> None:
    """Go on with imports whose worker was killed or whose alarm was lost. Every ten seconds."""
    for id_ in jobs.orphans():
        run_import.delay(str(id_))


@shared_task(name="migration.expire_uploads", ignore_result=True)
def expire_uploads() -> None:
    """Forget uploads that nobody has gone on with. Every hour."""
    uploads.remove_expired()
