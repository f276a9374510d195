"""What the sandbox is asked for: the same for copying and verifying, so that both read the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from migration.choosing import filters_of
from migration.models import Import, State
from migration.sandbox.frames import BEFORE_ALL, Filters, Request


def request_of(imported: Import, act: str, table: str = "", after: int = BEFORE_ALL) -> Request:
    """Read the rows that an import takes, from a place on."""
    chosen, family = imported.options, imported.family or imported.pk
    return Request(
        imported.path,
        str(Path(imported.path).parent),
        act,
        table=table,
        after=after,
        filters=_filters(imported),
        recovered=f"recovered_{family.hex}" if chosen.get("orphans") == "recover" else "",
        missing_tags=chosen.get("missing_tags") == "create",
        new_ids=family.hex if chosen.get("ids") == "new" else "",
    )


def earlier_filters(imported: Import) -> list[dict[str, Any]]:
    """The filters of earlier runs of the same file: what these brought is there already, and a link between
    two thoughts of which each came in another run comes with the later one.

    They are asked for once: a run that ends, or is undone, meanwhile changes nothing for this one.
    """
    if "earlier" in imported.checkpoint:
        return list(imported.checkpoint["earlier"])
    if not imported.filters:
        return []
    earlier = Import.objects.filter(
        space_id=imported.space_id,
        sha256=imported.sha256,
        salvage=imported.salvage,
        state=State.DONE,
        undoing=False,
        started_at__lt=imported.started_at,
    ).order_by("started_at")
    return [each for each in earlier.values_list("filters", flat=True) if each]


def _filters(imported: Import) -> tuple[Filters, ...]:
    """The import's own filters, and those of earlier runs."""
    if not imported.filters:
        return ()
    return tuple(filters_of(each) for each in (imported.filters, *earlier_filters(imported)))
