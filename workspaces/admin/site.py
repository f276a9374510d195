"""Who may enter the admin, and what every page of it has in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, update_wrapper
from typing import Any, ClassVar, Final
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ValidationError
from django.db.models import Exists, Model, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.translation import gettext as _
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display
from unfold.sites import UnfoldAdminSite

from workspaces.endpoint import BadRequest, MethodNotAllowed
from workspaces.models import Membership, Person, Space, SpaceKind, Workspace, WorkspaceRole
from workspaces.problems import NotAllowed, NotFound, Problem
from workspaces.templatetags.times import moment

# What Django and the theme bring and a manager does not need: each would be one more door to watch.
UNUSED: Final = frozenset(
    {"password_change", "password_change_done", "autocomplete", "view_on_site", "search"}
)


@dataclass(frozen=True, slots=True)
class Managed:
    """The workspaces that somebody manages; a superuser also sees the others."""

    workspaces: frozenset[UUID]
    sees_all: bool

    def visible(self) -> QuerySet[Workspace]:
        everything = Workspace.objects.order_by("name", "pk")
        return everything if self.sees_all else everything.filter(pk__in=self.workspaces)

    def visible_people(self) -> QuerySet[Person]:
        people = Person.objects.all()
        return (
            people if self.sees_all else people.filter(memberships__workspace__in=self.workspaces).distinct()
        )

    def own_people(self) -> QuerySet[Person]:
        """Those who are in no workspace but these: what concerns their accounts is for nobody else."""
        elsewhere = Membership.objects.filter(person=OuterRef("pk")).exclude(workspace__in=self.workspaces)
        return self.visible_people().filter(~Exists(elsewhere))

    def shared_spaces(self) -> QuerySet[Space]:
        """Private spaces are in no list, whoever asks."""
        return Space.objects.filter(kind=SpaceKind.SHARED, workspace__in=self.visible())

    def private_spaces(self) -> int:
        """How many there are. That is all that anybody but their owners knows of them."""
        return Space.objects.filter(kind=SpaceKind.PRIVATE, workspace__in=self.visible()).count()


def managed(request: HttpRequest) -> Managed:
    """What the signed-in person manages, read once a request: a role taken away counts at once."""
    known: Managed | None = getattr(request, "_managed", None)
    if known is None:
        known = _managed_by(request.user)
        request._managed = known  # type: ignore[attr-defined]
    return known


def _managed_by(person: Any) -> Managed:
    if not isinstance(person, Person) or not person.is_active:
        return Managed(frozenset(), False)
    ids = Membership.objects.filter(person=person, role=WorkspaceRole.MANAGER)
    return Managed(frozenset(ids.values_list("workspace_id", flat=True)), person.is_superuser)


def person_of(request: HttpRequest) -> Person:
    assert isinstance(request.user, Person)
    return request.user


class ManagersSite(UnfoldAdminSite):
    """The admin, open to managers of a workspace and to superusers. Membership decides, nothing else."""

    enable_nav_sidebar = True

    def has_permission(self, request: HttpRequest) -> bool:
        mine = managed(request)
        return mine.sees_all or bool(mine.workspaces)

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Callable[..., Any]:
        inner = super().admin_view(view, cacheable)

        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path(), settings.LOGIN_URL)
            if not self.has_permission(request):
                raise NotAllowed(_("Only managers of a workspace can open this page."))
            if request.method not in ("GET", "HEAD", "POST"):
                raise MethodNotAllowed
            answer: HttpResponseBase = inner(request, *args, **kwargs)
            return answer

        return update_wrapper(guarded, view)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        """There is one place to sign in, with one limit on guessing; it is not here."""
        return redirect(f"{settings.LOGIN_URL}?{urlencode({'next': reverse('admin:index')})}")

    def get_urls(self) -> list[URLPattern | URLResolver]:
        return [url for url in super().get_urls() if getattr(url, "name", None) not in UNUSED]


site = ManagersSite(name="admin")
site.disable_action("delete_selected")


class ManagedAdmin(ModelAdmin):
    """Pages about one kind of thing in the workspaces that somebody manages.

    Rows outside `get_queryset` answer as if they were not there. What goes wrong in an action is told at the
    top of the page, and nothing is kept.
    """

    verbs: ClassVar[tuple[str, ...]] = ()
    """Methods that a button on the page of an object calls; each returns what to tell, or a page."""
    workspace_path: ClassVar[str] = "workspace"
    """The field that leads to the workspace."""
    may_add: ClassVar[bool] = False
    may_change: ClassVar[bool] = False
    may_delete: ClassVar[bool] = False
    show_full_result_count = False
    list_per_page = 50
    save_as_continue = False
    warn_unsaved_form = True

    def in_sight(self, request: HttpRequest) -> QuerySet[Any]:
        """All that may be listed."""
        rows: QuerySet[Any] = self.model._default_manager.all()
        return rows.filter(**{f"{self.workspace_path}__in": managed(request).visible()})

    def is_managed(self, request: HttpRequest, obj: Any) -> bool:
        """Whether the one who asks may change this one."""
        value = obj
        for name in self.workspace_path.split("__"):
            value = getattr(value, name)
        return value.pk in managed(request).workspaces

    def audit_filter(self, obj: Any) -> dict[str, str] | None:
        """Which part of the audit trail is the history of this one."""
        return None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = self.in_sight(request)
        ordering = self.get_ordering(request)
        return rows.order_by(*ordering) if ordering else rows

    def get_list_display(self, request: HttpRequest) -> Any:
        """Who looks after one workspace need not read its name in every row."""
        mine = managed(request)
        columns = super().get_list_display(request)
        alone = not mine.sees_all and len(mine.workspaces) == 1
        return [name for name in columns if name != "workspace"] if alone else columns

    # Django would ask its own permission tables; here membership answers.

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(site.has_permission(request))

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(site.has_permission(request))

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_add and bool(managed(request).workspaces)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if not self.may_change or not managed(request).workspaces:
            return False
        return obj is None or self.is_managed(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if not self.may_delete or not managed(request).workspaces:
            return False
        return obj is None or self.is_managed(request, obj)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Only by what the page offers: `workspace__spaces__name__startswith` asks about hidden values."""
        return lookup in {name for entry in self.list_filter for name in _parameters(entry)}

    # Django's own journal would repeat names where the audit trail's rules do not hold.

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> None: ...

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> None: ...

    def log_deletions(self, request: HttpRequest, queryset: Any) -> None: ...

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """What a removal takes along is the action's business, and some of it may be nobody's to see."""
        return [str(obj) for obj in objs], {}, set(), []

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            *(
                path(
                    f"<path:object_id>/{verb}/",
                    self.admin_site.admin_view(partial(self._act, verb)),
                    name=f"{name}_{verb}",
                )
                for verb in self.verbs
            ),
            *super().get_urls(),
        ]

    def _act(self, verb: str, request: HttpRequest, object_id: str) -> HttpResponse:
        if request.method != "POST":
            raise MethodNotAllowed(_("It takes POST."))
        obj = self.get_object(request, object_id)
        if obj is None:
            raise NotFound
        if not self.has_change_permission(request, obj):
            raise NotAllowed(_("Ask a manager of the workspace."))
        with telling_problems(request):
            outcome = getattr(self, verb)(request, obj)
            if isinstance(outcome, HttpResponse):
                return outcome
            messages.success(request, outcome)
        return redirect(self._page(obj) if self.get_object(request, object_id) else self._list())

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        try:
            return super().changelist_view(request, extra_context)
        except ValidationError as error:  # rows that were chosen by ids which are none
            raise BadRequest(" ".join(error.messages)) from None

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """What an action refuses is told in the form, with all that was typed."""
        try:
            return super().changeform_view(request, *args, **kwargs)
        except (NotFound, MethodNotAllowed):
            raise
        except Problem as problem:
            request._refused = problem  # type: ignore[attr-defined]
        return super().changeform_view(request, *args, **kwargs)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        refused: Problem | None = getattr(request, "_refused", None)
        return form if refused is None else _refusing(form, refused)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        with telling_problems(request):
            return super().delete_view(request, object_id, extra_context)
        return redirect(
            f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_change", object_id
        )

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        obj = self.get_object(request, object_id)
        which = None if obj is None else self.audit_filter(obj)
        if which is None:
            raise NotFound
        return redirect(f"{reverse('admin:workspaces_auditentry_changelist')}?{urlencode(which)}")

    def _get_obj_does_not_exist_redirect(
        self, request: HttpRequest, opts: Any, object_id: str
    ) -> HttpResponse:
        raise NotFound

    def _page(self, obj: Model) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[obj.pk])

    def _list(self) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "workspace":
            kwargs["queryset"] = Workspace.objects.filter(pk__in=managed(request).workspaces).order_by("name")
            kwargs["initial"] = kwargs["queryset"].first()
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """What a field leads to has a page of its own: no window opens for it."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and isinstance(field.widget, RelatedFieldWidgetWrapper):
            widget = field.widget
            widget.can_add_related = widget.can_change_related = False
            widget.can_delete_related = widget.can_view_related = False
        return field


def moment_of(field: str, title: Any, ordering: Any = None) -> Any:
    """A column with a moment, told in the reader's own zone."""

    @display(description=title, ordering=ordering or field)
    def shown(model_admin: ManagedAdmin, obj: Any) -> str:
        return moment(getattr(obj, field)) or "–"

    return shown


