"""What happened: to a record, in a space; what was deleted; and bringing things back."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from sync import browsing, history, timeline
from sync.clock import now
from sync.core.schema import RECORD_TYPES
from sync.pages import editing
from sync.pages.framing import frame, number_in, page_in, pages, sound
from sync.restoring import restore_deleted, restore_version
from sync.templatetags.records import address
from workspaces.access import Caller, open_space
from workspaces.pages.visiting import member_page, names_of, telling, told
from workspaces.problems import NotFound
from workspaces.roles import Act

ENTRIES = 50
_READ_FIRST = ("title", "description", "content")


@member_page("GET", "POST")
def history_page(request: HttpRequest, caller: Caller, space: str) -> HttpResponse:
    """Who changed which field of a record, newest first; a POST brings one of its versions back."""
    type_, id_ = request.GET.get("type", ""), sound(request.GET.get("id", ""))
    if type_ not in RECORD_TYPES:
        raise NotFound
    if request.method == "POST":
        opened = open_space(caller, space, Act.WRITE)
        version, moves_ago = (number_in(request, name) for name in ("version", "moves_ago"))
        with telling(request):
            base, to_set, unset = history.restoring_patch(opened.id, type_, id_, version, moves_ago)
            if to_set.keys() <= {"updated_at"} and not unset:
                messages.info(request, _("It is like that already."))
            else:
                if "updated_at" in RECORD_TYPES[type_].by_name:
                    to_set["updated_at"] = now()
                change = editing.change_of(type_, id_, base, to_set, unset=unset)
                stored = restore_version(caller, opened.id, change)
                editing.tell(request, stored, _("That version is back. What was before stays here."))
        return redirect(address("history_page", opened.id, type=type_, id=id_))
    opened = open_space(caller, space, Act.READ)
    page = page_in(request)
    entries = history.entries(opened.id, type_, id_)
    here = entries[ENTRIES * (page - 1) : ENTRIES * page]
    context = {
        **frame(opened),
        "entries": _readable(here),
        "newest": page == 1,
        "type": type_,
        "id": id_,
        "named": browsing.named(opened.id, type_, id_),
        **pages(page, len(entries) > ENTRIES * page, type=type_, id=id_),
    }
    return render(request, "sync/history.html", context)


@member_page("GET")
def timeline_page(request: HttpRequest, caller: Caller, space: str) -> HttpResponse:
    """What happened in a space, newest first."""
    opened = open_space(caller, space, Act.READ)
    before = request.GET.get("before", "")
    start = int(before) if before.isascii() and before.isdecimal() and len(before) < 19 else None
    framed = frame(opened)
    sittings, older = timeline.of_space(opened.id, start)
    context = {**framed, "sittings": sittings, "older": older, "newest": start is None}
    return render(request, "sync/timeline.html", context)


@member_page("GET", "POST")
def deleted_page(request: HttpRequest, caller: Caller, space: str) -> HttpResponse:
    """Thoughts and segments that were deleted; a POST brings one back with all that went along."""
    if request.method == "POST":
        opened = open_space(caller, space, Act.WRITE)
        type_, id_ = request.POST.get("type", ""), sound(request.POST.get("id", ""))
        if type_ not in browsing.DELETABLE:
            raise NotFound
        with telling(request):
            seen = frame(opened)["space"]["head"]
            restore_deleted(caller, opened.id, type_, id_, seen)
            told(request, _("It is back, with all that went along with it."))
            named = browsing.named(opened.id, type_, id_)
            return redirect(address("thought_page", opened.id, id=named["thought_id"]))
        return redirect("deleted_page", opened.id)
    opened = open_space(caller, space, Act.READ)
    page = page_in(request)
    context: dict[str, Any] = {**frame(opened), "kept_days": settings.TOMBSTONE_DAYS}
    context["deleted"], more = browsing.deleted(opened.id, page=page)
    return render(request, "sync/deleted.html", {**context, **pages(page, more)})


def _readable(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries with names for addresses, what is read first before the rest, and without the times that every
    edit moves."""
    names = names_of({entry["user"] for entry in entries if entry["user"]})
    for entry in entries:
        entry["who"] = names.get(entry["user"], entry["user"])
        entry["changes"].pop("updated_at", None)
        entry["changes"].pop("extra.originals", None)
        entry["changes"] = dict(sorted(entry["changes"].items(), key=_reading_order))
    return entries


def _reading_order(change: tuple[str, Any]) -> int:
    return _READ_FIRST.index(change[0]) if change[0] in _READ_FIRST else len(_READ_FIRST)
