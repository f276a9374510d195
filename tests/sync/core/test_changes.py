"""Strict decoding: whatever comes, it is taken whole or refused with a place, and never breaks anything."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sync.core.changes import CONFLICTS, Change, Malformed, Refused, parse, read_change, time_in_feed_form
from sync.core.merging import created
from sync.core.records import canonical, empty_record, key_and_sector
from sync.core.schema import RECORD_TYPES

UUID7 = "01980000-0000-7000-8000-000000000001"
# Half surrogates, NUL, infinity and integers of any size are among them: JSON can spell them all.
texts = st.text(st.characters()) | st.sampled_from(
    ["\ud800", "nul\0", "2025-06-08T09:30:00Z", "a/b", "fields.x"]
)
numbers = st.integers() | st.floats() | st.sampled_from([2**53, -(2**53), 1e308])
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    sorted(
        {field.name for type_ in RECORD_TYPES.values() for field in type_.fields} | {"extra", "id", "mood"}
    )
)
changes = st.fixed_dictionaries(
    {
        "change_id": st.just(UUID7) | values,
        "type": st.sampled_from([*RECORD_TYPES, CONFLICTS]) | values,
        "id": st.sampled_from(["a", "a/b", "a/b/c", "a%2Fb/c"]) | texts,
    },
    optional={
        "base": st.integers(0, 9) | values,
        "set": st.dictionaries(names | texts, values, max_size=4) | values,
        "unset": st.lists(names | texts, max_size=3) | values,
        "delete": st.booleans() | values,
        "other": values,
    },
)


@given(st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode()))
def test_a_body_is_read_or_malformed(body: bytes) -> None:
    try:
        parse(body)
    except Malformed as why:
        assert str(why)


@given(changes | values)
def test_a_change_is_read_or_refused_at_a_place_in_it(raw: Any) -> None:
    try:
        read_change(raw)
    except Refused as why:
        assert why.type in {"invalid-value", "invalid-id", "unknown-type"}
        assert why.title and why.detail
        json.dumps([why.detail, why.pointer]).encode()
        assert why.pointer == "" or why.pointer.startswith("/")


@given(changes)
def test_what_is_taken_can_be_stored(raw: dict[str, Any]) -> None:
    change = _taken(raw)
    if change is None or change.type == CONFLICTS or change.delete:
        return
    assert (change.key, change.sector) == key_and_sector(change.type, change.id)
    patch = {path: value for path, value in change.patch.items() if value is None or _is_json(value)}
    record = created(RECORD_TYPES[change.type], empty_record(change.type), patch).record
    stored = canonical(change.type, change.id, record)
    assert b"\\u0000" not in stored
    assert json.loads(stored)["id"] == change.id


@given(changes)
def test_the_same_body_has_the_same_hash_whatever_the_order_of_its_members(raw: dict[str, Any]) -> None:
    first, second = _taken(raw), _taken(dict(reversed(raw.items())))
    assert (first and first.body_hash) == (second and second.body_hash)


@given(st.datetimes(), st.sampled_from(["", "Z", "+02:00", "-0730"]))
def test_a_time_in_feed_form_stays_as_it_is(moment: Any, zone: str) -> None:
    found = time_in_feed_form(f"{moment.isoformat()}{zone}")
    if found is not None:  # what the zone moves out of the years 1 to 9999 is refused
        assert len(found) == len("2025-06-08T09:30:00.000000Z")
        assert time_in_feed_form(found) == found


def _taken(raw: dict[str, Any]) -> Change | None:
    try:
        return read_change(raw)
    except Refused:
        return None


def _is_json(value: Any) -> bool:
    return isinstance(value, (str, int, float, list, dict))
