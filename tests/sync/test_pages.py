"""The pages of a space as requests: what they change, what they keep, what they never name."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from sync import browsing, conflicts, timeline
from sync.core.records import empty_record
from sync.markdown import as_html
from sync.models import Origin
from sync.writing import Author, change_set
from tests.people import Member, People
from tests.sync.devices import Device, change
from workspaces import actions

FORM = {"HTTP_ACCEPT": "text/html"}


class Browser:
    """Somebody at a browser without JavaScript, in the shared space."""

    def __init__(self, member: Member, space: Any) -> None:
        self.client = Client(raise_request_exception=False)
        self.client.force_login(member.person)
        self.url = f"/spaces/{space.pk}"

    def get(self, path: str = "") -> Any:
        return self.client.get(self._address(path), **FORM)

    def post(self, path: str, **form: Any) -> Any:
        return self.client.post(self._address(path), form, **FORM)

    def _address(self, path: str) -> str:
        return path if path.startswith("/") else f"{self.url}/{path}".rstrip("/")

    def thought(self, id_: str = "t1", **form: Any) -> Any:
        return self.post(f"thought?id={id_}", **form)

    def reads(self, path: str = "") -> str:
        answer = self.get(path)
        assert answer.status_code == 200, answer.content.decode()[:500]
        return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


@pytest.fixture
def eva(people: People) -> Device:
    """Eva's device in the shared space, with a thought, a segment, a tag and a link in it."""
    device = Device(people.eva.caller, people.space.pk)
    device.push(
        change("thoughts", "t1", set={"title": "Sleep", "description": "What we know.", "color": "#123456"}),
        change("segments", "s1", set={"thought_id": "t1", "title": "Finding", "content": "Ten mg a day."}),
        change(
            "segments",
            "s2",
            set={"thought_id": "t1", "content": "# Plan\n\n*soon*", "content_type": "markdown"},
        ),
        change("tags", "tag_memory", set={"name": "Memory"}),
        change("thought_tags", "t1/tag_memory", set={}),
        change("segment_neighbors", "s1/s2/supports", set={}),
    )
    device.pull()
    return device


@pytest.fixture
def ben(people: People, eva: Device) -> Browser:
    return Browser(people.ben, people.space)


def record(people: People, id_: str = "t1") -> dict[str, Any]:
    return browsing.thought(people.space.pk, id_).thought


# --- editing ---


def test_an_edit_moves_the_time_of_the_change(people: People, eva: Device, ben: Browser) -> None:
    ben.thought(type="thoughts", record="t1", base="1", title="Sleep and memory", description="What we know.")
    after = record(people)
    assert after["title"] == "Sleep and memory" and after["updated_at"] is not None
    ben.thought(type="segments", record="new", base="0", title="", content="One\r\ntwo", content_type="text")
    segments = browsing.thought(people.space.pk, "t1").segments
    made = next(segment for segment in segments if segment["content"] == "One\ntwo")
    assert made["created_at"] == made["updated_at"] is not None


def test_what_was_left_as_it_was_collides_with_nothing(people: People, eva: Device, ben: Browser) -> None:
    eva.push(change("thoughts", "t1", base=1, set={"title": "Eva's title"}))
    ben.thought(type="thoughts", record="t1", base="1", title="Sleep", description="Ben's description.")
    after = record(people)
    assert (after["title"], after["description"]) == ("Eva's title", "Ben's description.")
    assert conflicts.count_open([people.space.pk]) == 0


def test_nothing_changed_is_no_change(people: People, eva: Device, ben: Browser) -> None:
    ben.thought(type="thoughts", record="t1", base="1", title="Sleep", description="What we know.")
    assert record(people)["version"] == 1


def test_what_was_typed_stays_where_it_cannot_be_saved(people: People, eva: Device, ben: Browser) -> None:
    typed = {
        "type": "segments",
        "record": "s1",
        "base": "1",
        "title": "Finding",
        "content": "An hour's work.",
    }
    long = ben.thought(**typed | {"base": "99"})
    assert long.status_code == 400 and "An hour&#x27;s work." in long.content.decode()
    actions.archive_space(people.space.pk, by=people.eva.person)
    archived = ben.thought(**typed)
    page = archived.content.decode()
    assert archived.status_code == 409 and "An hour&#x27;s work." in page and "archived" in page
    actions.unarchive_space(people.space.pk, by=people.eva.person)
    actions.unshare_with_person(people.space.pk, people.ben.email, by=people.eva.person)
    gone = ben.thought(**typed)
    page = gone.content.decode()
    assert gone.status_code in (403, 404) and "An hour&#x27;s work." in page and "Memory study" not in page
    assert "Ten mg" not in page


