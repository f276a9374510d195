"""Devices, members and spaces for managers, with what only sync knows of them: lag, errors, sizes."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Exists, F, Max, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.expressions import RawSQL
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display

from sync.following import BEHIND, OPEN_CONFLICTS
from sync.models import DeviceCursor, DeviceTrouble, SpaceHead, SpaceSize
from sync.troubles import LATELY
from workspaces.admin.people import Devices, DeviceState, Members
from workspaces.admin.site import Managed, managed, moment_of, site
from workspaces.admin.spaces import Spaces
from workspaces.models import Device, Membership, Space, SpaceKind
from workspaces.templatetags.times import moment


def within_sight(mine: Managed) -> QuerySet[Device]:
    """Devices that a manager may know of.

    Of people who are in no other workspace all; of others those that have pulled from a shared space here.
    """
    if mine.sees_all:
        return Device.objects.all()
    here = DeviceCursor.objects.filter(device=OuterRef("pk"), space__in=mine.shared_spaces())
    return Device.objects.filter(
        Q(person__in=mine.own_people()) | Q(Exists(here), person__in=mine.visible_people())
    )


class Health(admin.SimpleListFilter):
    title = gettext_lazy("health")
    parameter_name = "health"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("errors", _("with errors this week")), ("behind", _("behind"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "errors":
            return queryset.filter(n_troubles__gt=0)
        return queryset.filter(n_behind__gt=0) if self.value() == "behind" else queryset


class OfClient(DropdownFilter):
    title = gettext_lazy("client")
    parameter_name = "client"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        clients = within_sight(managed(request)).exclude(client="").order_by("client")
        return [(client, client) for client in clients.values_list("client", flat=True).distinct()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Device]) -> QuerySet[Device]:
        chosen = [client for client, _shown in self.lookup_choices if client == self.value()]
        return queryset.filter(client=chosen[0]) if chosen else queryset


@admin.register(Device, site=site)
class FollowedDevices(Devices):
    """In all numbers only the shared spaces of labs that one manages count."""

    list_display = (
        "name", "owner", "state", "behind", "conflicts", "errors", "client", "last_seen", "expires",
    )  # fmt: skip
    list_filter = (DeviceState, Health, OfClient)
    list_filter_submit = True
    fields = readonly_fields = (
        "name", "owner", "state", "behind", "conflicts", "errors", "client", "created", "last_seen",
        "expires", "revoked", "copy_of",
    )  # fmt: skip

    def in_sight(self, request: HttpRequest) -> QuerySet[Device]:
        mine = managed(request)
        counted = list(mine.shared_spaces().values_list("pk", flat=True))
        lately = DeviceTrouble.objects.filter(
            device=OuterRef("pk"), space__in=counted, at__gt=now() - LATELY
        ).order_by()
        summed = lately.values("device")
        return (
            within_sight(mine)
            .select_related("person", "made_by")
            .annotate(
                n_behind=RawSQL(BEHIND, (counted,)),  # noqa: S611 - both are literals
                n_conflicts=RawSQL(OPEN_CONFLICTS, (counted,)),  # noqa: S611
                n_troubles=Subquery(summed.annotate(n=Sum("times")).values("n")),
                trouble=Subquery(lately.order_by("-at").values("kind")[:1]),
                trouble_at=Subquery(summed.annotate(last=Max("at")).values("last")),
            )
        )

    @display(description=gettext_lazy("changes behind"), ordering=F("n_behind").desc(nulls_last=True))
    def behind(self, obj: Any) -> str:
        return "–" if obj.n_behind is None else str(obj.n_behind)

    @display(description=gettext_lazy("open conflicts"), ordering="n_conflicts")
    def conflicts(self, obj: Any) -> int:
        return int(obj.n_conflicts)

    @display(description=gettext_lazy("errors this week"), ordering=F("n_troubles").desc(nulls_last=True))
    def errors(self, obj: Any) -> str:
        if not obj.n_troubles:
            return "–"
        told = ngettext("{kind} ({n} time, {when})", "{kind} ({n} times, last {when})", obj.n_troubles)
        return format_html(told, kind=obj.trouble, n=obj.n_troubles, when=moment(obj.trouble_at, "ago"))


@admin.register(Space, site=site)
class WeighedSpaces(Spaces):
    list_display = (
        "name",
        "workspace",
        "owners",
        "roles_given",
        "thoughts",
        "storage",
        "state",
        "created",
    )

    def in_sight(self, request: HttpRequest) -> QuerySet[Space]:
        size = SpaceSize.objects.filter(space=OuterRef("pk"))
        counts = SpaceHead.objects.filter(space=OuterRef("pk")).values("counts")
        return (
            super()
            .in_sight(request)
            .annotate(
                counts=Subquery(counts),
                size=Subquery(size.values("bytes")),
                weighed_at=Subquery(size.values("at")),
            )
        )

    def get_fields(self, request: HttpRequest, obj: Space | None = None) -> tuple[str, ...]:
        fields = super().get_fields(request, obj)
        return fields if obj is None else (*fields, "thoughts", "storage", "weighed")

    def get_readonly_fields(self, request: HttpRequest, obj: Space | None = None) -> tuple[str, ...]:
        fields = super().get_readonly_fields(request, obj)
        return fields if obj is None else (*fields, "thoughts", "storage", "weighed")

    @display(description=gettext_lazy("thoughts"))
    def thoughts(self, obj: Any) -> int:
        return int((obj.counts or {}).get("thoughts", 0))

    @display(description=gettext_lazy("storage"), ordering=F("size").asc(nulls_first=True))
    def storage(self, obj: Any) -> str:
        return "–" if obj.size is None else filesizeformat(obj.size)

    weighed = moment_of("weighed_at", gettext_lazy("weighed"))


@admin.register(Membership, site=site)
class WeighedMembers(Members):
    list_display = (
        "who", "role_label", "workspace", "shared_spaces", "storage", "private_spaces", "seen", "since_then",
    )  # fmt: skip
    readonly_fields = (*Members.readonly_fields, "seen", "storage")

    def in_sight(self, request: HttpRequest) -> QuerySet[Membership]:
        owned = SpaceSize.objects.filter(
            space__kind=SpaceKind.SHARED,
            space__owner=OuterRef("person"),
            space__workspace=OuterRef("workspace"),
        )
        summed = owned.order_by().values("space__owner").annotate(n=Sum("bytes")).values("n")
        theirs = within_sight(managed(request)).filter(person=OuterRef("person")).order_by()
        seen = theirs.values("person").annotate(at=Max("last_seen_at")).values("at")
        return super().in_sight(request).annotate(size=Subquery(summed), seen_at=Subquery(seen))

    def get_fields(self, request: HttpRequest, obj: Membership | None = None) -> tuple[str, ...]:
        fields = super().get_fields(request, obj)
        return fields if obj is None else (*fields, "seen", "storage")

    seen = moment_of("seen_at", gettext_lazy("last seen"), F("seen_at").asc(nulls_first=True))

    @display(
        description=gettext_lazy("storage owned"),
        ordering=F("size").asc(nulls_first=True),
    )
    def storage(self, obj: Any) -> str:
        return "–" if obj.size is None else filesizeformat(obj.size)
