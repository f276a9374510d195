"""How much goes on in shared spaces, for those who look after them: numbers, never what is written there."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

from django.db.models import Count, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import TruncDate
from django.utils.timezone import now

from sync.models import ChangeSet, Conflict, Origin, SpaceSize
from workspaces.models import Space


def open_conflicts(spaces: QuerySet[Space]) -> int:
    """Conflicts in these spaces that wait for somebody to decide."""
    return Conflict.objects.filter(space_id__in=spaces.values("pk"), state="open").count()


def stored_bytes(spaces: QuerySet[Space]) -> int:
    """How much room these spaces took when they were last weighed."""
    sizes = SpaceSize.objects.filter(space__in=spaces.values("pk"))
    return int(sizes.aggregate(n=Sum("bytes"))["n"] or 0)


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


def conflicts_by_day(spaces: QuerySet[Space], days: int) -> list[tuple[date, int, int]]:
    """(day, conflicts that arose, conflicts that were decided) of the last days, oldest first."""
    first = now().date() - timedelta(days=days - 1)
    mine = Conflict.objects.filter(space_id__in=spaces.values("pk"))
    arose = Counter(mine.filter(created_at__date__gte=first).values_list("created_at__date", flat=True))
    when = ChangeSet.objects.filter(space=OuterRef("space_id"), version=OuterRef("version")).values(
        "at__date"
    )
    decided = mine.exclude(state="open").annotate(day=Subquery(when[:1])).filter(day__gte=first)
    ended = Counter(decided.values_list("day", flat=True))
    return [(day, arose[day], ended[day]) for day in (first + timedelta(days=n) for n in range(days))]


def growth(spaces: QuerySet[Space], days: int) -> list[tuple[date, int]]:
    """How many change sets these spaces had taken at the end of each of the last days."""
    first = now().date() - timedelta(days=days - 1)
    mine = ChangeSet.objects.filter(space__in=spaces.values("pk"))
    total = mine.filter(at__date__lt=first).count()
    counted = dict(
        mine.filter(at__date__gte=first)
        .annotate(day=TruncDate("at"))
        .values("day")
        .annotate(n=Count("version"))
        .values_list("day", "n")
    )
    grown = []
    for day in (first + timedelta(days=n) for n in range(days)):
        total += counted.get(day, 0)
        grown.append((day, total))
    return grown
