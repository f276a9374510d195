"""Imports into shared spaces, for managers: how far they are and what came of them, not what they hold."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy
from unfold.decorators import display

from migration.models import Import, State
from migration.stages.counting import Counts
from workspaces.admin import ManagedAdmin, managed, site
from workspaces.admin.site import InWorkspace, moment_of

COLOURS = {
    **dict.fromkeys(State.values, "info"),
    State.DONE.value: "success",
    State.FAILED.value: "danger",
    State.PAUSED.value: "warning",
}


class InWorkspaceOfSpace(InWorkspace):
    path = "space__workspace"


@admin.register(Import, site=site)
class Imports(ManagedAdmin):
    workspace_path = "space__workspace"
    list_display = ("file_name", "space", "person", "stored", "state_label", "created", "finished")
    list_filter = (InWorkspaceOfSpace, "state")
    search_fields = ("file_name", "space__name", "person__email")
    ordering = ("-created_at",)
    fields = readonly_fields = (
        "file_name", "stored", "space", "person", "state_label", "strategy", "dry_run",
        "created", "started", "finished", "why", "shown_report",
    )  # fmt: skip

    def in_sight(self, request: HttpRequest) -> QuerySet[Import]:
        spaces = managed(request).shared_spaces().values("pk")
        return Import.objects.filter(space__in=spaces).select_related("space__workspace", "person")

    def audit_filter(self, obj: Import) -> dict[str, str]:
        return {"space": str(obj.space_id)}

    @display(description=gettext_lazy("state"), label=COLOURS, ordering="state")
    def state_label(self, obj: Import) -> str:
        return obj.state

    @display(description=gettext_lazy("why it failed"))
    def why(self, obj: Import) -> str:
        return str((obj.problem or {}).get("detail", "–"))

    @display(description=gettext_lazy("report"))
    def shown_report(self, obj: Import) -> str | SafeString:
        """Its counts and digests. The issues may quote what somebody wrote."""
        if not obj.report:
            return "–"
        tables = {name: vars(Counts()) | counts for name, counts in obj.report.get("tables", {}).items()}
        context = {
            "report": obj.report,
            "tables": [{"name": name, **tables[name]} for name in sorted(tables)],
        }
        return mark_safe(render_to_string("migration/admin/report.html", context))  # noqa: S308 - a template

    @display(description=gettext_lazy("size"), ordering="size")
    def stored(self, obj: Import) -> str:
        return filesizeformat(obj.size)

    created = moment_of("created_at", gettext_lazy("created"))
    started = moment_of("started_at", gettext_lazy("started"))
    finished = moment_of("finished_at", gettext_lazy("finished"))
