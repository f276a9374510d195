"""A record's bytes are those of docs/vectors, and of the server's own description of its types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from logomesh_client.records import TYPES, canonical, compose_id, digest, empty_record, sector, split_id
from sync.core.schema import RECORD_TYPES, Merge
from sync.core.schema import Kind as ServerKind

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "docs" / "vectors" / "records.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("case", VECTORS["records"], ids=lambda case: case["id"])
def test_a_record_has_these_bytes(case: dict[str, Any]) -> None:
    type_, id_, record = case["type"], case["id"], case["record"]
    assert canonical(type_, id_, record).decode() == case["canonical"]
    assert f"{digest(type_, id_, record):016x}" == case["hash"]
    assert sector(type_, id_) == case["sector"]


def test_composed_ids_are_spelled_like_this() -> None:
    for case in VECTORS["composed_ids"]:
        assert compose_id(case["parts"]) == case["id"]
        assert split_id(case["id"]) == case["parts"]
    for id_ in VECTORS["not_composed"]:
        assert split_id(id_) is None


def test_the_types_are_those_of_the_server() -> None:
    assert list(TYPES) == list(RECORD_TYPES)
    for name, ours in TYPES.items():
        theirs = RECORD_TYPES[name]
        assert (ours.identity, ours.own_id, dict(ours.parents)) == (
            theirs.identity,
            theirs.own_id,
            dict(theirs.parents),
        )
        assert ours.hashed is not theirs.opt_in
        for field, known in zip(ours.fields, theirs.fields, strict=True):
            assert (field.name, field.kind.value, field.columns) == (
                known.name,
                known.kind.value,
                known.columns,
            )
            assert field.layout is (known.merge in (Merge.LAYOUT, Merge.LATEST))
        assert empty_record(name) == {
            f.name: {} if f.kind is ServerKind.OBJECT else None for f in theirs.fields
        }
