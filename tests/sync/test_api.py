"""The HTTP surface of sync, as a client script meets it."""

from __future__ import annotations

import gzip
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
import zstandard
from django.db.models.functions import Now
from django.test import Client
from django.utils import timezone

from sync.models import DeviceCursor
from tests.sync.devices import change, make_space
from workspaces.actions import issue_device
from workspaces.ids import uuid7
from workspaces.models import Space

JSON = {"content_type": "application/json"}


class Script:
    """A small client that knows nothing but HTTP."""

    def __init__(self, space: Space, device: str) -> None:
        _, token = issue_device(space.owner, device)
        self.http = Client(headers={"Authorization": f"Token {token}"}, raise_request_exception=False)
        self.base = f"/api/v1/spaces/{space.pk}"

    def get(self, path: str, **headers: str) -> Any:
        return self.http.get(f"{self.base}{path}", headers=headers)

    def post(self, path: str, body: Any, **headers: str) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.http.post(f"{self.base}{path}", data, content_type="application/json", headers=headers)

    def push(self, *changes: dict[str, Any], **more: Any) -> Any:
        return self.post("/changes", {"changes": changes, **more})


@pytest.fixture
def laptop(space: Space) -> Script:
    return Script(space, "laptop")


@pytest.fixture
def desk(space: Space) -> Script:
    return Script(space, "desk")


def problem(answer: Any) -> tuple[int, str]:
    assert answer["Content-Type"] == "application/problem+json", answer.content
    body = answer.json()
    assert {"type", "title", "status", "detail", "request_id"} <= body.keys()
    assert body["status"] == answer.status_code
    return answer.status_code, body["type"].rpartition("/")[2]


def test_one_edits_and_the_other_sees_it(laptop: Script, desk: Script) -> None:
    pushed = laptop.push(change("thoughts", "t", set={"title": "T"})).json()
    assert pushed["version"] == 1
    page = desk.get("/changes").json()
    assert page["head"] == 1 and page["more"] is False
    assert [found["id"] for found in page["changes"]] == ["t"]
    laptop.push(change("thoughts", "t", 1, set={"title": "T2"}))
    page = desk.get(f"/changes?cursor={page['cursor']}").json()
    [found] = page["changes"]
    assert (found["version"], found["record"]["title"], found["record"]["version"]) == (2, "T2", 2)
    assert desk.get(f"/changes?cursor={page['cursor']}").json()["changes"] == []


def test_a_cursor_may_stand_inside_a_version(laptop: Script) -> None:
    laptop.push(*[change("thoughts", f"t{n}", set={}) for n in range(10)])
    seen: list[str] = []
    cursor = ""
    for _ in range(4):
        page = laptop.get(f"/changes?limit=3{cursor}").json()
        seen += [found["id"] for found in page["changes"]]
        cursor = f"&cursor={page['cursor']}"
    assert sorted(seen) == [f"t{n}" for n in range(10)]
    assert page["more"] is False


def test_a_first_pull_has_no_tombstones_and_later_ones_do(laptop: Script, desk: Script) -> None:
    laptop.push(change("thoughts", "a", set={}), change("thoughts", "b", set={}))
    laptop.push(change("thoughts", "a", 1, delete=True), seen=1)
    page = desk.get("/changes?limit=1").json()
    assert [found["id"] for found in page["changes"]] == ["b"]
    laptop.push(change("thoughts", "b", 1, delete=True), seen=2)
    page = desk.get(f"/changes?cursor={page['cursor']}").json()
    assert page["changes"] == [{"type": "thoughts", "id": "b", "version": 3, "deleted": True}]


def test_the_feed_comes_as_a_stream_with_an_end(laptop: Script) -> None:
    laptop.push(*[change("thoughts", f"t{n}", set={"title": "x" * 500}) for n in range(300)])
    answer = laptop.get("/changes", Accept="application/x-ndjson")
    lines = [json.loads(line) for line in answer.getvalue().splitlines()]
    assert len(lines) == 301
    end = lines[-1]["end"]
    assert end["more"] is False and end["head"] == 1
    assert laptop.get(f"/changes?cursor={end['cursor']}").json()["changes"] == []


