"""What pages show of a space: lists, one thought with all that hangs on it, the canvas. Reads only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson

from sync import searching
from sync.core.records import key_of
from sync.sql import cursor
from sync.tables import TABLES
from workspaces.problems import NotFound

PAGE: Final = 50
SEGMENTS: Final = 40
"""So many segments of a thought stand on one page."""
MOST_ON_A_MAP: Final = 5_000
"""So many thoughts a browser still draws and moves without a pause."""
_MOST_LINKS: Final = 20_000
_MOST_FOUND: Final = 500
"""Hits of a search, best first, from which the list of thoughts is made."""

_THOUGHTS: Final = """
    SELECT t.id, t.title, left(t.description, 280), t.color, t.updated_at,
           (SELECT count(*) FROM sync_segments s
            WHERE s.space_id = t.space_id AND s.thought_key = t.key AND NOT s.deleted),
           (SELECT coalesce(array_agg(g.name ORDER BY g.name), '{{}}') FROM sync_thought_tags l
            JOIN sync_tags g ON g.space_id = l.space_id AND g.key = l.tag_key AND NOT g.deleted
            WHERE l.space_id = t.space_id AND l.thought_key = t.key AND NOT l.deleted)
    FROM (SELECT * FROM sync_thoughts t WHERE t.space_id = %(space)s AND NOT t.deleted {where}
          ORDER BY t.updated_at DESC NULLS LAST, t.key LIMIT %(limit)s OFFSET %(offset)s) t
    ORDER BY t.updated_at DESC NULLS LAST, t.key"""
_WHERE: Final = {
    "text": "AND t.key = ANY(%(found)s)",
    "tag": """AND EXISTS (
        SELECT FROM sync_thought_tags l WHERE l.space_id = t.space_id AND l.thought_key = t.key
        AND l.tag_key = %(tag_key)s AND NOT l.deleted)""",
    "cluster": """AND EXISTS (
        SELECT FROM sync_segments c WHERE c.space_id = t.space_id AND c.thought_key = t.key
        AND c.cluster_id = %(cluster)s AND NOT c.deleted)""",
    "after": "AND t.updated_at >= %(after)s",
    "before": "AND t.updated_at < %(before)s::date + 1",
    "near": "AND t.key = ANY(%(neighbours)s)",
}
"""Filter -> what it demands of a thought (alias t)."""
_CLUSTERS: Final = """
    SELECT DISTINCT cluster_id FROM sync_segments
    WHERE space_id = %s AND NOT deleted AND cluster_id <> '' ORDER BY 1 LIMIT 100"""
_NEIGHBOURS: Final = """
    SELECT b.thought_key FROM sync_segments a
    JOIN sync_segment_neighbors n ON n.space_id = a.space_id AND n.{here}_key = a.key AND NOT n.deleted
    JOIN sync_segments b ON b.space_id = n.space_id AND b.key = n.{there}_key AND NOT b.deleted
    WHERE a.space_id = %(space)s AND a.thought_key = %(key)s AND NOT a.deleted
      AND b.thought_key IS NOT NULL"""
_TAGS: Final = """
    SELECT g.id, g.name, g.color, count(l.key) FROM sync_tags g
    LEFT JOIN sync_thought_tags l ON l.space_id = g.space_id AND l.tag_key = g.key AND NOT l.deleted
    WHERE g.space_id = %s AND NOT g.deleted GROUP BY g.key, g.id, g.name, g.color
    ORDER BY count(l.key) DESC, g.name LIMIT 200"""
_TAG_NAMES: Final = """
    SELECT id, name, color, NULL FROM sync_tags WHERE space_id = %s AND NOT deleted
    ORDER BY lower(name), id LIMIT 200"""
_SEGMENTS: Final = """t.thought_key = %(key)s
    ORDER BY coalesce(t.sort_order, 0), t.created_at, t.key LIMIT %(limit)s OFFSET %(offset)s"""
_MOST_LINKABLE: Final = 12
_FIRST_SEGMENTS: Final = """
    SELECT DISTINCT ON (thought_key) thought_id, id FROM sync_segments
    WHERE space_id = %(space)s AND thought_key = ANY(%(keys)s) AND NOT deleted
    ORDER BY thought_key, coalesce(sort_order, 0), created_at, key"""
_OF_SEGMENTS: Final = ("segment_fields", "segment_related_context", "segment_llm_history")
_TAGS_ON: Final = """
    SELECT l.{owner}_id, l.tag_id, coalesce(g.name, l.tag_id), g.color, l.version
    FROM sync_{owner}_tags l LEFT JOIN sync_tags g ON g.space_id = l.space_id AND g.key = l.tag_key
    WHERE l.space_id = %s AND l.{owner}_key = ANY(%s) AND NOT l.deleted ORDER BY 3"""
_TAG_NAMED: Final = """
    SELECT id FROM sync_tags WHERE space_id = %s AND lower(name) = lower(%s) AND NOT deleted
    ORDER BY name = %s DESC, key LIMIT 1"""
_LAST_PLACE: Final = """
    SELECT max(sort_order) FROM sync_segments WHERE space_id = %s AND thought_key = %s AND NOT deleted"""
_KNOWS: Final = "SELECT EXISTS (SELECT FROM {table} WHERE space_id = %s AND key = %s)"
_LINKS_OF: Final = """
    SELECT n.{here}_id, n.id, n.version, n.relationship_type, '{here}' = 'source', o.id,
           coalesce(nullif(o.title, ''), nullif(left(o.content, 80), ''), o.id), o.thought_id,
           coalesce(nullif(t.title, ''), o.thought_id)
    FROM sync_segment_neighbors n
    JOIN sync_segments o ON o.space_id = n.space_id AND o.key = n.{there}_key AND NOT o.deleted
    LEFT JOIN sync_thoughts t ON t.space_id = o.space_id AND t.key = o.thought_key
    WHERE n.space_id = %(space)s AND n.{here}_key = ANY(%(keys)s) AND NOT n.deleted"""
_LINKS_BOTH_WAYS: Final = (
    _LINKS_OF.format(here="source", there="target")
    + " UNION ALL "
    + _LINKS_OF.format(here="target", there="source")
    + " ORDER BY 4, 7, 2 LIMIT 1000"
)
_HANGING: Final = """
    SELECT count(*),
           (SELECT count(*) FROM sync_segment_neighbors n WHERE n.space_id = %(space)s AND NOT n.deleted
            AND (n.source_key = ANY(array_agg(s.key)) OR n.target_key = ANY(array_agg(s.key)))),
           (SELECT count(*) FROM sync_segment_llm_history l
            WHERE l.space_id = %(space)s AND NOT l.deleted AND l.segment_key = ANY(array_agg(s.key)))
    FROM sync_segments s WHERE s.space_id = %(space)s AND s.thought_key = %(key)s AND NOT s.deleted"""
_SEGMENT: Final = """
    LEFT JOIN sync_segments s ON s.space_id = t.space_id AND s.key = t.{}_key"""
_TAG: Final = " LEFT JOIN sync_tags g ON g.space_id = t.space_id AND g.key = t.tag_key"
_SAID: Final = "coalesce(nullif({0}.title, ''), nullif(left({0}.content, 60), ''))"
NAMED: Final = {
    "thoughts": ("t.title", "t.key", ""),
    "segments": (_SAID.format("t"), "t.thought_key", ""),
    "tags": ("t.name", "NULL::bytea", ""),
    "thought_tags": (
        "coalesce(g.name, t.tag_id)",
        "t.thought_key",
        _TAG,
    ),
    "segment_tags": (
        "coalesce(g.name, t.tag_id)",
        "s.thought_key",
        _TAG + _SEGMENT.format("segment"),
    ),
    "segment_fields": ("t.name", "s.thought_key", _SEGMENT.format("segment")),
    "segment_neighbors": ("t.relationship_type", "s.thought_key", _SEGMENT.format("source")),
    "segment_related_context": ("t.context_type", "s.thought_key", _SEGMENT.format("segment")),
    "segment_llm_history": ("left(t.prompt, 60)", "s.thought_key", _SEGMENT.format("segment")),
}
"""Type -> SQL for what a record is called (alias t), for the key of its thought, and what else is joined."""
_NAMING: Final = ("title", "name", "relationship_type", "context_type", "prompt", "content")
_NAMES: Final = """
    SELECT t.space_id, t.id, left({title}, 200), h.id, left(h.title, 200), t.version
    FROM unnest(%s::uuid[], %s::bytea[]) u(space_id, key)
    JOIN sync_{type} t ON t.space_id = u.space_id AND t.key = u.key{joined}
    LEFT JOIN sync_thoughts h ON h.space_id = t.space_id AND h.key = {thought}"""
DELETABLE: Final = ("thoughts", "segments")
"""Types whose deletions are listed; what went along comes back with them."""
# What moved to another space is not deleted: it lives there.
_DELETED: Final = """
    SELECT gone.type, gone.id, gone.title, gone.start, gone.thought_id, gone.thought, gone.segments, c.at,
           coalesce(nullif(p.name, ''), p.email)
    FROM (
        SELECT 'thoughts' AS type, t.id, t.title, left(t.description, 200) AS start, t.id AS thought_id,
               NULL AS thought, t.version, t.key,
               (SELECT count(*) FROM sync_segments s WHERE s.space_id = t.space_id AND s.thought_key = t.key
                AND s.deleted AND s.cascaded AND s.version = t.version) AS segments
        FROM sync_thoughts t WHERE t.space_id = %(space)s AND t.deleted AND NOT EXISTS (
            SELECT FROM sync_arrival a WHERE a.from_space_id = t.space_id AND a.key = t.key)
        UNION ALL
        SELECT 'segments', s.id, s.title, left(s.content, 200), s.thought_id, t.title, s.version, s.key, 0
        FROM sync_segments s JOIN sync_thoughts t
          ON t.space_id = s.space_id AND t.key = s.thought_key AND NOT t.deleted
        WHERE s.space_id = %(space)s AND s.deleted AND NOT s.cascaded
    ) gone
    LEFT JOIN sync_changeset c ON c.space_id = %(space)s AND c.version = gone.version
    LEFT JOIN workspaces_person p ON p.id = c.person_id
    ORDER BY gone.version DESC, gone.key LIMIT %(limit)s OFFSET %(offset)s"""
_NODES: Final = """
    SELECT t.key, t.id, left(coalesce(nullif(t.title, ''), t.id), 200), t.color, t.position_x, t.position_y
    FROM sync_thoughts t WHERE t.space_id = %(space)s AND NOT t.deleted {where}
    ORDER BY t.updated_at DESC NULLS LAST, t.key LIMIT %(limit)s"""
_ENDS: Final = """
    SELECT key, thought_id FROM sync_segments
    WHERE space_id = %(space)s AND thought_key = ANY(%(keys)s) AND NOT deleted"""
_LINKS: Final = """
    SELECT source_key, target_key, relationship_type FROM sync_segment_neighbors
    WHERE space_id = %(space)s AND source_key = ANY(%(keys)s) AND NOT deleted LIMIT %(limit)s"""


@dataclass(frozen=True)
class Filter:
    """Which thoughts to show. What is empty demands nothing; what is not is demanded together."""

    text: str = ""
    tag: str = ""
    """The id of a tag."""
    cluster: str = ""
    after: str = ""
    """A day, YYYY-MM-DD, on or after which a thought was last changed."""
    before: str = ""
    """A day on or before which it was."""
    near: str = ""
    """The id of a thought: it, and what is linked with it."""

    @property
    def given(self) -> dict[str, str]:
        return {name: value for name, value in vars(self).items() if value}


def _filtered(space_id: UUID, asked: Filter) -> tuple[str, dict[str, Any]]:
    """(SQL, parameters) of a filter."""
    values: dict[str, Any] = {"space": space_id, **asked.given}
    if asked.text:
        values["found"] = _thoughts_found(space_id, asked.text)
    if asked.tag:
        values["tag_key"] = key_of("tags", asked.tag)
    if asked.near:
        values["neighbours"] = _neighbours(space_id, asked.near)
    return " ".join(_WHERE[name] for name in asked.given), values


def _neighbours(space_id: UUID, id_: str) -> list[bytes]:
    """The key of a thought and of those that a segment of it is linked with, in either direction."""
    query = " UNION ".join(
        _NEIGHBOURS.format(here=here, there=there)
        for here, there in (("source", "target"), ("target", "source"))
    )
    key = key_of("thoughts", id_)
    return [key, *(found for (found,) in cursor().execute(query, {"space": space_id, "key": key}))]


def clusters(space_id: UUID) -> list[str]:
    """The clusters that segments are in. It reads all segments: not for a large space."""
    return [name for (name,) in cursor().execute(_CLUSTERS, (space_id,))]


@dataclass(frozen=True)
class Listed:
    """A thought as a list shows it."""

    id: str
    title: str
    start: str
    color: str | None
    updated_at: Any
    segments: int
    tags: list[str]


def thoughts(space_id: UUID, asked: Filter, *, page: int = 1) -> tuple[list[Listed], bool]:
    """A page of thoughts, newest first, and whether more follow."""
    where, values = _filtered(space_id, asked)
    values |= {"limit": PAGE + 1, "offset": PAGE * (page - 1)}
    rows = cursor().execute(_THOUGHTS.format(where=where), values).fetchall()
    listed = [Listed(id_, title or "", start or "", *rest) for id_, title, start, *rest in rows[:PAGE]]
    return listed, len(rows) > PAGE


def _thoughts_found(space_id: UUID, text: str) -> list[bytes]:
    """The keys of the thoughts that the words are in, or in a segment of which."""
    hits, _more = searching.search([space_id], text, limit=_MOST_FOUND)
    return [key_of("thoughts", hit.thought_id) for hit in hits if hit.thought_id is not None]


def tags(space_id: UUID, *, counted: bool = True) -> list[dict[str, Any]]:
    """The tags of a space, the most used first; without counts, which takes no time, by name."""
    rows = cursor().execute(_TAGS if counted else _TAG_NAMES, (space_id,))
    return [{"id": id_, "name": name or id_, "color": color, "count": n} for id_, name, color, n in rows]


def tag_named(space_id: UUID, name: str) -> str | None:
    """The id of the tag with this name; one that is spelled exactly so comes first."""
    row = cursor().execute(_TAG_NAMED, (space_id, name, name)).fetchone()
    return row[0] if row else None


def next_place(space_id: UUID, thought_id: str) -> float | None:
    """Where a new segment of a thought goes; None where its segments have no order but their age."""
    row = cursor().execute(_LAST_PLACE, (space_id, key_of("thoughts", thought_id))).fetchone()
    return row[0] + 1 if row and row[0] else None


def knows(space_id: UUID, type_: str, id_: str) -> bool:
    """Whether the space has this record, or had it."""
    query = _KNOWS.format(table=TABLES[type_].name)
    row = cursor().execute(query, (space_id, key_of(type_, id_))).fetchone()
    return bool(row and row[0])


@dataclass(frozen=True)
class Whole:
    """A thought with a page of its segments and all that hangs on them, each as the feed shows it."""

    thought: dict[str, Any]
    segments: list[dict[str, Any]]
    """Each also with `tags`, `links` (to and from other segments) and what else hangs on it, by type."""
    tags: list[dict[str, Any]]
    hanging: Hanging
    more: bool


@dataclass(frozen=True)
class Hanging:
    """How much hangs on a thought, and would go with it."""

    segments: int
    links: int
    prompts: int


def thought(space_id: UUID, id_: str, *, page: int = 1) -> Whole:
    """Raises `NotFound`."""
    key = key_of("thoughts", id_)
    found = _records("thoughts", space_id, "t.key = %(key)s", key=key)
    if not found:
        raise NotFound
    segments = _records(
        "segments", space_id, _SEGMENTS, key=key, limit=SEGMENTS + 1, offset=SEGMENTS * (page - 1)
    )
    more, segments = len(segments) > SEGMENTS, segments[:SEGMENTS]
    _complete(space_id, segments)
    row = cursor().execute(_HANGING, {"space": space_id, "key": key}).fetchone() or (0, 0, 0)
    return Whole(found[0], segments, _tags_on(space_id, "thought", [key]).get(id_, []), Hanging(*row), more)


def segment(space_id: UUID, id_: str) -> dict[str, Any]:
    """One segment, as in `Whole`. Raises `NotFound`."""
    found = _records("segments", space_id, "t.key = %(key)s", key=key_of("segments", id_))
    if not found:
        raise NotFound
    _complete(space_id, found)
    return found[0]


def linkable(space_id: UUID, words: str, but: str) -> list[dict[str, Any]]:
    """Segments that a segment may be linked with, best match first; of a thought, its first segment."""
    hits, _more = searching.search([space_id], words, limit=_MOST_LINKABLE)
    thoughts = {hit.id for hit in hits if hit.type == "thoughts"}
    rows = cursor().execute(
        _FIRST_SEGMENTS, {"space": space_id, "keys": [key_of("thoughts", id_) for id_ in thoughts]}
    )
    first = dict(rows.fetchall())
    ids = [first.get(hit.id) if hit.type == "thoughts" else hit.id for hit in hits]
    wanted = [id_ for id_ in dict.fromkeys(ids) if id_ is not None and id_ != but]
    found = names((space_id, "segments", id_) for id_ in wanted)
    return [
        {"id": id_, **found[space_id, "segments", id_]}
        for id_ in wanted
        if (space_id, "segments", id_) in found  # the index may still know one that is gone
    ]


def anchor(key: bytes) -> str:
    """Where a record stands on a page: an id may hold what no address can."""
    return f"r{bytes(key).hex()[:16]}"


def _complete(space_id: UUID, segments: list[dict[str, Any]]) -> None:
    """Put to each segment what hangs on it."""
    keys = [key_of("segments", segment["id"]) for segment in segments]
    if not keys:
        return
    by_id = {segment["id"]: segment | {"links": []} for segment in segments}
    tags_on = _tags_on(space_id, "segment", keys)
    for number, (id_, segment) in enumerate(by_id.items()):
        segment |= {"tags": tags_on.get(id_, []), "anchor": anchor(keys[number])}
        segments[number] = segment
    for type_ in _OF_SEGMENTS:
        order = "t.segment_key = ANY(%(keys)s) ORDER BY t.created_at, t.key"
        for record in _records(type_, space_id, order, keys=keys):
            by_id[record["segment_id"]].setdefault(type_, []).append(record)
    names = ("id", "version", "type", "outgoing", "segment", "title", "thought", "thought_title")
    for here, *link in cursor().execute(_LINKS_BOTH_WAYS, {"space": space_id, "keys": keys}):
        by_id[here]["links"].append(dict(zip(names, link, strict=True)))


def _tags_on(space_id: UUID, owner: str, keys: list[bytes]) -> dict[str, list[dict[str, Any]]]:
    """The tags on thoughts or segments, by their owner's id."""
    found: dict[str, list[dict[str, Any]]] = {}
    for id_, tag, name, color, version in cursor().execute(_TAGS_ON.format(owner=owner), (space_id, keys)):
        found.setdefault(id_, []).append({"id": tag, "name": name, "color": color, "version": version})
    return found


