"""The time of this machine, for what people change on its pages. Merging looks at no clock."""

from datetime import UTC, datetime


def now() -> str:
    """This moment, as the feed spells it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
