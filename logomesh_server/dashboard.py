"""The managers' overview: a few figures about the people and the shared spaces that somebody looks after."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from django.http import HttpRequest
from django.urls import reverse
from django.utils.timezone import now
from django.utils.translation import gettext as _

from migration.models import WORKING, Import, State
from sync.figures import open_conflicts, pushes_by_day
from workspaces.admin import managed
from workspaces.models import Device, Invitation, Membership

DAYS: Final = 30
CHART_HEIGHT: Final = 80
BAR_WIDTH: Final = 18
BAR_GAP: Final = 6


@dataclass(frozen=True, slots=True)
class Figure:
    title: str
    value: int
    note: str
    link: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A day in the chart, in units of its view box."""

    day: date
    pushes: int
    x: int
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Chart:
    bars: tuple[Bar, ...]
    total: int
    most: int
    width: int = DAYS * (BAR_WIDTH + BAR_GAP) - BAR_GAP
    height: int = CHART_HEIGHT
    bar_width: int = BAR_WIDTH


def add_figures(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The theme calls this for the first page of the admin."""
    mine = managed(request)
    workspaces, spaces = mine.visible(), mine.shared_spaces()
    members = Membership.objects.filter(workspace__in=workspaces)
    devices = Device.objects.filter(person__in=mine.visible_people().values("pk"), revoked_at=None)
    seen = devices.filter(last_seen_at__gte=now() - timedelta(days=7)).count()
    waiting = Invitation.objects.filter(workspace__in=workspaces, accepted_at=None, expires_at__gt=now())
    imports = Counter(Import.objects.filter(space__in=spaces.values("pk")).values_list("state", flat=True))
    going_on = sum(imports[state] for state in WORKING)
    figures = (
        Figure(
            _("Members"),
            members.values("person").distinct().count(),
            _("%(count)s invitations wait") % {"count": waiting.count()},
            _listing("workspaces_membership"),
        ),
        Figure(
            _("Shared spaces"),
            spaces.filter(archived_at=None).count(),
            _("%(count)s in the archive") % {"count": spaces.exclude(archived_at=None).count()},
            _listing("workspaces_space"),
        ),
        Figure(
            _("Devices seen this week"),
            seen,
            _("of %(count)s") % {"count": devices.count()},
            _listing("workspaces_device"),
        ),
        Figure(
            _("Imports going on"),
            going_on,
            _("%(done)s done, %(failed)s failed")
            % {"done": imports[State.DONE], "failed": imports[State.FAILED]},
            _listing("migration_import"),
        ),
        Figure(
            _("Open conflicts"),
            open_conflicts(spaces),
            _("in shared spaces"),
            _listing("workspaces_space"),
        ),
    )
    return context | {"figures": figures, "chart": chart(pushes_by_day(spaces, DAYS))}


def chart(days: list[tuple[date, int]]) -> Chart:
    """Bars for the number of pushes a day; a day with any has a bar that can be seen."""
    most = max((pushes for _day, pushes in days), default=0)
    bars = []
    for number, (day, pushes) in enumerate(days):
        height = max(2.0, round(pushes / most * CHART_HEIGHT, 1)) if pushes else 0.0
        bars.append(Bar(day, pushes, number * (BAR_WIDTH + BAR_GAP), CHART_HEIGHT - height, height))
    return Chart(tuple(bars), sum(pushes for _day, pushes in days), most)


def _listing(model: str) -> str:
    return reverse(f"admin:{model}_changelist")
