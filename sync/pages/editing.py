"""Changes that somebody makes on a page. They go through the push service, with the rules of every push."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID, uuid4

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _

from sync import browsing, history
from sync.clock import now
from sync.core.records import compose_id
from sync.models import Origin
from sync.problems import ChangeRejected
from sync.push import edit
from sync.push.merging import Result
from sync.push.storing import Stored
from sync.push.validating import Rejected
from workspaces.access import Caller, OpenSpace
from workspaces.ids import uuid7
from workspaces.pages.visiting import told
from workspaces.problems import NotFound, Problem

EDITABLE: Final = {"thoughts": ("title", "description"), "segments": ("title", "content", "content_type")}
"""Type -> fields that its form on the page of a thought has."""
KINDS: Final = ("text", "markdown", "code", "mermaid")
"""Kinds of segments that a form offers; others stay as they are."""
_NOT_IN_TAG_ID: Final = re.compile(r"[^a-z0-9_]")


def change_of(
    type_: str,
    id_: str,
    base: int,
    to_set: Mapping[str, Any] | None = None,
    *,
    unset: Sequence[str] = (),
    delete: bool = False,
) -> dict[str, Any]:
    """One change, as a push carries it."""
    change: dict[str, Any] = {"change_id": str(uuid7()), "type": type_, "id": id_, "base": base}
    if delete:
        return {**change, "delete": True}
    return {**change, "set": dict(to_set or {}), "unset": list(unset)}


def save(
    caller: Caller,
    space: OpenSpace,
    changes: list[dict[str, Any]],
    origin: Origin = Origin.WEB,
    seen: int = 0,
) -> Stored:
    """Take the changes of a page. Raises `ChangeRejected`, or what `open_space` raises."""
    stored = edit(caller, space.id, changes, origin, seen)
    for result in stored.outcome.results:
        if isinstance(result, Rejected):
            raise ChangeRejected(result.error)
    return stored


def tell(request: HttpRequest, stored: Stored, text: str) -> None:
    """Say above the next page what became of what was sent."""
    found = [result for result in stored.outcome.results if isinstance(result, Result)]
    conflict = next((result.conflict for result in found if result.conflict is not None), None)
    if conflict is not None:
        messages.warning(
            request,
            format_html(
                '{} <a href="{}?id={}">{}</a>',
                _("Somebody else changed the same words meanwhile. Theirs stay for now, yours are kept."),
                reverse("conflicts_page"),
                conflict,
                _("Decide what counts"),
            ),
        )
    elif any(result.status == "merged" for result in found):
        told(request, _("Saved, and put together with what somebody else wrote meanwhile."))
    else:
        told(request, text)


def edits_of_form(request: HttpRequest, space_id: UUID, thought_id: str) -> tuple[str, list[dict[str, Any]]]:
    """(id, changes) of a form that edits a thought or a segment, or makes a segment.

    No change where nothing differs. Only what somebody changed is sent: a field that they left as
    the form showed it must not collide with what another wrote into it. Raises `NotFound` for a
    form that is none of ours.
    """
    type_, id_, base = (request.POST.get(name, "") for name in ("type", "record", "base"))
    if type_ not in EDITABLE or not base.isdecimal() or len(base) > 18:
        raise NotFound
    typed = typed_in(request, type_)
    if base == "0":
        if type_ != "segments":
            raise NotFound
        place = browsing.next_place(space_id, thought_id)
        order = {} if place is None else {"sort_order": place}
        return new_record("segments", {"thought_id": thought_id, **typed, **order})
    shown = _shown(space_id, type_, id_, int(base))
    typed = {name: _spelled(value, shown.get(name)) for name, value in typed.items()}
    differing = {name: value for name, value in typed.items() if value != (shown.get(name) or "")}
    if not differing:
        return id_, []
    return id_, [change_of(type_, id_, int(base), {**differing, "updated_at": now()})]


def new_record(type_: str, fields: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """(id, changes) that make a thought or a segment, with its times."""
    id_ = f"{type_.removesuffix('s')}_{uuid4()}"
    at = now()
    return id_, [change_of(type_, id_, 0, {**fields, "created_at": at, "updated_at": at})]


def tagging(space_id: UUID, type_: str, id_: str, base: int, name: str) -> list[dict[str, Any]]:
    """The changes that put a tag on a thought or a segment, made where no tag has that name."""
    name = " ".join(name.split())
    tag, changes = browsing.tag_named(space_id, name), []
    at = now()
    if tag is None:
        tag = _new_tag_id(space_id, name)
        changes = [change_of("tags", tag, 0, {"name": name, "color": "#6b7280", "created_at": at})]
    link = change_of(f"{type_.removesuffix('s')}_tags", compose_id([id_, tag]), 0, {"created_at": at})
    return [*changes, link, _touched(type_, id_, base, at)]


def linking(source: str, target: str, kind: str) -> list[dict[str, Any]]:
    """The change that links a segment with another."""
    link = compose_id([source, target, " ".join(kind.split())])
    return [change_of("segment_neighbors", link, 0, {"strength": 1, "created_at": now()})]


def untagging(type_: str, id_: str, base: int, tag: str, link_base: int) -> list[dict[str, Any]]:
    """The changes that take a tag off a thought or a segment. The tag itself stays."""
    link = change_of(f"{type_.removesuffix('s')}_tags", compose_id([id_, tag]), link_base, delete=True)
    return [link, _touched(type_, id_, base, now())]


def typed_in(request: HttpRequest, type_: str = "") -> dict[str, str]:
    """What somebody typed into a form of these pages. A browser ends lines with CR LF, LogoMesh with LF."""
    names = EDITABLE.get(type_) or dict.fromkeys(name for names in EDITABLE.values() for name in names)
    return {name: request.POST[name].replace("\r\n", "\n") for name in names if name in request.POST}


def unsaved(request: HttpRequest, problem: Problem) -> HttpResponse:
    """A page that gives back what was typed, where the page with the form cannot be shown any more."""
    typed = {name: text for name, text in typed_in(request).items() if text}
    if not typed:
        raise problem
    context = {"problem": problem, "typed": typed}
    return render(request, "sync/unsaved.html", context, status=problem.status)


def _shown(space_id: UUID, type_: str, id_: str, base: int) -> dict[str, Any]:
    """The record as the form showed it; nothing where nobody remembers, so that all that was typed counts."""
    try:
        return history.record_at(space_id, type_, id_, base)
    except NotFound:
        return {}


def _spelled(value: str, shown: Any) -> str:
    """What was typed, with the line ends that the text has."""
    if isinstance(shown, str) and "\r\n" in shown and "\n" not in shown.replace("\r\n", ""):
        return value.replace("\n", "\r\n")
    return value


def _touched(type_: str, id_: str, base: int, at: str) -> dict[str, Any]:
    """LogoMesh moves `updated_at` when tags change; two who do so at once never collide."""
    return change_of(type_, id_, base, {"updated_at": at})


def _new_tag_id(space_id: UUID, name: str) -> str:
    """As LogoMesh would make it, so that a tag typed there is the same; else one that nobody else has."""
    usual = f"tag_{_NOT_IN_TAG_ID.sub('', '_'.join(name.lower().split()))}"
    taken = usual == "tag_" or browsing.knows(space_id, "tags", usual)
    return f"tag_{uuid4()}" if taken else usual
