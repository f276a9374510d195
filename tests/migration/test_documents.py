"""Every JSON format that a LogoMesh ever wrote, made here in its own shape, becomes the same records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.migration.importing import assess, migrate, records_of
from tests.sync.devices import Device

pytestmark = pytest.mark.django_db
AT = "2025-09-20T10:00:00.000Z"
TIMES = {"created_at": AT, "updated_at": AT}


def thought(named: str = "thought_bubble_id", tags: Any = None, **more: Any) -> dict[str, Any]:
    return {
        named: "tb_1", "title": "The Self", "description": "é", **TIMES, "position": {"x": 120, "y": 0.1},
        "tags": [{"name": "Mind", "color": "#f97316"}] if tags is None else tags,
        "segments": [
            {"segment_id": f"seg_{n}", "title": f"Part {n}", "content": "…", "fields": {"Why": ["a", 1.5]}, **more}
            for n in range(2)
        ],
    }  # fmt: skip


def exported(**head: Any) -> dict[str, Any]:
    return {"exportDate": AT, "version": "1.0.0", **head}


FULL = {"color": "#3b82f6", "fields": {}, "metadata": {}}
FORMATS: dict[str, tuple[str, Any]] = {
    "a bare array": ("J0", [thought()]),
    "v0.5": ("J1", {"export_metadata": {"version": "0.5", "author": "J", "tool": "ThoughtWeb"}, "thoughts": [thought(embedding_vector=[0.5, -0.25])]}),
    "v0.5.0": ("J2", {"export_metadata": {"version": "0.5.0", "tool": "ThoughtWeb React"}, "thoughts": [thought(embedding_vector=[])]}),
    "v0.5.0 with id": ("J2", {"export_metadata": {"version": "0.5.0", "tool": "ThoughtWeb React"}, "thoughts": [thought("id")]}),
    "seed": ("J2b", {"export_metadata": {"version": "0.1", "tool": "x"}, "thoughts": [thought()], "nodes": [{"n": 1}, 2], "relationships": [], "fieldTypes": {}}),
    "2025-05-28": ("J3", {"metadata": exported(), "thoughts": [thought() | FULL]}),
    "2025-07-09": ("J4", {"success": True, "data": {"metadata": exported(thoughtCount=1), "thoughts": [thought() | FULL]}, "metadata": {"originalCount": 1}}),
    "2025-07-11": ("J5", {"success": True, "data": {"metadata": exported(), "thoughts": [thought()]}, "metadata": {}}),
    "2025-09-10": ("J6", {"success": True, "data": {"metadata": exported(), "thoughts": [thought("id")]}, "metadata": {}}),
    "2025-09-10 unwrapped": ("J6", {"metadata": exported(), "thoughts": [thought("id")]}),
    "tags as texts": ("J6", {"metadata": exported(), "thoughts": [thought("id", tags=["Mind"])]}),
    "localStorage": ("localStorage", {"thought-web-data": json.dumps({"export_metadata": {"version": "0.5.0", "thought_count": 1}, "thoughts": [thought()]}), "thought-web-dark-mode": "true", "database_config": '{"password": "x"}'}),
    "localStorage, array": ("localStorage", {"thought-web-data": json.dumps([thought()])}),
    "localStorage, first days": ("localStorage", {"thoughts": json.dumps([thought()])}),
    "localStorage, its value": ("localStorage", {"export_metadata": {"version": "0.5.0", "thought_count": 1}, "thoughts": [thought()]}),
}  # fmt: skip


def write(path: Path, document: Any, **options: Any) -> Path:
    path.write_text(json.dumps(document, **options))
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_becomes_the_same_records(name: str, space: Any, laptop: Device, tmp_path: Path) -> None:
    format_, document = FORMATS[name]
    imported = migrate(laptop.caller, space.pk, write(tmp_path / "file.json", document))
    report = imported.report
    assert report["dialect"] == format_
    assert {table: report["tables"][table]["migrated"] for table in ("thoughts", "segments", "tags", "thought_tags")} == {
        "thoughts": 1, "segments": 2, "tags": 1, "thought_tags": 1
    }  # fmt: skip
    found = records_of(space.pk, "thoughts")["tb_1"]
    assert (found["title"], found["description"], found["position_x"], found["position_y"]) == (
        "The Self",
        "é",
        120,
        0.1,
    )
    assert found["created_at"] == "2025-09-20T10:00:00.000000Z"
    parts = sorted(records_of(space.pk, "segments").values(), key=lambda part: part["sort_order"])
    assert [(part["id"], part["thought_id"], part["fields"]) for part in parts] == [
        ("seg_0", "tb_1", {"Why": ["a", 1.5]}), ("seg_1", "tb_1", {"Why": ["a", 1.5]})
    ]  # fmt: skip
    assert records_of(space.pk, "tags")["tag_mind"]["name"] == "Mind"
    assert set(records_of(space.pk, "thought_tags")) == {"tb_1/tag_mind"}


def test_a_vector_of_numbers_becomes_an_embedding(space: Any, laptop: Device, tmp_path: Path) -> None:
    migrate(laptop.caller, space.pk, write(tmp_path / "file.json", FORMATS["v0.5"][1]))
    assert {found["dimensions"] for found in records_of(space.pk, "embeddings").values()} == {2}


def test_what_is_no_thought_is_kept_row_by_row(space: Any, laptop: Device, tmp_path: Path) -> None:
    imported = migrate(laptop.caller, space.pk, write(tmp_path / "file.json", FORMATS["seed"][1]))
    nodes = imported.report["tables"]["document_nodes"]
    assert (nodes["rows_in"], nodes["set_aside"], nodes["reasons"]) == (2, 2, {"unknown-table": 2})


def test_secrets_of_the_browser_stay_in_the_file(space: Any, laptop: Device, tmp_path: Path) -> None:
    imported = assess(laptop.caller, space.pk, write(tmp_path / "file.json", FORMATS["localStorage"][1]))
    assert "database_config" in imported.assessment["not_executed"]
    assert not any("database_config" in table for table in imported.assessment["tables"])


def test_tags_of_one_slug_stay_apart_and_a_colour_of_its_own_stays_with_the_link(
    space: Any, laptop: Device, tmp_path: Path
) -> None:
    tags = [
        {"name": "C", "color": "red"},
        {"name": "C++", "color": "blue"},
        "C#",
        {"name": "質"},
        {"name": "C", "color": "red"},
    ]
    document = [
        {"id": "t", "tags": tags},
        {"id": "u", "tags": [{"name": "C", "color": "green"}, "C++", None, {"color": 1}]},
    ]
    imported = migrate(laptop.caller, space.pk, write(tmp_path / "file.json", document))
    names = {found["name"]: id_ for id_, found in records_of(space.pk, "tags").items()}
    assert set(names) == {"C", "C++", "C#", "質"}
    assert names["C"] == "tag_c"
    links = records_of(space.pk, "thought_tags")
    assert links["u/tag_c"]["extra"] == {"color": "green"}
    assert "extra" not in links["t/tag_c"]
    assert imported.report["tables"]["thought_tags"]["reasons"] == {"duplicate-id": 1, "missing-tag": 2}


def test_members_that_nobody_knows_are_kept(space: Any, laptop: Device, tmp_path: Path) -> None:
    document = [
        {
            "id": "t",
            "mood": "calm",
            "attributes": [{"fieldName": "a"}],
            "Mood": 2,
            "rowid": 5,
            "position": {"x": 1, "z": 3},
        }
    ]
    migrate(laptop.caller, space.pk, write(tmp_path / "file.json", document))
    extra = records_of(space.pk, "thoughts")["t"]["extra"]
    assert extra["mood"] == "calm"
    assert json.loads(extra["attributes"]) == [{"fieldName": "a"}]
    assert json.loads(extra["further_members"]) == {"Mood": 2, "rowid": 5, "position.z": 3}


def test_what_json_can_spell_and_nobody_can_store_keeps_its_original(
    space: Any, laptop: Device, tmp_path: Path
) -> None:
    text = '[{"id":"t","title":"a\\u0000b","description":"\\ud83d!","fields":{"n":1e400,"h":"\\uD83D"},"metadata":[1]}]'
    (tmp_path / "file.json").write_text(text)
    migrate(laptop.caller, space.pk, tmp_path / "file.json")
    found = records_of(space.pk, "thoughts")["t"]
    assert (found["title"], found["metadata"]) == ("a\u2400b", {})
    assert found["extra"]["originals"]["fields"] == '{"n":1e400,"h":"\\uD83D"}'
    assert found["extra"]["originals"]["metadata"] == "[1]"
    assert found["extra"]["originals"]["title"] == {"base64": "YQBi"}
    assert set(found["extra"]["originals"]) == {"title", "description", "fields", "metadata"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_other_encodings_are_read(encoding: str, space: Any, laptop: Device, tmp_path: Path) -> None:
    (tmp_path / "file.json").write_bytes(
        json.dumps([{"id": "t", "title": "ünï"}], ensure_ascii=False).encode(encoding)
    )
    migrate(laptop.caller, space.pk, tmp_path / "file.json")
    assert records_of(space.pk, "thoughts")["t"]["title"] == "ünï"


def test_a_second_import_of_the_same_document_changes_nothing(
    space: Any, laptop: Device, tmp_path: Path
) -> None:
    path = write(tmp_path / "file.json", FORMATS["2025-09-10"][1])
    migrate(laptop.caller, space.pk, path)
    before = records_of(space.pk, "thoughts")
    imported = migrate(laptop.caller, space.pk, path)
    assert imported.report["tables"]["segments"]["already_there"] == 2
    assert records_of(space.pk, "thoughts") == before


@pytest.mark.parametrize("text", ['{"thoughts":[{"id":', "[1, 2]", '{"users": []}', "[" * 100_000])
def test_other_documents_are_refused_with_what_they_are(
    text: str, space: Any, laptop: Device, tmp_path: Path
) -> None:
    (tmp_path / "file.json").write_text(text)
    imported = assess(laptop.caller, space.pk, tmp_path / "file.json")
    assert imported.state == "failed"
    assert imported.problem["type"] in ("not-json", "foreign-document")
