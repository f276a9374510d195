"""The audit trail of one's workspaces, to read, to filter and to take along as CSV."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from django.contrib import admin
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import URLPattern, path
from django.utils.timezone import now
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import DropdownFilter, RangeDateFilter
from unfold.decorators import display

from workspaces.admin.site import InWorkspace, ManagedAdmin, managed, moment_of, site
from workspaces.models import AuditEntry, Space, SpaceKind
from workspaces.spreadsheets import csv_answer

COLUMNS: Final = ("at", "workspace", "space", "by", "act", "subject", "details")


class InSpace(DropdownFilter):
    title = gettext_lazy("space")
    parameter_name = "space"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        spaces = managed(request).shared_spaces().order_by("name", "pk")
        return [(str(pk), name) for pk, name in spaces.values_list("pk", "name")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        offered = {pk for pk, _name in self.lookup_choices}
        return queryset.filter(space_id=self.value()) if self.value() in offered else queryset


class OfAct(DropdownFilter):
    title = gettext_lazy("act")
    parameter_name = "act"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        acts = in_sight(request).order_by("act").values_list("act", flat=True).distinct()
        return [(act, act) for act in acts]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        return queryset.filter(act=self.value()) if self.value() else queryset


def in_sight(request: HttpRequest) -> QuerySet[AuditEntry]:
    """What the one who asks may read.

    Entries of their workspaces, and of the accounts and devices of people who are in no other. What concerns
    a private space is for its owner alone: what was noted while it was private, and all as long as it is.
    """
    mine = managed(request)
    entries = AuditEntry.objects.select_related("by", "workspace")
    if not mine.sees_all:
        emails = mine.own_people().values("email")
        entries = entries.filter(
            Q(workspace__in=mine.workspaces) | Q(workspace=None, space_id=None, subject__in=emails)
        )
    space = Space.objects.filter(pk=OuterRef("space_id"))
    own = Exists(space.filter(owner=request.user.pk, kind=SpaceKind.PRIVATE))
    public = Q(private=False) & (Q(space_id=None) | Exists(space.filter(kind=SpaceKind.SHARED)))
    return entries.filter(own | public)


@admin.register(AuditEntry, site=site)
class AuditTrail(ManagedAdmin):
    list_display = ("when", "person", "act", "subject", "space", "workspace")
    list_display_links = ("when",)
    list_filter = (InWorkspace, InSpace, OfAct, ("at", RangeDateFilter))
    list_filter_submit = True
    search_fields = ("subject", "by__email", "act")
    search_help_text = gettext_lazy("Who did it, to whom, or what was done")
    ordering = ("-at", "-pk")
    fields = readonly_fields = ("when", "person", "act", "subject", "space", "workspace", "shown_details")
    list_before_template = "workspaces/admin/audit_export.html"

    def in_sight(self, request: HttpRequest) -> QuerySet[AuditEntry]:
        names = Space.objects.filter(pk=OuterRef("space_id")).values("name")[:1]
        return in_sight(request).annotate(space_name=names)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        return super().changelist_view(request, (extra_context or {}) | {"query": request.GET.urlencode()})

    def changeform_view(
        self, request: HttpRequest, object_id: Any = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        shown = (extra_context or {}) | {"show_history": False}
        return super().changeform_view(request, object_id, form_url, shown)

    def get_urls(self) -> list[URLPattern]:
        export = self.admin_site.admin_view(self.export)
        return [path("export/", export, name="workspaces_auditentry_export"), *super().get_urls()]

    def export(self, request: HttpRequest) -> StreamingHttpResponse:
        """What the list shows with the same filters, as CSV."""
        entries = self.get_changelist_instance(request).get_queryset(request)
        return csv_answer(_rows(entries), f"audit-{now():%Y-%m-%d}.csv")

    when = moment_of("at", gettext_lazy("when"))

    @display(description=gettext_lazy("by"), ordering="by__email")
    def person(self, obj: AuditEntry) -> str:
        return obj.by.email if obj.by else "command line"

    @display(description=gettext_lazy("space"))
    def space(self, obj: Any) -> str:
        return obj.space_name or "–"

    @display(description=gettext_lazy("details"))
    def shown_details(self, obj: AuditEntry) -> str:
        return ", ".join(f"{name}: {_plain(value)}" for name, value in obj.details.items()) or "–"


def _rows(entries: QuerySet[Any]) -> Iterator[tuple[str, ...]]:
    yield COLUMNS
    for entry in entries.iterator(1000):
        yield (
            entry.at.isoformat(),
            entry.workspace.name if entry.workspace else "",
            entry.space_name or "",
            entry.by.email if entry.by else "command line",
            entry.act,
            entry.subject,
            json.dumps(entry.details, ensure_ascii=False) if entry.details else "",
        )


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