def deleted(space_id: UUID, *, page: int = 1) -> tuple[list[dict[str, Any]], bool]:
    """A page of thoughts and segments that were deleted, the last first, and whether more follow."""
    parameters = {"space": space_id, "limit": PAGE + 1, "offset": PAGE * (page - 1)}
    names = ("type", "id", "title", "start", "thought_id", "thought", "segments", "at", "person")
    rows = cursor().execute(_DELETED, parameters).fetchall()
    return [dict(zip(names, row, strict=True)) for row in rows[:PAGE]], len(rows) > PAGE


def named(space_id: UUID, type_: str, id_: str) -> dict[str, Any]:
    """What a record is called, which thought it belongs to, and whether it is deleted. Raises `NotFound`."""
    table = TABLES[type_]
    query = f"SELECT t.deleted, {table.record_json} FROM {table.name} t WHERE t.space_id = %s AND t.key = %s"
    row = cursor().execute(query, (space_id, key_of(type_, id_))).fetchone()
    if row is None:
        raise NotFound
    record = orjson.loads(row[1])
    thought_id = id_ if type_ == "thoughts" else record.get("thought_id")
    owner = record.get("segment_id") or record.get("source_id")
    if thought_id is None and owner:
        found = (
            cursor()
            .execute(
                "SELECT thought_id FROM sync_segments WHERE space_id = %s AND key = %s",
                (space_id, key_of("segments", owner)),
            )
            .fetchone()
        )
        thought_id = found[0] if found else None
    title = next((record[name] for name in _NAMING if record.get(name)), None)
    return {"title": title or id_, "thought_id": thought_id, "deleted": row[0]}


