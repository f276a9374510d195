"""Canonical bytes: fast, and exactly RFC 8785."""

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from sync.core.records import canonical, compose_id, empty_record, hash_of, key_and_sector, split_id

texts = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)
objects = st.dictionaries(texts, values, max_size=5)


@given(texts, texts, st.none() | numbers, objects, objects)
def test_it_writes_what_rfc_8785_says(
    id_: str, title: str, position: float | None, fields: dict[str, object], extra: dict[str, object]
) -> None:
    record = empty_record("thoughts") | {"title": title, "position_x": position, "fields": fields}
    if extra:
        record["extra"] = extra
    assert canonical("thoughts", id_, record) == rfc8785.dumps({"type": "thoughts", "id": id_, **record})


def test_numbers_are_what_a_json_reader_sees() -> None:
    """PostgreSQL writes 1e30 of a JSONB value with all its digits."""
    for large, small in [(10**30, 1e30), (1, 1.0)]:
        as_integer, as_double = ({**empty_record("thoughts"), "fields": {"n": n}} for n in (large, small))
        assert canonical("thoughts", "a", as_integer) == canonical("thoughts", "a", as_double)


@given(st.lists(texts, min_size=1, max_size=3))
def test_composed_ids_split_into_their_parts(parts: list[str]) -> None:
    assert split_id(compose_id(parts)) == parts


def test_an_id_that_is_spelled_otherwise_has_no_parts() -> None:
    assert split_id("a%2fb") is None
    assert split_id("a b") is None
    assert split_id("%FF") is None
    assert split_id("%7e") is None
    assert compose_id(["a/b", "~x", "é"]) == "a%2Fb/~x/%C3%A9"


def test_key_and_sector_come_from_type_and_id() -> None:
    key, sector = key_and_sector("tags", "tag_c")
    assert len(key) == 16 and 0 <= sector <= 255
    assert key != key_and_sector("thoughts", "tag_c")[0]


def test_the_hash_of_an_empty_thought_never_changes() -> None:
    """Clients compute it too: a change here breaks every proof of convergence."""
    assert hash_of("thoughts", "t", empty_record("thoughts")).hex() == "9431be1153284643"
