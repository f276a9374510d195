"""What a push makes of a space: the rules of the protocol between records, one by one."""

from typing import Any

import pytest
from django.db import connection

from sync import digest, history
from sync.models import SpaceHead
from sync.problems import CursorExpired
from tests.sync.devices import Device, change
from workspaces.ids import uuid7
from workspaces.models import Space

LONG = "First sentence. Second sentence. Third."


def thought_with_all(device: Device) -> None:
    """A thought with a segment, a tag and a link."""
    results = device.push(
        change("thoughts", "t", set={"title": "T"}),
        change("segments", "s", set={"thought_id": "t", "content": LONG}),
        change("tags", "g", set={"name": "G"}),
        change("thought_tags", "t/g", set={}),
        change("segment_fields", "f", set={"segment_id": "s", "name": "n", "value": "v"}),
    )
    assert [result["status"] for result in results] == ["applied"] * 5
    device.pull()


def statuses(results: list[dict[str, Any]]) -> list[str]:
    return [result.get("error", {}).get("type") or result["status"] for result in results]


def test_a_push_takes_one_version_and_counts_what_lives(laptop: Device, space: Space) -> None:
    thought_with_all(laptop)
    head = SpaceHead.objects.get(space=space)
    assert head.head == 1
    assert head.counts == {"thoughts": 1, "segments": 1, "tags": 1, "thought_tags": 1, "segment_fields": 1}


def test_a_push_in_which_nothing_changes_takes_no_version(laptop: Device, space: Space) -> None:
    thought_with_all(laptop)
    results = laptop.push(
        change("thoughts", "t", 1, set={"title": "T"}),
        change("thoughts", "unknown", delete=True),
        change("segments", "x", set={"thought_id": "nowhere"}),
    )
    assert statuses(results) == ["applied", "applied", "missing-parent"]
    assert SpaceHead.objects.get(space=space).head == 1


def test_edits_of_different_fields_both_survive(laptop: Device, desk: Device) -> None:
    thought_with_all(laptop)
    desk.pull()
    laptop.push(change("thoughts", "t", 1, set={"title": "Laptop"}))
    [result] = desk.push(change("thoughts", "t", 1, set={"description": "Desk"}))
    assert result["status"] == "merged"
    assert (result["record"]["title"], result["record"]["description"]) == ("Laptop", "Desk")


def test_edits_of_one_field_are_a_conflict_and_nothing_is_lost(laptop: Device, desk: Device) -> None:
    thought_with_all(laptop)
    desk.pull()
    laptop.push(change("thoughts", "t", 1, set={"title": "Laptop"}))
    [result] = desk.push(change("thoughts", "t", 1, set={"title": "Desk", "color": "red"}))
    assert result["status"] == "conflict"
    assert (result["record"]["title"], result["record"]["color"]) == ("Laptop", "red")
    laptop.pull()
    conflict = laptop.records["conflicts", result["conflict"]]
    assert conflict["fields"]["title"] == {"base": "T", "server": "Laptop", "client": "Desk"}
    assert (conflict["server"]["device"], conflict["client"]["device"]) == ("laptop", "desk")
    assert history.entries(laptop.space_id, "thoughts", "t")[0]["lost"] == {"title": "Desk"}


def test_text_edited_in_different_sentences_is_merged(laptop: Device, desk: Device) -> None:
    thought_with_all(laptop)
    laptop.push(change("segments", "s", 1, set={"content": LONG.replace("First", "1st")}))
    [result] = desk.push(change("segments", "s", 1, set={"content": LONG.replace("Third", "3rd")}))
    assert result["status"] == "merged"
    assert result["record"]["content"] == "1st sentence. Second sentence. 3rd."


def test_text_edited_in_one_sentence_is_a_conflict_with_a_proposal(laptop: Device, desk: Device) -> None:
    thought_with_all(laptop)
    laptop.push(change("segments", "s", 1, set={"content": LONG.replace("First", "1st")}))
    wanted = LONG.replace("First sentence", "First phrase")
    [result] = desk.push(change("segments", "s", 1, set={"content": wanted}))
    desk.pull()
    conflict = desk.records["conflicts", result["conflict"]]
    assert conflict["proposal"] == {"content": "1st phrase. Second sentence. Third."}


