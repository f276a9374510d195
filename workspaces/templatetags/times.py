"""Moments on pages. They are written in UTC; `pages.js` spells them in the reader's own zone and words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django import template
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


@register.filter
def moment(value: Any, style: str = "time") -> SafeString | str:
    """A `<time>` for a datetime or a text of the feed; `style` is "day", "time" (of a day) or "ago"."""
    at = _read(value)
    if at is None:
        return value if isinstance(value, str) else ""
    shown = date_format(at, "j M Y") if style == "day" else f"{date_format(at, 'j M Y, H:i')} UTC"
    return format_html('<time datetime="{}" data-style="{}">{}</time>', at.isoformat(), style, shown)


def _read(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    return value.astimezone(UTC) if isinstance(value, datetime) else None