@contextmanager
def telling_problems(request: HttpRequest) -> Iterator[None]:
    """What an action refuses is told on the page. That something is not there stays an answer of its own."""
    try:
        yield
    except (NotFound, MethodNotAllowed):
        raise
    except Problem as problem:
        messages.error(request, in_words(problem))


def in_words(problem: Problem) -> str:
    return f"{problem.title}. {problem.detail}".strip()


def _refusing(form: type[forms.ModelForm[Any]], problem: Problem) -> type[forms.ModelForm[Any]]:
    """The same form, as it is shown again after an action has refused what it said."""

    class Refused(form):  # type: ignore[valid-type, misc]
        def clean(self) -> Any:
            self.add_error(None, in_words(problem))
            return super().clean()

    return Refused


def _parameters(entry: Any) -> tuple[str, ...]:
    """What stands in the address for an entry of `list_filter`."""
    if isinstance(entry, str):  # a field with choices
        return (f"{entry}__exact",)
    if isinstance(entry, tuple):  # a field with a range
        return (f"{entry[0]}_from", f"{entry[0]}_to")
    return (entry.parameter_name,)


class InWorkspace(DropdownFilter):
    """Only one's own workspaces are offered."""

    title = "workspace"
    parameter_name = "workspace"
    path: ClassVar[str] = "workspace"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        found = [(str(workspace.pk), workspace.name) for workspace in managed(request).visible()]
        return found if len(found) > 1 else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = [pk for pk, _name in self.lookup_choices if pk == self.value()]
        return queryset.filter(**{self.path: chosen[0]}) if chosen else queryset