def test_keys_of_an_object_merge_one_by_one(laptop: Device, desk: Device) -> None:
    laptop.push(change("thoughts", "t", set={"fields": {"a": 1, "b": 1}, "metadata": {"x.y": True}}))
    laptop.push(change("thoughts", "t", 1, set={"fields": {"a": 2}}, unset=["metadata.x.y"]))
    [result] = desk.push(change("thoughts", "t", 1, set={"fields": {"c": 3}}, unset=["fields.b"]))
    assert result["status"] == "merged"
    assert (result["record"]["fields"], result["record"]["metadata"]) == ({"a": 2, "c": 3}, {})


def test_a_key_that_was_not_there_is_null_in_a_conflict(laptop: Device, desk: Device) -> None:
    thought_with_all(laptop)
    laptop.push(change("thoughts", "t", 1, set={"fields": {"k": "a"}}))
    desk.push(change("thoughts", "t", 1, set={"fields": {"k": "b"}}))
    laptop.push(change("thoughts", "t", 2, set={"fields": {"k": "c"}}))
    desk.push(change("thoughts", "t", 2, unset=["fields.k"]))
    laptop.pull()
    sides = [it["fields"]["fields.k"] for (type_, _), it in laptop.records.items() if type_ == "conflicts"]
    assert sides == [{"base": None, "server": "a", "client": "b"}, {"base": "a", "server": "c"}]
    lost = [entry["lost"] for entry in history.entries(laptop.space_id, "thoughts", "t") if entry["lost"]]
    assert lost == [{"fields.k": None}, {"fields.k": "b"}]


def test_what_a_push_overwrites_of_its_own_stays_in_the_history(laptop: Device, desk: Device) -> None:
    thought_with_all(laptop)
    laptop.push(change("thoughts", "t", 1, set={"title": "Laptop"}))
    [result] = desk.push(change("thoughts", "t", 1, set={"title": "Desk"}))
    laptop.pull()
    laptop.push(
        change("thoughts", "t", 2, set={"title": "Written in between"}),
        change("conflicts", result["conflict"], 3, set={"take": "client"}),
    )
    entry = history.entries(laptop.space_id, "thoughts", "t")[0]
    assert entry["changes"]["title"] == {"old": "Laptop", "new": "Desk"}
    assert entry["lost"] == {"title": "Written in between"}


def test_layout_never_conflicts(laptop: Device, desk: Device) -> None:
    thought_with_all(laptop)
    laptop.push(change("thoughts", "t", 1, set={"position_x": 1, "updated_at": "2025-06-02T00:00:00Z"}))
    [result] = desk.push(
        change("thoughts", "t", 1, set={"position_x": 2, "updated_at": "2025-06-01T00:00:00Z"})
    )
    assert result["status"] == "merged"
    assert result["record"]["position_x"] == 2
    assert result["record"]["updated_at"] == "2025-06-02T00:00:00.000000Z"


def test_moves_on_the_canvas_are_folded_in_the_history(laptop: Device, desk: Device) -> None:
    thought_with_all(laptop)
    for step in range(5):
        laptop.pull()
        laptop.push(change("thoughts", "t", laptop.version("thoughts", "t"), set={"position_x": step}))
    desk.pull()
    desk.push(change("thoughts", "t", desk.version("thoughts", "t"), set={"position_x": 77}))
    entries = history.entries(laptop.space_id, "thoughts", "t")
    assert [(entry["act"], entry["device"]) for entry in entries] == [
        ("edit", "desk"),
        ("edit", "laptop"),
        ("create", "laptop"),
    ]
    assert entries[0]["changes"] == {"position_x": {"old": 4, "new": 77}}
    assert history.record_at(laptop.space_id, "thoughts", "t", 1)["position_x"] is None


def test_a_change_sent_twice_counts_once(laptop: Device, space: Space) -> None:
    first = change("thoughts", "t", set={"title": "T"})
    assert statuses(laptop.push(first)) == ["applied"]
    laptop.push(change("thoughts", "t", 1, set={"title": "T2"}))
    [again] = laptop.push(first)
    assert (again["status"], again["version"], again["record"]["title"]) == ("duplicate", 1, "T2")
    assert statuses(laptop.push({**first, "set": {"title": "other"}})) == ["change-id-reused"]
    reused = laptop.push(first, {**first, "set": {"title": "other"}})[1]
    assert reused["error"]["pointer"] == "/changes/1/change_id"
    assert statuses(laptop.push(first, first)) == ["duplicate", "duplicate"]
    assert SpaceHead.objects.get(space=space).head == 2


