"""The golden cases of docs/vectors, which clients in any language are held against too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sync.core.records import canonical, compose_id, hash_of, key_and_sector, split_id

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "docs" / "vectors" / "records.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("case", VECTORS["records"], ids=lambda case: case["id"])
def test_a_record_has_these_bytes(case: dict[str, Any]) -> None:
    type_, id_, record = case["type"], case["id"], case["record"]
    assert canonical(type_, id_, record).decode() == case["canonical"]
    assert hash_of(type_, id_, record).hex() == case["hash"]
    assert key_and_sector(type_, id_)[1] == case["sector"]


def test_composed_ids_are_spelled_like_this() -> None:
    for case in VECTORS["composed_ids"]:
        assert compose_id(case["parts"]) == case["id"]
        assert split_id(case["id"]) == case["parts"]
    for id_ in VECTORS["not_composed"]:
        assert split_id(id_) is None
