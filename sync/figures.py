"""How much goes on in shared spaces, for those who look after them: numbers, never what is written there."""

from __future__ import annotations

from datetime import date, timedelta

from django.db.models import Count, QuerySet
from django.db.models.functions import TruncDate
from django.utils.timezone import now

from sync.models import ChangeSet, Conflict, Origin
from workspaces.models import Space


def open_conflicts(spaces: QuerySet[Space]) -> int:
    """Conflicts in these spaces that wait for somebody to decide."""
    return Conflict.objects.filter(space_id__in=spaces.values("pk"), state="open").count()


def pushes_by_day(spaces: QuerySet[Space], days: int) -> list[tuple[date, int]]:
    """The number of pushes to these spaces on each of the last days, today included, oldest first."""
    today = now().date()
    first = today - timedelta(days=days - 1)
    pushes = ChangeSet.objects.filter(space__in=spaces.values("pk"), origin=Origin.PUSH, at__date__gte=first)
    counted = dict(
        pushes.annotate(day=TruncDate("at"))
        .values("day")
        .annotate(n=Count("version"))
        .values_list("day", "n")
    )
    return [(day, counted.get(day, 0)) for day in (first + timedelta(days=n) for n in range(days))]
