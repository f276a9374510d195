"""How a value of a record is shown."""

from __future__ import annotations

from typing import Any

import orjson
from django import template

register = template.Library()


@register.filter
def as_text(value: Any) -> str:
    """Text as it is, nothing for null, all else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
