"""What happens by itself, again and again. A task that is lost or doubled costs nothing."""

from celery import shared_task
from django.conf import settings

from sync import indexing
from sync.purging import purge_history, purge_tombstones
from sync.weighing import weigh_changed_spaces


@shared_task(name="sync.forget", ignore_result=True)
def forget() -> None:
    """Remove old tombstones, and old history where a limit is set. Once a day."""
    purge_tombstones(settings.TOMBSTONE_DAYS)
    if settings.HISTORY_DAYS:
        # The scopes of devices that were away are worked out from the history (`sync.pull.scope`).
        purge_history(max(settings.HISTORY_DAYS, settings.TOMBSTONE_DAYS))


@shared_task(name="sync.index_spaces", ignore_result=True)
def index_spaces() -> None:
    """Bring the search index up to date. Every few seconds."""
    for space in indexing.lagging():
        indexing.catch_up(space)


@shared_task(name="sync.weigh_spaces", ignore_result=True)
def weigh_spaces() -> None:
    """See how much room shared spaces take. Every quarter of an hour."""
    weigh_changed_spaces()
