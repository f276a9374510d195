"""A space as LogoMesh's JSON export: LogoMesh's shape, and the very same space when it is imported again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from migration.export.document import write_document
from migration.export.reading import Chosen
from sync.pull.scope import Scope
from tests.logomesh_files import full
from tests.migration.export.odd_pushes import odd_pushes
from tests.migration.importing import differences, digest_of, migrate
from tests.sync.devices import Device, change, make_device, make_space

pytestmark = pytest.mark.django_db


def again(space: Any, path: Path) -> Any:
    write_document(Chosen(space.pk), path)
    copy = make_space()
    migrate(make_device(copy).caller, copy.pk, path)
    assert differences(space.pk, copy.pk) == []
    assert digest_of(copy.pk) == digest_of(space.pk)
    return copy


@pytest.mark.parametrize("dialect", ["S1", "S2", "S2x", "S3", "S4"])
def test_what_came_from_a_file_survives(dialect: str, space: Any, laptop: Device, tmp_path: Path) -> None:
    migrate(laptop.caller, space.pk, full(tmp_path / "file.sqlite3", dialect))
    again(space, tmp_path / "export.json")


def test_whatever_devices_pushed_survives(space: Any, laptop: Device, tmp_path: Path) -> None:
    results = laptop.push(*odd_pushes())
    assert {result["status"] for result in results} == {"applied"}, results
    again(space, tmp_path / "export.json")


def test_the_shape_is_logomeshs_own(space: Any, laptop: Device, tmp_path: Path) -> None:
    at = "2025-09-20T10:00:00.123Z"
    times = {"created_at": at, "updated_at": at}
    laptop.push(
        change(
            "thoughts", "t", set={"title": "T", "position_x": 1.5, "position_y": 2, "color": "red", **times}
        ),
        change(
            "segments",
            "s",
            set={"thought_id": "t", "title": "S", "content": "C", "fields": {"a": 1}, **times},
        ),
        change("tags", "tag_c", set={"name": "C", "color": "#10b981", "created_at": at}),
        change("thought_tags", "t/tag_c", set={"created_at": at}),
    )
    write_document(Chosen(space.pk), tmp_path / "export.json")
    document = json.loads((tmp_path / "export.json").read_bytes())
    assert document["success"] is True
    assert document["data"]["metadata"]["version"] == "1.0.0"
    assert document["data"]["metadata"]["thoughtCount"] == document["data"]["metadata"]["segmentCount"] == 1
    assert document["data"]["thoughts"] == [
        {
            "id": "t", "title": "T", "description": None, "color": "red", "fields": {}, "metadata": {},
            "position": {"x": 1.5, "y": 2}, **times,
            "tags": [{"id": "tag_c", "name": "C", "color": "#10b981"}],
            "segments": [
                {"segment_id": "s", "thought_bubble_id": "t", "title": "S", "content": "C",
                 "fields": {"a": 1}, "metadata": {}, **times},
            ],
        }
    ]  # fmt: skip


def test_a_scope_chooses_thoughts(space: Any, laptop: Device, tmp_path: Path) -> None:
    migrate(laptop.caller, space.pk, full(tmp_path / "file.sqlite3", "S2x"))
    write_document(Chosen(space.pk, Scope(tags=("tag_c",))), tmp_path / "export.json")
    thoughts = json.loads((tmp_path / "export.json").read_bytes())["data"]["thoughts"]
    assert [(thought["id"], len(thought["segments"])) for thought in thoughts] == [("t0", 3)]