def test_a_rejected_change_stops_no_other(laptop: Device) -> None:
    results = laptop.push(
        change("thoughts", "a", set={"title": "nul \0"}),
        change("thoughts", "b", set={"title": "fine"}),
        change("thoughts", "b2", 5, set={"title": "never was"}),
        change("wishes", "c", set={}),
        change("thought_tags", "x", set={}),
        change("thoughts", "d", set={"position_x": float("1e308")}),
    )
    assert statuses(results) == [
        "invalid-value", "applied", "invalid-base", "unknown-type", "invalid-id", "applied",
    ]  # fmt: skip
    assert results[0]["error"]["pointer"] == "/changes/0/set/title"


def test_a_parent_may_come_in_the_same_push(laptop: Device) -> None:
    results = laptop.push(
        change("segments", "early", set={"thought_id": "t"}),
        change("thoughts", "t", set={}),
        change("segments", "late", set={"thought_id": "t"}),
    )
    assert statuses(results) == ["missing-parent", "applied", "applied"]


def test_two_devices_may_create_the_same_tag(laptop: Device, desk: Device) -> None:
    laptop.push(change("tags", "tag_c", set={"name": "C", "color": "red"}))
    same = desk.push(change("tags", "tag_c", set={"name": "C"}))
    other = desk.push(change("tags", "tag_c", set={"name": "C++"}))
    assert statuses(same) == ["merged"]
    assert statuses(other) == ["conflict"]


def test_a_deletion_takes_all_that_hangs_on_a_thought(laptop: Device, desk: Device, space: Space) -> None:
    thought_with_all(laptop)
    desk.pull()
    assert statuses(laptop.push(change("thoughts", "t", 1, delete=True))) == ["applied"]
    desk.pull()
    assert set(desk.records) == {("tags", "g")}
    assert SpaceHead.objects.get(space=space).counts == {"tags": 1}
    assert digest.digest(space.pk).records == 1


def test_an_edit_that_the_deleter_had_not_seen_wins(laptop: Device, desk: Device) -> None:
    thought_with_all(laptop)
    desk.pull()
    desk.push(change("segments", "s", 1, set={"title": "new"}))
    [result] = laptop.push(change("thoughts", "t", 1, delete=True))
    assert result["status"] == "conflict"
    laptop.pull()
    assert ("thoughts", "t") in laptop.records
    conflict = laptop.records["conflicts", result["conflict"]]
    assert (conflict["kind"], conflict["record_id"], conflict["client"]["device"]) == (
        "delete",
        "t",
        "laptop",
    )


def test_layout_alone_does_not_stop_a_deletion(laptop: Device, desk: Device) -> None:
    thought_with_all(laptop)
    desk.push(change("thoughts", "t", 1, set={"position_x": 5, "updated_at": "2026-01-01T00:00:00Z"}))
    assert statuses(laptop.push(change("thoughts", "t", 1, delete=True))) == ["applied"]


@pytest.mark.parametrize(
    "edit",
    [
        change("thoughts", "t", 1, set={"title": "still here"}),
        change("segment_fields", "f", 1, set={"value": "still here"}),
        change("segments", "s-new", set={"thought_id": "t", "content": "still here"}),
    ],
    ids=["the thought", "what hung on it", "a new child"],
)
def test_an_edit_of_what_was_deleted_brings_all_of_it_back(
    laptop: Device, desk: Device, edit: dict[str, Any]
) -> None:
    thought_with_all(laptop)
    desk.pull()
    laptop.push(change("thoughts", "t", 1, delete=True))
    [result] = desk.push({**edit, "change_id": str(uuid7())})
    assert result["status"] == "conflict"
    laptop.pull()
    for ref in [("thoughts", "t"), ("segments", "s"), ("thought_tags", "t/g"), ("segment_fields", "f")]:
        assert ref in laptop.records
    conflict = laptop.records["conflicts", result["conflict"]]
    assert (conflict["kind"], conflict["record_type"], conflict["record_id"]) == ("revive", "thoughts", "t")


def test_what_was_deleted_by_itself_stays_deleted_in_a_revival(laptop: Device, desk: Device) -> None:
    thought_with_all(laptop)
    desk.pull()
    laptop.push(change("segments", "s", 1, delete=True))
    laptop.push(change("thoughts", "t", 1, delete=True))
    desk.push(change("thoughts", "t", 1, set={"title": "back"}))
    laptop.pull()
    assert ("thoughts", "t") in laptop.records
    assert ("segments", "s") not in laptop.records


