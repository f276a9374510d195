"""One record's merge rules by properties: who was first, how often, and that nothing is lost."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sync.core.merging import GONE, Merged, Stored, merge, put, value_at
from sync.core.records import empty_record
from sync.core.schema import RECORD_TYPES

SEGMENT = RECORD_TYPES["segments"]
BASE = 5
TIMES = [f"2025-0{month}-01T00:00:00.000000Z" for month in range(1, 6)]
prose = st.lists(
    st.sampled_from(["Take 10 mg.", "Drink water!", "Sleep.", "See the doctor", "\n", "Why?"]), max_size=6
).map(" ".join)
words = st.sampled_from(["one", "two", "three", None])
values = {
    "title": words,
    "content": prose,
    "cluster_id": words,
    "sort_order": st.sampled_from([1, 2.5, None]),
    "updated_at": st.sampled_from([*TIMES, None]),
    "created_at": st.sampled_from([*TIMES, None]),
    "fields.a": st.sampled_from([1, True, "x", GONE]),
    "fields.b": st.sampled_from([[1], {"k": None}, GONE]),
    "extra.mood": st.sampled_from(["calm", "tense", GONE]),
}
patches = st.fixed_dictionaries({}, optional=values)


@st.composite
def bases(draw: st.DrawFn) -> dict[str, Any]:
    record = empty_record("segments") | {"thought_id": "t"}
    for path, value in draw(patches).items():
        put(record, path, value)
    return record


def edited(record: dict[str, Any], patch: dict[str, Any]) -> tuple[Stored, Merged]:
    """The record after somebody's edit at version 6 that nothing came between."""
    before = Stored(record, BASE, 1, {})
    merged = merge(SEGMENT, before, patch, BASE, {})
    versions = dict.fromkeys(merged.changed, BASE + 1)
    return Stored(merged.record, BASE + 1 if versions else BASE, 1, versions), merged


def met(record: dict[str, Any], first: dict[str, Any], second: dict[str, Any]) -> Merged:
    """What the second edit, made on the same base, comes to after the first."""
    stored, _ = edited(record, first)
    return merge(SEGMENT, stored, second, BASE, {path: value_at(record, path) for path in second})


def tokens(value: Any) -> set[str]:
    return set(re.findall(r"\w+", value)) if isinstance(value, str) else set()


@given(bases(), patches)
def test_an_edit_that_nothing_came_between_is_taken_whole(record: dict[str, Any], patch: Any) -> None:
    _, merged = edited(record, patch)
    assert merged.conflict == merged.lost == {}
    for path, wanted in patch.items():
        assert value_at(merged.record, path) == wanted


@given(bases(), patches)
def test_the_same_edit_again_changes_nothing(record: dict[str, Any], patch: Any) -> None:
    merged = met(record, patch, patch)
    assert merged.changed == merged.conflict == merged.lost == {}


@given(bases(), patches, patches)
def test_what_the_record_was_is_not_touched(record: dict[str, Any], first: Any, second: Any) -> None:
    stored, _ = edited(record, first)
    before = repr(stored.record)
    merge(SEGMENT, stored, second, BASE, {path: value_at(record, path) for path in second})
    assert repr(stored.record) == before


@given(bases(), patches, patches)
def test_edits_of_different_fields_commute(record: dict[str, Any], first: Any, second: Any) -> None:
    second = {path: value for path, value in second.items() if path not in first}
    one, other = met(record, first, second), met(record, second, first)
    assert one.conflict == other.conflict == {}
    assert one.record == other.record


@given(bases(), patches, patches)
def test_what_conflicts_and_what_merges_does_not_depend_on_who_was_first(
    record: dict[str, Any], first: Any, second: Any
) -> None:
    first, second = (
        {path: value for path, value in patch.items() if value != value_at(record, path)}
        for patch in (first, second)
    )
    one, other = met(record, first, second), met(record, second, first)
    assert one.conflict.keys() == other.conflict.keys()
    for path in one.conflict:
        assert one.conflict[path]["server"] == other.conflict[path]["client"]
    if not one.conflict:
        assert value_at(one.record, "content") == value_at(other.record, "content")


@given(bases(), patches, patches)
def test_nothing_that_anybody_wrote_is_lost(record: dict[str, Any], first: Any, second: Any) -> None:
    """A value of either side is in the record, in the conflict, or in what the history keeps."""
    stored, _ = edited(record, first)
    merged = met(record, first, second)
    for path, wanted in second.items():
        if path in ("updated_at", "created_at"):
            continue  # never a conflict: the later, the first
        current = value_at(merged.record, path)
        if path in merged.conflict:
            assert merged.conflict[path]["client"] == wanted
            assert merged.conflict[path]["server"] == value_at(stored.record, path) == current
            assert merged.lost[path] == wanted
        elif path == "content":
            added = tokens(wanted) - tokens(value_at(record, path))
            assert added <= tokens(current)
        else:
            assert current == wanted and type(current) is type(wanted)
    for path, wrote in first.items():
        if path in ("updated_at", "created_at"):
            continue
        current = value_at(merged.record, path)
        if path == "content" and isinstance(current, str):
            assert tokens(wrote) - tokens(value_at(record, path)) <= tokens(current)
        else:
            assert current == wrote or merged.changed.get(path) == wrote
