"""The protocol's sentences that no other test holds, over HTTP, in the order of docs/sync-protocol.md."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any
from urllib.parse import quote

import pytest

from sync.pull import cursors
from tests.people import People
from tests.sync.devices import change, make_space
from tests.sync.test_api import Script, problem
from workspaces import actions
from workspaces.ids import uuid7
from workspaces.models import Space


@pytest.fixture
def laptop(space: Space) -> Script:
    return Script(space, "laptop")


@pytest.fixture
def desk(space: Space) -> Script:
    return Script(space, "desk")


def results(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.content
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


def words(answer: Any) -> list[str]:
    return [it.get("error", {}).get("type") or it["status"] for it in results(answer)]


def record(script: Script, type_: str, id_: str) -> dict[str, Any]:
    answer = script.http.get(f"{script.base}/record", {"type": type_, "id": id_})
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()["record"]
    return found


# --- records --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "id_", ["é" * 1024, "x", "a/b/c", "%2F", " ", "tb_1717000000000", "../..", "😀" * 300]
)
def test_an_id_is_the_clients_own_text(laptop: Script, id_: str) -> None:
    assert words(laptop.push(change("thoughts", id_, set={"title": "T"}))) == ["applied"]
    assert record(laptop, "thoughts", id_)["id"] == id_
    assert [found["id"] for found in laptop.get("/changes").json()["changes"]] == [id_]


def test_the_parts_of_a_composed_id_have_a_limit_each(laptop: Script) -> None:
    long, longer = "/" * 1024, "y" * 1025
    answer = laptop.push(
        change("thoughts", long, set={}),
        change("tags", long, set={}),
        change("thought_tags", f"{quote(long, safe='')}/{quote(long, safe='')}", set={}),
        change("thought_tags", f"{longer}/g", set={}),
        change("thought_tags", f"{quote(long, safe='')}/{quote(long, safe='')}", set={"tag_id": "g"}),
        change("thought_tags", "a%2fb/g", set={}),
        change("segment_fields", "free/id", set={"segment_id": "nowhere", "name": "n"}),
    )
    assert words(answer) == [
        "applied", "applied", "applied", "invalid-id", "invalid-id", "invalid-id", "missing-parent",
    ]  # fmt: skip


def test_a_record_has_every_field_of_its_type(laptop: Script) -> None:
    laptop.push(change("thoughts", "t", set={"created_at": "2025-06-08T11:30:00+02:00"}))
    assert record(laptop, "thoughts", "t") == {
        "type": "thoughts", "id": "t", "version": 1, "title": None, "description": None, "color": None,
        "position_x": None, "position_y": None, "fields": {}, "metadata": {},
        "created_at": "2025-06-08T09:30:00.000000Z", "updated_at": None,
    }  # fmt: skip


def test_what_the_server_does_not_know_is_kept(laptop: Script, desk: Script) -> None:
    laptop.push(change("thoughts", "t", set={"mood": "calm", "extra": {"weather": ["rain", None]}}))
    assert record(desk, "thoughts", "t")["extra"] == {"mood": "calm", "weather": ["rain", None]}
    laptop.push(change("thoughts", "t", 1, set={"mood": "tense"}))
    assert words(desk.push(change("thoughts", "t", 1, set={"mood": "glad"}))) == ["conflict"]
    [conflict] = desk.get("/conflicts").json()["conflicts"]
    assert conflict["fields"] == {"extra.mood": {"base": "calm", "server": "tense", "client": "glad"}}
    laptop.push(change("thoughts", "t", 2, unset=["mood", "extra.weather"]), seen=3)
    assert "extra" not in record(desk, "thoughts", "t")


def test_embeddings_come_where_they_are_asked_for(laptop: Script) -> None:
    vector = {"owner_type": "thoughts", "dimensions": 1, "vector": "AACAPw=="}
    laptop.push(change("thoughts", "t", set={}), change("embeddings", "t/m", set=vector))
    assert [found["type"] for found in laptop.get("/changes").json()["changes"]] == ["thoughts"]
    both = laptop.get("/changes?include=embeddings").json()["changes"]
    [found] = [found for found in both if found["type"] == "embeddings"]
    assert found["record"]["vector"] == "AACAPw=="
    assert laptop.get("/digest").json()["records"] == 1
    assert words(laptop.push(change("embeddings", "t/n", set={**vector, "vector": "AAA="}))) == [
        "invalid-value"
    ]


# --- pull -----------------------------------------------------------------------------------------------


def test_more_than_ten_thousand_count_as_ten_thousand(laptop: Script) -> None:
    laptop.push(change("thoughts", "t", set={}))
    assert len(laptop.get("/changes?limit=999999999999").json()["changes"]) == 1
    for limit in ("0", "-1", "x", "1.5", "%00"):
        assert problem(laptop.get(f"/changes?limit={limit}")) == (400, "invalid-parameter")


def test_a_stream_may_be_cut_into_pages(laptop: Script) -> None:
    laptop.push(*[change("thoughts", f"t{n}", set={}) for n in range(5)])
    seen, cursor, more = 0, "", True
    while more:
        answer = laptop.get(f"/changes?limit=2{cursor}", Accept="application/x-ndjson")
        *lines, last = [json.loads(line) for line in answer.getvalue().splitlines()]
        assert len(lines) <= 2
        seen += len(lines)
        more, cursor = last["end"]["more"], f"&cursor={last['end']['cursor']}"
    assert seen == 5


def test_a_scope_is_asked_for_by_query_and_goes_on_by_cursor(laptop: Script) -> None:
    laptop.push(
        change("thoughts", "a", set={"updated_at": "2025-03-01T00:00:00Z"}),
        change("thoughts", "b", set={"updated_at": "2025-09-01T00:00:00Z"}),
        change("tags", "g", set={"name": "G"}),
        change("thought_tags", "a/g", set={}),
    )

    def ids(query: str) -> tuple[set[str], str]:
        page = laptop.get(f"/changes?{query}").json()
        assert page["more"] is False
        return {found["id"] for found in page["changes"]}, page["cursor"]

    assert ids("tag=g")[0] == {"a", "g", "a/g"}
    assert ids("tag=x&tag=g")[0] == {"a", "g", "a/g"}
    assert ids("updated_after=2025-03-01T00:00:00Z")[0] == {"b", "g"}
    assert ids("updated_before=2025-03-01T00:00:00Z")[0] == {"g"}
    assert ids("tag=g&updated_after=2025-06-01T00:00:00Z")[0] == {"g"}
    assert laptop.get("/digest?tag=g").json()["records"] == 3
    _, cursor = ids("tag=g")
    laptop.push(change("thoughts", "b", 1, set={"title": "not in scope"}), seen=1)
    assert ids(f"cursor={cursor}")[0] == set()
    came, cursor = ids(f"cursor={cursor}&scope=all")
    assert came == {"b"}
    page = laptop.get(f"/changes?cursor={cursor}&updated_after=2025-06-01T00:00:00Z").json()
    assert [(it["id"], it.get("out_of_scope")) for it in page["changes"]] == [("a", True)]
    for query in ("scope=some", "scope=all&tag=g", "updated_after=soon", "tag=%00", "tag=%ff%fe"):
        answer = laptop.get(f"/changes?{query}")
        assert answer.status_code in (200, 400), (query, answer.content)


def test_a_copy_goes_on_with_its_cursor_under_a_new_name(laptop: Script, space: Space) -> None:
    laptop.push(*[change("thoughts", f"t{n}", set={}) for n in range(4)])
    first = laptop.get("/changes?limit=1").json()["cursor"]
    second = laptop.get(f"/changes?limit=1&cursor={first}").json()["cursor"]
    laptop.get(f"/changes?limit=1&cursor={second}")
    assert laptop.get(f"/changes?cursor={first}").json()["reason"] == "cloned"
    copy = Script(space, "the copy")
    assert len(copy.get(f"/changes?cursor={first}").json()["changes"]) == 3


def test_a_cursor_of_a_newer_server_is_from_the_future(laptop: Script) -> None:
    raw = urlsafe_b64decode(laptop.get("/changes").json()["cursor"] + "==")
    body = bytes([raw[cursors._SUM_BYTES] + 1]) + raw[cursors._SUM_BYTES + 1 :]
    newer = urlsafe_b64encode(cursors._sum(body) + body).decode().rstrip("=")
    answer = laptop.get(f"/changes?cursor={newer}")
    assert (answer.status_code, answer.json()["reason"]) == (410, "future")


# --- push -----------------------------------------------------------------------------------------------


def test_the_same_value_twice_is_no_conflict(laptop: Script, desk: Script) -> None:
    laptop.push(change("thoughts", "t", set={"title": "T"}))
    laptop.push(change("thoughts", "t", 1, set={"title": "Same"}))
    assert words(desk.push(change("thoughts", "t", 1, set={"title": "Same"}))) == ["merged"]
    assert record(desk, "thoughts", "t")["version"] == 2


def test_the_first_created_at_stays_and_true_is_not_one(laptop: Script, desk: Script) -> None:
    laptop.push(change("thoughts", "t", set={"fields": {"done": 1}}))
    laptop.push(change("thoughts", "t", 1, set={"created_at": "2025-01-01T00:00:00Z", "fields": {"done": 2}}))
    one = change("thoughts", "t", 1, set={"created_at": "2024-01-01T00:00:00Z"})
    [result] = results(desk.push(one))
    assert (result["status"], result["record"]["created_at"]) == ("merged", "2025-01-01T00:00:00.000000Z")
    laptop.push(change("thoughts", "t", 2, set={"fields": {"done": 1}}), seen=2)
    [result] = results(desk.push(change("thoughts", "t", 2, set={"fields": {"done": True}}), seen=2))
    assert result["status"] == "conflict"


def test_a_side_that_removed_a_key_is_missing_in_the_conflict(laptop: Script, desk: Script) -> None:
    laptop.push(change("thoughts", "t", set={"fields": {"k": 1}}))
    laptop.push(change("thoughts", "t", 1, unset=["fields"]))
    assert words(desk.push(change("thoughts", "t", 1, set={"fields": {"k": 2}}))) == ["conflict"]
    [conflict] = desk.get("/conflicts").json()["conflicts"]
    assert conflict["fields"] == {"fields.k": {"base": 1, "client": 2}}
    address = f"/api/v1/conflicts/{conflict['id']}/resolve"
    answer = desk.http.post(address, json.dumps({"take": "client"}), content_type="application/json")
    assert answer.json()["record"]["fields"] == {"k": 2}


def test_a_duplicate_repeats_the_first_answer(laptop: Script, desk: Script) -> None:
    laptop.push(change("thoughts", "t", set={"title": "T"}))
    laptop.push(change("thoughts", "t", 1, set={"title": "Laptop"}))
    lost = change("thoughts", "t", 1, set={"title": "Desk"})
    [first] = results(desk.push(lost))
    laptop.push(change("thoughts", "t", first["version"], set={"color": "red"}), seen=first["version"])
    [again] = results(desk.push(lost))
    assert again["status"] == "duplicate"
    assert (again["version"], again["conflict"]) == (first["version"], first["conflict"])
    assert (again["record"]["version"], again["record"]["color"]) == (4, "red")
    deletion = change("thoughts", "t", 4, delete=True)
    assert words(desk.push(deletion, seen=4)) == ["applied"]
    [again] = results(desk.push(deletion, seen=4))
    assert (again["status"], again["record"]["deleted"]) == ("duplicate", True)


def test_a_change_id_belongs_to_one_person(people: People, client: Any) -> None:
    address = f"/api/v1/spaces/{people.space.pk}/changes"
    one = change("thoughts", "t", set={"title": "T"})
    answers = [
        client.post(address, {"changes": [one]}, content_type="application/json", headers=member.headers)
        for member in (people.eva, people.ben, people.ben)
    ]
    assert [words(answer) for answer in answers] == [["applied"], ["merged"], ["duplicate"]]


def test_who_may_not_push_is_told_why(people: People, client: Any) -> None:
    address = f"/api/v1/spaces/{people.space.pk}/changes"

    def push(member: Any) -> tuple[int, str]:
        body = {"changes": [change("thoughts", "t", set={})]}
        return problem(client.post(address, body, content_type="application/json", headers=member.headers))

    def pull(member: Any) -> int:
        return int(client.get(address, headers=member.headers).status_code)

    assert push(people.cai) == (403, "read-only")
    assert push(people.ana) == (403, "no-role")
    assert push(people.dan) == (404, "not-found")
    actions.archive_space(people.space.pk, by=people.eva.person)
    assert push(people.eva) == (409, "space-archived")
    assert (pull(people.eva), pull(people.cai)) == (200, 200)
    actions.unshare_with_person(people.space.pk, people.ben.email, by=people.eva.person)
    assert push(people.ben) == (404, "access-revoked")
    actions.revoke_device(people.cai.device.pk, by=people.cai.person)
    assert push(people.cai) == (401, "device-revoked")


@pytest.mark.parametrize(
    ("raw", "status", "word"),
    [
        ('{"seen": 1e999, "changes": []}', 400, "malformed"),
        (f'{{"seen": {"9" * 50}, "changes": []}}', 400, "malformed"),
        ('{"seen": true, "changes": []}', 400, "malformed"),
        ('{"changes": [{"base": 1e999}]}', 200, "invalid-value"),
        ('{"changes": [1, null, "x", []]}', 200, "invalid-value"),
        ('{"epoch": "00000000-0000-4000-8000-000000000000", "changes": []}', 410, "cursor-expired"),
        ('{"seen": 5, "changes": []}', 410, "cursor-expired"),
        ('\ufeff{"changes": []}', 400, "malformed"),
        ('{"changes": []} x', 400, "malformed"),
        ('{"changes": [{"set": {"a": 1, "a": 2}}]}', 400, "malformed"),
        ('"\\ud800"', 400, "malformed"),
    ],
)  # fmt: skip
def test_what_is_odd_in_a_push_is_refused_in_kind(laptop: Script, raw: str, status: int, word: str) -> None:
    answer = laptop.post("/changes", raw.encode())
    assert answer.status_code == status, answer.content
    if status == 200:
        assert {it["error"]["type"] for it in answer.json()["results"]} == {word}
    else:
        assert problem(answer) == (status, word)


@pytest.mark.parametrize("type_", ["thoughts", "segments", "tags", "segment_fields", "embeddings"])
def test_no_value_breaks_a_field(laptop: Script, type_: str) -> None:
    """Every field of a type × values of every kind: applied or rejected, one by one."""
    from sync.core.schema import RECORD_TYPES

    odd: list[Any] = [
        0, -1, 1.5, 1e308, 10**40, True, None, "", "x" * 10_000, "\0", "\ud800", "2025",
        "0000-00-00T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
        [], [[]], {}, {"a": {"\0": 1}}, {"": ""},
    ]  # fmt: skip
    for field in RECORD_TYPES[type_].fields:
        changes = [change(type_, f"o/{n}", set={field.name: value}) for n, value in enumerate(odd)]
        answer = laptop.post("/changes", {"changes": changes})
        assert len(results(answer)) == len(odd)
    assert laptop.get("/changes?include=embeddings").status_code == 200
    assert laptop.get("/digest").status_code == 200


# --- conflicts and history ------------------------------------------------------------------------------


def test_a_proposal_can_be_taken(laptop: Script, desk: Script) -> None:
    laptop.push(change("thoughts", "t", set={"description": "Take 10 mg/day. Sleep."}))
    laptop.push(change("thoughts", "t", 1, set={"description": "Take 15 mg/day. Sleep."}))
    wanted = {"description": "Take 10 mg/week. Sleep.", "title": "Dose"}
    [result] = results(desk.push(change("thoughts", "t", 1, set=wanted)))
    assert (result["status"], result["record"]["title"]) == ("conflict", "Dose")
    assert result["record"]["description"] == "Take 15 mg/day. Sleep."
    assert words(desk.push(change("conflicts", result["conflict"], set={"take": "proposal"}))) == ["applied"]
    assert record(desk, "thoughts", "t")["description"] == "Take 15 mg/week. Sleep."
    [conflict] = desk.get("/conflicts?state=resolved").json()["conflicts"]
    assert conflict["resolution"]["take"] == "proposal"
    assert conflict["resolution"]["by"]["device"] == "desk"
    entry = desk.get("/history?type=thoughts&id=t").json()["entries"][0]
    assert entry["changes"]["description"]["new"] == "Take 15 mg/week. Sleep."


def test_what_was_deleted_can_be_restored(laptop: Script) -> None:
    laptop.push(change("thoughts", "t", set={"title": "T", "fields": {"k": 1}, "mood": "calm"}))
    laptop.push(change("thoughts", "t", 1, delete=True), seen=1)
    assert laptop.get("/record?type=thoughts&id=t").json()["deleted"] is True
    answer = laptop.post("/restore", {"type": "thoughts", "id": "t", "version": 1})
    restored = answer.json()["record"]
    assert (restored["title"], restored["fields"], restored["extra"]) == ("T", {"k": 1}, {"mood": "calm"})
    entries = laptop.get("/history?type=thoughts&id=t").json()["entries"]
    assert [(it["act"], it["origin"], it["deleted"]) for it in entries] == [
        ("create", "restore", False), ("delete", "push", True), ("create", "push", False),
    ]  # fmt: skip


def test_fetch_brings_tombstones_too_and_nothing_that_is_unknown(laptop: Script) -> None:
    laptop.push(change("thoughts", "a", set={}), change("thoughts", "b", set={}))
    laptop.push(change("thoughts", "b", 1, delete=True), seen=1)
    wanted = [["thoughts", "a"], ["thoughts", "b"], ["thoughts", "nowhere"], ["conflicts", str(uuid7())]]
    changes = laptop.post("/changes/fetch", {"ids": wanted}).json()["changes"]
    assert {it["id"]: it.get("deleted", False) for it in changes} == {"a": False, "b": True}
    for ids in (
        None,
        {},
        [1],
        [[]],
        [["thoughts"]],
        [["x", "y"]],
        [["thoughts", "\ud800"]],
        [["thoughts", 1]],
    ):
        assert laptop.post("/changes/fetch", {"ids": ids}).status_code == 400, ids
    assert laptop.post("/changes/fetch", {"ids": [["thoughts", "a"]] * 10_001}).status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "/record?type=thoughts&id=%00", "/record?type=thoughts&id=%ff", "/record?type=&id=", "/record",
        "/history?type=thoughts&id=%00", "/history?type=thoughts&id=t&cursor=-1",
        "/history?type=thoughts&id=t&limit=x", "/conflicts?cursor=x", "/conflicts?cursor=%00",
        "/conflicts?state=%00", "/digest?sector=99999999999999999999",
        "/digest?updated_after=%00", "/changes?cursor=%00", "/changes?cursor=%ff%ff", "/changes?include=%00",
    ],
)  # fmt: skip
def test_odd_addresses_are_answered_in_kind(laptop: Script, path: str) -> None:
    assert laptop.get(path).status_code in (200, 400, 404, 410)


def test_a_space_that_is_not_ones_own_looks_like_none(laptop: Script, desk: Script) -> None:
    theirs = make_space("theirs")
    Script(theirs, "theirs").push(change("thoughts", "t", set={}))
    for path in ("", "/changes", "/digest", "/record?type=thoughts&id=t", "/history?type=thoughts&id=t"):
        bodies = []
        for space in (theirs.pk, uuid7()):
            answer = laptop.http.get(f"/api/v1/spaces/{space}{path}")
            assert problem(answer) == (404, "not-found")
            bodies.append({**answer.json(), "request_id": ""})
        assert bodies[0] == bodies[1]


def test_a_decision_hangs_nothing_on_what_is_not_there(laptop: Script, desk: Script) -> None:
    laptop.push(change("thoughts", "t", set={}), change("segments", "s", set={"thought_id": "t"}))
    laptop.push(change("segments", "s", 1, set={"title": "Laptop"}))
    [result] = results(desk.push(change("segments", "s", 1, set={"title": "Desk"})))
    for nowhere in ("nowhere", None):
        decision = {"set": {"thought_id": nowhere}}
        answer = desk.push(change("conflicts", result["conflict"], set=decision))
        assert words(answer) == ["missing-parent"]
    assert record(desk, "segments", "s")["thought_id"] == "t"
    assert words(desk.push(change("conflicts", result["conflict"], set={"take": "client"}))) == ["applied"]


@pytest.mark.parametrize(
    "decision",
    [
        {"take": "\ud800"}, {"take": 10**50}, {"take": None}, {"take": []}, {"set": {"title": "\ud800"}},
        {"set": {"title": 10**50}}, {"set": {"fields": {"k": 10**50}}}, {"set": {"fields": {"k": ["\0"]}}},
        {"set": []}, {"set": None}, {"set": {"\ud800": 1}}, {"take": "server", "set": {}},
    ],
)  # fmt: skip
def test_an_odd_decision_is_rejected(laptop: Script, desk: Script, decision: dict[str, Any]) -> None:
    laptop.push(change("thoughts", "t", set={"title": "T"}))
    laptop.push(change("thoughts", "t", 1, set={"title": "Laptop"}))
    [result] = results(desk.push(change("thoughts", "t", 1, set={"title": "Desk"})))
    [odd] = results(desk.push(change("conflicts", result["conflict"], set=decision)))
    assert odd["status"] == "rejected"
    assert odd["error"]["pointer"].startswith("/changes/0/set")
    answer = desk.http.post(
        f"/api/v1/conflicts/{result['conflict']}/resolve",
        json.dumps(decision),
        content_type="application/json",
    )
    assert answer.status_code == 400, answer.content
    assert len(desk.get("/conflicts?state=open").json()["conflicts"]) == 1
