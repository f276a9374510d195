"""One contract, three places: what a program asks of a StorageAdapter holds on each of them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from logomesh_client.adapters import (
    AlreadyThere,
    CannotHold,
    HybridStorageAdapter,
    InvalidValue,
    NewSegment,
    NewThought,
    NoSuchThought,
    NotOpen,
    RemoteStorageAdapter,
    SQLiteStorageAdapter,
    StorageAdapter,
)
from logomesh_client.file import NotLogoMesh, State
from logomesh_client.wire import Server, Timeouts
from tests.client.app import App, make
from tests.client.link import Faults
from tests.client.serving import Lab

pytestmark = [pytest.mark.xdist_group("client")]
TAGS = [{"name": "C++", "color": "#ff0000"}, {"name": "memory", "color": "#10b981"}]


@pytest.fixture(params=["file", "server", "both"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StorageAdapter]:
    """Each kind of storage, with nothing in it."""
    path = make(tmp_path / "logomesh.sqlite3", "S2x")
    failed = request.session.testsfailed
    if request.param == "file":
        with SQLiteStorageAdapter(path) as file:
            yield file
        return
    lab: Lab = request.getfixturevalue("lab")
    server, space = Server(lab.url, lab.tokens["eva"]), lab.space("eva")
    if request.param == "server":
        with RemoteStorageAdapter(server, space) as remote:
            yield remote
        return
    with HybridStorageAdapter(path, server, space) as both:
        yield both
        if request.session.testsfailed > failed:
            return
        assert both.sync()
        with RemoteStorageAdapter(server, space) as remote:  # what is in the file is on the server
            assert remote.get_all_thoughts() == both.get_all_thoughts()


# The contract


def test_nothing_is_there_at_first(storage: StorageAdapter) -> None:
    assert storage.get_all_thoughts() == []
    assert storage.get_thought_by_id("tb_1") is None
    assert storage.get_segment_by_id("seg_1") is None
    assert storage.get_segments_for_thought("tb_1") == []
    assert storage.update_thought("tb_1", {"title": "New"}) is None
    assert storage.update_segment("tb_1", "seg_1", {"title": "New"}) is None
    assert storage.delete_thought("tb_1") is False
    assert storage.delete_segment("tb_1", "seg_1") is False


def test_a_thought_comes_back_as_it_was_made(storage: StorageAdapter) -> None:
    made = storage.create_thought(
        {
            "title": "Spacing effect",
            "description": "Why cramming fails",
            "color": "#f97316",
            "position": {"x": 12.5, "y": -3},
            "tags": TAGS,
            "fields": {"Location": "Cambridge, MA", "n": 3},
            "metadata": {"source": ["notes", None]},
        }
    )
    assert made["title"] == "Spacing effect"
    assert made["description"] == "Why cramming fails"
    assert made["color"] == "#f97316"
    assert made["position"] == {"x": 12.5, "y": -3}
    assert sorted(made["tags"], key=lambda tag: tag["name"]) == sorted(TAGS, key=lambda tag: tag["name"])
    assert made["fields"] == {"Location": "Cambridge, MA", "n": 3}
    assert made["metadata"] == {"source": ["notes", None]}
    assert made["segments"] == []
    assert made["created_at"] == made["updated_at"]
    assert len(made["created_at"]) == len("2025-09-20T10:00:00.000Z")
    assert made["created_at"].endswith("Z")
    assert storage.get_thought_by_id(made["id"]) == made
    assert storage.get_all_thoughts() == [made]


def test_a_title_is_enough(storage: StorageAdapter) -> None:
    made = storage.create_thought({"title": "Bare"})
    assert made["color"] == "#3b82f6"
    assert made["position"] == {"x": 0, "y": 0}
    assert made["tags"] == made["segments"] == []
    assert made["fields"] == made["metadata"] == {}
    assert "description" not in made
    with pytest.raises(ValueError, match="title"):
        storage.create_thought({})
    with pytest.raises(ValueError, match="content"):
        storage.create_segment(made["id"], {"title": "No content"})


def test_ids_of_the_callers_own(storage: StorageAdapter) -> None:
    odd = "My idea / № 1 " + "x" * 280
    assert storage.create_thought({"id": odd, "title": "Odd"})["id"] == odd
    with pytest.raises(AlreadyThere):
        storage.create_thought({"id": odd, "title": "Again"})
    segment = storage.create_segment(odd, {"id": odd, "title": "Odd too", "content": "Text"})
    assert segment["segment_id"] == segment["thought_bubble_id"] == odd
    with pytest.raises(AlreadyThere):
        storage.create_segment(odd, {"id": odd, "title": "Again", "content": "Text"})
    assert storage.get_segment_by_id(odd) == segment
    thought = storage.get_thought_by_id(odd)
    assert thought is not None
    assert thought["title"] == "Odd"


def test_an_update_changes_what_it_names(storage: StorageAdapter) -> None:
    made = storage.create_thought(
        {"title": "Old", "description": "Kept", "tags": TAGS, "fields": {"a": 1, "b": 2}}
    )
    time.sleep(0.002)
    new = storage.update_thought(made["id"], {"title": "New", "fields": {"b": 3, "c": {"d": []}}})
    assert new is not None
    assert new["title"] == "New"
    assert new["fields"] == {"b": 3, "c": {"d": []}}
    assert new["updated_at"] > made["updated_at"]
    changed = ("title", "fields", "updated_at")
    assert {k: v for k, v in new.items() if k not in changed} == {
        k: v for k, v in made.items() if k not in changed
    }
    moved = storage.update_thought(made["id"], {"position": {"x": 1.5, "y": 2.5}})
    assert moved is not None
    assert moved["position"] == {"x": 1.5, "y": 2.5}
    assert moved["title"] == "New"
    assert storage.get_thought_by_id(made["id"]) == moved


def test_an_update_of_nothing_moves_no_time(storage: StorageAdapter) -> None:
    made = storage.create_thought({"title": "Old"})
    segment = storage.create_segment(made["id"], {"title": "Old", "content": "Text"})
    time.sleep(0.002)
    assert storage.update_thought(made["id"], {}) == storage.get_thought_by_id(made["id"])
    assert storage.update_segment(made["id"], segment["segment_id"], {}) == segment


def test_tags_replace_what_there_was(storage: StorageAdapter) -> None:
    made = storage.create_thought({"title": "Tagged", "tags": TAGS})
    other = storage.create_thought({"title": "Other", "tags": TAGS[:1]})
    names = ["C++", "C", "C#", "to read", "память"]
    new = storage.update_thought(made["id"], {"tags": [{"name": name} for name in names]})
    assert new is not None
    assert sorted(tag["name"] for tag in new["tags"]) == sorted(names)
    assert {"name": "C++", "color": "#ff0000"} in new["tags"]
    assert {"name": "C", "color": "#ffffff"} in new["tags"]
    none = storage.update_thought(made["id"], {"tags": []})
    assert none is not None
    assert none["tags"] == []
    assert storage.get_thought_by_id(other["id"]) == other


def test_segments_hang_on_their_thought(storage: StorageAdapter) -> None:
    thought = storage.create_thought({"title": "Holds"})
    made = []
    for number in range(3):
        made.append(
            storage.create_segment(
                thought["id"],
                {
                    "title": f"Segment {number}",
                    "content": f"Text {number}\nand more",
                    "content_type": "markdown",
                    "abstraction_level": "Idea",
                    "local_priority": 0.25,
                    "cluster_id": "c1",
                    "fields": {"n": number, "who": ["Eva", "Ben"]},
                    "metadata": {"page": 7},
                },
            )
        )
        time.sleep(0.002)
    assert [it["title"] for it in made] == ["Segment 0", "Segment 1", "Segment 2"]
    assert made[1]["content"] == "Text 1\nand more"
    assert made[1]["content_type"] == "markdown"
    assert made[1]["abstraction_level"] == "Idea"
    assert made[1]["local_priority"] == 0.25
    assert made[1]["cluster_id"] == "c1"
    assert made[1]["fields"] == {"n": 1, "who": ["Eva", "Ben"]}
    assert made[1]["metadata"] == {"page": 7}
    assert storage.get_segments_for_thought(thought["id"]) == made
    assert storage.get_segment_by_id(made[2]["segment_id"]) == made[2]
    assert storage.get_all_thoughts()[0]["segments"] == made


def test_a_segment_is_updated_and_deleted_under_its_thought_only(storage: StorageAdapter) -> None:
    thought, other = (storage.create_thought({"title": name}) for name in ("Its", "Another"))
    made = storage.create_segment(
        thought["id"], {"title": "Old", "content": "Text", "fields": {"a": 1}, "metadata": {"m": 1}}
    )
    id_ = made["segment_id"]
    assert storage.update_segment(other["id"], id_, {"title": "New"}) is None
    assert storage.delete_segment(other["id"], id_) is False
    time.sleep(0.002)
    new = storage.update_segment(thought["id"], id_, {"content": "Other text", "fields": {"b": "two"}})
    assert new is not None
    assert (new["title"], new["content"]) == ("Old", "Other text")
    assert (new["fields"], new["metadata"]) == ({"b": "two"}, {"m": 1})
    assert new["updated_at"] > made["updated_at"]
    newer = storage.update_segment(thought["id"], id_, {"metadata": {"m": 2}})
    assert newer is not None
    assert (newer["fields"], newer["metadata"]) == ({"b": "two"}, {"m": 2})
    assert storage.delete_segment(thought["id"], id_) is True
    assert storage.get_segment_by_id(id_) is None
    assert storage.get_segments_for_thought(thought["id"]) == []


def test_a_segment_needs_its_thought(storage: StorageAdapter) -> None:
    with pytest.raises(NoSuchThought, match="tb_gone"):
        storage.create_segment("tb_gone", {"id": "seg_1", "title": "Stray", "content": "Text"})
    assert storage.get_segment_by_id("seg_1") is None


def test_a_deletion_takes_all_that_hangs_on_it(storage: StorageAdapter) -> None:
    gone, stays = (storage.create_thought({"title": name, "tags": TAGS}) for name in ("Gone", "Stays"))
    segment = storage.create_segment(gone["id"], {"title": "A", "content": "Text"})
    assert storage.delete_thought(gone["id"]) is True
    assert storage.delete_thought(gone["id"]) is False
    assert storage.get_segment_by_id(segment["segment_id"]) is None
    assert storage.get_all_thoughts() == [stays]
    again = storage.create_thought({"id": gone["id"], "title": "Gone"})
    assert again["tags"] == again["segments"] == []


NO_VALUES: list[dict[str, Any]] = [
    {"title": 5},
    {"title": "a\0b"},
    {"title": "\ud800"},
    {"title": "x", "fields": {"a": float("nan")}},
    {"title": "x", "fields": {"a": {"b": [2**60]}}},
    {"title": "x", "fields": {"a": 2**70}},
    {"title": "x", "fields": {1: "a"}},
    {"title": "x", "fields": {"a\0": 1}},
    {"title": "x", "fields": [1]},
    {"title": "x", "metadata": "text"},
    {"title": "x", "metadata": {"a": b"bytes"}},
    {"title": "x", "position": {"x": "1", "y": 2}},
    {"title": "x", "position": {"x": float("inf"), "y": 2}},
    {"title": "x", "position": [1, 2]},
    {"title": "x", "id": "i" * 2000},
    {"title": "x", "id": "a\0"},
    {"title": "x", "id": 7},
    {"title": "x", "tags": [{}]},
    {"title": "x", "tags": "memory"},
    {"title": "x", "tags": [{"name": "a\0"}]},
    {"title": "x", "color": 5},
    {"title": "x", "nonsense": 1},
]


def test_what_no_thought_can_have_is_refused_alike(storage: StorageAdapter) -> None:
    kept = storage.create_thought({"title": "Kept"})
    for data in NO_VALUES:
        with pytest.raises(InvalidValue):
            storage.create_thought(cast(NewThought, data))
        with pytest.raises(InvalidValue):
            storage.update_thought(kept["id"], cast(NewThought, data))
    for segment in ({"content": "a\0"}, {"content": "x", "local_priority": "high"}, {"content": 5}):
        with pytest.raises(InvalidValue):
            storage.create_segment(kept["id"], cast(NewSegment, segment))
    assert storage.get_all_thoughts() == [kept]


def test_the_newest_thought_comes_first(storage: StorageAdapter) -> None:
    for number in range(3):
        storage.create_thought({"title": str(number)})
        time.sleep(0.002)
    assert [it["title"] for it in storage.get_all_thoughts()] == ["2", "1", "0"]


def test_it_says_whether_it_is_open(storage: StorageAdapter) -> None:
    assert storage.health_check()["status"] == "ok"
    storage.close()
    storage.close()
    assert storage.health_check()["status"] == "error"
    asks: list[Callable[[], Any]] = [
        storage.get_all_thoughts,
        lambda: storage.get_thought_by_id("tb_1"),
        lambda: storage.create_thought({"title": "Late"}),
        lambda: storage.update_thought("tb_1", {"title": "Late"}),
        lambda: storage.delete_thought("tb_1"),
        lambda: storage.get_segments_for_thought("tb_1"),
        lambda: storage.get_segment_by_id("seg_1"),
        lambda: storage.create_segment("tb_1", {"title": "Late", "content": "Text"}),
        lambda: storage.update_segment("tb_1", "seg_1", {"title": "Late"}),
        lambda: storage.delete_segment("tb_1", "seg_1"),
    ]
    for ask in asks:
        with pytest.raises(NotOpen):
            ask()
    storage.initialize()
    assert storage.get_all_thoughts() == []


# Files of every dialect


HELD: dict[str, set[str]] = {
    "S1": {"title", "description", "color", "position", "tags"},
    "S2": {"title", "description", "color", "position", "tags", "metadata"},
    "S2x": {"title", "description", "color", "position", "tags", "fields", "metadata"},
    "S3": {"title", "description", "color", "position", "tags"},
    "S4": {"title", "description"},
}


@pytest.mark.parametrize("dialect", HELD)
def test_the_app_reads_what_was_written(tmp_path: Path, dialect: str) -> None:
    path = make(tmp_path / "logomesh.sqlite3", dialect)
    whole: dict[str, Any] = {
        "title": "A thought",
        "description": "About it",
        "color": "#f97316",
        "position": {"x": 1.5, "y": 2},
        "tags": TAGS,
        "fields": {"a": 1},
        "metadata": {"b": 2},
    }
    with SQLiteStorageAdapter(path) as storage:
        for name in whole.keys() - HELD[dialect]:
            with pytest.raises(CannotHold, match=dialect):
                storage.create_thought({"title": "Refused", name: whole[name]})  # type: ignore[misc]
        held = {name: value for name, value in whole.items() if name in HELD[dialect]}
        made = storage.create_thought(held)  # type: ignore[arg-type]
        assert {name: made[name] for name in held} == held  # type: ignore[literal-required]
        given: dict[str, Any] = {"content": "Text"}
        if dialect != "S1":
            given["title"] = "A segment"
        if dialect != "S4":
            typed = {} if dialect == "S1" else {"n": 1, "who": ["Eva"], "yes": True}
            given["fields"] = {"Ort/№": "Garching", **typed}
        segment = storage.create_segment(made["id"], given)  # type: ignore[arg-type]
        assert {name: segment[name] for name in given} == given  # type: ignore[literal-required]
        assert storage.get_all_thoughts() == [storage.get_thought_by_id(made["id"])]
    with closing(App.of(path, dialect)) as app:
        [thought] = app.thoughts()
        assert thought["title"] == "A thought"
        assert thought["segments"][0]["content"] == "Text"
        assert sorted(thought["tags"]) == ([] if dialect == "S4" else ["C++", "memory"])
        app.update_thought(made["id"], title="Edited in the app")
    with SQLiteStorageAdapter(path) as storage:
        assert [it["title"] for it in storage.get_all_thoughts()] == ["Edited in the app"]
        assert storage.delete_thought(made["id"])
    with closing(sqlite3.connect(path)) as db:
        for table in ("thoughts", "segments"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0


def test_what_the_app_wrote_is_read(tmp_path: Path) -> None:
    path = make(tmp_path / "logomesh.sqlite3", "S2x")
    with closing(App.of(path, "S2x")) as app:
        id_ = app.create_thought("From the app", tags=["to read"], fields={"a": 1})
        app.create_segment(id_, "Its segment", "Text", fields={"Location": "MIT"})
        app.by_hand("UPDATE thoughts SET metadata = '{not json', created_at = 'yesterday'")
    with SQLiteStorageAdapter(path) as storage:
        [thought] = storage.get_all_thoughts()
        assert thought["fields"] == {"a": 1}
        assert thought["metadata"] == {}
        assert thought["tags"] == [{"name": "to read", "color": "#10b981"}]
        assert thought["segments"][0]["title"] == "Its segment"
        storage.update_thought(thought["id"], {"color": "red"})
    with closing(sqlite3.connect(path)) as db:  # what was not named is as it was
        assert db.execute("SELECT metadata, created_at, color FROM thoughts").fetchall() == [
            ("{not json", "yesterday", "red")
        ]


def test_a_file_that_is_no_logomesh_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotLogoMesh):
        SQLiteStorageAdapter(tmp_path / "missing.sqlite3").initialize()
    (tmp_path / "text").write_text("no database")
    storage = SQLiteStorageAdapter(tmp_path / "text")
    with pytest.raises(NotLogoMesh):
        storage.initialize()
    assert storage.health_check()["status"] == "error"


# A file that is kept in step


def test_nobody_waits_for_the_network(lab: Lab, tmp_path: Path) -> None:
    space = lab.space("eva")
    with lab.link(faults=Faults(swallow_over=1)) as link:  # connections come about, nothing passes
        server = Server(link.url, lab.tokens["eva"], timeouts=Timeouts(idle=1))
        path = make(tmp_path / "logomesh.sqlite3", "S2x")
        with HybridStorageAdapter(path, server, space) as storage:
            began = time.monotonic()
            thought = storage.create_thought({"title": "Written in a tunnel", "tags": TAGS})
            for number in range(20):
                storage.create_segment(thought["id"], {"title": str(number), "content": "Text"})
                time.sleep(
                    0.002
                )  # each at a moment of its own: else the server numbers what only rowids order
            assert len(storage.get_all_thoughts()[0]["segments"]) == 20
            assert time.monotonic() - began < 10  # each of them would have waited for a second
            assert not storage.sync(timeout=30)
            assert storage.state is State.OFFLINE
            assert storage.unsent() > 20
            assert storage.health_check()["status"] == "ok"
            assert "offline" in storage.health_check()["message"]
            link.faults = Faults()
            while not storage.sync():
                assert time.monotonic() - began < 90
            assert storage.health_check() == {"status": "ok"}
            shown = storage.get_all_thoughts()
    with RemoteStorageAdapter(Server(lab.url, lab.tokens["eva"]), space) as remote:
        assert remote.get_all_thoughts() == shown


def test_two_programs_see_each_other(lab: Lab, tmp_path: Path) -> None:
    space = lab.space("eva")
    files = [make(tmp_path / f"{name}.sqlite3", dialect) for name, dialect in (("a", "S2x"), ("b", "S3"))]
    laptops = [HybridStorageAdapter(path, Server(lab.url, lab.device("eva")), space) for path in files]
    with laptops[0] as one, laptops[1] as two:
        made = one.create_thought({"title": "From one", "tags": TAGS})
        assert one.sync()
        assert two.sync()
        there = two.get_thought_by_id(made["id"])
        assert there is not None
        assert there["title"] == "From one"
        two.update_thought(made["id"], {"title": "From the other", "tags": TAGS[:1]})
        assert two.sync()
        deadline = time.monotonic() + 30
        while (now := one.get_thought_by_id(made["id"])) is None or now["title"] != "From the other":
            assert time.monotonic() < deadline  # nobody asks for it: it comes by itself
            time.sleep(0.05)
        assert now["tags"] == TAGS[:1]
        assert one.delete_thought(made["id"])
        assert one.sync()
        assert two.sync()
        assert two.get_all_thoughts() == []


def test_a_file_that_becomes_another_is_said(lab: Lab, tmp_path: Path) -> None:
    path = make(tmp_path / "logomesh.sqlite3", "S2x")
    with HybridStorageAdapter(path, Server(lab.url, lab.device("eva")), lab.space("eva")) as storage:
        assert storage.sync()
        path.unlink()
        path.write_bytes(b"no database " * 1000)
        began = time.monotonic()
        while storage.sync(timeout=20):
            time.sleep(0.1)
        assert time.monotonic() - began < 15
        assert storage.state is State.ATTENTION
        assert storage.health_check()["status"] == "error"