def test_the_title_of_a_thought_that_cannot_be_made_stays(people: People, ben: Browser) -> None:
    actions.archive_space(people.space.pk, by=people.eva.person)
    answer = ben.post("", title="A long thought")
    assert answer.status_code == 409 and "A long thought" in answer.content.decode()


def test_tags_come_and_go(people: People, eva: Device, ben: Browser) -> None:
    ben.thought(do="tag", type="thoughts", record="t1", base="1", tag=" Sleep   spindles ")
    ben.thought(do="tag", type="segments", record="s1", base="1", tag="memory")
    whole = browsing.thought(people.space.pk, "t1")
    assert [(tag["id"], tag["name"]) for tag in whole.tags] == [
        ("tag_memory", "Memory"),
        ("tag_sleep_spindles", "Sleep spindles"),
    ]
    assert [tag["id"] for tag in browsing.segment(people.space.pk, "s1")["tags"]] == ["tag_memory"]
    link = whole.tags[0]["version"]
    ben.thought(do="untag", type="thoughts", record="t1", base="1", tag="tag_memory", link=link, seen=3)
    assert [tag["id"] for tag in browsing.thought(people.space.pk, "t1").tags] == ["tag_sleep_spindles"]


def test_segments_are_linked_by_their_words(people: People, eva: Device, ben: Browser) -> None:
    eva.push(
        change("thoughts", "t2", set={"title": "Dreams"}),
        change("segments", "s3", set={"thought_id": "t2", "title": "Night", "content": "x"}),
    )
    said = ben.reads("thought?id=t1&do=link&segment=s1&words=dreams")
    assert "Dreams › Night" in said
    ben.thought(do="link", type="segments", record="s1", target="s3", kind="supports", seen=1)
    links = [
        (it["segment"], it["type"], it["outgoing"]) for it in browsing.segment(people.space.pk, "s1")["links"]
    ]
    assert ("s3", "supports", True) in links
    version = next(it["version"] for it in browsing.segment(people.space.pk, "s3")["links"])
    ben.thought(do="unlink", type="segment_neighbors", record="s1/s3/supports", base=version, seen=version)
    assert browsing.segment(people.space.pk, "s3")["links"] == []


def test_a_viewer_changes_nothing_and_is_offered_nothing(people: People, eva: Device) -> None:
    cai = Browser(people.cai, people.space)
    assert cai.thought(do="delete", type="thoughts", record="t1", base="1", seen="1").status_code == 403
    page = cai.get("thought?id=t1").content.decode()
    assert "<textarea" not in page and ">Edit<" not in page and "Ten mg" in page


# --- the canvas ---


def drawn(ben: Browser, query: str = "") -> tuple[set[str], int]:
    """The thoughts that the canvas draws, and how many links."""
    answer = ben.get(f"canvas.json{query}").json()
    assert not answer["limited"]
    return {thought["id"] for thought in answer["thoughts"]}, len(answer["links"])


def test_the_canvas_shows_what_is_asked_for(people: People, eva: Device, ben: Browser) -> None:
    eva.push(
        change("thoughts", "t2", set={"title": "Dreams", "updated_at": "2025-03-01T12:00:00.000000Z"}),
        change("segments", "s3", set={"thought_id": "t2", "content": "x", "cluster_id": "night"}),
        change("segment_neighbors", "s3/s1/related", set={}),
        change("thoughts", "t3", set={"title": "Alone"}),
    )
    assert drawn(ben) == ({"t1", "t2", "t3"}, 1)
    assert drawn(ben, "?near=t1") == ({"t1", "t2"}, 1)
    assert drawn(ben, "?tag=tag_memory") == ({"t1"}, 0)
    assert drawn(ben, "?cluster=night") == ({"t2"}, 0)
    assert drawn(ben, "?after=2025-03-01&before=2025-03-01") == ({"t2"}, 0)
    assert drawn(ben, "?before=2025-02-28&after=nonsense") == (set(), 0)
    assert drawn(ben, "?q=dreams") == ({"t2"}, 0)
    said = ben.reads("canvas?near=t1")
    assert "Dreams" in said and "Alone" not in said