def test_what_an_earlier_deletion_took_stays_deleted_in_a_revival(laptop: Device, desk: Device) -> None:
    thought_with_all(laptop)
    laptop.push(change("tags", "g", 1, delete=True))
    laptop.pull()
    laptop.push(change("tags", "g", set={"name": "G again"}))
    laptop.push(change("thoughts", "t", 1, delete=True))
    desk.push(change("thoughts", "t", 1, set={"title": "back"}))
    laptop.pull()
    assert {("thoughts", "t"), ("tags", "g")} <= set(laptop.records)
    assert ("thought_tags", "t/g") not in laptop.records


def test_a_rejected_edit_brings_nothing_back(laptop: Device, desk: Device) -> None:
    thought_with_all(laptop)
    laptop.push(change("thoughts", "t", 1, delete=True))
    assert statuses(desk.push(change("segments", "s", 1, set={"thought_id": "nowhere"}))) == [
        "missing-parent"
    ]
    laptop.pull()
    assert set(laptop.records) == {("tags", "g")}


def test_a_decision_moves_nothing_to_where_nothing_is(laptop: Device, desk: Device) -> None:
    thought_with_all(laptop)
    laptop.push(change("segments", "s", 1, set={"title": "Laptop"}))
    [result] = desk.push(change("segments", "s", 1, set={"title": "Desk"}))
    astray = laptop.push(change("conflicts", result["conflict"], 3, set={"set": {"thought_id": "nowhere"}}))
    assert statuses(astray) == ["missing-parent"]
    laptop.push(change("thoughts", "t2", set={}))
    moved = laptop.push(change("conflicts", result["conflict"], 3, set={"set": {"thought_id": "t2"}}))
    assert statuses(moved) == ["applied"]
    laptop.pull()
    assert laptop.records["segments", "s"]["thought_id"] == "t2"


def test_a_decision_leaves_an_id_what_it_says(laptop: Device, desk: Device) -> None:
    thought_with_all(laptop)
    laptop.push(
        change("segments", "s2", set={"thought_id": "t"}),
        change("segment_neighbors", "s/s2/r", set={"strength": 1}),
    )
    [result] = desk.push(change("segment_neighbors", "s/s2/r", set={"strength": 2}))
    decision = {"set": {"relationship_type": "other"}}
    assert statuses(laptop.push(change("conflicts", result["conflict"], 3, set=decision))) == [
        "invalid-resolution"
    ]


def test_an_id_may_be_used_again_by_who_saw_the_deletion(laptop: Device, desk: Device) -> None:
    thought_with_all(laptop)
    laptop.push(change("thoughts", "t", 1, delete=True))
    desk.pull()
    assert statuses(desk.push(change("thoughts", "t", set={"color": "red"}))) == ["applied"]
    laptop.pull()
    again = laptop.records["thoughts", "t"]
    assert (again["title"], again["color"]) == (None, "red")
    assert ("segments", "s") not in laptop.records
    laptop.push(change("thoughts", "t", again["version"], delete=True))
    laptop.pull()
    tombstone = SpaceHead.objects.get(space_id=laptop.space_id).head
    assert statuses(desk.push(change("thoughts", "t", tombstone, set={"title": "third life"}))) == ["applied"]


def test_a_child_of_what_the_device_saw_deleted_is_rejected(laptop: Device) -> None:
    thought_with_all(laptop)
    laptop.push(change("thoughts", "t", 1, delete=True))
    laptop.pull()
    assert statuses(laptop.push(change("segments", "s2", set={"thought_id": "t"}))) == ["missing-parent"]


def test_what_a_push_makes_it_may_delete(laptop: Device, space: Space) -> None:
    results = laptop.push(
        change("thoughts", "t", set={}),
        change("segments", "s", set={"thought_id": "t"}),
        change("thoughts", "t", delete=True),
    )
    assert statuses(results) == ["applied"] * 3
    assert SpaceHead.objects.get(space=space).counts == {}


@pytest.mark.parametrize(
    ("decision", "title"),
    [
        ({"take": "server"}, "Laptop"),
        ({"take": "client"}, "Desk"),
        ({"take": "both"}, "Laptop\n\nDesk"),
        ({"set": {"title": "Agreed"}}, "Agreed"),
    ],
)
def test_a_conflict_is_resolved_by_a_change(
    laptop: Device, desk: Device, decision: dict[str, Any], title: str
) -> None:
    thought_with_all(laptop)
    laptop.push(change("thoughts", "t", 1, set={"title": "Laptop"}))
    [result] = desk.push(change("thoughts", "t", 1, set={"title": "Desk"}))
    desk.pull()
    resolving = change(
        "conflicts", result["conflict"], desk.version("conflicts", result["conflict"]), set=decision
    )
    assert statuses(desk.push(resolving)) == ["applied"]
    laptop.pull()
    assert laptop.records["thoughts", "t"]["title"] == title
    assert laptop.records["conflicts", result["conflict"]]["state"] == "resolved"


