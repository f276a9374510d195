"""What the pages of a space have in common."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpRequest

from sync import browsing, conflicts
from sync.spaces import described
from workspaces.access import OpenSpace
from workspaces.problems import NotFound


def frame(space: OpenSpace) -> dict[str, Any]:
    """What the head of such a page shows. The space's head is read before anything else of it:
    whoever deletes something has seen at least what was there at that version."""
    return {
        "space": described([space])[0],
        "may_write": space.role in ("editor", "owner") and not space.archived,
        "waiting": conflicts.count_open([space.id]),
    }


LARGE = 20_000
"""Where a space has more of something than this, no page counts it anew."""


def tags_of(framed: dict[str, Any], chosen: str = "") -> list[dict[str, Any]]:
    """The tags of a space to choose from, with the one that is chosen."""
    space = framed["space"]
    found = browsing.tags(UUID(space["id"]), counted=space["counts"].get("thought_tags", 0) <= LARGE)
    if chosen and not any(tag["id"] == chosen for tag in found):
        found.append({"id": chosen, "name": chosen.removeprefix("tag_"), "color": None, "count": None})
    return found


def sound(text: str) -> str:
    """Text of an address without what no record can hold."""
    return text.replace("\0", "").encode(errors="replace").decode()


def number_in(request: HttpRequest, name: str) -> int:
    """A version in a form; 0 where there is none. Raises `NotFound` for a form that is none of ours."""
    text = request.POST.get(name, "0")
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise NotFound
    return int(text)


def page_in(request: HttpRequest) -> int:
    """The number of the page that was asked for, from 1."""
    number = request.GET.get("page", "1")
    return max(1, int(number)) if number.isascii() and number.isdecimal() and len(number) < 6 else 1


def pages(page: int, more: bool, **query: Any) -> dict[str, str]:
    """The addresses of the pages before and after this one; empty where there is none."""
    asked = {name: value for name, value in query.items() if value}
    return {
        "before": urlencode({**asked, "page": page - 1}) if page > 1 else "",
        "after": urlencode({**asked, "page": page + 1}) if more else "",
    }