def test_a_large_space_is_drawn_in_part_and_says_so(
    people: People, eva: Device, ben: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    eva.push(change("thoughts", "t2", set={"title": "Newer", "updated_at": "2025-03-01T12:00:00.000000Z"}))
    monkeypatch.setattr(browsing, "MOST_ON_A_MAP", 1)
    answer = ben.get("canvas.json").json()
    assert answer["limited"] and [thought["title"] for thought in answer["thoughts"]] == ["Newer"]


# --- Markdown ---


@pytest.mark.parametrize(
    ("written", "never"),
    [
        ("<script>alert(1)</script>", "<script"),
        ("[x](javascript:alert(1))", 'href="javascript'),
        ("![x](https://elsewhere.example/pixel.png)", "<img"),
        ('<a href="x" onclick="y">z</a>', "<a href"),
        ("<style>*{}</style>", "<style"),
    ],
)
def test_markdown_makes_nothing_that_acts(written: str, never: str) -> None:
    assert never not in as_html(written)


def test_markdown_is_rendered_and_diagrams_are_text(people: People, eva: Device, ben: Browser) -> None:
    eva.push(
        change(
            "segments", "m", set={"thought_id": "t1", "content": "graph <b>TD</b>", "content_type": "mermaid"}
        )
    )
    page = ben.get("thought?id=t1").content.decode()
    assert "<h4>Plan</h4>" in page and "<em>soon</em>" in page
    assert "graph &lt;b&gt;TD" in page


# --- deleting and bringing back ---


def test_a_deleted_thought_comes_back_whole(people: People, eva: Device, ben: Browser) -> None:
    space = people.space.pk
    eva.pull()
    before = eva.records
    ben.thought(do="delete", type="thoughts", record="t1", base="1", seen="1")
    assert ben.get("thought?id=t1").status_code == 404
    assert "Sleep" in ben.reads("deleted")
    answer = ben.post("deleted", type="thoughts", id="t1")
    assert "id=t1" in answer["Location"]
    eva.pull()
    bare = [
        {ref: {k: v for k, v in it.items() if k != "version"} for ref, it in records.items()}
        for records in (before, eva.records)
    ]
    assert bare[0] == bare[1]
    assert conflicts.count_open([space]) == 0
    assert "Sleep" not in ben.reads("deleted")


def test_a_deletion_of_what_others_changed_is_a_conflict(people: People, eva: Device, ben: Browser) -> None:
    eva.push(change("segments", "s1", base=1, set={"content": "Twelve mg a day."}))
    ben.thought(do="delete", type="thoughts", record="t1", base="1", seen="1")
    assert record(people)["title"] == "Sleep"
    assert conflicts.count_open([people.space.pk]) == 1


def test_a_version_is_restored(people: People, eva: Device, ben: Browser) -> None:
    eva.push(change("thoughts", "t1", base=1, set={"title": "Worse"}))
    assert "Worse" in ben.reads("history?type=thoughts&id=t1")
    ben.post("history?type=thoughts&id=t1", version="1")
    assert record(people)["title"] == "Sleep"


def test_the_timeline_tells_who_did_what(people: People, eva: Device, ben: Browser) -> None:
    ben.thought(type="thoughts", record="t1", base="1", title="Sleep and memory", description="What we know.")
    said = ben.reads("timeline")
    assert "Ben" in said and "Sleep and memory title" in said
    assert "Ben" in ben.reads("/") and "Sleep and memory" in ben.reads("/")


# --- conflicts ---


@pytest.fixture
def conflict(people: People, eva: Device) -> str:
    """Eva wrote a title first; Ben, who had not seen it, wrote another."""
    eva.push(change("thoughts", "t1", base=1, set={"title": "Eva's"}))
    bens = Device(people.ben.caller, people.space.pk)
    return str(bens.push(change("thoughts", "t1", base=1, set={"title": "Ben's"}))[0]["conflict"])


def test_a_conflict_is_decided_undone_and_decided_anew(people: People, ben: Browser, conflict: str) -> None:
    page = ben.get("/conflicts").content.decode()
    assert "<mark>Eva</mark>" in page and "<mark>Ben</mark>" in page and "Take mine" in page
    ben.post(f"/conflicts/{conflict}", take="client")
    assert record(people)["title"] == "Ben's"
    assert "Undo" in ben.reads("/conflicts") and "Nothing waits" in ben.reads("/conflicts")
    ben.post(f"/conflicts/{conflict}", take="undo")
    assert record(people)["title"] == "Eva's"
    ben.post(f"/conflicts/{conflict}", take="both", anew=str(record(people)["version"]))
    assert record(people)["title"] == "Eva's\n\nBen's"


def test_the_second_to_decide_keeps_what_they_typed(people: People, ben: Browser, conflict: str) -> None:
    Browser(people.eva, people.space).post(f"/conflicts/{conflict}", take="server")
    late = ben.post(f"/conflicts/{conflict}", **{"take": "edit", "field.title": "Ours, thought over"})
    assert late.status_code == 409 and "Ours, thought over" in late.content.decode()
    assert record(people)["title"] == "Eva's"
    ben.post(
        f"/conflicts/{conflict}",
        **{"take": "edit", "field.title": "Ours", "anew": str(record(people)["version"])},
    )
    assert record(people)["title"] == "Ours"


def test_many_are_decided_alike(people: People, eva: Device, ben: Browser, conflict: str) -> None:
    bens = Device(people.ben.caller, people.space.pk)
    eva.push(change("segments", "s1", base=1, set={"title": "Hers"}))
    bens.push(change("segments", "s1", base=1, set={"title": "His"}))
    assert "Decide all 2 alike" in ben.reads("/conflicts")
    ben.post("/conflicts", take="client", all_of="edit")
    assert record(people)["title"] == "Ben's"
    assert browsing.segment(people.space.pk, "s1")["title"] == "His"
    assert conflicts.count_open([people.space.pk]) == 0


def test_a_deletion_that_lost_is_decided_undone_and_decided_anew(
    people: People, eva: Device, ben: Browser
) -> None:
    eva.push(change("thoughts", "t1", base=1, set={"description": "Longer."}))
    bens = Device(people.ben.caller, people.space.pk)
    found = bens.push(change("thoughts", "t1", base=1, delete=True), seen=1)[0]["conflict"]
    ben.post(f"/conflicts/{found}", take="client")
    assert ben.get("thought?id=t1").status_code == 404
    ben.post(f"/conflicts/{found}", take="undo")
    whole = browsing.thought(people.space.pk, "t1")
    assert whole.thought["description"] == "Longer." and len(whole.segments) == 2


# --- what is named ---


def test_what_one_may_no_longer_see_is_named_nowhere(people: People, ben: Browser, conflict: str) -> None:
    assert "Memory study" in ben.reads("/") and "Memory study" in ben.reads("/conflicts")
    actions.unshare_with_person(people.space.pk, people.ben.email, by=people.eva.person)
    for page in ("/", "/conflicts", "/conflicts?state=resolved", f"/conflicts?id={conflict}", "/imports"):
        said = ben.reads(page)
        assert "Memory study" not in said and "Eva" not in said and "Sleep" not in said, page
    for page in ("", "thought?id=t1", "timeline", "deleted", "history?type=thoughts&id=t1", "canvas"):
        assert ben.get(page).status_code in (403, 404), page


def test_a_part_asked_for_after_the_session_ended_leads_to_signing_in(people: People) -> None:
    answer = Client().get("/", headers={"HX-Request": "true"})
    assert answer["HX-Redirect"] == "/sign-in?next=%2F" and not answer.content


def test_a_manager_without_a_role_learns_only_that_the_space_exists(people: People, eva: Device) -> None:
    said = Browser(people.ana, people.space).reads("/")
    assert "Memory study" in said and "Sleep" not in said and "Eva" not in said


def test_the_home_knows_how_far_devices_are(people: People, eva: Device) -> None:
    home = Browser(people.eva, people.space)
    assert "has pulled nothing yet" in home.reads("/")
    eva.pull()
    eva.pull()  # it presents a cursor from the second time on
    assert "in step" in home.reads("/")
    bens = Device(people.ben.caller, people.space.pk)
    bens.push(change("thoughts", "t9", set={"title": "New"}))
    assert "1 edit waits for it" in home.reads("/")


def test_an_import_is_told_as_one_however_many_pieces_it_came_in(eva: Device, people: People) -> None:
    author = Author(people.eva.person.pk)
    for number in range(5):
        with change_set(people.space.pk, author=author, origin=Origin.IMPORT) as changes:
            changes.copy_new("thoughts", [(f"old{number}", empty_record("thoughts"))])
            changes.changed = True
    assert "imported a file" in Browser(people.eva, people.space).reads("timeline")
    [found] = timeline.latest([people.space.pk], 1)
    assert found.brought["thoughts"] == 5

    # Nor does it hide what was before it
    _, before = timeline.latest([people.space.pk], 2)
    assert before.lines[0].title == "Sleep"


@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01", "2025-02-30", "x", ""])
def test_any_day_may_be_asked_for(eva: Device, people: People, day: str) -> None:
    browser = Browser(people.eva, people.space)
    for page in ("", "/canvas"):
        for name in ("before", "after"):
            assert browser.get(f"{browser.url}{page}?{name}={day}").status_code == 200
