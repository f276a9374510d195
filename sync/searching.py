"""Full-text search in what one may read.

The index (`sync.indexing`) follows a few seconds behind; what is newer is read directly. So a
search never misses what was just written, and nobody who writes waits for an index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sync.indexing import MAX_TEXT, MAX_TITLE, SEARCHED
from sync.problems import InvalidParameter
from sync.sql import cursor

PAGE: Final = 20
MAX_PAGE: Final = 100
MAX_QUERY: Final = 500
MOST_RANKED: Final = 2_000
"""Of a word that is nearly everywhere, so many finds are ranked."""
MOST_FRESH: Final = 1_000
"""So many of the newest records that the index has not reached are read directly."""
MARKS: Final = ("\ue000", "\ue001")
"""Stand around a matching word in a snippet, until `parts` or `plain` takes them out."""

_HEADLINE: Final = (
    f"StartSel={MARKS[0]}, StopSel={MARKS[1]}, MaxFragments=2, MaxWords=24, MinWords=8, ShortWord=0,"
    ' FragmentDelimiter=" … "'
)
# What was typed last may not be finished: its last word counts as the beginning of one.
_WORDS: Final = """
    SELECT CASE WHEN right(typed::text, 1) = '''' THEN (typed::text || ':*')::tsquery ELSE typed END
    FROM websearch_to_tsquery('simple', translate(%(q)b::text, '/@_.:', '     ')) typed"""


def _fresh(type_: str) -> str:
    return f"""
        SELECT '{type_}'::text, f.space_id, f.key, f.version, ts_rank(f.document, asked.words)
        FROM asked, (
            SELECT t.space_id, t.key, t.version, {SEARCHED[type_].document} AS document
            FROM sync_{type_} t JOIN behind b ON b.space_id = t.space_id AND t.version > b.upto
            WHERE NOT t.deleted ORDER BY t.version DESC LIMIT {MOST_FRESH}
        ) f WHERE f.document @@ asked.words"""


def _found(type_: str) -> str:
    what = SEARCHED[type_]
    return f"""
        SELECT f.rank, f.type, t.id, t.space_id, t.version, {what.thought} AS thought,
               t.{what.title} AS title, t.{what.text} AS body
        FROM found f JOIN sync_{type_} t
          ON t.space_id = f.space_id AND t.key = f.key AND t.version = f.version AND NOT t.deleted
        WHERE f.type = '{type_}'"""


_SEARCH: Final = f"""
    WITH asked AS MATERIALIZED (SELECT ({_WORDS}) AS words),
    behind AS MATERIALIZED (
        SELECT h.space_id, coalesce(i.upto, 0) AS upto
        FROM sync_spacehead h LEFT JOIN sync_searchindex i ON i.space_id = h.space_id
        WHERE h.space_id = ANY(%(spaces)b) AND h.head > coalesce(i.upto, 0)),
    found AS MATERIALIZED (
        SELECT e.type::text, e.space_id, e.key, e.version, ts_rank(e.document, asked.words) AS rank
        FROM asked, LATERAL (
            SELECT * FROM sync_searchentry
            WHERE document @@ (%(within)b::tsquery && asked.words) LIMIT {MOST_RANKED}) e
        WHERE numnode(asked.words) > 0
        UNION ALL {" UNION ALL ".join(map(_fresh, SEARCHED))}),
    page AS (
        SELECT * FROM ({" UNION ALL ".join(map(_found, SEARCHED))}) all_types
        ORDER BY rank DESC, version DESC, id LIMIT %(limit)b OFFSET %(offset)b)
    SELECT page.type, page.id, page.space_id, page.version, page.thought, page.rank,
           left(page.title, {MAX_TITLE}),
           coalesce(ts_headline('simple', left(page.body, {MAX_TEXT}), asked.words, '{_HEADLINE}'), '')
    FROM page, asked ORDER BY rank DESC, version DESC, id"""


@dataclass(frozen=True)
class Hit:
    """A record that was found. `snippet` has `MARKS` around what matched."""

    type: str
    id: str
    space_id: UUID
    version: int
    thought_id: str | None
    rank: float
    title: str | None
    snippet: str

    @property
    def parts(self) -> list[tuple[str, bool]]:
        """The snippet in pieces, each with whether it matched."""
        pieces = []
        for number, piece in enumerate(self.snippet.split(MARKS[0])):
            matched, end, rest = piece.partition(MARKS[1])
            pieces += [(matched, bool(number and end)), (rest, False)]
        return [piece for piece in pieces if piece[0]]

    @property
    def plain(self) -> str:
        return "".join(text for text, _ in self.parts)


def search(
    spaces: Sequence[UUID], text: str, *, limit: int = PAGE, offset: int = 0
) -> tuple[list[Hit], int | None]:
    """Records of these spaces with all these words, best first, and where the next page begins.

    "Words in quotes" stand together, -word leaves out, `or` gives a choice; the last word may be
    unfinished. Which spaces may be read is for the caller to ask. Raises `InvalidParameter`.
    """
    if len(text) > MAX_QUERY or "\0" in text:
        raise InvalidParameter(f"Search for at most {MAX_QUERY} characters.")
    if not spaces or not text.strip() or offset >= MOST_RANKED:
        return [], None
    parameters: dict[str, Any] = {
        "q": text,
        "spaces": list(spaces),
        "within": " | ".join(f"'{space}'" for space in spaces),
        "limit": limit + 1,
        "offset": offset,
    }
    rows = cursor().execute(_SEARCH, parameters).fetchall()
    hits = [Hit(*row) for row in rows[:limit]]
    return hits, offset + limit if len(rows) > limit else None
