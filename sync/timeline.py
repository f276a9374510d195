"""What happened in spaces, newest first: who sat down, and which thoughts they changed.

A record stands in the change set that last touched it; what it was before is told by its own
history (`sync.history`). Change sets of one person that follow closely are one sitting.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sync.browsing import NAMED
from sync.core.schema import RECORD_TYPES, Kind, Merge
from sync.sql import cursor

SITTINGS: Final = 30
"""So many change sets are read for one page."""
_PAUSE: Final = timedelta(minutes=15)
_MOST_OF_A_TYPE: Final = 25
"""So many records of a type are looked at in one change set."""
_MOST_COUNTED: Final = 10_000

_HEAD: Final = """
    SELECT c.space_id, c.version, c.at, coalesce(nullif(p.name, ''), p.email), d.name, c.origin
    FROM sync_changeset c JOIN workspaces_person p ON p.id = c.person_id
    LEFT JOIN workspaces_device d ON d.id = c.device_id"""
# An import comes in hundreds of chunks: its last stands for them all.
_NOT_GONE_ON: Final = f"""
    NOT (c.origin = 'import' AND EXISTS (
        SELECT FROM sync_changeset n WHERE n.space_id = c.space_id AND n.version = c.version + 1
        AND n.origin = 'import' AND n.person_id = c.person_id
        AND n.at < c.at + interval '{_PAUSE.total_seconds():.0f} seconds'))"""
_OF_SPACE: Final = f"""{_HEAD}
    WHERE c.space_id = %b AND c.version < %b AND {_NOT_GONE_ON} ORDER BY c.version DESC LIMIT %b"""
_BEFORE_IMPORT: Final = """
    SELECT coalesce(max(version), 0) FROM sync_changeset
    WHERE space_id = %b AND version < %b AND origin <> 'import'"""
_LATEST: Final = f"""
    SELECT latest.* FROM unnest(%b::uuid[]) s(id) CROSS JOIN LATERAL ({_HEAD}
        WHERE c.space_id = s.id AND {_NOT_GONE_ON} ORDER BY c.version DESC LIMIT %b) latest
    ORDER BY 3 DESC LIMIT %b"""


def _touched(type_: str) -> str:
    title, thought, joined = NAMED[type_]
    return f"""
        SELECT u.space_id, u.version, '{type_}'::text, t.id, left({title}, 120), h.id, left(h.title, 120),
               CASE WHEN t.deleted THEN 'deleted' WHEN t.born = t.version THEN 'made'
                    WHEN t.field_versions -> 'deleted' = to_jsonb(t.version) THEN 'returned'
                    ELSE 'changed' END,
               ARRAY(SELECT e.key FROM jsonb_each_text(t.field_versions) e
                     WHERE e.value::int8 = t.version AND e.key <> 'deleted' AND e.key NOT LIKE 'extra.%%')
        FROM unnest(%(spaces)b::uuid[], %(versions)b::int8[]) u(space_id, version)
        CROSS JOIN LATERAL (
            SELECT * FROM sync_{type_} r WHERE r.space_id = u.space_id AND r.version = u.version
            AND NOT r.cascaded ORDER BY r.key LIMIT {_MOST_OF_A_TYPE}) t{joined}
        LEFT JOIN sync_thoughts h ON h.space_id = t.space_id AND h.key = {thought}"""


_DISPUTED: Final = f"""
    SELECT u.space_id, u.version, 'conflicts'::text, t.id::text, '', h.id, left(h.title, 120),
           CASE WHEN t.state = 'open' THEN 'made' ELSE 'decided' END,
           ARRAY(SELECT jsonb_object_keys(t.fields))
    FROM unnest(%(spaces)b::uuid[], %(versions)b::int8[]) u(space_id, version)
    CROSS JOIN LATERAL (
        SELECT * FROM sync_conflicts r WHERE r.space_id = u.space_id AND r.version = u.version
        ORDER BY r.key LIMIT {_MOST_OF_A_TYPE}) t
    LEFT JOIN sync_segments s ON s.space_id = t.space_id AND s.key = t.record_key
    LEFT JOIN sync_thoughts h ON h.space_id = t.space_id AND h.key = coalesce(s.thought_key, t.record_key)"""
_TOUCHED: Final = " UNION ALL ".join([*map(_touched, NAMED), _DISPUTED])
_COUNTED: Final = """
    SELECT count(*) FROM (SELECT FROM sync_{} WHERE space_id = %b AND version BETWEEN %b AND %b LIMIT %b) c"""
_LAYOUT: Final = frozenset(
    name
    for type_ in RECORD_TYPES.values()
    for name, known in type_.by_name.items()
    if known.merge is Merge.LAYOUT or known.kind is Kind.TIME
)


@dataclass
class Part:
    """One record of a thought that was touched."""

    type: str
    id: str
    title: str
    act: str
    """made, changed, deleted, returned; of a conflict also decided"""
    fields: list[str]

    @property
    def only_layout(self) -> bool:
        return self.act == "changed" and set(self.fields) <= _LAYOUT


@dataclass
class Line:
    """What was done to one thought, or to something that belongs to none (`thought_id` is empty)."""

    thought_id: str
    title: str
    act: str = "changed"
    fields: list[str] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)


@dataclass
class Sitting:
    """What one person did in one space without a long pause."""

    space_id: UUID
    first: int
    last: int
    """The versions that it made."""
    since: datetime
    until: datetime
    person: str
    device: str | None
    origin: str
    parts: list[tuple[str, str, Part]] = field(default_factory=list)
    """(thought, its title, record)"""
    brought: dict[str, int] = field(default_factory=dict)
    """Of an import: record type -> how many came."""

    @property
    def lines(self) -> list[Line]:
        """By thought. What was only moved about on the canvas is in `moved`."""
        lines: dict[str, Line] = {}
        for thought_id, title, part in self.parts:
            if part.only_layout:
                continue
            line = lines.setdefault(
                thought_id or f"/{part.type}/{part.id}", Line(thought_id, title or part.title)
            )
            if part.type == "thoughts":
                line.act = part.act
                line.fields = [name for name in part.fields if name not in _LAYOUT]
            elif not any((known.type, known.id) == (part.type, part.id) for known in line.parts):
                line.parts.append(part)
        # That a thought's tags changed says its tag already.
        return [line for line in lines.values() if line.parts or line.fields or line.act != "changed"]

    @property
    def tells(self) -> bool:
        """Whether there is more to say than that somebody was there."""
        return bool(self.lines or self.moved or self.origin == "import")

    @property
    def moved(self) -> int:
        """How many thoughts were only moved or coloured."""
        return len({part.id for _, _, part in self.parts if part.type == "thoughts" and part.only_layout})


def of_space(space_id: UUID, before: int | None = None) -> tuple[list[Sitting], int | None]:
    """A page of what happened in a space, and the version before which the next page begins."""
    parameters = (space_id, 2**62 if before is None else before, SITTINGS + 1)
    rows = cursor().execute(_OF_SPACE, parameters).fetchall()
    sittings = _sittings(rows[:SITTINGS])
    more = len(rows) > SITTINGS and sittings[-1].first > 1
    return sittings, sittings[-1].first if more else None


def latest(space_ids: Sequence[UUID], limit: int) -> list[Sitting]:
    """What happened last in these spaces. Who may read them is for the caller to ask."""
    rows = cursor().execute(_LATEST, (list(space_ids), limit, limit)).fetchall()
    return _sittings(rows)


def _sittings(rows: Iterable[tuple[Any, ...]]) -> list[Sitting]:
    """Change sets, newest first, put together with what they touched."""
    found: list[Sitting] = []
    of: dict[tuple[UUID, int], Sitting] = {}
    for space_id, version, at, person, device, origin in rows:
        sitting = next((it for it in reversed(found) if it.space_id == space_id), None)
        same = sitting is not None and (sitting.person, sitting.device, sitting.origin) == (
            person,
            device,
            origin,
        )
        if sitting is None or not same or sitting.since - at > _PAUSE:
            sitting = Sitting(space_id, version, version, at, at, person, device, origin)
            found.append(sitting)
        sitting.first, sitting.since = version, at
        of[space_id, version] = sitting
    edits = {place: sitting for place, sitting in of.items() if sitting.origin != "import"}
    for space_id, version, type_, id_, title, thought, named, act, fields in _touches(edits):
        part = Part(type_, id_, title or "", act, fields)
        edits[space_id, version].parts.append((thought or "", named or "", part))
    for sitting in found:
        if sitting.origin == "import":
            sitting.first = _begin_of_import(sitting)
            sitting.brought = _counted(sitting)
    return found


def _touches(places: Iterable[tuple[UUID, int]]) -> list[tuple[Any, ...]]:
    spaces, versions = zip(*places, strict=True) if (places := list(places)) else ((), ())
    rows = cursor().execute(_TOUCHED, {"spaces": list(spaces), "versions": list(versions)}).fetchall()
    return sorted(rows, key=lambda row: -row[1])


def _begin_of_import(sitting: Sitting) -> int:
    """The first version of an import, of which only the last chunks may have been read."""
    row = cursor().execute(_BEFORE_IMPORT, (sitting.space_id, sitting.first)).fetchone()
    return row[0] + 1 if row else sitting.first


def _counted(sitting: Sitting) -> dict[str, int]:
    """How many thoughts and segments an import brought that nobody has changed since."""
    counts = {}
    for type_ in ("thoughts", "segments"):
        values = (sitting.space_id, sitting.first, sitting.last, _MOST_COUNTED)
        row = cursor().execute(_COUNTED.format(type_), values).fetchone()
        counts[type_] = row[0] if row else 0
    return counts
