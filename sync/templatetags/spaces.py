"""The head of a space, for pages of every room that are about it."""

from __future__ import annotations

from typing import Any

from django import template

from sync.pages.framing import frame
from workspaces.access import OpenSpace

register = template.Library()


@register.inclusion_tag("sync/space_head.html")
def space_head(space: OpenSpace, here: str) -> dict[str, Any]:
    """Name, kind, role and tabs of a space that one may read; `here` is the tab that is open."""
    return {**frame(space), "here": here}
