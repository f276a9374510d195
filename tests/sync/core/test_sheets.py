"""Column by column comes out what record by record would."""

from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.core.records import canonical, hash_of, key_and_sector
from sync.core.schema import RECORD_TYPES, Kind
from sync.core.sheets import canonicals, hashes, key_digests, sheet_of
from tests.sync.core.test_records import numbers, objects, texts

VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.TEXT: st.none() | texts,
    Kind.TIME: st.none() | st.just("2025-09-20T10:00:00.123000Z"),
    Kind.NUMBER: st.none() | numbers,
    Kind.OBJECT: objects,
    Kind.BYTES: st.none() | st.binary().map(lambda data: b64encode(data).decode()),
}


def records(type_: str) -> st.SearchStrategy[list[tuple[str, dict[str, Any]]]]:
    fields = {field.name: VALUES[field.kind] for field in RECORD_TYPES[type_].fields}
    extra = {"extra": objects.filter(bool)}
    return st.lists(st.tuples(texts, st.fixed_dictionaries(fields, optional=extra)), max_size=4)


@pytest.mark.parametrize("type_", RECORD_TYPES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_sheet_says_of_each_record_what_the_record_says(type_: str, data: st.DataObject) -> None:
    found = data.draw(records(type_))
    sheet = sheet_of(type_, found)
    assert canonicals(sheet) == [canonical(type_, id_, record) for id_, record in found]
    assert hashes(sheet) == [hash_of(type_, id_, record) for id_, record in found]
    keys = [(digest[:16], digest[31]) for digest in key_digests(type_, sheet.ids)]
    assert keys == [key_and_sector(type_, id_) for id_, _ in found]
