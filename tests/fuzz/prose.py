"""Texts whose merge is beyond doubt, and that merge.

A text is `Start. …sentences that get edited… Middle. …sentences that were added… End.` Every sentence is
unlike every other, edits replace one of the first kind or add one right after `Middle`. So there is one
right alignment of two versions, and the oracle needs no diff. Texts of any other form are rewritten whole.

But for one thing: a person who decides a conflict may put an older text in place of a newer one, and so take
added sentences away again. Such texts the product's own merge must merge; its own tests prove that one.
"""

from __future__ import annotations

import re
from random import Random

from sync.core.text import merge_text

_SENTENCE = re.compile(r"(?<=\.) ")
_WORDS = ("memory", "recall", "trace", "schema", "priming", "theory", "cue", "salience")


def token(chance: Random) -> str:
    """A word that nobody else writes."""
    return f"{chance.choice(_WORDS)}{chance.randrange(16**8):08x}"


def sentence(chance: Random) -> str:
    return f"{token(chance)} {chance.choice(_WORDS)} {token(chance)}."


def text(chance: Random) -> str:
    middle = [sentence(chance) for _ in range(chance.randint(1, 5))]
    return " ".join([f"Start {token(chance)}.", *middle, "Middle.", "End."])


def edited(chance: Random, before: str | None) -> str:
    parts = _parts(before)
    if before is None:
        return text(chance)
    if parts is None or chance.random() < 0.05:
        return f"{token(chance)}."
    start, middle, added = parts
    if chance.random() < 0.3:
        added = [sentence(chance), *added]
    else:
        number = chance.randrange(len(middle))
        words = middle[number].split(" ")
        words[chance.choice((0, 2))] = token(chance)
        if not words[2].endswith("."):
            words[2] += "."
        middle = [*middle[:number], " ".join(words), *middle[number + 1 :]]
    return _joined(start, middle, added)


def merged(base: object, server: object, client: object) -> str | None:
    """Both edits in one text; None where they meet."""
    found = [_parts(side) if isinstance(side, str) else None for side in (base, server, client)]
    if None in found:
        return None
    (start, middle, added), (start_1, middle_1, added_1), (start_2, middle_2, added_2) = found  # type: ignore[misc]
    if not start == start_1 == start_2 or not len(middle) == len(middle_1) == len(middle_2):
        return None
    if not (_ends_with(added_1, added) and _ends_with(added_2, added)):
        return merge_text(base, server, client)  # type: ignore[arg-type]
    new_1, new_2 = added_1[: len(added_1) - len(added)], added_2[: len(added_2) - len(added)]
    if new_1 and new_2 and new_1 != new_2:
        return None
    for a, b, c in zip(middle, middle_1, middle_2, strict=True):
        if a != b and a != c and b != c:
            return None
    both = [b if a == c else c for a, b, c in zip(middle, middle_1, middle_2, strict=True)]
    return _joined(start, both, [*(new_1 or new_2), *added])


def _ends_with(sentences: list[str], end: list[str]) -> bool:
    return sentences[len(sentences) - len(end) :] == end


def _parts(written: str | None) -> tuple[str, list[str], list[str]] | None:
    sentences = _SENTENCE.split(written or "")
    if (
        sentences.count("Middle.") != 1
        or sentences[-1] != "End."
        or not sentences[0].startswith("Start ")
        or "\n" in (written or "")
    ):
        return None
    at = sentences.index("Middle.")
    return sentences[0], sentences[1:at], sentences[at + 1 : -1]


def _joined(start: str, middle: list[str], added: list[str]) -> str:
    return " ".join([start, *middle, "Middle.", *added, "End."])
