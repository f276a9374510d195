"""Laptops that write at the same time, offline or not, end with the same records, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.client.steps import in_step

if TYPE_CHECKING:
    from tests.client.lab import Laptop

Make = Callable[..., "Laptop"]


def test_what_one_writes_the_other_has(laptop: Make) -> None:
    a, b = laptop(), laptop()
    a.thought("t1", title="Memory", position_x=1.5, fields='{"mood": "calm"}')
    a.segment("s1", "t1", content="One. Two.")
    a.tag("tag_memory", "memory")
    a.link("t1", "tag_memory")
    assert a.synced().sent == 4
    assert b.synced().received == 4
    assert b.sql("SELECT title, position_x, fields FROM thoughts") == [("Memory", 1.5, '{"mood":"calm"}')]
    assert b.sql("SELECT content, created_at FROM segments") == [("One. Two.", "2025-09-20T10:00:00.000Z")]
    assert b.sql("SELECT thought_bubble_id, tag_id FROM thought_tags") == [("t1", "tag_memory")]
    assert a.records() == b.records()
    assert a.synced().received == 0


def test_edits_of_different_fields_merge_and_both_have_them(laptop: Make) -> None:
    a, b = laptop(), laptop()
    a.thought("t1", title="Old", description="One.", metadata='{"x":1}')
    in_step(a, b)
    a.sql("UPDATE thoughts SET title = 'New', metadata = '{\"x\":1,\"a\":2}'")
    b.sql("UPDATE thoughts SET description = 'One. Two.', metadata = '{\"x\":1,\"b\":3}'")
    a.synced()
    assert b.sync().spaces[0].merged == 1
    records = in_step(a, b)
    record = records["thoughts", "t1"]
    assert (record["title"], record["description"]) == ("New", "One. Two.")
    assert record["metadata"] == {"x": 1, "a": 2, "b": 3}
    assert a.sql("SELECT title, description FROM thoughts") == [("New", "One. Two.")]


def test_a_conflict_keeps_the_first_and_shows_the_other(laptop: Make) -> None:
    a, b = laptop(), laptop()
    a.thought("t1", title="Dose", description="Take 10 mg/day.")
    in_step(a, b)
    a.sql("UPDATE thoughts SET description = 'Take 15 mg/day.'")
    b.sql("UPDATE thoughts SET description = 'Take 10 mg/week.'")
    a.synced()
    assert b.sync().spaces[0].conflicts == 1
    in_step(a, b)
    assert b.sql("SELECT description FROM thoughts") == [("Take 15 mg/day.",)]
    for one in (a, b):
        (conflict,) = one.file.conflicts(one.space)
        assert conflict["fields"]["description"]["client"] == "Take 10 mg/week."
    a.wire.down = True
    a.file.resolve(a.space, conflict["id"], {"take": "client"})
    assert a.file.conflicts(a.space) == []
    a.wire.down = False
    in_step(a, b)
    assert b.sql("SELECT description FROM thoughts") == [("Take 10 mg/week.",)]
    assert b.file.conflicts(b.space) == []


def test_what_is_typed_while_a_push_is_under_way_is_not_lost(laptop: Make) -> None:
    a, b = laptop(), laptop()
    a.thought("t1", title="Old", description="One. Two. Three.")
    in_step(a, b)
    b.sql("UPDATE thoughts SET description = 'One. Two. Four.'")
    b.synced()
    a.sql("UPDATE thoughts SET description = 'Zero. Two. Three.', title = 'Typed'")
    push = a.file.pending(a.space)
    assert push is not None
    a.sql("UPDATE thoughts SET description = 'Zero. Two, more. Three.', color = 'red'")
    answer = a.wire.push(push.space, push.epoch, push.seen, push.changes)
    assert answer.results[0]["status"] == "merged"
    a.file.answered(a.space, push, answer.results)
    assert a.sql("SELECT title, description, color FROM thoughts") == [
        ("Typed", "Zero. Two, more. Three.", "red")
    ]
    record = in_step(a, b)["thoughts", "t1"]
    assert record["description"] == "Zero. Two, more. Four."
    assert (record["title"], record["color"]) == ("Typed", "red")


def test_a_canvas_that_never_rests_keeps_no_round_from_ending(
    laptop: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = laptop(), laptop()
    a.thought("t1", title="Moved")
    in_step(a, b)
    push, moves = a.wire.push, 0

    def pushed(*sent: Any) -> Any:
        nonlocal moves
        answer = push(*sent)
        moves += 1
        assert moves < 10
        a.sql(f"UPDATE thoughts SET position_x = {moves}")
        return answer

    a.sql("UPDATE thoughts SET position_x = 100, title = 'Named'")
    monkeypatch.setattr(a.wire, "push", pushed)
    assert a.sync().spaces[0].state.value == "online"
    monkeypatch.undo()
    assert in_step(a, b)["thoughts", "t1"]["position_x"] == moves


def test_the_same_push_is_sent_again_after_a_lost_answer(laptop: Make) -> None:
    a, b = laptop(), laptop()
    in_step(a, b)
    a.thought("t1")
    a.wire.lose_answers = True
    assert a.sync().state.value == "offline"
    a.sql("UPDATE thoughts SET title = 'Later'")
    a.thought("t2")
    a.close()
    a.__init__(a.path, a.wire.token, *a.spaces)  # type: ignore[misc]
    log = a.wire.log
    a.synced()
    first, second = (body for kind, body in log if kind == "push")
    assert [change["id"] for change in first["changes"]] == ["t1"]
    assert first["changes"][0]["set"]["title"] == "A thought"
    assert {change["id"]: change["base"] > 0 for change in second["changes"]} == {"t1": True, "t2": False}
    assert in_step(a, b)["thoughts", "t1"]["title"] == "Later"


def test_a_deletion_takes_all_that_hangs_on_it(laptop: Make) -> None:
    a, b = laptop(), laptop()
    a.thought("t1")
    a.segment("s1", "t1")
    a.tag("tag_c")
    a.link("t1", "tag_c")
    in_step(a, b)
    a.sql("DELETE FROM thoughts")  # LogoMesh leaves the rest behind
    records = in_step(a, b)
    assert set(records) == {("tags", "tag_c")}
    for one in (a, b):
        assert (
            one.sql("SELECT count(*) FROM segments") == one.sql("SELECT count(*) FROM thought_tags") == [(0,)]
        )


def test_a_deletion_against_an_edit_brings_everything_back(laptop: Make) -> None:
    a, b = laptop(), laptop()
    a.thought("t1")
    a.segment("s1", "t1")
    a.segment("s2", "t1")
    in_step(a, b)
    b.sql("UPDATE segments SET content = 'Precious.' WHERE segment_id = 's1'")
    b.synced()
    a.sql("DELETE FROM thoughts")
    a.sql("DELETE FROM segments WHERE segment_id = 's2'")
    in_step(a, b)
    for one in (a, b):
        assert one.sql("SELECT content FROM segments ORDER BY segment_id") == [("Precious.",), ("Text.",)]
        assert [conflict["kind"] for conflict in one.file.conflicts(one.space)] == ["delete"]


def test_what_was_hung_on_a_thought_that_comes_back_goes_out(laptop: Make) -> None:
    a, b = laptop(), laptop()
    a.thought("t1", title="Old")
    in_step(a, b)
    b.sql("UPDATE thoughts SET title = 'Kept'")
    b.synced()
    a.sql("DELETE FROM thoughts")
    page = a.wire.changes(a.space, a.file.link(a.space).cursor)
    a.file.apply(a.space, page)
    a.file.advance(a.space, cursor=page.cursor, epoch=page.epoch, head=page.head, more=page.more)
    a.segment("s1", "t1", content="Written in a window that was still open.")
    a.sync()
    assert ("segments", "s1") in in_step(a, b)
    assert b.sql("SELECT segment_id FROM segments") == [("s1",)]
    assert not a.file.waiting()


def test_an_edit_offline_of_what_was_deleted_brings_it_back(laptop: Make) -> None:
    a, b = laptop(), laptop()
    a.thought("t1")
    a.segment("s1", "t1")
    a.segment("s2", "t1")
    in_step(a, b)
    a.sql("DELETE FROM thoughts")
    a.synced()
    b.sql("UPDATE segments SET content = 'Precious.' WHERE segment_id = 's1'")
    b.segment("s3", "t1")
    in_step(a, b)
    for one in (a, b):
        assert one.sql("SELECT thought_bubble_id FROM thoughts") == [("t1",)]
        assert len(one.sql("SELECT * FROM segments")) == 3


def test_a_deletion_that_arrives_before_a_new_child_was_sent_waits_for_it(laptop: Make) -> None:
    a, b = laptop(), laptop()
    a.thought("t1")
    in_step(a, b)
    a.sql("DELETE FROM thoughts")
    a.synced()
    page = b.wire.changes(b.space, b.file.link(b.space).cursor)
    b.segment("s1", "t1")  # typed between the push and the pull of a round
    b.file.apply(b.space, page)
    b.file.advance(b.space, cursor=page.cursor, epoch=page.epoch, head=page.head, more=page.more)
    assert b.sql("SELECT thought_bubble_id FROM thoughts") == [("t1",)]
    in_step(a, b)
    assert a.sql("SELECT segment_id FROM segments") == [("s1",)]


def test_a_segment_that_moved_survives_its_old_thought(laptop: Make) -> None:
    a, b = laptop(), laptop()
    a.thought("t1")
    a.thought("t2")
    a.segment("s1", "t1")
    in_step(a, b)
    a.sql("UPDATE segments SET thought_bubble_id = 't2'")
    a.sql("DELETE FROM thoughts WHERE thought_bubble_id = 't1'")
    records = in_step(a, b)
    assert set(records) == {("thoughts", "t2"), ("segments", "s1")}
    assert a.file.conflicts(a.space) == []


def test_an_id_that_comes_back_to_life(laptop: Make) -> None:
    a, b = laptop(), laptop()
    a.thought("t1", title="First", description="Something")
    in_step(a, b)
    a.sql("DELETE FROM thoughts")
    in_step(a, b)
    a.thought("t1", title="Second")
    assert in_step(a, b)["thoughts", "t1"]["description"] is None
    a.sql("INSERT OR REPLACE INTO thoughts (thought_bubble_id, title, created_at, updated_at) VALUES"
          " ('t1', 'Third', '2025-09-20T10:00:00.000Z', '2025-09-20T10:00:00.000Z')")  # fmt: skip
    assert in_step(a, b)["thoughts", "t1"]["title"] == "Third"


def test_orphans_wait_for_their_parent(laptop: Make) -> None:
    a, b = laptop(), laptop()
    a.segment("s1", "t_gone")
    a.link("t_gone", "tag_gone")
    a.thought("t1")
    a.link("t1", "tag_gone")
    in_step(a, b)
    assert {(one.type, one.reason) for one in a.file.waiting()} == {
        ("segments", "missing-parent"),
        ("thought_tags", "missing-parent"),
    }
    assert b.sql("SELECT count(*) FROM segments") == [(0,)]
    b.thought("t_gone")
    in_step(a, b)
    assert b.sql("SELECT segment_id FROM segments") == [("s1",)]
    a.tag("tag_gone")
    in_step(a, b)
    assert len(b.sql("SELECT * FROM thought_tags")) == 2
    assert a.file.waiting() == []


def test_detaching_leaves_the_file_as_it_was(laptop: Make, tmp_path: Path) -> None:
    from tests.client.lab import Laptop

    path = tmp_path / "plain.sqlite3"
    plain = Laptop(path, "none")
    plain.thought("t1", title="x")

    def content() -> list[Any]:
        return [plain.sql("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"),
                plain.sql("SELECT * FROM thoughts")]  # fmt: skip

    before = content()
    plain.close()
    one = laptop(path=path)
    one.synced()
    assert len(one.sql("SELECT name FROM sqlite_master WHERE name GLOB 'logomesh_sync_*'")) > 20
    one.file.detach()
    assert not one.file.attached and one.file.links() == []
    plain = one
    assert content() == before


def test_a_file_that_was_imported_is_not_sent_again(laptop: Make) -> None:
    a = laptop()
    for number in range(30):
        a.thought(f"t{number}", title=f"Thought {number}")
        a.segment(f"s{number}", f"t{number}")
    a.synced()
    a.file.detach()
    b = laptop(path=a.path)
    b.sql("UPDATE thoughts SET title = 'Newer', updated_at = '2025-11-20T10:00:00.000Z'"
          " WHERE thought_bubble_id = 't7'")  # fmt: skip
    b.sql("UPDATE thoughts SET title = 'Older', updated_at = '2025-01-20T10:00:00.000Z'"
          " WHERE thought_bubble_id = 't8'")  # fmt: skip
    report = b.sync()
    assert report.sent == 2
    records = in_step(b)
    assert records["thoughts", "t7"]["title"] == "Newer"
    assert records["thoughts", "t8"]["title"] == "Thought 8"  # in the conflict is the other one
    assert [c["fields"]["title"]["client"] for c in b.file.conflicts(b.space)] == ["Older"]


def test_what_is_typed_while_a_space_is_taken_away_is_kept(laptop: Make) -> None:
    a = laptop()
    a.thought("t1")
    a.synced()
    begin = a.file._set_unsent_aside

    def and_the_app_writes(*args: Any) -> int:
        done = begin(*args)
        a.sql("UPDATE thoughts SET title = 'Typed in this moment'")
        return done

    a.file._set_unsent_aside = and_the_app_writes  # type: ignore[method-assign]
    assert a.file.put_aside(a.space, "access-revoked") == 1
    assert a.sql("SELECT * FROM thoughts") == []
    assert "Typed in this moment" in str(a.file.rescue())


def test_a_pull_that_is_struck_down_while_the_next_page_comes_goes_on_where_it_was(
    laptop: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    a, b = laptop(), laptop()
    for number in range(9):
        a.thought(f"t{number}")
    a.synced()
    b.wire.page, left, advance = 3, [2], b.file.advance

    def killed(*args: Any, **options: Any) -> None:
        left[0] -= 1
        if not left[0]:
            raise Killed
        advance(*args, **options)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(b.file, "advance", killed)
        b.sync()
    b.close()
    b.__init__(b.path, b.wire.token, *b.spaces)  # type: ignore[misc]
    assert b.file.link(b.space).cursor is not None

    def begins_anew(*_: Any) -> None:
        raise AssertionError("all of it comes once more")

    monkeypatch.setattr(b.file, "begin_anew", begins_anew)
    b.synced()
    assert len(b.sql("SELECT * FROM thoughts")) == 9