def names(records: Iterable[tuple[UUID, str, str]]) -> dict[tuple[UUID, str, str], dict[str, Any]]:
    """What records are called, their versions and the thoughts that they belong to, by space, type and id."""
    found = {}
    by_type: dict[str, list[tuple[UUID, bytes]]] = defaultdict(list)
    for space_id, type_, id_ in records:
        by_type[type_].append((space_id, key_of(type_, id_)))
    for type_, places in by_type.items():
        title, thought_key, joined = NAMED.get(type_, ("NULL", "NULL::bytea", ""))
        spaces, keys = zip(*places, strict=True)
        query = _NAMES.format(type=type_, title=title, thought=thought_key, joined=joined)
        for space_id, id_, title, thought_id, thought_title, version in cursor().execute(
            query, (list(spaces), list(keys))
        ):
            found[space_id, type_, id_] = {
                "title": title or id_,
                "thought_id": thought_id,
                "thought": thought_title or thought_id,
                "version": version,
            }
    return found


def canvas(space_id: UUID, asked: Filter) -> dict[str, Any]:
    """The thoughts where they were put, in their colours, and the links between them.

    At most `MOST_ON_A_MAP`, the last changed; `limited` says whether there are more.
    """
    where, values = _filtered(space_id, asked)
    rows = cursor().execute(_NODES.format(where=where), {**values, "limit": MOST_ON_A_MAP + 1}).fetchall()
    shown = rows[:MOST_ON_A_MAP]
    # Two questions by key: of one join the planner makes a reading of the whole space.
    keys = [key for key, *_ in shown]
    ends = dict(cursor().execute(_ENDS, {"space": space_id, "keys": keys}).fetchall())
    found = cursor().execute(_LINKS, {"space": space_id, "keys": list(ends), "limit": _MOST_LINKS})
    links = {
        (ends[source], ends[target], type_)
        for source, target, type_ in found
        if target in ends and ends[source] != ends[target]
    }
    return {
        "thoughts": [
            {"id": id_, "title": title, "color": color, "x": x, "y": y}
            for _, id_, title, color, x, y in shown
        ],
        "links": [
            {"source": source, "target": target, "type": type_} for source, target, type_ in sorted(links)
        ],
        "limited": len(rows) > MOST_ON_A_MAP,
    }


def _records(type_: str, space_id: UUID, condition: str, **values: Any) -> list[dict[str, Any]]:
    table = TABLES[type_]
    query = (
        f"SELECT {table.record_json} FROM {table.name} t"
        f" WHERE t.space_id = %(space)s AND NOT t.deleted AND {condition}"
    )
    rows = cursor().execute(query, {"space": space_id, **values})
    return [orjson.loads(text) for (text,) in rows]