@pytest.mark.parametrize("encoding", ["zstd", "gzip"])
def test_both_ways_may_be_packed(laptop: Script, encoding: str) -> None:
    body = json.dumps({"changes": [change("thoughts", "t", set={"title": "x" * 5000})]}).encode()
    packed = gzip.compress(body) if encoding == "gzip" else zstandard.compress(body)
    headers = {"Content-Encoding": encoding}
    assert laptop.post("/changes", packed, **headers).json()["results"][0]["status"] == "applied"
    answer = laptop.get("/changes", **{"Accept-Encoding": encoding})
    assert answer["Content-Encoding"] == encoding
    unpacked = (
        gzip.decompress(answer.content)
        if encoding == "gzip"
        else zstandard.ZstdDecompressor().decompressobj().decompress(answer.content)
    )
    assert json.loads(unpacked)["changes"][0]["record"]["title"] == "x" * 5000
    assert len(answer.content) < 1000


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"\xff", b"[]", b'{"changes": {}}', b'{"changes": [], "changes": []}',
        b'{"seen": NaN, "changes": []}',
        b"[" * 200, b'{"changes": [{"set": {"fields": ' + b'{"a":' * 200 + b"1" + b"}" * 200 + b"}}]}",
        b'{"changes": [], "seen": -1}', b'{"changes": [], "epoch": "x"}',
    ],
)  # fmt: skip
def test_what_is_no_push_is_refused_whole(laptop: Script, body: bytes) -> None:
    assert problem(laptop.post("/changes", body)) == (400, "malformed")


def test_a_packed_bomb_is_refused_while_it_is_unpacked(laptop: Script) -> None:
    bomb = zstandard.compress(b" " * 300_000_000)
    assert problem(laptop.post("/changes", bomb, **{"Content-Encoding": "zstd"})) == (413, "push-too-large")
    assert problem(laptop.post("/changes", b"x", **{"Content-Encoding": "zstd"})) == (400, "malformed")
    assert problem(laptop.post("/changes", b"x", **{"Content-Encoding": "br"})) == (
        415,
        "unsupported-encoding",
    )
    many = [change("thoughts", f"t{n}", set={}) for n in range(1001)]
    assert problem(laptop.push(*many)) == (413, "push-too-large")


@pytest.mark.parametrize(
    ("odd", "word", "pointer"),
    [
        ({"set": {"title": 5}}, "invalid-value", "/set/title"),
        ({"set": {"title": "\ud800"}}, "invalid-value", "/set/title"),
        ({"set": {"fields": {"a/b": ["\0"]}}}, "invalid-value", "/set/fields/a~1b/0"),
        ({"set": {"position_x": True}}, "invalid-value", "/set/position_x"),
        ({"set": {"fields": {"n": 2**53}}}, "invalid-value", "/set/fields/n"),
        ({"set": {"created_at": "yesterday"}}, "invalid-value", "/set/created_at"),
        ({"set": {"created_at": "2025-02-30T00:00:00Z"}}, "invalid-value", "/set/created_at"),
        ({"set": {"fields": []}}, "invalid-value", "/set/fields"),
        ({"set": {"id": "other"}}, "invalid-value", "/set/id"),
        ({"set": []}, "invalid-value", "/set"),
        ({"unset": [1]}, "invalid-value", "/unset/0"),
        ({"delete": "yes"}, "invalid-value", "/delete"),
        ({"set": {}, "base": -1}, "invalid-value", "/base"),
        ({"set": {}, "base": 1.5}, "invalid-value", "/base"),
        ({"set": {}, "type": []}, "unknown-type", "/type"),
        ({"set": {}, "type": "\ud800"}, "unknown-type", "/type"),
        ({"set": {}, "id": ""}, "invalid-id", "/id"),
        ({"set": {}, "id": "x" * 1025}, "invalid-id", "/id"),
        ({"set": {}, "change_id": 7}, "invalid-value", "/change_id"),
        ({"set": {}, "change_id": "\ud800"}, "invalid-value", "/change_id"),
        ({"set": {}, "wish": 1}, "invalid-value", "/wish"),
        ({}, "invalid-value", ""),
    ],
)
def test_an_odd_change_is_rejected_with_its_place(
    laptop: Script, odd: dict[str, Any], word: str, pointer: str
) -> None:
    raw = {"change_id": str(uuid7()), "type": "thoughts", "id": "t", **odd}
    answer = laptop.push(raw, change("thoughts", "good", set={}))
    assert answer.status_code == 200, answer.content
    bad, good = answer.json()["results"]
    assert (bad["status"], bad["error"]["type"]) == ("rejected", word)
    assert bad["error"]["pointer"] == f"/changes/0{pointer}"
    assert good["status"] == "applied"


def test_infinity_is_rejected_as_a_value(laptop: Script) -> None:
    raw = json.dumps({"changes": [change("thoughts", "t", set={"position_x": 0})]})
    answer = laptop.post("/changes", raw.replace('"position_x": 0', '"position_x": 1e999').encode())
    assert answer.json()["results"][0]["error"]["type"] == "invalid-value"
    answer = laptop.post("/changes", raw.replace('"position_x": 0', f'"position_x": {"9" * 5000}').encode())
    assert answer.json()["results"][0]["error"]["type"] == "invalid-value"


