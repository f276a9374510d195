"""Conflicts that wait for somebody to decide: both sides, with the differing words marked."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from sync import browsing, conflicts, deciding
from sync.core.text import marked
from sync.pages.framing import number_in, page_in, pages
from sync.problems import ChangeRejected, ConflictResolved
from sync.templatetags.records import as_text
from workspaces.access import Caller, OpenSpace, open_space, visible_spaces
from workspaces.pages.visiting import member_page, names_of, telling
from workspaces.problems import NotFound, Problem
from workspaces.roles import Act

TAKES = ("server", "client", "both", "proposal")
KINDS = ("edit", "delete", "revive")
_SHOWN = 20
_MOST_AT_ONCE = 1_000


@member_page("GET", "POST")
def conflicts_page(request: HttpRequest, caller: Caller) -> HttpResponse:
    """The open conflicts of all spaces that one may read, or those decided; a POST decides many alike."""
    if request.method == "POST":
        with telling(request):
            _decide_all(request, caller)
        return redirect(_here(request))
    return _shown(request, caller)


@member_page("POST")
def resolve(request: HttpRequest, caller: Caller, conflict: str) -> HttpResponse:
    """Decide one conflict. Where somebody was first, the page says so and keeps what was typed."""
    space_id, version, found = _found(conflict)
    opened = open_space(caller, space_id, Act.WRITE)
    found["version"] = version
    try:
        if request.POST.get("take") == "undo":
            deciding.decide_anew(caller, opened.id, found, deciding.before(found), version)
            messages.success(request, _("It reads as before your decision. Both sides are still here."))
            return redirect(f"{reverse('conflicts_page')}?state=resolved&id={found['id']}")
        decision = _decision(request)
        if found["state"] == "open":
            deciding.decide(caller, opened.id, found, decision)
        elif "anew" in request.POST:
            base = number_in(request, "anew")
            deciding.decide_anew(caller, opened.id, found, decision, base)
        else:
            raise ConflictResolved(_("The first decision counts. Below you can decide anew."))
    except (ChangeRejected, ConflictResolved) as problem:
        return _shown(request, caller, problem, found["id"])
    messages.success(
        request,
        format_html(
            '{} <form method="post" action="{}"><input type="hidden" name="csrfmiddlewaretoken" value="{}">'
            '<button name="take" value="undo" class="link" data-key="u">{}</button></form>',
            _("Decided. What was not taken stays in the history."),
            reverse("resolve_page", args=[found["id"]]),
            get_token(request),
            _("Undo"),
        ),
    )
    return redirect(_here(request))


def _shown(
    request: HttpRequest, caller: Caller, problem: Problem | None = None, named: str = ""
) -> HttpResponse:
    spaces = {space.id: space for space in visible_spaces(caller) if space.role is not None}
    only = request.GET.get("space", "")
    chosen = [space for space in spaces if not only or str(space) == only]
    state = "resolved" if problem or request.GET.get("state") == "resolved" else "open"
    kind = request.GET.get("kind", "")
    id_ = named or request.GET.get("id", "")
    page = page_in(request)
    found, more = conflicts.page(
        chosen, state=state, kind=kind, id_=_uuid(id_), limit=_SHOWN, offset=_SHOWN * (page - 1)
    )
    counts = conflicts.counted(list(spaces))
    by_space: dict[UUID, int] = {}
    for (space, _kind), n in counts.items():
        by_space[space] = by_space.get(space, 0) + n
    kinds = sorted({k for (space, k) in counts if space in chosen})
    context = {
        "conflicts": _readable(found, spaces, caller),
        "state": state,
        "kind": kind,
        "only": only,
        "id": id_,
        "waiting": sum(by_space.values()),
        "alike": sum(n for (space, k), n in counts.items() if space in chosen and (not kind or k == kind)),
        "spaces": [(spaces[space], n) for space, n in by_space.items()],
        "kinds": kinds,
        "of_one_kind": kind or (kinds[0] if len(kinds) == 1 else ""),
        "problem": problem,
        "typed": _typed(request) if problem else {},
        **pages(page, more, space=only, kind=kind, state="resolved" if state == "resolved" else ""),
    }
    return render(request, "sync/conflicts.html", context, status=problem.status if problem else 200)


def _readable(
    found: list[tuple[UUID, dict[str, Any]]], spaces: dict[UUID, OpenSpace], caller: Caller
) -> list[dict[str, Any]]:
    """Conflicts with the names of records and people, and each field's two sides in pieces."""
    names = browsing.names([(space, it["record_type"], it["record_id"]) for space, it in found])
    sides = [it[side] for _, it in found for side in ("server", "client")]
    resolvers = [it["resolution"]["by"] for _, it in found if it["resolution"]]
    people = names_of({side["user"] for side in [*sides, *resolvers] if side.get("user")})

    def who(side: dict[str, Any]) -> str:
        email = side.get("user") or ""
        return _("you") if email == caller.email else people.get(email, email)

    shown = []
    for space_id, conflict in found:
        space = spaces[space_id]
        resolution = conflict["resolution"]
        fields = [
            _sides(name, sides, conflict["proposal"] or {}) for name, sides in conflict["fields"].items()
        ]
        shown.append(
            {
                **conflict,
                "space": space,
                "may_decide": space.role != "viewer" and not space.archived,
                "named": names.get((space_id, conflict["record_type"], conflict["record_id"]), {}),
                "in_place": who(conflict["server"]),
                "other": who(conflict["client"]),
                "mine": conflict["client"].get("user") == caller.email,
                "decided_by": who(resolution["by"]) if resolution else "",
                "decided_at": resolution["by"].get("at") if resolution else None,
                "sides": fields,
                "is_text": all(
                    isinstance(it.get(side), str)
                    for it in conflict["fields"].values()
                    for side in ("server", "client")
                ),
                "has_proposal": bool(conflict["proposal"])
                and not conflict["fields"].keys() - conflict["proposal"].keys(),
            }
        )
    return shown


