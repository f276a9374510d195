"""Shared spaces: their names, their archive, and who has which role in them. Never what is inside."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.postgres.aggregates import StringAgg
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from workspaces import actions
from workspaces.actions import EVERYONE, Invited
from workspaces.admin.people import invitation_page
from workspaces.admin.site import InWorkspace, ManagedAdmin, managed, moment_of, person_of
from workspaces.models import Group, Membership, Space, SpaceGroupPermission, SpaceKind, SpaceUserPermission
from workspaces.roles import ROLES

GROUP = "group:"


class SpaceForm(forms.ModelForm):  # type: ignore[type-arg]
    archived = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        label=gettext_lazy("In the archive"),
        help_text=gettext_lazy("It can be read and pulled, but not changed."),
    )

    class Meta:
        model = Space
        fields = ("workspace", "name")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "archived" in self.fields:
            self.fields["archived"].initial = self.instance.archived_at is not None


class ShareForm(forms.Form):
    who = forms.CharField(
        max_length=300,
        label=gettext_lazy("Person or group"),
        widget=UnfoldAdminTextInputWidget(attrs={"list": "who-there-is", "autocomplete": "off"}),
    )
    role = forms.ChoiceField(
        choices=[(role, role) for role in ROLES], label=gettext_lazy("Role"), widget=UnfoldAdminSelectWidget
    )


class Archived(admin.SimpleListFilter):
    title = gettext_lazy("archive")
    parameter_name = "archived"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("no", _("in use")), ("yes", _("in the archive"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Space]) -> QuerySet[Space]:
        if self.value() in ("yes", "no"):
            return queryset.filter(archived_at__isnull=self.value() == "no")
        return queryset


class Spaces(ManagedAdmin):
    """Shared spaces; of private ones only how many there are. `sync.admin` registers it, with their sizes."""

    may_add = may_change = True
    verbs = ("share", "unshare", "transfer")
    list_filter = (InWorkspace, Archived)
    search_fields = ("name",)
    ordering = ("name",)
    form = SpaceForm
    change_form_outer_after_template = "workspaces/admin/space_roles.html"
    list_after_template = "workspaces/admin/private_spaces.html"

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        private = {"private_spaces": managed(request).private_spaces()}
        return super().changelist_view(request, (extra_context or {}) | private)

    def in_sight(self, request: HttpRequest) -> QuerySet[Space]:
        people = SpaceUserPermission.objects.filter(content_object=OuterRef("pk")).order_by()
        groups = SpaceGroupPermission.objects.filter(content_object=OuterRef("pk")).order_by()
        return (
            managed(request)
            .shared_spaces()
            .select_related("workspace", "owner")
            .annotate(
                n_given=_counted(people) + _counted(groups),
                owned_by=_owners(people, "user__email"),
                owned_by_groups=_owners(groups, "group__group__label"),
            )
        )

    def get_fields(self, request: HttpRequest, obj: Space | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("workspace", "name")
        archived = "archived" if self.has_change_permission(request, obj) else "state"
        return ("name", "workspace", archived, "created")

    def get_readonly_fields(self, request: HttpRequest, obj: Space | None = None) -> tuple[str, ...]:
        return () if obj is None else ("workspace", "state", "created")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> Any:
        space = self.get_object(request, object_id)
        if space is not None:
            extra_context = (extra_context or {}) | {
                "given": actions.given_roles(space.pk),
                "share_form": ShareForm(),
                "roles": ROLES,
                "who_there_is": _who_there_is(space),
                "is_managed": self.is_managed(request, space),
            }
        return super().change_view(request, object_id, form_url, extra_context)

    def save_model(self, request: HttpRequest, obj: Space, form: Any, change: bool) -> None:
        by = person_of(request)
        if not change:
            obj.pk = actions.create_space(obj.workspace_id, obj.name, SpaceKind.SHARED, by=by).pk
            return
        if "name" in form.changed_data:
            actions.rename_space(obj.pk, obj.name, by=by)
        if "archived" in form.changed_data:
            (actions.archive_space if form.cleaned_data["archived"] else actions.unarchive_space)(
                obj.pk, by=by
            )

    def share(self, request: HttpRequest, obj: Space) -> str | HttpResponse:
        who, role, by = request.POST.get("who", "").strip(), request.POST.get("role", ""), person_of(request)
        if who == EVERYONE:
            given = actions.share_with_everyone(obj.pk, role, by=by)
        elif who.startswith(GROUP):
            given = actions.share_with_group(obj.pk, who.removeprefix(GROUP), role, by=by)
        else:
            outcome = actions.share_with_person(obj.pk, who, role, by=by)
            if isinstance(outcome, Invited):
                return invitation_page(request, self, outcome, obj.workspace)
            given = outcome
        return _("%(who)s has the role of %(role)s now.") % {
            "who": given.name or given.email,
            "role": given.role,
        }

    def unshare(self, request: HttpRequest, obj: Space) -> str:
        who, by = request.POST.get("who", "").strip(), person_of(request)
        if who == EVERYONE:
            actions.unshare_with_everyone(obj.pk, by=by)
        elif who.startswith(GROUP):
            actions.unshare_with_group(obj.pk, who.removeprefix(GROUP), by=by)
        else:
            actions.unshare_with_person(obj.pk, who, by=by)
        return _("The role is taken away.")

    def transfer(self, request: HttpRequest, obj: Space) -> str:
        email = request.POST.get("email", "").strip()
        actions.transfer_space(obj.pk, email, by=person_of(request))
        return _("%(email)s owns the space now.") % {"email": email}

    def audit_filter(self, obj: Space) -> dict[str, str]:
        return {"space": str(obj.pk)}

    created = moment_of("created_at", gettext_lazy("created"))

    @display(description=gettext_lazy("owners"))
    def owners(self, obj: Any) -> str:
        return ", ".join(filter(None, (obj.owned_by, obj.owned_by_groups))) or "–"

    @display(description=gettext_lazy("roles given"), ordering="n_given")
    def roles_given(self, obj: Any) -> int:
        return int(obj.n_given)

    @display(
        description=gettext_lazy("state"),
        label={"in use": "success", "in the archive": "warning"},
        ordering="archived_at",
    )
    def state(self, obj: Space) -> str:
        return "in the archive" if obj.archived_at else "in use"


def _counted(grants: QuerySet[Any]) -> Coalesce:
    """How many roles were given, as a part of a query of spaces."""
    return Coalesce(Subquery(grants.values("content_object").annotate(n=Count("pk")).values("n")), 0)


def _owners(grants: QuerySet[Any], name: str) -> Subquery:
    """Who was given the role of an owner, as a part of a query of spaces."""
    owning = grants.filter(permission__codename="owner_space").values("content_object")
    return Subquery(owning.annotate(names=StringAgg(name, ", ", order_by=name)).values("names"))


def _who_there_is(space: Space) -> list[str]:
    people = Membership.objects.filter(workspace=space.workspace_id).order_by("person__email")
    groups = Group.objects.filter(workspace=space.workspace_id, everyone=False).order_by("label")
    return [
        *people.values_list("person__email", flat=True),
        *(f"{GROUP}{label}" for label in groups.values_list("label", flat=True)),
        EVERYONE,
    ]