def test_a_device_that_hears_nothing_new_is_still_seen(laptop: Script) -> None:
    cursor = laptop.get("/changes").json()["cursor"]
    asked = f"/changes?cursor={cursor}"

    def seen_after(ago: timedelta) -> datetime:
        DeviceCursor.objects.update(seen_at=Now() - ago)
        assert laptop.get(asked).status_code == 200
        return DeviceCursor.objects.get().seen_at

    assert laptop.get(asked).status_code == 200
    assert timezone.now() - seen_after(timedelta(days=3)) < timedelta(seconds=30)
    # A write with each pull would be too many.
    assert timezone.now() - seen_after(timedelta(seconds=50)) > timedelta(seconds=45)


def test_a_cursor_of_another_space_is_foreign(laptop: Script) -> None:
    other = Script(make_space("other"), "x")
    foreign = other.get("/changes").json()["cursor"]
    for cursor in (foreign, "x", "é", "AAAA", foreign[:-3]):
        answer = laptop.get(f"/changes?cursor={cursor}")
        assert problem(answer) == (410, "cursor-expired")
        assert answer.json()["reason"] == "foreign"


def test_a_copy_of_a_client_file_is_noticed(laptop: Script) -> None:
    laptop.push(*[change("thoughts", f"t{n}", set={}) for n in range(3)])
    first = laptop.get("/changes?limit=1").json()["cursor"]
    second = laptop.get(f"/changes?limit=1&cursor={first}").json()["cursor"]
    assert laptop.get(f"/changes?limit=1&cursor={first}").status_code == 200  # the answer was lost
    laptop.get(f"/changes?limit=1&cursor={second}")
    answer = laptop.get(f"/changes?limit=1&cursor={first}")
    assert problem(answer) == (410, "cursor-expired")
    assert answer.json()["reason"] == "cloned"
    assert laptop.get("/changes").status_code == 200
    assert laptop.get(f"/changes?limit=1&cursor={first}").status_code == 200


def test_a_restored_server_is_noticed(laptop: Script, space: Space) -> None:
    from sync.models import ChangeSet, SpaceHead

    laptop.push(change("thoughts", "a", set={}))
    laptop.push(change("thoughts", "b", set={}))
    page = laptop.get("/changes").json()
    ChangeSet.objects.filter(space=space, version=2).delete()
    SpaceHead.objects.filter(space=space).update(head=1)
    laptop.push(change("thoughts", "c", set={}), epoch=page["epoch"])
    answer = laptop.get(f"/changes?cursor={page['cursor']}")
    assert answer.json()["reason"] == "rolled-back"
    answer = laptop.push(change("thoughts", "d", set={}), epoch=page["epoch"])
    assert problem(answer) == (410, "cursor-expired")
    assert laptop.get("/changes").json()["epoch"] != page["epoch"]


def test_a_sector_lists_what_the_digest_counts(laptop: Script) -> None:
    laptop.push(*[change("thoughts", f"t{n}", set={"title": str(n)}) for n in range(20)])
    whole = laptop.get("/digest").json()
    assert whole["records"] == 20 and len(whole["sectors"]) == 256
    listed: list[Any] = []
    for number, sector in enumerate(whole["sectors"]):
        if sector != "0" * 16:
            part = laptop.get(f"/digest?sector={number}").json()
            listed += part["records"]
            assert f"{_xor(entry[3] for entry in part['records']):016x}" == sector
    assert len(listed) == 20
    assert f"{_xor(whole['sectors']):016x}" == whole["digest"]
    fetched = laptop.post("/changes/fetch", {"ids": [entry[:2] for entry in listed]}).json()["changes"]
    assert {(found["type"], found["id"]) for found in fetched} == {(entry[0], entry[1]) for entry in listed}
    for sector in ("256", "-1", "x", "1.0"):
        assert problem(laptop.get(f"/digest?sector={sector}")) == (400, "invalid-parameter")


def _xor(hashes: Any) -> int:
    total = 0
    for hash_ in hashes:
        total ^= int(hash_, 16)
    return total


def test_one_record_is_as_in_the_feed(laptop: Script) -> None:
    laptop.push(change("thoughts", "a/b c?é", set={"title": "T"}))
    [found] = laptop.get("/changes").json()["changes"]
    answer = laptop.http.get(f"{laptop.base}/record", {"type": "thoughts", "id": "a/b c?é"})
    assert answer.json() == found
    assert problem(laptop.get("/record?type=thoughts&id=x")) == (404, "not-found")
    assert problem(laptop.get("/record?type=x&id=x")) == (400, "invalid-parameter")


