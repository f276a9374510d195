"""What devices may push and no column of LogoMesh's can hold."""

from __future__ import annotations

from typing import Any

from tests.sync.devices import change

_OLD = {"created_at": "2025-06-01T00:00:00.000Z", "updated_at": "2025-06-01T00:00:00.000Z"}


def odd_pushes() -> list[dict[str, Any]]:
    """What devices may push and LogoMesh's columns cannot hold."""
    thought = {"title": "T", "created_at": "2025-09-20T10:00:00.123456Z", "updated_at": None}
    return [
        change("thoughts", "bare", set={"title": None}),
        change("thoughts", "t/ü 1", set=thought | {"position_x": 0.1, "position_y": 1e300, "color": None}),
        change(
            "thoughts",
            "extra",
            set={
                "title": "X",
                "mood": "calm",
                "Title": "other case",
                "tag_name": "S1?",
                "nested": {"a": [1, None]},
                "rowid": 5,
                "big": 2.5,
            },
        ),
        change(
            "thoughts",
            "json",
            set={
                "title": "",
                "fields": {"": 1, "a.b": {"c": [True]}, "ключ": "😀"},
                "metadata": {"fields": {"x": 1}},
            },
        ),
        change("segments", "s1", set={"thought_id": "bare", "content": "first", "sort_order": 1}),
        change("segments", "s2", set={"thought_id": "bare", "content": "second", "sort_order": 1}),
        change(
            "segments",
            "s3",
            set={
                "thought_id": "bare",
                "title": "t",
                "asset_path": "a.png",
                "fields": {"Who": "me"},
                "metadata": {"fields": 3},
            },
        ),
        change(
            "segments",
            "s4",
            set={"thought_id": "bare", "fields": {"Who": "me"}, "metadata": {"k": 1}, **_OLD},
        ),
        change("segments", "s5", set={"thought_id": "bare", "fields": {"Who": "me"}, **_OLD}),
        change("segments", "s6", set={"thought_id": "bare", "metadata": {"Who": "me"}, **_OLD}),
        change("tags", "tag_c", set={"name": "C", "color": None}),
        change("tags", "tag_c2", set={"name": "C"}),
        change("tags", "tag_c3", set={"name": "C"}),
        change("tags", "none", set={}),
        change("thought_tags", "bare/tag_c", set={"note": {"why": "?"}}),
        change("segment_tags", "s1/tag_c2", set={}),
        change("segment_fields", "f", set={"segment_id": "s1", "value": "v"}),
        change("segment_neighbors", "s1/s1/related", set={"strength": 7.25, "metadata": {"a": 1}}),
        change("segment_related_context", "c", set={"segment_id": "s1", "relevance": 0.25, "data": "[1,2]"}),
        change(
            "segment_related_context",
            "c2",
            set={"segment_id": "s1", "context_type": "embedding", "data": "[1,2]"},
        ),
        change("thoughts", "numbers", set={"metadata": {"big": 1.2345678901234567e19, "n": [1e21, 1e-7]}}),
        change("segment_llm_history", "h", set={"segment_id": "s2", "response": "r\n"}),
    ]