def _sides(name: str, sides: dict[str, Any], proposal: dict[str, str]) -> dict[str, Any]:
    server, client = (as_text(sides.get(side)) for side in ("server", "client"))
    in_place, other = marked(server, client)
    return {
        "name": name,
        "base": as_text(sides.get("base")),
        "server": in_place,
        "client": other,
        "client_text": client,
        "proposal": proposal.get(name),
    }


def _decide_all(request: HttpRequest, caller: Caller) -> None:
    """Decide all open conflicts of one kind that the page's filter finds, where one may write."""
    take = request.POST.get("take", "")
    if take not in ("server", "client"):
        raise NotFound
    only, kind = request.POST.get("space", ""), request.POST.get("all_of", "")
    if kind not in KINDS:
        raise NotFound
    writable = [
        space.id
        for space in visible_spaces(caller)
        if space.role in ("editor", "owner") and not space.archived and (not only or str(space.id) == only)
    ]
    found, _more = conflicts.page(writable, state="open", kind=kind, limit=_MOST_AT_ONCE)
    decided, errors = deciding.decide_all(caller, found, take)
    text = ngettext("%(n)d conflict is decided.", "%(n)d conflicts are decided.", decided) % {"n": decided}
    where = f"{reverse('conflicts_page')}?state=resolved"
    messages.success(request, format_html('{} <a href="{}">{}</a>', text, where, _("Look at them")))
    for error in errors[:3]:
        messages.error(request, f"{error['title']}. {error['detail']}")


def _decision(request: HttpRequest) -> dict[str, Any]:
    take = request.POST.get("take", "")
    if take == "edit":
        return {"set": _typed(request)}
    if take not in TAKES:
        raise NotFound
    return {"take": take}


def _typed(request: HttpRequest) -> dict[str, str]:
    """The fields of a form, as somebody wrote them anew."""
    return {
        name.removeprefix("field."): request.POST[name].replace("\r\n", "\n")
        for name in request.POST
        if name.startswith("field.")
    }


def _here(request: HttpRequest) -> str:
    """The page that one came from, with its filter."""
    asked = "&".join(
        f"{name}={value}"
        for name in ("space", "kind", "state")
        if (value := request.POST.get(name, "")) and value.replace("-", "").isalnum() and value.isascii()
    )
    return f"{reverse('conflicts_page')}{'?' if asked else ''}{asked}"


def _found(conflict: str) -> tuple[UUID, int, dict[str, Any]]:
    if (id_ := _uuid(conflict)) is None:
        raise NotFound
    return conflicts.found(id_)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
