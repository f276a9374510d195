"""Imports into shared spaces, for managers: how far they are and what came of them, not what they hold."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy
from unfold.decorators import display

from migration.models import Import, State
from workspaces.admin import ManagedAdmin, managed, site
from workspaces.admin.site import InWorkspace

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
    list_display = ("file_name", "space", "person", "state_label", "created_at", "finished_at")
    list_filter = (InWorkspaceOfSpace, "state")
    search_fields = ("file_name", "space__name", "person__email")
    ordering = ("-created_at",)
    fields = readonly_fields = (
        "file_name", "size", "space", "person", "state_label", "strategy", "dry_run",
        "created_at", "started_at", "finished_at", "why", "shown_report",
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
        if not obj.report:
            return "–"
        return format_html("<pre>{}</pre>", json.dumps(_figures(obj.report), indent=2, ensure_ascii=False))


def _figures(report: dict[str, Any]) -> dict[str, Any]:
    """The counts and digests of a report. Its issues may quote what somebody wrote."""
    shown = ("state", "dialect", "tables", "issues", "source_digest", "target_digest", "seconds")
    return {
        name: len(report[name]) if isinstance(report[name], list) else report[name]
        for name in shown
        if name in report
    }
