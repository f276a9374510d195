"""What pages show of a space: lists, one thought with all that hangs on it, the canvas. Reads only."""

from __future__ import annotations

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
    FROM sync_thoughts t WHERE t.space_id = %(space)s AND NOT t.deleted {where}
    ORDER BY t.updated_at DESC NULLS LAST, t.key LIMIT %(limit)s OFFSET %(offset)s"""
_MATCHING: Final = "AND t.key = ANY(%(found)s)"
_TAGGED: Final = """AND EXISTS (
    SELECT FROM sync_thought_tags l WHERE l.space_id = t.space_id AND l.thought_key = t.key
    AND l.tag_key = %(tag)s AND NOT l.deleted)"""
_TAGS: Final = """
    SELECT g.id, g.name, g.color, count(l.key) FROM sync_tags g
    LEFT JOIN sync_thought_tags l ON l.space_id = g.space_id AND l.tag_key = g.key AND NOT l.deleted
    WHERE g.space_id = %s AND NOT g.deleted GROUP BY g.key, g.id, g.name, g.color
    ORDER BY count(l.key) DESC, g.name LIMIT 200"""
_HANGING: Final = {
    "segments": "t.thought_key = %(key)s ORDER BY t.sort_order NULLS FIRST, t.created_at, t.key",
    "thought_tags": "t.thought_key = %(key)s ORDER BY t.tag_id",
}
_OF_SEGMENTS: Final = {
    "segment_tags": "segment_key",
    "segment_fields": "segment_key",
    "segment_related_context": "segment_key",
    "segment_llm_history": "segment_key",
    "segment_neighbors": "source_key",
}
_NODES: Final = """
    SELECT t.id, coalesce(nullif(t.title, ''), t.id), t.color, t.position_x, t.position_y
    FROM sync_thoughts t WHERE t.space_id = %s AND NOT t.deleted
    ORDER BY t.updated_at DESC NULLS LAST, t.key LIMIT %s"""
_LINKS: Final = """
    SELECT DISTINCT a.thought_id, b.thought_id, n.relationship_type FROM sync_segment_neighbors n
    JOIN sync_segments a ON a.space_id = n.space_id AND a.key = n.source_key AND NOT a.deleted
    JOIN sync_segments b ON b.space_id = n.space_id AND b.key = n.target_key AND NOT b.deleted
    WHERE n.space_id = %s AND NOT n.deleted AND a.thought_id <> b.thought_id LIMIT %s"""


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


def thoughts(space_id: UUID, *, text: str = "", tag: str = "", page: int = 1) -> tuple[list[Listed], bool]:
    """A page of thoughts, newest first, and whether more follow."""
    where = (_MATCHING if text else "") + (_TAGGED if tag else "")
    parameters = {
        "space": space_id,
        "found": _thoughts_found(space_id, text) if text else [],
        "tag": key_of("tags", tag),
        "limit": PAGE + 1,
        "offset": PAGE * (page - 1),
    }
    rows = cursor().execute(_THOUGHTS.format(where=where), parameters).fetchall()
    listed = [Listed(id_, title or "", start or "", *rest) for id_, title, start, *rest in rows[:PAGE]]
    return listed, len(rows) > PAGE


def _thoughts_found(space_id: UUID, text: str) -> list[bytes]:
    """The keys of the thoughts that the words are in, or in a segment of which."""
    hits, _more = searching.search([space_id], text, limit=_MOST_FOUND)
    return [key_of("thoughts", hit.thought_id) for hit in hits if hit.thought_id is not None]


def tags(space_id: UUID) -> list[dict[str, Any]]:
    """The tags of a space, the most used first."""
    rows = cursor().execute(_TAGS, (space_id,))
    return [{"id": id_, "name": name or id_, "color": color, "count": n} for id_, name, color, n in rows]


@dataclass(frozen=True)
class Whole:
    """A thought with all that hangs on it, each as the feed shows it."""

    thought: dict[str, Any]
    segments: list[dict[str, Any]]
    tags: list[str]


def thought(space_id: UUID, id_: str) -> Whole:
    """Raises `NotFound`."""
    key = key_of("thoughts", id_)
    found = _records("thoughts", space_id, "t.key = %(key)s", key=key)
    if not found:
        raise NotFound
    segments, links = (_records(type_, space_id, condition, key=key) for type_, condition in _HANGING.items())
    keys = [key_of("segments", segment["id"]) for segment in segments]
    by_id = {segment["id"]: segment for segment in segments}
    for type_, column in _OF_SEGMENTS.items():
        owner = "source_id" if type_ == "segment_neighbors" else "segment_id"
        for record in _records(type_, space_id, f"t.{column} = ANY(%(keys)s) ORDER BY t.key", keys=keys):
            by_id[record[owner]].setdefault(type_, []).append(record)
    names = {tag["id"]: tag["name"] for tag in tags(space_id)} if links else {}
    return Whole(found[0], segments, [names.get(link["tag_id"], link["tag_id"]) for link in links])


def canvas(space_id: UUID) -> dict[str, Any]:
    """The thoughts where they were put, in their colours, and the links between them."""
    rows = cursor().execute(_NODES, (space_id, MOST_ON_A_MAP)).fetchall()
    nodes = [{"id": id_, "title": title, "color": color, "x": x, "y": y} for id_, title, color, x, y in rows]
    there = {node["id"] for node in nodes}
    links = cursor().execute(_LINKS, (space_id, _MOST_LINKS))
    edges = [
        {"source": source, "target": target, "type": type_}
        for source, target, type_ in links
        if source in there and target in there
    ]
    return {"thoughts": nodes, "links": edges}


def _records(type_: str, space_id: UUID, condition: str, **values: Any) -> list[dict[str, Any]]:
    table = TABLES[type_]
    query = (
        f"SELECT {table.record_json} FROM {table.name} t"
        f" WHERE t.space_id = %(space)s AND NOT t.deleted AND {condition}"
    )
    rows = cursor().execute(query, {"space": space_id, **values})
    return [orjson.loads(text) for (text,) in rows]
