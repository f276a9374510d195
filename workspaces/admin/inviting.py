"""Many people at once: a list is read, shown line by line, and only then acted on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminFileFieldWidget

from workspaces import actions
from workspaces.actions import Invited
from workspaces.admin.site import in_words, managed, person_of, site, telling_problems
from workspaces.invitations import deliver
from workspaces.models import Membership, Person, Workspace
from workspaces.problems import InvalidValue, NotFound, Problem
from workspaces.roster import Line, read_roster, text_of

LARGEST = 200_000  # letters of a list


class FileForm(forms.Form):
    file = forms.FileField(
        label=gettext_lazy("Or a CSV file with these columns"),
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": ".csv,.tsv,.txt,text/csv"}),
    )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What would become of a line, or became of it."""

    line: Line
    outcome: str
    link: str = ""
    """Shown once, here."""


def invite_many(request: HttpRequest) -> HttpResponse:
    """Paste or upload a list; see what would happen; do it."""
    workspaces = Workspace.objects.filter(pk__in=managed(request).workspaces).order_by("name")
    text, verdicts, done = "", [], False
    chosen = request.POST.get("workspace", "")
    workspace = next((each for each in workspaces if str(each.pk) == chosen), None) or workspaces.first()
    if request.method == "POST":
        if workspace is None or (chosen and str(workspace.pk) != chosen):
            raise NotFound
        with telling_problems(request):
            text = _sent(request)
            lines = read_roster(text)
            done = "invite" in request.POST
            verdicts = list(_invited(request, workspace, lines) if done else _expected(workspace, lines))
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": _("Invite many people"),
        "workspaces": workspaces,
        "workspace": workspace,
        "sent": text,
        "file": FileForm(use_required_attribute=False)["file"],
        "verdicts": verdicts,
        "sound": sum(1 for verdict in verdicts if not verdict.line.problem),
        "links": [verdict for verdict in verdicts if verdict.link],
        "done": done,
    }
    return TemplateResponse(request, "workspaces/admin/invite_many.html", context)


def _sent(request: HttpRequest) -> str:
    file = request.FILES.get("file")
    text = request.POST.get("list", "") if file is None else text_of(bytes(file.read(LARGEST + 1)))
    if len(text) > LARGEST:
        raise InvalidValue(_("The list is too large: send it in parts."))
    return text


def _expected(workspace: Workspace, lines: list[Line]) -> Iterator[Verdict]:
    emails = [line.email for line in lines if not line.problem]
    accounts = set(Person.objects.filter(email__in=emails).values_list("email", flat=True))
    members = Membership.objects.filter(workspace=workspace, person__email__in=emails)
    roles = dict(members.values_list("person__email", "role"))
    for line in lines:
        if line.problem:
            outcome = line.problem
        elif roles.get(line.email) == line.role:
            outcome = _("Has this role already: nothing changes.")
        elif line.email in roles:
            outcome = _("Is %(old)s now, becomes %(role)s.") % {"old": roles[line.email], "role": line.role}
        elif line.email in accounts:
            outcome = _("Has an account: joins at once.")
        else:
            outcome = _("Gets a link to join.")
        yield Verdict(line, outcome)


def _invited(request: HttpRequest, workspace: Workspace, lines: list[Line]) -> list[Verdict]:
    """What was done line by line. A line that is refused keeps no other from being done."""
    by, base = person_of(request), settings.PUBLIC_URL or request.build_absolute_uri("/")
    sound = [(line.email, line.role) for line in lines if not line.problem]
    outcomes = iter(actions.set_member_roles(workspace.pk, sound, by=by))
    verdicts = []
    for line in lines:
        outcome = None if line.problem else next(outcomes)
        if isinstance(outcome, Invited):
            link = deliver(outcome, workspace.name, str(by), base)
            verdicts.append(Verdict(line, _("Invited."), link))
        elif isinstance(outcome, Problem):
            verdicts.append(Verdict(line, in_words(outcome)))
        else:
            verdicts.append(Verdict(line, line.problem or _("Is in the workspace.")))
    return verdicts
