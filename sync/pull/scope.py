"""Which thoughts a device wants: its scope, and the SQL that asks whether a thought is in it.

A scope chooses thoughts; what hangs on a thought follows it. Three questions are asked of a
thought: is it in the scope now, since which version, and up to which version was it. With
these the feed needs no memory of what a device was sent (`sync.pull.scoped`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from sync.tables import time_json


@dataclass(frozen=True)
class Scope:
    """Several of one kind: any of them; different kinds: all of them."""

    tags: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    updated_after: str | None = None
    updated_before: str | None = None
    """Both exclusive, as the feed spells times."""

    @property
    def has_dates(self) -> bool:
        return self.updated_after is not None or self.updated_before is not None

    def __bool__(self) -> bool:
        return bool(self.tags or self.clusters or self.has_dates)

    def packed(self) -> list[Any]:
        return [self.tags, self.clusters, self.updated_after, self.updated_before]

    @staticmethod
    def unpacked(packed: list[Any] | None) -> Scope:
        if not packed:
            return ALL
        tags, clusters, after, before = packed
        return Scope(tuple(tags), tuple(clusters), after, before)


ALL: Final = Scope()


@dataclass(frozen=True)
class Wish:
    """What a cursor remembers of its scope, and how far a change of scope has come."""

    scope: Scope = ALL
    before: Scope | None = None
    """While the scope is being changed: the one that the device had."""
    done: tuple[bytes, bytes] = (b"", b"")
    """While the scope is being changed: keys of the last thought and the last row examined."""
    torn: bool = False
    """The device may hold rows without what they hang on: its pull is not complete."""
    broken: bool = False
    """An earlier change of scope was not completed: of no thought can be said that the device has it."""

    def whole(self) -> Wish:
        """The same, once a pull is complete."""
        return Wish(self.scope)

    def packed(self) -> bytes:
        if self == NO_WISH:
            return b""
        changing = None if self.before is None else self.before.packed()
        done = [key.hex() for key in self.done]
        return orjson.dumps([self.scope.packed(), changing, *done, self.torn, self.broken])

    @staticmethod
    def unpacked(packed: bytes) -> Wish:
        if not packed:
            return NO_WISH
        scope, before, thought, row, torn, *later = orjson.loads(packed)
        return Wish(
            Scope.unpacked(scope),
            None if before is None else Scope.unpacked(before),
            (bytes.fromhex(thought), bytes.fromhex(row)),
            torn,
            *later,  # a cursor of an older server has none
        )


NO_WISH: Final = Wish()


def parameters(scope: Scope, prefix: str = "") -> dict[str, Any]:
    """The parameters of the SQL below. `prefix` keeps two scopes of one statement apart."""
    return {
        f"{prefix}tags": list(scope.tags),
        f"{prefix}clusters": list(scope.clusters),
        f"{prefix}after": scope.updated_after,
        f"{prefix}before": scope.updated_before,
    }


def is_in(scope: Scope, prefix: str = "") -> str:
    """SQL condition on a live thought `x`: is it in the scope."""
    parts = [part for part, _, _ in _parts(scope, prefix)]
    return f"({' AND '.join(parts)})" if parts else "true"


def since(scope: Scope, prefix: str = "") -> str:
    """SQL: the version since which the thought `x`, which is in the scope, has been in it (at the latest)."""
    entered = [
        f"coalesce({_LIVE_SINCE.format('x')}, x.born)",
        *(since for _, since, _ in _parts(scope, prefix)),
    ]
    return f"greatest({', '.join(entered)})"


def until(scope: Scope, prefix: str = "") -> str:
    """SQL: the version at which the thought `x`, which is not in the scope, left it; null if it never was."""
    failing = [(part, left) for part, _, left in _parts(scope, prefix)]
    latest = ", ".join(f"CASE WHEN {part} THEN 0 ELSE {left} END" for part, left in failing)
    never = " OR ".join(f"(NOT {part} AND {left} IS NULL)" for part, left in failing)
    return f"CASE WHEN {never or 'true'} THEN NULL ELSE greatest({latest or 'NULL'}) END"


_LIVE_SINCE: Final = "({0}.field_versions ->> 'deleted')::int8"
_LINKS: Final = "sync_thought_tags l WHERE l.space_id = x.space_id AND l.thought_key = x.key"
_SEGMENTS: Final = "sync_segments g WHERE g.space_id = x.space_id AND g.thought_key = x.key"


def _parts(scope: Scope, prefix: str) -> list[tuple[str, str, str]]:
    """For each kind of filter: the condition, since when it holds, and until when it held."""
    parts = []
    if scope.tags:
        parts.append(_tags(prefix))
    if scope.clusters:
        parts.append(_clusters(prefix))
    if scope.has_dates:
        parts.append(_dates(scope, prefix))
    return parts


def _tags(prefix: str) -> tuple[str, str, str]:
    linked = f"{_LINKS} AND l.tag_id = ANY(%({prefix}tags)b)"
    return (
        f"EXISTS (SELECT FROM {linked} AND NOT l.deleted)",
        f"(SELECT min(coalesce({_LIVE_SINCE.format('l')}, l.born)) FROM {linked} AND NOT l.deleted)",
        f"(SELECT max(coalesce({_LIVE_SINCE.format('l')}, l.version)) FROM {linked} AND l.deleted)",
    )


def _clusters(prefix: str) -> tuple[str, str, str]:
    wanted = f"%({prefix}clusters)b"
    live = f"{_SEGMENTS} AND g.cluster_id = ANY({wanted}) AND NOT g.deleted"
    in_it = (
        "greatest(coalesce((g.field_versions ->> 'cluster_id')::int8, g.born),"
        " coalesce((g.field_versions ->> 'thought_id')::int8, g.born),"
        f" coalesce({_LIVE_SINCE.format('g')}, g.born))"
    )
    was_in_it = (
        f"(SELECT max(coalesce({_LIVE_SINCE.format('g')}, g.version)) FROM {_SEGMENTS}"
        f" AND g.cluster_id = ANY({wanted}) AND g.deleted)",
        # a segment that is in another cluster now
        f"(SELECT max(h.version) FROM sync_history h, {_SEGMENTS}"
        f" AND h.space_id = g.space_id AND h.key = g.key AND h.old -> 'cluster_id' ->> 0 = ANY({wanted}))",
        # a segment that hangs on another thought now
        "(SELECT max(h.version) FROM sync_history h WHERE h.space_id = x.space_id"
        " AND h.old ? 'thought_id' AND h.old -> 'thought_id' ->> 0 = x.id)",
    )
    return (
        f"EXISTS (SELECT FROM {live})",
        f"(SELECT min({in_it}) FROM {live})",
        f"greatest({', '.join(was_in_it)})",
    )


def _dates(scope: Scope, prefix: str) -> tuple[str, str, str]:
    # Times have one spelling, so the texts of the history compare like times.
    now = _within(scope, prefix, f"{time_json('x.updated_at')}")
    then, earliest, latest = (f"(h.old -> 'updated_at' ->> {n})" for n in range(3))
    was_in = f"({_within(scope, prefix, then)} OR {_within(scope, prefix, earliest, latest)})"
    folded = "jsonb_array_length(h.old -> 'updated_at') > 1"
    was_out = (
        f"(NOT {_within(scope, prefix, then)} OR {folded} AND NOT"
        f" ({_within(scope, prefix, earliest)} AND {_within(scope, prefix, latest)}))"
    )
    changes = "sync_history h WHERE h.space_id = x.space_id AND h.key = x.key AND h.old ? 'updated_at'"
    return (
        now,
        f"coalesce((SELECT max(h.version) FROM {changes} AND {was_out}), x.born)",
        f"(SELECT max(h.version) FROM {changes} AND {was_in})",
    )


def _within(scope: Scope, prefix: str, earliest: str, latest: str = "") -> str:
    """SQL condition: does this time, or some time between these two, lie within the bounds."""
    bounds = []
    if scope.updated_after is not None:
        bounds.append(f'{latest or earliest} COLLATE "C" > %({prefix}after)b')
    if scope.updated_before is not None:
        bounds.append(f'{earliest} COLLATE "C" < %({prefix}before)b')
    return f"coalesce({' AND '.join(bounds)}, false)"
