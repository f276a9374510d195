"""The managers' overview: a few figures about the people and the shared spaces that somebody looks after."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from migration.models import WORKING, Import, State
from sync.admin import within_sight
from sync.figures import conflicts_by_day, growth, open_conflicts, pushes_by_day, stored_bytes
from sync.following import followed
from workspaces.admin import managed
from workspaces.models import Invitation, Membership, Space

DAYS: Final = 30
CHART_HEIGHT: Final = 80
BAR_WIDTH: Final = 18
BAR_GAP: Final = 6
BLUE: Final = "oklch(57% .12 245)"
ORANGE: Final = "oklch(64% .16 55)"


@dataclass(frozen=True, slots=True)
class Figure:
    title: str
    value: int | str
    note: str
    link: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure of a day in a chart, in units of its view box."""

    day: date
    value: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Series:
    """Bars of one kind."""

    name: str
    colour: str
    """One that can be seen in the light and in the dark."""
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    title: str
    said: str
    """What it shows, in words."""
    series: tuple[Series, ...]
    days: tuple[date, ...]
    width: int = DAYS * (BAR_WIDTH + BAR_GAP) - BAR_GAP
    height: int = CHART_HEIGHT


@dataclass(frozen=True, slots=True)
class Share:
    """So many devices are so far behind."""

    name: str
    count: int
    percent: int


def add_figures(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The theme calls this for the first page of the admin."""
    mine = managed(request)
    workspaces, spaces = mine.visible(), mine.shared_spaces()
    members = Membership.objects.filter(workspace__in=workspaces)
    devices = within_sight(mine).filter(revoked_at=None)
    seen = devices.filter(last_seen_at__gte=now() - timedelta(days=7)).count()
    waiting = Invitation.objects.filter(workspace__in=workspaces, accepted_at=None, expires_at__gt=now())
    n_waiting = waiting.count()
    imports = Counter(Import.objects.filter(space__in=spaces.values("pk")).values_list("state", flat=True))
    going_on = sum(imports[state] for state in WORKING)
    figures = (
        Figure(
            _("Members"),
            members.values("person").distinct().count(),
            ngettext("%(n)s invitation waits", "%(n)s invitations wait", n_waiting) % {"n": n_waiting},
            _listing("workspaces_membership"),
        ),
        Figure(
            _("Shared spaces"),
            spaces.filter(archived_at=None).count(),
            _("%(archived)s in the archive; %(private)s private")
            % {"archived": spaces.exclude(archived_at=None).count(), "private": mine.private_spaces()},
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
        Figure(
            _("Storage"),
            filesizeformat(stored_bytes(spaces)),
            _("of shared spaces"),
            _listing("workspaces_space"),
        ),
    )
    followed_by = followed(devices.values_list("pk", flat=True), spaces.values_list("pk", flat=True))
    return context | {
        "title": _("Overview"),
        "figures": figures,
        "charts": (_pushes(spaces), _conflicts(spaces), _growth(spaces)),
        "lag": lag([following.behind for following in followed_by.values()]),
        "following": len(followed_by),
    }


def bars(days: list[tuple[date, int]], most: int, place: int = 0, places: int = 1) -> tuple[Bar, ...]:
    """Bars for a figure a day; a day with any has a bar that can be seen. `place`: of several beside it."""
    width = BAR_WIDTH / places
    made = []
    for number, (day, value) in enumerate(days):
        height = max(2.0, round(value / most * CHART_HEIGHT, 1)) if value else 0.0
        x = number * (BAR_WIDTH + BAR_GAP) + place * width
        made.append(Bar(day, value, x, CHART_HEIGHT - height, width, height))
    return tuple(made)


def lag(behind: list[int]) -> tuple[Share, ...]:
    """How many devices are in step, and how many how far behind."""
    steps = (
        (_("in step"), 0, 0),
        (_("up to 10 changes behind"), 1, 10),
        (_("up to 100"), 11, 100),
        (_("more"), 101, 2**63),
    )
    counts = [(name, sum(1 for each in behind if low <= each <= high)) for name, low, high in steps]
    return tuple(Share(name, n, round(100 * n / len(behind)) if behind else 0) for name, n in counts)


def _pushes(spaces: QuerySet[Space]) -> Chart:
    days = pushes_by_day(spaces, DAYS)
    most = max(pushes for _day, pushes in days)
    said = _("%(total)s in all, %(most)s on the busiest day") % {
        "total": sum(pushes for _day, pushes in days),
        "most": most,
    }
    return Chart(_("Pushes a day"), said, (Series(_("pushes"), BLUE, bars(days, most)),), _days(days))


def _conflicts(spaces: QuerySet[Space]) -> Chart:
    days = conflicts_by_day(spaces, DAYS)
    most = max(max(arose, decided) for _day, arose, decided in days)
    arose = [(day, n) for day, n, _decided in days]
    decided = [(day, n) for day, _arose, n in days]
    said = _("%(arose)s arose, %(decided)s were decided") % {
        "arose": sum(n for _day, n in arose),
        "decided": sum(n for _day, n in decided),
    }
    series = (
        Series(_("arose"), ORANGE, bars(arose, most, 0, 2)),
        Series(_("decided"), BLUE, bars(decided, most, 1, 2)),
    )
    return Chart(_("Conflicts a day"), said, series, _days(arose))


def _growth(spaces: QuerySet[Space]) -> Chart:
    days = growth(spaces, DAYS)
    said = _("%(now)s change sets in all, %(new)s of them in these days") % {
        "now": days[-1][1],
        "new": days[-1][1] - days[0][1],
    }
    return Chart(_("Growth"), said, (Series(_("change sets"), BLUE, bars(days, days[-1][1])),), _days(days))


def _days(days: list[tuple[date, int]]) -> tuple[date, ...]:
    return tuple(day for day, _value in days)


def _listing(model: str) -> str:
    return reverse(f"admin:{model}_changelist")
