"""A space: its thoughts as a list and as a canvas."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from sync import browsing
from sync.pages import editing
from sync.pages.framing import LARGE, frame, page_in, pages, sound, tags_of
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
    asked, page = _asked(request), page_in(request)
    context: dict[str, Any] = {**frame(opened), "asked": asked, "page": page}
    context["thoughts"], more = browsing.thoughts(opened.id, asked, page=page)
    context |= pages(page, more, **_query(asked))
    if request.headers.get("HX-Request"):
        return render(request, "sync/thoughts.html", context)
    context |= {"tags": tags_of(context, asked.tag), "problem": problem}
    if problem is not None:
        context["typed"] = editing.typed_in(request)
    return render(request, "sync/space.html", context, status=problem.status if problem else 200)


@member_page("GET")
def canvas_page(request: HttpRequest, caller: Caller, space: str) -> HttpResponse:
    """The canvas with its filter, and the same thoughts as a table beside it."""
    opened = open_space(caller, space, Act.READ)
    asked, page = _asked(request), page_in(request)
    context: dict[str, Any] = {**frame(opened), "asked": asked, "most": browsing.MOST_ON_A_MAP}
    context["thoughts"], more = browsing.thoughts(opened.id, asked, page=page)
    context |= pages(page, more, **_query(asked))
    few = context["space"]["counts"].get("segments", 0) <= LARGE
    context |= {
        "tags": tags_of(context, asked.tag),
        "clusters": browsing.clusters(opened.id) if few else [],
        "asks_cluster": not few,
        "source": address("canvas_data", opened.id, **_query(asked)),
    }
    if asked.near:
        context["near"] = browsing.named(opened.id, "thoughts", asked.near)
    return render(request, "sync/canvas.html", context)


@member_page("GET")
def canvas_data(request: HttpRequest, caller: Caller, space: str) -> HttpResponse:
    return json_answer(browsing.canvas(open_space(caller, space, Act.READ).id, _asked(request)))


def _asked(request: HttpRequest) -> browsing.Filter:
    """The filter in an address. A day that is none demands nothing."""
    text, tag, cluster, near = (sound(request.GET.get(name, "")) for name in ("q", "tag", "cluster", "near"))
    return browsing.Filter(text, tag, cluster, _day(request, "after"), _day(request, "before"), near)


def _query(asked: browsing.Filter) -> dict[str, str]:
    return {("q" if name == "text" else name): value for name, value in asked.given.items()}


def _day(request: HttpRequest, name: str) -> str:
    try:
        return date.fromisoformat(request.GET.get(name, "")).isoformat()
    except ValueError:
        return ""
