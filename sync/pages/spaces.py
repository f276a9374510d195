"""A space: its thoughts as a list and as a canvas, one thought with all that hangs on it, and editing."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _

from sync import browsing, history
from sync.core.schema import RECORD_TYPES
from sync.models import Origin
from sync.push import edit
from sync.push.merging import Result
from sync.push.validating import Rejected
from sync.spaces import described
from workspaces.access import Caller, OpenSpace, open_space
from workspaces.endpoint import json_answer
from workspaces.ids import uuid7
from workspaces.pages.visiting import member_page, telling, told
from workspaces.problems import NotFound
from workspaces.roles import Act

EDITABLE = {"thoughts": ("title", "description"), "segments": ("title", "content")}
"""Type -> fields that its form on the page of a thought has."""


@member_page("GET", "POST")
def space_page(request: HttpRequest, caller: Caller, space: str) -> HttpResponse:
    """The list; a POST makes a thought."""
    if request.method == "POST":
        opened = open_space(caller, space, Act.WRITE)
        id_ = f"thought_{uuid4()}"
        with telling(request):
            _edit(request, caller, opened, "thoughts", id_, 0, {"title": request.POST.get("title", "")})
            return redirect(thought_address(opened.id, id_))
        return redirect("space_page", opened.id)
    opened = open_space(caller, space, Act.READ)
    text, tag = _sound(request.GET.get("q", "")), _sound(request.GET.get("tag", ""))
    page = int(number) if (number := request.GET.get("page", "1")).isdecimal() and len(number) < 6 else 1
    listed, more = browsing.thoughts(opened.id, text=text, tag=tag, page=max(1, page))
    context = {
        **_frame(opened),
        "thoughts": listed,
        "tags": browsing.tags(opened.id),
        "q": text,
        "tag": tag,
        "page": page,
        "more": urlencode({"q": text, "tag": tag, "page": page + 1}) if more else "",
        "fewer": urlencode({"q": text, "tag": tag, "page": page - 1}) if page > 1 else "",
    }
    part = "sync/thoughts.html" if request.headers.get("HX-Request") else "sync/space.html"
    return render(request, part, context)


@member_page("GET")
def canvas_page(request: HttpRequest, caller: Caller, space: str) -> HttpResponse:
    opened = open_space(caller, space, Act.READ)
    listed, _more = browsing.thoughts(opened.id)
    return render(request, "sync/canvas.html", {**_frame(opened), "thoughts": listed})


@member_page("GET")
def canvas_data(request: HttpRequest, caller: Caller, space: str) -> HttpResponse:
    return json_answer(browsing.canvas(open_space(caller, space, Act.READ).id))


@member_page("GET", "POST")
def thought_page(request: HttpRequest, caller: Caller, space: str) -> HttpResponse:
    """A thought with its segments, tags and links; a POST edits it or one of its segments."""
    opened = open_space(caller, space, Act.WRITE if request.method == "POST" else Act.READ)
    id_ = _sound(request.GET.get("id", ""))
    if request.method == "POST":
        with telling(request):
            _edit_from_form(request, caller, opened)
        return redirect(thought_address(opened.id, id_))
    whole = browsing.thought(opened.id, id_)
    context = {**_frame(opened), "whole": whole, "thought": whole.thought}
    return render(request, "sync/thought.html", context)


@member_page("GET")
def history_page(request: HttpRequest, caller: Caller, space: str) -> HttpResponse:
    """Who changed which field of a record, newest first."""
    opened = open_space(caller, space, Act.READ)
    type_, id_ = request.GET.get("type", ""), _sound(request.GET.get("id", ""))
    if type_ not in RECORD_TYPES:
        raise NotFound
    context = {**_frame(opened), "entries": history.entries(opened.id, type_, id_), "type": type_, "id": id_}
    return render(request, "sync/history.html", context)


def thought_address(space_id: UUID, id_: str) -> str:
    return f"{reverse('thought_page', args=[space_id])}?{urlencode({'id': id_})}"


def _frame(space: OpenSpace) -> dict[str, Any]:
    shown = described([space])[0]
    return {"space": shown, "may_write": space.role in ("editor", "owner") and not space.archived}


def _edit_from_form(request: HttpRequest, caller: Caller, space: OpenSpace) -> None:
    type_, id_, base = (request.POST.get(name, "") for name in ("type", "record", "base"))
    if type_ not in EDITABLE or not base.isdecimal():
        raise NotFound
    fields = {name: request.POST[name] for name in EDITABLE[type_] if name in request.POST}
    # A browser ends lines with CR LF, LogoMesh with LF.
    fields = {name: value.replace("\r\n", "\n") for name, value in fields.items()}
    if type_ == "segments" and base == "0":
        fields["thought_id"] = request.GET.get("id", "")
        id_ = f"segment_{uuid4()}"
    _edit(request, caller, space, type_, id_, int(base), fields)


def _edit(
    request: HttpRequest,
    caller: Caller,
    space: OpenSpace,
    type_: str,
    id_: str,
    base: int,
    fields: dict[str, Any],
) -> None:
    change = {"change_id": str(uuid7()), "type": type_, "id": id_, "base": base, "set": fields}
    stored = edit(caller, space.id, [change], Origin.WEB)
    result = stored.outcome.results[0]
    if isinstance(result, Rejected):
        messages.error(request, f"{result.error['title']}. {result.error['detail']}")
    elif isinstance(result, Result) and result.status == "conflict":
        messages.warning(
            request,
            _("Somebody else changed the same words. Both versions are kept: see Conflicts."),
        )
    else:
        told(request, _("Saved."))


def _sound(text: str) -> str:
    return text.replace("\0", "").encode(errors="replace").decode()
