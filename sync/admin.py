"""Devices for managers, with what their last questions said: how far behind, and which client asks."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import F, QuerySet
from django.db.models.expressions import RawSQL
from django.http import HttpRequest
from django.utils.translation import gettext_lazy
from unfold.decorators import display

from sync.following import BEHIND, OPEN_CONFLICTS
from workspaces.admin.people import Devices
from workspaces.admin.site import managed, site
from workspaces.models import Device


@admin.register(Device, site=site)
class FollowedDevices(Devices):
    """In all numbers only the shared spaces of labs that one manages count."""

    list_display = (
        "name", "owner", "state", "behind", "conflicts", "client", "last_seen_at", "expires_at",
    )  # fmt: skip
    fields = readonly_fields = (
        "name", "owner", "state", "behind", "conflicts", "client", "created_at", "last_seen_at",
        "expires_at", "revoked_at", "copy_of",
    )  # fmt: skip

    def in_sight(self, request: HttpRequest) -> QuerySet[Device]:
        counted = list(managed(request).shared_spaces().values_list("pk", flat=True))
        return (
            super()
            .in_sight(request)
            .annotate(
                n_behind=RawSQL(BEHIND, (counted,)),  # noqa: S611 - both are literals
                n_conflicts=RawSQL(OPEN_CONFLICTS, (counted,)),  # noqa: S611
            )
        )

    @display(description=gettext_lazy("changes behind"), ordering=F("n_behind").desc(nulls_last=True))
    def behind(self, obj: Any) -> str:
        return "–" if obj.n_behind is None else str(obj.n_behind)

    @display(description=gettext_lazy("open conflicts"), ordering="n_conflicts")
    def conflicts(self, obj: Any) -> int:
        return int(obj.n_conflicts)