def test_history_and_restore(laptop: Script) -> None:
    laptop.push(
        change("segments", "s", set={"thought_id": "t"}), change("thoughts", "t", set={"title": "one"})
    )
    laptop.push(change("thoughts", "t", 1, set={"title": "two", "fields": {"k": 1}}))
    laptop.push(change("thoughts", "t", 2, set={"title": "three"}, unset=["fields.k"]))
    answer = laptop.post("/restore", {"type": "thoughts", "id": "t", "version": 2})
    assert (answer.json()["record"]["title"], answer.json()["record"]["fields"]) == ("two", {"k": 1})
    entries = laptop.get("/history?type=thoughts&id=t").json()["entries"]
    assert [entry["version"] for entry in entries] == [4, 3, 2, 1]
    assert entries[0]["origin"] == "restore"
    assert entries[1]["changes"] == {
        "title": {"old": "two", "new": "three"},
        "fields.k": {"old": 1, "new": None},
    }
    page = laptop.get("/history?type=thoughts&id=t&limit=3").json()
    assert [entry["version"] for entry in page["entries"]] == [4, 3, 2]
    rest = laptop.get(f"/history?type=thoughts&id=t&cursor={page['cursor']}").json()
    assert [entry["version"] for entry in rest["entries"]] == [1]
    assert problem(laptop.post("/restore", {"type": "thoughts", "id": "t", "version": 0})) == (
        400,
        "malformed",
    )
    assert problem(laptop.post("/restore", {"type": "thoughts", "id": "x", "version": 1})) == (
        404,
        "not-found",
    )


def test_a_restored_deletion_brings_back_what_hung_on_it(laptop: Script) -> None:
    laptop.push(
        change("thoughts", "t", set={"title": "T"}),
        change("segments", "s", set={"thought_id": "t", "content": "kept"}),
        change("segment_fields", "f", set={"segment_id": "s", "name": "n"}),
    )
    laptop.push(change("thoughts", "t", 1, delete=True), seen=1)
    answer = laptop.post("/restore", {"type": "thoughts", "id": "t", "version": 1})
    assert answer.json()["record"]["title"] == "T"
    assert laptop.get("/record?type=segments&id=s").json()["record"]["content"] == "kept"
    assert "record" in laptop.get("/record?type=segment_fields&id=f").json()


def test_conflicts_are_listed_and_resolved_once(laptop: Script, desk: Script) -> None:
    laptop.push(change("thoughts", "t", set={"title": "T"}))
    laptop.push(change("thoughts", "t", 1, set={"title": "Laptop"}))
    desk.push(change("thoughts", "t", 1, set={"title": "Desk"}))
    [conflict] = desk.get("/conflicts?state=open").json()["conflicts"]
    address = f"/api/v1/conflicts/{conflict['id']}/resolve"
    for body in ({"take": "nothing"}, {"take": "proposal"}, {}, {"take": "server", "set": {}}, []):
        answer = desk.http.post(address, json.dumps(body), **JSON)
        assert answer.status_code == 400, answer.content
    stranger = Script(make_space("theirs"), "theirs")
    assert problem(stranger.http.post(address, "{}", **JSON)) == (404, "not-found")
    answer = desk.http.post(address, json.dumps({"take": "client"}), **JSON)
    assert answer.json()["record"]["title"] == "Desk"
    answer = laptop.http.post(address, json.dumps({"set": {"title": "late"}}), **JSON)
    assert problem(answer) == (409, "conflict-resolved")
    assert "late" in answer.content.decode()
    assert desk.get("/conflicts?state=open").json() == {"conflicts": [], "cursor": None}
    assert len(desk.get("/conflicts").json()["conflicts"]) == 1


def test_spaces_are_made_renamed_and_archived(laptop: Script, space: Space) -> None:
    http = laptop.http
    made = http.post(
        "/api/v1/spaces", json.dumps({"workspace": "lab", "name": "Sleep", "kind": "shared"}), **JSON
    )
    assert made.status_code == 201, made.content
    body = made.json()
    assert (body["role"], body["head"], body["counts"], body["archived"]) == ("owner", 0, {}, False)
    address = f"/api/v1/spaces/{body['id']}"
    assert http.patch(address, json.dumps({"name": "Dreams"}), **JSON).json()["name"] == "Dreams"
    assert http.delete(address).status_code == 204
    assert http.get(address).json()["archived"] is True
    pushed = http.post(f"{address}/changes", json.dumps({"changes": []}), **JSON)
    assert problem(pushed) == (409, "space-archived")
    assert http.get(f"{address}/changes").status_code == 200
    names = [found["name"] for found in http.get("/api/v1/spaces").json()["spaces"]]
    assert sorted(names) == ["Dreams", "notes"]


def test_the_wrong_token_or_method_is_told_so(laptop: Script, space: Space) -> None:
    assert problem(Client().get(laptop.base)) == (401, "unauthenticated")
    assert problem(Client(headers={"Authorization": "Token lm_x"}).get(laptop.base)) == (
        401,
        "unauthenticated",
    )
    assert problem(laptop.http.put(f"{laptop.base}/changes")) == (405, "method-not-allowed")
    assert problem(laptop.http.get("/api/v1/spaces/nonsense/changes")) == (404, "not-found")
