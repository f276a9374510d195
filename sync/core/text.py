"""Three-way merge of long text, sentence by sentence.

Edits in different sentences combine; edits in the same sentence are a conflict:
"10 mg/day" changed to "15 mg/day" here and to "10 mg/week" there must never become
"15 mg/week" by itself. The merge word by word is only ever offered as a proposal.

Written for this product: merge3 is GPL, three-merge drops one side's edit in silence,
difflib is quadratic on repetitive text (`docs/decisions/text-merge.md`).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sync.core.limits import MAX_MERGED_TEXT

_SENTENCE_END: Final = re.compile(r"[.!?…]+[\"'»”’)\]]*(?=\s)|[。！？]+")
_SPACE: Final = re.compile(r"\s+")
_WORD: Final = re.compile(r"\s+|\w+|[^\w\s]")
_SEARCH_STEPS: Final = 400_000
"""Steps that one merge may spend on gaps without an anchor; then a gap counts as rewritten."""


def merge_text(base: str, server: str, client: str) -> str | None:
    """Both edits of `base` in one text, or None where they meet in a sentence or are too long."""
    return _merged(base, server, client, _sentences)


def propose_text(base: str, server: str, client: str) -> str | None:
    """Both edits combined word by word, for a person to look at; None where words collide."""
    return _merged(base, server, client, _WORD.findall)


def _merged(base: str, server: str, client: str, cut: Callable[[str], list[str]]) -> str | None:
    """`cut` gives tokens whose concatenation is the text."""
    if server == client or client == base:
        return server
    if server == base:
        return client
    if max(len(base), len(server), len(client)) > MAX_MERGED_TEXT:
        return None
    tokens = cut(base)
    edits = _combined(_edits(tokens, cut(server)), _edits(tokens, cut(client)))
    return None if edits is None else "".join(_apply(tokens, edits))


def _sentences(text: str) -> list[str]:
    tokens: list[str] = []
    for number, line in enumerate(text.split("\n")):
        if number:
            tokens.append("\n")
        start = 0
        for end in _SENTENCE_END.finditer(line):
            tokens.append(line[start : end.end()])
            start = end.end()
            if space := _SPACE.match(line, start):
                tokens.append(space.group())
                start = space.end()
        if start < len(line):
            tokens.append(line[start:])
    return tokens


@dataclass(frozen=True, slots=True)
class _Edit:
    """Tokens `start` to `end` of the base become `tokens`."""

    start: int
    end: int
    tokens: tuple[str, ...]

    def meets(self, other: _Edit) -> bool:
        """Whether there is no single right order or content for both edits."""
        if self.start == self.end and other.start == other.end:
            return self.start == other.start
        if self.start == self.end:
            return self._is_glued_to(other)
        if other.start == other.end:
            return other._is_glued_to(self)
        return self.start < other.end and other.start < self.end

    def _is_glued_to(self, other: _Edit) -> bool:
        """Whether this insertion falls into a rewritten range, or at its edge without a space between."""
        if self.start == other.start:
            edges = (*self.tokens[-1:], *other.tokens[:1])
        elif self.start == other.end:
            edges = (*self.tokens[:1], *other.tokens[-1:])
        else:
            return other.start < self.start < other.end
        return not any(token.isspace() for token in edges)


def _edits(base: Sequence[str], other: Sequence[str]) -> list[_Edit]:
    edits = []
    at_base = at_other = free_from = 0
    for i, j, length in _matches(base, other):
        if i > at_base or j > at_other:
            edit = _slid(base, _Edit(at_base, i, tuple(other[at_other:j])), free_from)
            edits.append(edit)
            free_from = edit.end
        at_base, at_other = i + length, j + length
    return edits


def _slid(base: Sequence[str], edit: _Edit, free_from: int) -> _Edit:
    """The same edit as far to the left as it goes: what comes or goes among equal spaces has one place.

    Else a sentence added by one side with the space before it, and by the other with the space
    after it, would not meet.
    """
    start, end, tokens = edit.start, edit.end, edit.tokens
    while start > free_from:
        before = base[start - 1]
        if start == end and tokens[-1] == before:
            tokens = (before, *tokens[:-1])
        elif tokens or base[end - 1] != before:
            break
        start, end = start - 1, end - 1
    return _Edit(start, end, tokens)


def _combined(ours: list[_Edit], theirs: list[_Edit]) -> list[_Edit] | None:
    """The edits of both sides in order; None where two different ones meet."""
    combined: list[_Edit] = []
    i = j = 0
    while i < len(ours) and j < len(theirs):
        a, b = ours[i], theirs[j]
        if a == b:
            combined.append(a)
            i, j = i + 1, j + 1
        elif a.meets(b):
            return None
        elif (a.start, a.end) <= (b.start, b.end):
            combined.append(a)
            i += 1
        else:
            combined.append(b)
            j += 1
    return combined + ours[i:] + theirs[j:]


def _apply(base: Sequence[str], edits: list[_Edit]) -> Iterator[str]:
    at = 0
    for edit in edits:
        yield from base[at : edit.start]
        yield from edit.tokens
        at = edit.end
    yield from base[at:]


def _matches(a: Sequence[str], b: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Matching blocks (start in a, start in b, length) in order, ending with an empty one.

    Patience: anchor on tokens that are unique on both sides, then search what lies
    between. A gap without anchors gets a bounded shortest-edit search; past the bound it
    counts as rewritten, which can only make a merge more careful, never wrong.
    """
    pairs: list[tuple[int, int]] = []
    steps = _SEARCH_STEPS
    gaps = [(0, len(a), 0, len(b))]
    while gaps:
        a_from, a_to, b_from, b_to = gaps.pop()
        while a_from < a_to and b_from < b_to and a[a_from] == b[b_from]:
            pairs.append((a_from, b_from))
            a_from, b_from = a_from + 1, b_from + 1
        while a_from < a_to and b_from < b_to and a[a_to - 1] == b[b_to - 1]:
            a_to, b_to = a_to - 1, b_to - 1
            pairs.append((a_to, b_to))
        if a_from == a_to or b_from == b_to:
            continue
        anchors = _anchors(a, a_from, a_to, b, b_from, b_to)
        if anchors:
            for i, j in [*anchors, (a_to, b_to)]:
                gaps.append((a_from, i, b_from, j))
                a_from, b_from = i, j
            # Each anchor starts the gap that follows it, so it is matched there as a prefix.
        elif steps > 0:
            found, spent = _shortest(a, a_from, a_to, b, b_from, b_to, steps)
            steps -= spent
            pairs.extend(found)
    pairs.sort()
    at = 0
    while at < len(pairs):
        start = at
        while at + 1 < len(pairs) and pairs[at + 1] == (pairs[at][0] + 1, pairs[at][1] + 1):
            at += 1
        at += 1
        yield (*pairs[start], at - start)
    yield len(a), len(b), 0


