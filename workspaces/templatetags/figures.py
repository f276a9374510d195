"""Numbers on pages."""

from __future__ import annotations

from typing import Any

from django import template

register = template.Library()


@register.filter
def grouped(number: Any) -> str:
    """A whole number with its thousands apart: 12,345. Nothing counts as 0."""
    return f"{int(number or 0):,}"
