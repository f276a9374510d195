"""Three-way text merge: nothing that anybody wrote may vanish, whatever the texts."""

import random
import re
import time

from hypothesis import given
from hypothesis import strategies as st

from sync.core.text import merge_text, propose_text

sentences = st.lists(
    st.sampled_from(["Alpha one.", "Beta two!", "Gamma.", "Is it?", "\n", "no end", "Alpha one."]), max_size=8
).map(" ".join)
texts = st.one_of(sentences, st.text(alphabet="ab .\n", max_size=30))


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


@given(texts, texts)
def test_it_takes_the_only_edit(base: str, edited: str) -> None:
    assert merge_text(base, edited, base) == edited
    assert merge_text(base, base, edited) == edited
    assert merge_text(base, edited, edited) == edited


@given(texts, texts, texts)
def test_it_merges_alike_whoever_was_first(base: str, server: str, client: str) -> None:
    assert merge_text(base, server, client) == merge_text(base, client, server)


@given(texts, texts, texts)
def test_it_keeps_every_word_that_somebody_added(base: str, server: str, client: str) -> None:
    merged = merge_text(base, server, client)
    if merged is not None:
        added = {*words(server), *words(client)} - {*words(base)}
        assert added <= {*words(merged)}
        assert {*words(merged)} <= {*words(base), *words(server), *words(client)}


def test_it_combines_edits_in_different_sentences() -> None:
    base = "Take 10 mg. Drink water. Sleep.\nSee the doctor."
    server = base.replace("10", "15")
    client = base.replace("Sleep.", "Sleep well.") + "\nRest."
    assert merge_text(base, server, client) == "Take 15 mg. Drink water. Sleep well.\nSee the doctor.\nRest."


def test_it_never_mixes_two_edits_of_one_sentence_by_itself() -> None:
    base, server, client = "Take 10 mg/day.", "Take 15 mg/day.", "Take 10 mg/week."
    assert merge_text(base, server, client) is None
    assert propose_text(base, server, client) == "Take 15 mg/week."


def test_it_proposes_nothing_where_words_collide() -> None:
    assert propose_text("ten mg", "five mg", "six mg") is None


def test_two_insertions_at_one_place_are_a_conflict() -> None:
    assert merge_text("A. B.", "A. X. B.", "A. Y. B.") is None


def test_two_insertions_meet_however_each_text_is_aligned() -> None:
    """Another edit of the same side decides which of two equal spaces counts as the added one."""
    base, client = "A. B. C.", "A. B. Y. C."
    assert merge_text(base, "A1. B. X. C.", client) is None
    assert merge_text(base, "A1. B. C.", client) == "A1. B. Y. C."


def test_large_texts_end_soon() -> None:
    """No promise about speed, which the benchmark measures: only that nothing hangs."""
    chance = random.Random(7)
    prose = " ".join(
        f"w{chance.randrange(5000)}{'.' if chance.random() < 0.1 else ''}" for _ in range(170_000)
    )
    edited = prose.replace("w1 ", "EDIT ", 5)
    repetitive = ["".join(chance.choice(["a.\n", "b.\n"]) for _ in range(100_000)) for _ in range(3)]
    started = time.monotonic()
    assert merge_text(prose, edited, prose + " End.") == edited + " End."
    assert merge_text(*repetitive) is None
    assert time.monotonic() - started < 30
