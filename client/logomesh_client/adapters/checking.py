"""What cannot be a value of a thought or segment, on whatever it is kept. Pure.

A file would take most of it, change it in silence, or keep what can never be sent; a server refuses it. So
nothing of it comes that far.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from logomesh_client.adapters.contract import InvalidValue, NewSegment, NewThought

_TEXTS: Final = frozenset(
    {"title", "description", "color", "content", "content_type", "asset_path"}
    | {"abstraction_level", "cluster_id"}
)
_LONGEST_ID: Final = 1024
_LARGEST: Final = 2**53 - 1
"""Beyond it readers of JSON disagree about integers."""


def require_thought(data: NewThought) -> None:
    """Raise `InvalidValue` for what no thought can have."""
    _require(data, NewThought.__annotations__.keys())
    for tag in data.get("tags") or []:
        if not isinstance(tag, Mapping) or not isinstance(tag.get("name"), str):
            raise InvalidValue("tags", "each is an object with a name")
        _require_json("tags", dict(tag))


def require_segment(data: NewSegment) -> None:
    """Raise `InvalidValue` for what no segment can have."""
    _require(data, NewSegment.__annotations__.keys())


def _require(data: Mapping[str, Any], known: Any) -> None:
    for name, value in data.items():
        if name not in known:
            raise InvalidValue(str(name), "there is nothing of this name")
        if value is None:
            continue
        if name in _TEXTS and not isinstance(value, str):
            raise InvalidValue(name, "it is a text")
        if name == "id" and (not isinstance(value, str) or len(value) > _LONGEST_ID):
            raise InvalidValue(name, f"it is a text of at most {_LONGEST_ID:,} characters")
        if name in ("fields", "metadata") and not isinstance(value, dict):
            raise InvalidValue(name, "it is an object")
        if name == "tags" and not isinstance(value, list | tuple):
            raise InvalidValue(name, "it is a list")
        if name == "local_priority":
            _require_number(name, value)
        elif name == "position":
            if not isinstance(value, Mapping):
                raise InvalidValue(name, "it is an object with x and y")
            for axis in value.values():
                if axis is not None:
                    _require_number(name, axis)
        elif name != "tags":
            _require_json(name, value)


def _require_number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidValue(name, "it is a number")


def _require_json(name: str, value: Any) -> None:
    """Raise `InvalidValue` for what readers of JSON, or PostgreSQL, do not take, however deep it lies."""
    match value:
        case None | bool():
            pass
        case str():
            if "\0" in value or any("\ud800" <= sign <= "\udfff" for sign in value):
                raise InvalidValue(name, "a text holds neither NUL nor half of a surrogate pair")
        case int():
            if abs(value) > _LARGEST:
                raise InvalidValue(name, "an integer is within ±(2^53 - 1)")
        case float():
            _require_number(name, value)
        case dict():
            for key, part in value.items():
                if not isinstance(key, str):
                    raise InvalidValue(name, "a key is a text")
                _require_json(name, key)
                _require_json(name, part)
        case list() | tuple():
            for part in value:
                _require_json(name, part)
        case _:
            raise InvalidValue(name, f"{type(value).__name__} has no form in JSON")
