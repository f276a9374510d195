"""A thought with its segments, tags and links: reading and changing it in place."""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _

from sync import browsing
from sync.core.records import key_of
from sync.pages import editing
from sync.pages.framing import frame, number_in, page_in, pages, sound, tags_of
from sync.push.merging import Result
from sync.push.storing import Stored
from sync.templatetags.records import address
from workspaces.access import Caller, OpenSpace, open_space
from workspaces.pages.visiting import member_page
from workspaces.problems import NotFound, Problem
from workspaces.roles import Act

_TAGGED: Final = ("thoughts", "segments")


@member_page("GET", "POST")
def thought_page(request: HttpRequest, caller: Caller, space: str) -> HttpResponse:
    """A thought; a POST changes it or what hangs on it.

    `do=edit` opens the form of the thought, or of the `segment` that is named; `do=whole` shows
    all of a long segment. htmx asks for that part alone. What cannot be saved comes back as it was typed.
    """
    id_ = sound(request.GET.get("id", ""))
    if request.method != "POST":
        return _shown(request, open_space(caller, space, Act.READ), id_)
    try:
        return _act(request, caller, open_space(caller, space, Act.WRITE), id_)
    except Problem as problem:
        if not any(editing.typed_in(request).values()) and not request.POST.get("do"):
            raise
        try:
            return _shown(request, open_space(caller, space, Act.READ), id_, problem)
        except Problem:
            return editing.unsaved(request, problem)


def _shown(request: HttpRequest, opened: OpenSpace, id_: str, problem: Problem | None = None) -> HttpResponse:
    context: dict[str, Any] = {
        **frame(opened),
        "page": page_in(request),
        "id": id_,
        "problem": problem,
        "kinds": editing.KINDS,
    }
    context |= _asked(request)
    if problem is None and request.headers.get("HX-Request") and context["segment_id"]:
        context["segment"] = browsing.segment(opened.id, context["segment_id"])
        context |= _to_link_with(request, opened, context)
        return render(request, "sync/segment.html", context)
    whole = browsing.thought(opened.id, id_, page=context["page"])
    context |= _to_link_with(request, opened, context)
    context |= {"whole": whole, "thought": whole.thought, "kept_days": settings.TOMBSTONE_DAYS}
    if problem is None and request.headers.get("HX-Request"):
        return render(request, "sync/thought_text.html", context)
    context |= {
        "all_tags": tags_of(context) if context["may_write"] else [],
        **pages(context["page"], whole.more, id=id_),
    }
    if problem is not None:
        context["typed"] = editing.typed_in(request)
        there = {id_, "", *(segment["id"] for segment in whole.segments)}
        context["in_form"] = context["may_write"] and request.POST.get("record") in {*there, "new"}
    return render(request, "sync/thought.html", context, status=problem.status if problem else 200)


def _to_link_with(request: HttpRequest, opened: OpenSpace, context: dict[str, Any]) -> dict[str, Any]:
    """What the words that somebody looked for offer to be linked with the segment that is named."""
    words = sound(request.GET.get("words", ""))
    if context["do"] != "link" or not words.strip():
        return {}
    return {"words": words, "offered": browsing.linkable(opened.id, words, context["segment_id"])}


def _asked(request: HttpRequest) -> dict[str, str]:
    """Which part of the page is to be shown, and how."""
    if request.method == "POST":
        record = request.POST.get("record", "")
        segment = record if request.POST.get("type") == "segments" else ""
        return {"do": "edit" if request.POST.get("do", "save") == "save" else "", "segment_id": segment}
    return {"do": request.GET.get("do", ""), "segment_id": sound(request.GET.get("segment", ""))}


def _act(request: HttpRequest, caller: Caller, opened: OpenSpace, id_: str) -> HttpResponse:
    do, type_, record = (request.POST.get(name, "") for name in ("do", "type", "record"))
    base, seen = number_in(request, "base"), number_in(request, "seen")
    done = _("Saved.")
    match do:
        case "" | "save":
            record, changes = editing.edits_of_form(request, opened.id, id_)
            if type_ == "segments" and base == 0:
                done = _("The segment is added.")
        case "delete" if type_ in _TAGGED:
            changes = [editing.change_of(type_, record, base, delete=True)]
        case "tag" if type_ in _TAGGED and (name := request.POST.get("tag", "").strip()):
            changes = editing.tagging(opened.id, type_, record, base, name)
        case "untag" if type_ in _TAGGED:
            tag = request.POST.get("tag", "")
            changes = editing.untagging(type_, record, base, tag, number_in(request, "link"))
        case "link" if (target := request.POST.get("target")) and (
            kind := request.POST.get("kind", "").strip()
        ):
            changes = editing.linking(record, target, kind)
        case "unlink":
            changes = [editing.change_of("segment_neighbors", record, base, delete=True)]
        case _:
            raise NotFound
    if not changes:
        messages.info(request, _("Nothing was changed."))
        return redirect(_back(request, opened, id_, type_, record))
    stored = editing.save(caller, opened, changes, seen=seen)
    if do == "delete" and not _in_conflict(stored):
        messages.success(request, _deleted(opened, type_))
        if type_ == "thoughts":
            return redirect("space_page", opened.id)
        return redirect(_back(request, opened, id_))
    editing.tell(request, stored, done)
    return redirect(_back(request, opened, id_, type_, record))


def _in_conflict(stored: Stored) -> bool:
    return any(isinstance(it, Result) and it.conflict is not None for it in stored.outcome.results)


def _deleted(opened: OpenSpace, type_: str) -> str:
    said = _("The thought is deleted.") if type_ == "thoughts" else _("The segment is deleted.")
    where = reverse("deleted_page", args=[opened.id])
    return format_html('{} <a href="{}">{}</a>', said, where, _("Bring it back"))


def _back(request: HttpRequest, opened: OpenSpace, id_: str, type_: str = "", record: str = "") -> str:
    """The page of the thought, at the segment that was changed."""
    page = page_in(request)
    place = f"#{browsing.anchor(key_of(type_, record))}" if type_ == "segments" and record else ""
    return address("thought_page", opened.id, id=id_, page=page if page > 1 else "") + place