def _anchors(
    a: Sequence[str], a_from: int, a_to: int, b: Sequence[str], b_from: int, b_to: int
) -> list[tuple[int, int]]:
    """The longest rising run of tokens that occur exactly once in each of both ranges."""
    seen_a = _single_places(a, a_from, a_to)
    seen_b = _single_places(b, b_from, b_to)
    shared = [(i, seen_b[token]) for token, i in seen_a.items() if i >= 0 and seen_b.get(token, -1) >= 0]
    tails: list[int] = []
    tail_at: list[int] = []
    before: list[int] = []
    for number, (_, j) in enumerate(shared):
        length = bisect_left(tails, j)
        before.append(tail_at[length - 1] if length else -1)
        if length == len(tails):
            tails.append(j)
            tail_at.append(number)
        else:
            tails[length] = j
            tail_at[length] = number
    run = []
    at = tail_at[-1] if tail_at else -1
    while at >= 0:
        run.append(shared[at])
        at = before[at]
    return run[::-1]


def _single_places(tokens: Sequence[str], start: int, end: int) -> dict[str, int]:
    """Token -> its place, or -1 where it occurs more than once."""
    places: dict[str, int] = {}
    for place in range(start, end):
        places[tokens[place]] = -1 if tokens[place] in places else place
    return places


def _shortest(
    a: Sequence[str], a_from: int, a_to: int, b: Sequence[str], b_from: int, b_to: int, steps: int
) -> tuple[list[tuple[int, int]], int]:
    """Myers' shortest edit search: the matched pairs and the steps taken; no pairs past `steps`."""
    n, m = a_to - a_from, b_to - b_from
    reach = {1: 0}
    trail: list[dict[int, int]] = []
    spent = 0
    for distance in range(n + m + 1):
        trail.append(dict(reach))
        for k in range(-distance, distance + 1, 2):
            down = k == -distance or (k != distance and reach[k - 1] < reach[k + 1])
            x = reach[k + 1] if down else reach[k - 1] + 1
            y = x - k
            while x < n and y < m and a[a_from + x] == b[b_from + y]:
                x, y = x + 1, y + 1
                spent += 1
            reach[k] = x
            spent += 1
            if x >= n and y >= m:
                return _walked_back(trail, n, m, a_from, b_from), spent
        spent += len(reach)  # the copy of `reach` kept for the way back
        if spent > steps:
            break
    return [], spent


def _walked_back(
    trail: list[dict[int, int]], x: int, y: int, a_from: int, b_from: int
) -> list[tuple[int, int]]:
    pairs = []
    for distance in range(len(trail) - 1, -1, -1):
        reach = trail[distance]
        k = x - y
        down = k == -distance or (k != distance and reach[k - 1] < reach[k + 1])
        from_k = k + 1 if down else k - 1
        from_x = reach[from_k] if distance else 0
        from_y = from_x - from_k if distance else 0
        while x > from_x and y > from_y:
            x, y = x - 1, y - 1
            pairs.append((a_from + x, b_from + y))
        x, y = from_x, from_y
    return pairs


def marked(one: str, other: str) -> tuple[list[tuple[str, bool]], list[tuple[str, bool]]]:
    """Both texts in pieces, each with whether it differs from the other text."""
    a, b = _WORD.findall(one), _WORD.findall(other)
    first: list[tuple[str, bool]] = []
    second: list[tuple[str, bool]] = []
    at_a = at_b = 0
    for i, j, length in _matches(a, b):
        for pieces, tokens, start, end in ((first, a, at_a, i), (second, b, at_b, j)):
            if start < end:
                pieces.append(("".join(tokens[start:end]), True))
        if length:
            same = "".join(a[i : i + length])
            first.append((same, False))
            second.append((same, False))
        at_a, at_b = i + length, j + length
    return first, second
