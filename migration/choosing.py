"""What a person may choose before an import starts, and what of it makes no sense. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from migration.sandbox.frames import Filters
from sync.core.changes import time_in_feed_form
from sync.core.limits import MAX_ID_CHARACTERS
from workspaces.problems import InvalidValue

STRATEGIES: Final = ("full", "hybrid", "gradual")
EXISTING: Final = ("keep", "take", "merge")
ORPHANS: Final = ("set-aside", "recover")
MISSING_TAGS: Final = ("set-aside", "create")
IDS: Final = ("keep", "new")
_FILTERS: Final = ("tags", "clusters", "after", "before")
_MOST_NAMES: Final = 1_000
_JUST_BEFORE: Final = timedelta(microseconds=-1)
"""`after` excludes its time, but a day that somebody names is wanted from its first moment on."""
_BEGINNING: Final = timedelta()


@dataclass(frozen=True)
class Choices:
    """What a person chose before starting an import."""

    strategy: str = "full"
    filters: Mapping[str, Any] = field(default_factory=dict)
    """Only for gradual; empty: the rest of the file."""
    dry_run: bool = False
    existing: str | None = None
    """What becomes of records that the space has already. None: merge where the file is a newer copy of
    one that was imported before, else keep."""
    orphans: str = "set-aside"
    missing_tags: str = "set-aside"
    ids: str = "keep"

    def options(self) -> dict[str, Any]:
        """All but what stands in columns of its own."""
        apart = {"strategy", "filters", "dry_run"}
        return {name: value for name, value in asdict(self).items() if name not in apart}


def read_choices(body: Mapping[str, Any]) -> Choices:
    """Check what somebody chose, without looking at the file. Raises `InvalidValue` with a pointer."""
    known = Choices.__dataclass_fields__.keys()
    if unknown := body.keys() - known:
        raise InvalidValue(
            f"There is nothing to choose that is called {min(unknown)[:60]}. There are: {', '.join(known)}.",
            pointer=f"/{min(unknown)[:60]}",
        )
    strategy = _one_of(body, "strategy", STRATEGIES, "full")
    dry_run = body.get("dry_run", False)
    if not isinstance(dry_run, bool):
        raise InvalidValue("dry_run must be true or false.", pointer="/dry_run")
    filters = _filters(body.get("filters") or {})
    if filters and strategy != "gradual":
        raise InvalidValue(
            f"filters choose what a gradual import takes; the strategy {strategy} takes everything."
            " Leave them out, or choose gradual.",
            pointer="/filters",
        )
    existing = body.get("existing")
    return Choices(
        strategy,
        filters,
        dry_run,
        None if existing is None else _one_of(body, "existing", EXISTING, ""),
        _one_of(body, "orphans", ORPHANS, "set-aside"),
        _one_of(body, "missing_tags", MISSING_TAGS, "set-aside"),
        _one_of(body, "ids", IDS, "keep"),
    )


def require_known_names(filters: Mapping[str, Any], assessment: Mapping[str, Any]) -> None:
    """Raise `InvalidValue` for a tag or cluster that the file has not: it would choose nothing."""
    offered = assessment.get("choices") or {}
    for kind, called in (("tags", "tag"), ("clusters", "cluster")):
        listed = offered.get(kind)
        if listed is None or offered.get(f"more_{kind}"):
            continue  # not all are listed: who knows
        known = {each.get(name) for each in listed for name in ("id", "name")}
        for number, name in enumerate(filters.get(kind, ())):
            if name not in known:
                raise InvalidValue(
                    f"No thought of the file has the {called} {name[:80]}. The assessment lists those that"
                    " can be chosen.",
                    pointer=f"/filters/{kind}/{number}",
                )


def filters_of(chosen: Mapping[str, Any]) -> Filters:
    """Chosen filters as the sandbox takes them."""
    return Filters(
        tuple(chosen.get("tags", ())),
        tuple(chosen.get("clusters", ())),
        chosen.get("after") or "",
        chosen.get("before") or "",
    )


def _filters(chosen: Any) -> dict[str, Any]:
    """Filters with times as the feed spells them; kinds that say nothing are left out."""
    if not isinstance(chosen, dict):
        raise InvalidValue("filters must be an object.", pointer="/filters")
    if unknown := chosen.keys() - set(_FILTERS):
        raise InvalidValue(
            f"There is no filter called {min(unknown)[:60]}. There are: {', '.join(_FILTERS)}.",
            pointer=f"/filters/{min(unknown)[:60]}",
        )
    filters: dict[str, Any] = {}
    for kind in ("tags", "clusters"):
        if names := _names(chosen.get(kind) or [], f"/filters/{kind}"):
            filters[kind] = names
    for kind, of_day in (("after", _JUST_BEFORE), ("before", _BEGINNING)):
        if chosen.get(kind) is not None:
            filters[kind] = _moment(chosen[kind], of_day, f"/filters/{kind}")
    if (
        "after" in filters
        and "before" in filters
        and not _is_any_between(filters["after"], filters["before"])
    ):
        raise InvalidValue("No time is after the one and before the other.", pointer="/filters/before")
    return filters


def _names(value: Any, pointer: str) -> list[str]:
    if not isinstance(value, list) or len(value) > _MOST_NAMES:
        raise InvalidValue(f"This must be a list of at most {_MOST_NAMES:,} texts.", pointer=pointer)
    for number, name in enumerate(value):
        if not isinstance(name, str) or not 0 < len(name) <= MAX_ID_CHARACTERS or not _is_storable(name):
            raise InvalidValue(
                f"This must be a text of 1 to {MAX_ID_CHARACTERS:,} characters.",
                pointer=f"{pointer}/{number}",
            )
    return list(dict.fromkeys(value))


def _is_storable(text: str) -> bool:
    """Whether it holds neither NUL nor half of a surrogate pair."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _moment(value: Any, of_day: timedelta, pointer: str) -> str:
    """A time; or of a day the moment that stands so far from its beginning (in UTC)."""
    text = value if isinstance(value, str) else ""
    try:
        if len(text) == 10:
            text = (datetime.fromisoformat(f"{text}T00:00:00+00:00") + of_day).isoformat()
    except (ValueError, OverflowError):
        text = ""
    moment = time_in_feed_form(text)
    if moment is None:
        raise InvalidValue("This must be a time such as 2025-06-08T09:30:00Z, or a day.", pointer=pointer)
    return moment


def _is_any_between(after: str, before: str) -> bool:
    return datetime.fromisoformat(before) - datetime.fromisoformat(after) > timedelta(microseconds=1)


def _one_of(body: Mapping[str, Any], name: str, known: tuple[str, ...], default: str) -> str:
    value = body.get(name, default)
    if value not in known:
        raise InvalidValue(f"{name} must be one of: {', '.join(known)}.", pointer=f"/{name}")
    return str(value)