def test_of_two_decisions_the_first_counts_and_the_second_is_kept(laptop: Device, desk: Device) -> None:
    thought_with_all(laptop)
    laptop.push(change("thoughts", "t", 1, set={"title": "Laptop"}))
    [result] = desk.push(change("thoughts", "t", 1, set={"title": "Desk"}))
    decide = [
        change("conflicts", result["conflict"], 3, set={"set": {"title": title}}) for title in ("A", "B")
    ]
    assert statuses(desk.push(decide[0])) == ["applied"]
    assert statuses(laptop.push(decide[1])) == ["conflict-resolved"]
    newest = history.entries(laptop.space_id, "thoughts", "t")[0]
    assert newest["lost"] == {"title": "B"}
    laptop.pull()
    assert laptop.records["thoughts", "t"]["title"] == "A"


def test_a_deletion_that_lost_can_still_be_chosen(laptop: Device, desk: Device) -> None:
    thought_with_all(laptop)
    desk.pull()
    desk.push(change("segments", "s", 1, set={"title": "new"}))
    [result] = laptop.push(change("thoughts", "t", 1, delete=True))
    assert statuses(laptop.push(change("conflicts", result["conflict"], set={"take": "client"}))) == [
        "applied"
    ]
    desk.pull()
    assert ("thoughts", "t") not in desk.records


def test_an_original_is_kept_until_somebody_edits_its_field(laptop: Device) -> None:
    originals = {"originals": {"title": {"base64": "AA=="}, "created_at": "yesterday"}}
    laptop.push(change("thoughts", "t", set={"title": "T", "extra": originals, "mood": "calm"}))
    laptop.push(change("thoughts", "t", 1, set={"color": "red"}))
    laptop.pull()
    assert laptop.records["thoughts", "t"]["extra"] == {**originals, "mood": "calm"}
    [result] = laptop.push(change("thoughts", "t", 2, set={"title": "New"}))
    assert result["status"] == "merged"
    assert result["record"]["extra"] == {"originals": {"created_at": "yesterday"}, "mood": "calm"}


def test_a_push_from_another_life_of_the_space_is_refused_whole(laptop: Device, space: Space) -> None:
    laptop.epoch = str(uuid7())
    with pytest.raises(CursorExpired):
        laptop.push(change("thoughts", "t", set={}))
    assert SpaceHead.objects.get(space=space).head == 0


def test_the_digest_is_that_of_the_records_in_the_feed(laptop: Device, space: Space) -> None:
    from sync.core.records import hash_of

    thought_with_all(laptop)
    laptop.push(change("thoughts", "t", 1, set={"position_x": 0.1, "metadata": {"n": 1e22, "f": 1.0}}))
    laptop.pull()
    whole = 0
    for (type_, id_), record in laptop.records.items():
        bare = {name: value for name, value in record.items() if name not in ("type", "id", "version")}
        whole ^= int.from_bytes(hash_of(type_, id_, bare))
    assert digest.as_hex(digest.digest(space.pk).whole) == f"{whole:016x}"


def test_a_live_record_cannot_be_removed_by_sql(laptop: Device) -> None:
    thought_with_all(laptop)
    with pytest.raises(Exception, match="never removed"), connection.cursor() as cursor:
        cursor.execute("DELETE FROM sync_thoughts")


def test_embeddings_hang_on_their_owner_and_are_sent_only_if_asked_for(laptop: Device, space: Space) -> None:
    thought_with_all(laptop)
    vector = {"owner_type": "segments", "dimensions": 1, "vector": "AACAPw=="}
    results = laptop.push(
        change("embeddings", "s/m", set=vector),
        change("embeddings", "nobody/m", set=vector),
    )
    assert statuses(results) == ["applied", "missing-parent"]
    assert laptop.pull() == []
    assert SpaceHead.objects.get(space=space).counts["embeddings"] == 1
    laptop.push(change("thoughts", "t", 1, delete=True))
    assert "embeddings" not in SpaceHead.objects.get(space=space).counts
