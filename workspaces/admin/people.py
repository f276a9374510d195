"""Members, groups, invitations, devices, and the workspaces themselves."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.postgres.aggregates import StringAgg
from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminEmailInputWidget

from workspaces import actions
from workspaces.access import roles_in
from workspaces.actions import Invited
from workspaces.admin.inviting import invite_many
from workspaces.admin.site import (
    InWorkspace,
    ManagedAdmin,
    managed,
    moment_of,
    person_of,
    site,
    telling_problems,
)
from workspaces.invitations import deliver
from workspaces.models import (
    Device,
    Group,
    Invitation,
    Membership,
    Person,
    Space,
    SpaceGroupPermission,
    SpaceKind,
    SpaceUserPermission,
    Workspace,
    WorkspaceRole,
)
from workspaces.problems import NotAllowed

ROLE_COLOURS = {"manager": "info", "member": "success", "guest": "warning"}


def invitation_page(
    request: HttpRequest, model_admin: ManagedAdmin, invited: Invited, workspace: Workspace
) -> HttpResponse:
    """Shows the link, which is kept nowhere."""
    base_url = settings.PUBLIC_URL or request.build_absolute_uri("/")
    context = {
        **site.each_context(request),
        "title": _("Invitation"),
        "opts": model_admin.opts,
        "invited": invited,
        "workspace": workspace,
        "link": deliver(invited, workspace.name, str(request.user), base_url),
        "back": model_admin._list(),
    }
    return TemplateResponse(request, "workspaces/admin/invited.html", context)


class MemberForm(forms.ModelForm):  # type: ignore[type-arg]
    email = forms.EmailField(
        max_length=254,
        widget=UnfoldAdminEmailInputWidget,
        label=gettext_lazy("E-mail address"),
        help_text=gettext_lazy("Who has no account yet gets a link to make one."),
    )

    class Meta:
        model = Membership
        fields = ("workspace", "role")


class Members(ManagedAdmin):
    """Who is in a workspace, in which role, and how many private spaces they keep: no more about those.

    `sync.admin` registers it, with what only sync knows of their spaces.
    """

    may_add = may_change = True
    verbs = ("leave",)
    change_form_outer_after_template = "workspaces/admin/leaving.html"
    list_display_links = ("who",)
    list_filter = (InWorkspace, "role")
    search_fields = ("person__email", "person__name")
    search_help_text = gettext_lazy("Name or e-mail address")
    ordering = ("person__email",)
    readonly_fields: tuple[str, ...] = ("named", "workspace", "since_then", "roles", "private_spaces")

    def in_sight(self, request: HttpRequest) -> QuerySet[Membership]:
        theirs = Space.objects.filter(
            kind=SpaceKind.PRIVATE, owner=OuterRef("person"), workspace=OuterRef("workspace")
        ).order_by()
        count = theirs.values("owner").annotate(n=Count("pk")).values("n")
        person = OuterRef(OuterRef("person"))
        held = Space.objects.filter(
            Exists(SpaceUserPermission.objects.filter(content_object=OuterRef("pk"), user=person))
            | Exists(SpaceGroupPermission.objects.filter(content_object=OuterRef("pk"), group__user=person)),
            kind=SpaceKind.SHARED,
            workspace=OuterRef("workspace"),
        ).order_by()
        roles = held.values("workspace").annotate(n=Count("pk")).values("n")
        rows: QuerySet[Membership] = super().in_sight(request)
        return rows.select_related("person", "workspace").annotate(
            private_count=Coalesce(Subquery(count), 0),
            n_roles=Coalesce(Subquery(roles), 0),
        )

    def get_fields(self, request: HttpRequest, obj: Membership | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("workspace", "email", "role")
        return ("named", "workspace", "role", "roles", "private_spaces", "since_then")

    def get_readonly_fields(self, request: HttpRequest, obj: Membership | None = None) -> tuple[str, ...]:
        return () if obj is None else self.readonly_fields

    def get_form(
        self, request: HttpRequest, obj: Membership | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj is None:
            kwargs["form"] = MemberForm
        return super().get_form(request, obj, change, **kwargs)

    def save_model(self, request: HttpRequest, obj: Membership, form: Any, change: bool) -> None:
        email = obj.person.email if change else form.cleaned_data["email"]
        obj.outcome = actions.set_member_role(  # type: ignore[attr-defined]
            obj.workspace_id, email, form.cleaned_data["role"], by=person_of(request)
        )

    def response_add(
        self, request: HttpRequest, obj: Membership, post_url_continue: Any = None
    ) -> HttpResponse:
        outcome = obj.outcome  # type: ignore[attr-defined]
        if isinstance(outcome, Invited):
            return invitation_page(request, self, outcome, obj.workspace)
        messages.success(request, _("%(person)s is in the workspace now.") % {"person": outcome.person})
        return redirect(self._list())

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> Any:
        member = self.get_object(request, object_id)
        if member is not None and self.is_managed(request, member):
            others = Membership.objects.filter(workspace=member.workspace_id).exclude(pk=member.pk)
            extra_context = (extra_context or {}) | {
                "leaving": actions.leaving(member.workspace_id, member.person.email, by=person_of(request)),
                "heirs": others.exclude(role=WorkspaceRole.GUEST)
                .select_related("person")
                .order_by("person__email"),
            }
        return super().change_view(request, object_id, form_url, extra_context)

    def leave(self, request: HttpRequest, obj: Membership) -> str:
        heir = request.POST.get("heir", "")
        done = actions.let_leave(obj.workspace_id, obj.person.email, heir, by=person_of(request))
        said = [_("%(who)s has left: all their roles here ended.") % {"who": done.person}]
        if done.devices:
            said.append(_("Devices revoked: %(n)d.") % {"n": done.devices})
        if done.elsewhere:
            said.append(_("Their devices go on, for the other workspace they are in."))
        if done.handed_over:
            names = ", ".join(space.name for space in done.handed_over)
            said.append(_("%(heir)s owns now: %(names)s.") % {"heir": heir, "names": names})
        if done.private_spaces:
            said.append(_("Private spaces that stay, seen by nobody: %(n)d.") % {"n": done.private_spaces})
        return " ".join(said)

    def audit_filter(self, obj: Membership) -> dict[str, str]:
        return {"q": obj.person.email}

    @display(description=gettext_lazy("person"), header=True, ordering="person__email")
    def who(self, obj: Membership) -> list[Any]:
        return [obj.person.name or obj.person.email, obj.person.email if obj.person.name else ""]

    @display(description=gettext_lazy("person"))
    def named(self, obj: Membership) -> str:
        return _named(obj.person)

    @display(description=gettext_lazy("role"), label=ROLE_COLOURS, ordering="role")
    def role_label(self, obj: Membership) -> str:
        return obj.role

    @display(description=gettext_lazy("roles in shared spaces"), ordering="n_roles")
    def shared_spaces(self, obj: Any) -> int:
        return int(obj.n_roles)

    @display(description=gettext_lazy("roles in shared spaces"))
    def roles(self, obj: Membership) -> str:
        held = {space: role for (space, _person), role in roles_in(obj.workspace_id, obj.person_id).items()}
        shared = Space.objects.filter(pk__in=held, kind=SpaceKind.SHARED).order_by("name")
        return ", ".join(f"{space.name} ({held[space.pk]})" for space in shared) or "–"

    @display(description=gettext_lazy("private spaces"), ordering="private_count")
    def private_spaces(self, obj: Any) -> int:
        return int(obj.private_count)

    since_then = moment_of("since", gettext_lazy("since"))


class GroupForm(forms.ModelForm):  # type: ignore[type-arg]
    people = forms.ModelMultipleChoiceField(
        Person.objects.none(),
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        label=gettext_lazy("Members"),
        help_text=gettext_lazy("Only people of the group's workspace can be in it."),
    )

    class Meta:
        model = Group
        fields = ("workspace", "label")


@admin.register(Group, site=site)
class Groups(ManagedAdmin):
    """People of a workspace who are given roles together. The group of everyone keeps itself."""

    may_add = may_change = may_delete = True
    list_display = ("label", "workspace", "members")
    list_filter = (InWorkspace,)
    search_fields = ("label",)
    ordering = ("label",)
    form = GroupForm

    def in_sight(self, request: HttpRequest) -> QuerySet[Group]:
        rows: QuerySet[Group] = super().in_sight(request)
        return rows.filter(everyone=False).select_related("workspace").annotate(size=Count("user"))

    def get_fields(self, request: HttpRequest, obj: Group | None = None) -> tuple[str, ...]:
        if obj is not None and not self.has_change_permission(request, obj):
            return ("workspace", "label", "names")
        return ("workspace", "label", "people")

    def get_readonly_fields(self, request: HttpRequest, obj: Group | None = None) -> tuple[str, ...]:
        return () if obj is None else ("workspace", "label", "names")

    def get_form(
        self, request: HttpRequest, obj: Group | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        if (people := form.base_fields.get("people")) is not None:
            workspaces = [obj.workspace_id] if obj else managed(request).workspaces
            people.queryset = (
                Person.objects.filter(memberships__workspace__in=workspaces).distinct().order_by("email")
            )
            people.label_from_instance = _named
            if obj is not None:
                people.initial = list(obj.user_set.values_list("pk", flat=True))
        return form

    def save_model(self, request: HttpRequest, obj: Group, form: Any, change: bool) -> None:
        emails = [person.email for person in form.cleaned_data["people"]]
        if change:
            actions.set_group_members(obj.workspace_id, obj.label, emails, by=person_of(request))
        else:
            made = actions.create_group(obj.workspace_id, obj.label, emails, by=person_of(request))
            obj.pk = obj.group_ptr_id = made.pk

    def delete_model(self, request: HttpRequest, obj: Group) -> None:
        actions.delete_group(obj.workspace_id, obj.label, by=person_of(request))

    def audit_filter(self, obj: Group) -> dict[str, str]:
        return {"q": obj.label}

    @display(description=gettext_lazy("members"), ordering="size")
    def members(self, obj: Any) -> int:
        return int(obj.size)

    @display(description=gettext_lazy("members"))
    def names(self, obj: Group) -> str:
        return ", ".join(obj.user_set.order_by("email").values_list("email", flat=True)) or "–"


def _named(person: Person) -> str:
    return f"{person.name} ({person.email})" if person.name else person.email


@admin.register(Invitation, site=site)
class Invitations(ManagedAdmin):
    """Links by which people come in. A link is shown once, when it is made; a new one ends the old."""

    may_add = may_change = True
    verbs = ("withdraw", "renew")
    list_display = ("email", "role", "into", "workspace", "invited_by", "created", "state")
    list_filter = (InWorkspace,)
    search_fields = ("email",)
    ordering = ("-created_at",)
    fields = readonly_fields = (
        "email",
        "workspace",
        "role",
        "into",
        "invited_by",
        "created",
        "expires",
        "state",
    )
    change_form_outer_after_template = "workspaces/admin/invitation_acts.html"
    list_before_template = "workspaces/admin/many_link.html"

    def in_sight(self, request: HttpRequest) -> QuerySet[Invitation]:
        rows: QuerySet[Invitation] = super().in_sight(request)
        return rows.select_related("workspace", "space", "invited_by")

    def get_fields(self, request: HttpRequest, obj: Invitation | None = None) -> tuple[str, ...]:
        return ("workspace", "email", "role") if obj is None else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Invitation | None = None) -> tuple[str, ...]:
        return () if obj is None else self.readonly_fields

    def get_form(
        self, request: HttpRequest, obj: Invitation | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        if (email := form.base_fields.get("email")) is not None:
            email.required = True
        if (role := form.base_fields.get("role")) is not None:
            role.initial = WorkspaceRole.MEMBER
        return form

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        if kwargs.get("change"):
            context |= {
                "show_save": False,
                "show_save_and_continue": False,
                "show_save_and_add_another": False,
            }
        return super().render_change_form(request, context, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Invitation, form: Any, change: bool) -> None:
        if not change:
            workspace = form.cleaned_data["workspace"]
            outcome = actions.invite(workspace.pk, obj.email, obj.role, by=person_of(request))
            obj.outcome = outcome  # type: ignore[attr-defined]

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> HttpResponse:
        return invitation_page(request, self, obj.outcome, obj.workspace)

    def get_urls(self) -> list[URLPattern]:
        many = self.admin_site.admin_view(invite_many)
        return [path("many/", many, name="workspaces_invitation_many"), *super().get_urls()]

    def withdraw(self, request: HttpRequest, obj: Invitation) -> str:
        actions.withdraw_invitation(obj.pk, by=person_of(request))
        return _("The link no longer works.")

    def renew(self, request: HttpRequest, obj: Invitation) -> str | HttpResponse:
        assert obj.workspace is not None
        by = person_of(request)
        if obj.space is not None:
            outcome = actions.share_with_person(obj.space.pk, obj.email, obj.space_role, by=by)
        else:
            outcome = actions.invite(obj.workspace.pk, obj.email, obj.role, by=by)
        if isinstance(outcome, Invited):
            return invitation_page(request, self, outcome, obj.workspace)
        return _("They have an account by now, and the role.")

    def audit_filter(self, obj: Invitation) -> dict[str, str]:
        return {"q": obj.email}

    created = moment_of("created_at", gettext_lazy("created"))
    expires = moment_of("expires_at", gettext_lazy("expires"))

    @display(description=gettext_lazy("into the space"))
    def into(self, obj: Invitation) -> str:
        space = obj.space
        return f"{space.name} ({obj.space_role})" if space and space.kind == SpaceKind.SHARED else "–"

    @display(
        description=gettext_lazy("state"),
        label={"waiting": "info", "accepted": "success", "ended": "warning"},
    )
    def state(self, obj: Invitation) -> str:
        if obj.accepted_at:
            return "accepted"
        return "waiting" if obj.expires_at > now() else "ended"


class DeviceState(admin.SimpleListFilter):
    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("active", _("in use")), ("ended", _("revoked or ended"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Device]) -> QuerySet[Device]:
        ended = Q(revoked_at__isnull=False) | Q(expires_at__lte=now())
        if self.value() == "active":
            return queryset.exclude(ended)
        return queryset.filter(ended) if self.value() == "ended" else queryset


class Devices(ManagedAdmin):
    """Installed clients of members. Revoking one ends its token, and those of its clones, at once.

    `sync.admin` registers it and says which are in sight: sync knows whose data a device holds.
    """

    may_change = True
    verbs = ("revoke",)
    search_fields = ("name", "person__email", "person__name")
    ordering = (F("last_seen_at").desc(nulls_last=True), "-created_at")
    actions = ("revoke_chosen",)
    change_form_outer_after_template = "workspaces/admin/device_acts.html"

    def is_managed(self, request: HttpRequest, obj: Device) -> bool:
        mine = Membership.objects.filter(workspace__in=managed(request).workspaces, person=obj.person_id)
        return mine.exists() and managed(request).own_people().filter(pk=obj.person_id).exists()

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        context |= {"show_save": False, "show_save_and_continue": False}
        return super().render_change_form(request, context, *args, **kwargs)

    def revoke(self, request: HttpRequest, obj: Device) -> str:
        actions.revoke_device(obj.pk, by=person_of(request))
        return _("%(device)s can no longer sign in.") % {"device": obj.name}

    @admin.action(description=gettext_lazy("Revoke the chosen devices"), permissions=["change"])
    def revoke_chosen(self, request: HttpRequest, queryset: QuerySet[Device]) -> None:
        """All of them or none."""
        with telling_problems(request), transaction.atomic():
            if not all(self.is_managed(request, device) for device in queryset):
                raise NotAllowed(_("Some of these devices belong to people whom you do not manage."))
            for device in queryset:
                actions.revoke_device(device.pk, by=person_of(request))
            messages.success(request, _("The chosen devices can no longer sign in."))

    def audit_filter(self, obj: Device) -> dict[str, str]:
        return {"q": obj.person.email}

    created = moment_of("created_at", gettext_lazy("created"))
    last_seen = moment_of("last_seen_at", gettext_lazy("last seen"), F("last_seen_at").asc(nulls_first=True))
    expires = moment_of("expires_at", gettext_lazy("expires"))
    revoked = moment_of("revoked_at", gettext_lazy("revoked"))

    @display(description=gettext_lazy("person"), ordering="person__email")
    def owner(self, obj: Device) -> str:
        return obj.person.email

    @display(
        description=gettext_lazy("state"),
        label={"in use": "success", "revoked": "danger", "ended": "warning"},
    )
    def state(self, obj: Device) -> str:
        if obj.revoked_at:
            return "revoked"
        return "ended" if obj.expires_at and obj.expires_at <= now() else "in use"

    @display(description=gettext_lazy("copy of"))
    def copy_of(self, obj: Device) -> str:
        return str(obj.made_by or "–")


@admin.register(Workspace, site=site)
class Workspaces(ManagedAdmin):
    may_change = True
    list_display = ("name", "managers", "people", "spaces_shared", "spaces_private", "created")
    search_fields = ("name",)
    ordering = ("name",)
    fields = ("name", "managers", "people", "spaces_shared", "spaces_private", "created")
    readonly_fields = ("managers", "people", "spaces_shared", "spaces_private", "created")

    def in_sight(self, request: HttpRequest) -> QuerySet[Workspace]:
        shared, private = Q(spaces__kind=SpaceKind.SHARED), Q(spaces__kind=SpaceKind.PRIVATE)
        managing = Q(memberships__role=WorkspaceRole.MANAGER)
        address = "memberships__person__email"
        return (
            managed(request)
            .visible()
            .annotate(
                n_people=Count("memberships", distinct=True),
                n_shared=Count("spaces", filter=shared, distinct=True),
                n_private=Count("spaces", filter=private, distinct=True),
                managed_by=StringAgg(address, ", ", filter=managing, order_by=address, distinct=True),
            )
        )

    def is_managed(self, request: HttpRequest, obj: Workspace) -> bool:
        return obj.pk in managed(request).workspaces

    def save_model(self, request: HttpRequest, obj: Workspace, form: Any, change: bool) -> None:
        actions.rename_workspace(obj.pk, obj.name, by=person_of(request))

    def audit_filter(self, obj: Workspace) -> dict[str, str]:
        return {"workspace": str(obj.pk)}

    @display(description=gettext_lazy("managers"))
    def managers(self, obj: Any) -> str:
        return obj.managed_by or "–"

    @display(description=gettext_lazy("people"), ordering="n_people")
    def people(self, obj: Any) -> int:
        return int(obj.n_people)

    @display(description=gettext_lazy("shared spaces"), ordering="n_shared")
    def spaces_shared(self, obj: Any) -> int:
        return int(obj.n_shared)

    @display(description=gettext_lazy("private spaces"), ordering="n_private")
    def spaces_private(self, obj: Any) -> int:
        return int(obj.n_private)

    created = moment_of("created_at", gettext_lazy("created"))
