"""A space: its thoughts as a list and as a canvas."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from sync import browsing
from sync.pages import editing
from sync.pages.framing import frame, page_in, pages, sound
from sync.templatetags.records import address
from workspaces.access import Caller, OpenSpace, open_space
from workspaces.endpoint import json_answer
from workspaces.pages.visiting import member_page
from workspaces.problems import Problem
from workspaces.roles import Act


@member_page("GET", "POST")
def space_page(request: HttpRequest, caller: Caller, space: str) -> HttpResponse:
    """The list; a POST makes a thought. Where that cannot be, the page comes back with what was typed."""
    if request.method != "POST":
        return _listed(request, open_space(caller, space, Act.READ))
    try:
        opened = open_space(caller, space, Act.WRITE)
        id_, changes = editing.new_record("thoughts", editing.typed_in(request, "thoughts"))
        stored = editing.save(caller, opened, changes)
        editing.tell(request, stored, _("Your thought is here. Add its first segment below."))
        return redirect(address("thought_page", opened.id, id=id_))
    except Problem as problem:
        if not any(editing.typed_in(request).values()):
            raise
        try:
            opened = open_space(caller, space, Act.READ)
        except Problem:
            return editing.unsaved(request, problem)
        return _listed(request, opened, problem)


def _listed(request: HttpRequest, opened: OpenSpace, problem: Problem | None = None) -> HttpResponse:
    text, tag, page = sound(request.GET.get("q", "")), sound(request.GET.get("tag", "")), page_in(request)
    context: dict[str, Any] = {**frame(opened), "q": text, "tag": tag, "page": page}
    context["thoughts"], more = browsing.thoughts(opened.id, text=text, tag=tag, page=page)
    context |= pages(page, more, q=text, tag=tag)
    if request.headers.get("HX-Request"):
        return render(request, "sync/thoughts.html", context)
    context |= {"tags": browsing.tags(opened.id), "problem": problem}
    if problem is not None:
        context["typed"] = editing.typed_in(request)
    return render(request, "sync/space.html", context, status=problem.status if problem else 200)


@member_page("GET")
def canvas_page(request: HttpRequest, caller: Caller, space: str) -> HttpResponse:
    opened = open_space(caller, space, Act.READ)
    listed, _more = browsing.thoughts(opened.id)
    return render(request, "sync/canvas.html", {**frame(opened), "thoughts": listed})


@member_page("GET")
def canvas_data(request: HttpRequest, caller: Caller, space: str) -> HttpResponse:
    return json_answer(browsing.canvas(open_space(caller, space, Act.READ).id))
