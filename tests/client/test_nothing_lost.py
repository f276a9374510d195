"""What a person typed survives whatever arrives, is refused or is taken away meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from logomesh_client.wire.errors import Problem
from tests.client.steps import in_step

if TYPE_CHECKING:
    from tests.client.lab import Laptop
    from tests.people import People

Make = Callable[..., "Laptop"]
_AT = "2025-09-20T10:00:00.000Z"


def pushed(one: Laptop) -> list[dict[str, Any]]:
    """Send the next push. The results, which the file has taken."""
    push = one.file.pending(one.space)
    assert push is not None
    answer = one.wire.push(push.space, push.epoch, push.seen, push.changes)
    one.file.answered(one.space, push, answer.results)
    return list(answer.results)


def refuse_all(one: Laptop, monkeypatch: pytest.MonkeyPatch, reason: str = "invalid-value") -> None:
    """From now on the server refuses each change of this laptop."""

    def push(space: str, epoch: str | None, seen: int, changes: list[dict[str, Any]]) -> Any:
        from logomesh_client.wire.feed import PushAnswer

        error = {"type": f"https://x/problems/{reason}", "title": "No.", "detail": "Not this."}
        results = [{"change_id": it["change_id"], "status": "rejected", "error": error} for it in changes]
        return PushAnswer(seen, results)

    monkeypatch.setattr(one.wire, "push", push)


# Deletions


def test_a_deletion_beside_a_space_that_is_still_being_pulled_is_sent_later(
    laptop: Make, people: People
) -> None:
    a, b = laptop(people.eva, people.private, people.space), laptop(people.ben)
    b.thought("t1")
    b.synced()
    a.synced()
    a.file.begin_anew(a.spaces[1], "purged")
    a.sql("DELETE FROM thoughts WHERE thought_bubble_id = 't1'")
    a.sync(spaces=[a.space])  # the home looks at all that was noted
    a.synced()
    b.synced()
    assert b.sql("SELECT count(*) FROM thoughts") == [(0,)]


def test_a_deletion_while_the_own_edit_is_merged_does_not_take_the_others_along(laptop: Make) -> None:
    a, b = laptop(), laptop()
    a.thought("t1", title="Old")
    in_step(a, b)
    b.sql("UPDATE thoughts SET description = 'Precious.'")
    b.synced()
    a.sql("UPDATE thoughts SET title = 'New'")
    push = a.file.pending(a.space)
    assert push is not None
    a.sql("DELETE FROM thoughts")  # before the answer: nobody has seen Ben's words here
    answer = a.wire.push(push.space, push.epoch, push.seen, push.changes)
    assert answer.results[0]["status"] == "merged"
    a.file.answered(a.space, push, answer.results)
    in_step(a, b)
    assert a.sql("SELECT description FROM thoughts") == b.sql("SELECT description FROM thoughts")
    assert b.sql("SELECT description FROM thoughts") == [("Precious.",)]
    assert [conflict["kind"] for conflict in b.file.conflicts(b.space)] == ["delete"]


def test_a_deletion_after_the_own_edit_that_nobody_else_touched_is_a_deletion(laptop: Make) -> None:
    a, b = laptop(), laptop()
    a.thought("t1", title="Old")
    in_step(a, b)
    a.sql("UPDATE thoughts SET title = 'New'")
    a.wire.lose_answers = True
    a.sync()
    a.wire.lose_answers = False
    a.sql("DELETE FROM thoughts")
    assert in_step(a, b) == {}
    assert b.file.conflicts(b.space) == []


def test_a_deletion_typed_while_a_pull_is_under_way_knows_nothing_of_what_it_brings(laptop: Make) -> None:
    a, b = laptop(), laptop()
    a.thought("t1")
    a.segment("s1", "t1")
    in_step(a, b)
    b.sql("UPDATE segments SET content = 'Precious.'")
    b.synced()
    page = a.wire.changes(a.space, a.file.link(a.space).cursor)
    a.sql("DELETE FROM thoughts")
    a.file.apply(a.space, page)
    a.file.advance(a.space, cursor=page.cursor, epoch=page.epoch, head=page.head, more=page.more)
    in_step(a, b)
    assert b.sql("SELECT content FROM segments") == [("Precious.",)]
    assert [conflict["kind"] for conflict in b.file.conflicts(b.space)] == ["delete"]


def test_what_is_made_again_while_its_deletion_is_answered_meets_the_edit_that_won(laptop: Make) -> None:
    a, b = laptop(), laptop()
    a.thought("t1", title="Old")
    in_step(a, b)
    b.sql("UPDATE thoughts SET title = 'Precious'")
    b.synced()
    a.sql("DELETE FROM thoughts")
    push = a.file.pending(a.space)
    assert push is not None
    a.thought("t1", title="Second life")
    answer = a.wire.push(push.space, push.epoch, push.seen, push.changes)
    a.file.answered(a.space, push, answer.results)
    in_step(a, b)
    assert b.sql("SELECT title FROM thoughts") == [("Precious",)]
    kinds = {conflict["kind"] for conflict in b.file.conflicts(b.space)}
    assert kinds == {"delete", "edit"}  # the other title is in the conflict


# What the server refused, and what waits


def test_a_refused_edit_is_not_overwritten_by_what_arrives(
    laptop: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = laptop(), laptop()
    a.thought("t1", title="Old", description="Old.")
    in_step(a, b)
    a.sql("UPDATE thoughts SET title = 'Refused'")
    with monkeypatch.context() as patch:
        refuse_all(a, patch)
        a.sync()
    b.sql("UPDATE thoughts SET title = 'Theirs', description = 'New.'")
    b.synced()
    a.sync()
    assert a.sql("SELECT title, description FROM thoughts") == [("Refused", "New.")]
    a.sql("UPDATE thoughts SET color = 'red'")  # the row is looked at again
    in_step(a, b)
    assert [c["fields"]["title"]["client"] for c in b.file.conflicts(b.space)] == ["Refused"]
    assert a.file.waiting() == []


def test_a_refused_edit_outlives_the_deletion_of_its_record(
    laptop: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = laptop(), laptop()
    a.thought("t1", title="Old")
    in_step(a, b)
    a.sql("UPDATE thoughts SET title = 'Refused'")
    with monkeypatch.context() as patch:
        refuse_all(a, patch)
        a.sync()
    b.sql("DELETE FROM thoughts")
    b.synced()
    in_step(a, b)
    assert "Refused" in str(a.sql("SELECT title FROM thoughts")) + str(a.file.rescue())


def test_a_segment_moved_below_another_spaces_thought_outlives_its_old_one(
    laptop: Make, people: People
) -> None:
    a, b = laptop(people.eva, people.private, people.space), laptop(people.ben)
    b.thought("theirs")
    b.segment("s1", "theirs")
    b.synced()
    a.thought("mine")
    a.synced()
    a.sql("UPDATE segments SET thought_bubble_id = 'mine', content = 'Typed.'")
    a.synced()
    assert [(one.id, one.reason) for one in a.file.waiting()] == [("s1", "other-space")]
    b.sql("UPDATE segments SET content = 'Theirs.'")
    b.synced()
    a.synced()
    assert a.sql("SELECT content FROM segments") == [("Typed.",)]
    b.sql("DELETE FROM thoughts")
    b.synced()
    a.sync()
    a.synced()
    assert a.sql("SELECT thought_bubble_id, content FROM segments") == [("mine", "Typed.")]
    assert a.records()["segments", "s1"]["content"] == "Typed."  # now it belongs where it hangs


def test_what_was_refused_is_put_aside_with_a_lost_space(
    laptop: Make, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workspaces import actions

    a, b = laptop(people.eva), laptop(people.ben)
    a.thought("t1")
    in_step(a, b)
    b.sql("UPDATE thoughts SET title = 'Refused'")
    with monkeypatch.context() as patch:
        refuse_all(b, patch)
        b.sync()
    actions.unshare_with_person(people.space.pk, people.ben.email, by=people.eva.person)
    report = b.sync()
    assert report.state.value == "access-lost"
    assert "Refused" in {one.get("title") for one in b.file.rescue()}
    assert report.spaces[0].put_aside == 1


def test_a_refused_change_that_is_taken_back_or_deleted_needs_no_attention(
    laptop: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = laptop()
    a.thought("t1", title="Old")
    a.thought("t2", title="Old")
    a.synced()
    a.sql("UPDATE thoughts SET title = 'Refused'")
    with monkeypatch.context() as patch:
        refuse_all(a, patch)
        assert a.sync().state.value == "attention"
    a.sql("UPDATE thoughts SET title = 'Old' WHERE thought_bubble_id = 't1'")
    a.sql("DELETE FROM thoughts WHERE thought_bubble_id = 't2'")
    assert a.synced().state.value == "online"
    assert a.file.waiting() == []


def test_a_conflict_that_somebody_else_decided_first_needs_no_attention(laptop: Make) -> None:
    a, b = laptop(), laptop()
    a.thought("t1", description="Take 10 mg/day.")
    in_step(a, b)
    a.sql("UPDATE thoughts SET description = 'Take 15 mg/day.'")
    b.sql("UPDATE thoughts SET description = 'Take 10 mg/week.'")
    in_step(a, b)
    (conflict,) = b.file.conflicts(b.space)
    b.file.resolve(b.space, conflict["id"], {"set": {"description": "Take 12 mg/day, says Ben."}})
    a.file.resolve(a.space, conflict["id"], {"take": "server"})
    a.synced()
    b.sync()
    assert b.synced().state.value == "online"
    assert [one for one in b.file.waiting() if one.refused] == []
    assert "12 mg/day, says Ben" in str(b.file.rescue())  # and the words are not lost


def test_a_decision_of_a_conflict_that_is_gone_needs_no_attention(laptop: Make) -> None:
    a = laptop()
    a.synced()
    a.file.resolve(a.space, "01a00000-0000-7000-8000-000000000001", {"set": {"title": "Decided"}})
    a.sync()
    assert a.synced().state.value == "online"
    (kept,) = a.file.rescue()
    assert (kept["reason"], kept["change"]["set"]) == ("not-found", {"set": {"title": "Decided"}})


# Several spaces


def test_a_new_private_thought_is_never_taken_for_a_shared_one_of_the_same_id(
    laptop: Make, people: People
) -> None:
    a, b = laptop(people.eva, people.private, people.space), laptop(people.ben)
    a.synced()
    b.thought("same", title="Ben's")
    b.synced()
    a.thought("same", title="Private", updated_at="2025-11-20T10:00:00.000Z")
    push = a.wire.push

    def archived(space: str, *args: Any) -> Any:
        if space == a.space:
            raise Problem("space-archived", 409, "Archived.", "")
        return push(space, *args)

    a.wire.push = archived  # type: ignore[method-assign]
    for _ in range(3):
        a.sync()
    b.synced()
    assert b.sql("SELECT title FROM thoughts") == [("Ben's",)]
    a.wire.push = push  # type: ignore[method-assign]
    a.synced()
    b.synced()
    assert a.sql("SELECT title FROM thoughts") == [("Private",)]
    assert b.sql("SELECT title FROM thoughts") == [("Ben's",)]
    assert a.file.space_of("thoughts", "same") == a.space


def test_a_tag_row_that_goes_over_to_another_space_says_what_is_agreed_there(
    laptop: Make, people: People
) -> None:
    a, b = laptop(people.eva, people.private, people.space), laptop(people.ben)
    b.thought("theirs")
    b.synced()
    a.synced()
    a.tag("tag_c", color="red")
    a.thought("mine")
    a.link("mine", "tag_c")
    a.link("theirs", "tag_c")
    a.synced()
    b.synced()
    b.sql("UPDATE tags SET color = 'blue'")
    b.synced()
    a.synced()
    assert a.sql("SELECT color FROM tags") == [("red",)]  # of the first space
    c = laptop(people.eva, people.private)
    c.synced()
    c.sql("DELETE FROM tags")
    c.synced()
    a.synced()
    assert a.sql("SELECT color FROM tags") == [("blue",)]
    a.sql("UPDATE tags SET name = 'renamed'")
    a.synced()
    b.synced()
    assert b.sql("SELECT name, color FROM tags") == [("renamed", "blue")]


# Selective sync


def _scoped(laptop: Make, people: People) -> tuple[Laptop, Laptop]:
    from tests.client.lab import ADDRESS, SpaceLink

    a = laptop()
    for number, tag in enumerate(("tag_a", "tag_b")):
        a.tag(tag)
        a.thought(f"t{number}")
        a.segment(f"s{number}", f"t{number}")
        a.link(f"t{number}", tag)
    for relation in ("one", "two"):
        a.sql("INSERT INTO segment_neighbors (source_segment_id, target_segment_id, relationship_type,"
              " created_at) VALUES ('s0', 's1', ?, ?)", relation, _AT)  # fmt: skip
    a.synced()
    b = laptop(None, "none")
    b.file.detach()
    b.file.attach(SpaceLink(a.space, ADDRESS, scope={"tag": ["tag_a"]}))
    b.spaces = [a.space]
    b.synced()
    return a, b


def test_a_link_to_something_out_of_scope_is_edited_and_deleted(laptop: Make, people: People) -> None:
    a, b = _scoped(laptop, people)
    assert b.sql("SELECT relationship_type FROM segment_neighbors ORDER BY 1") == [("one",), ("two",)]
    b.sql("UPDATE segment_neighbors SET strength = 0.25 WHERE relationship_type = 'one'")
    b.sql("DELETE FROM segment_neighbors WHERE relationship_type = 'two'")
    b.synced()
    assert b.file.waiting() == []
    a.synced()
    assert a.sql("SELECT relationship_type, strength FROM segment_neighbors") == [("one", 0.25)]


def test_unsent_edits_below_a_thought_that_leaves_the_scope_reach_the_server(
    laptop: Make, people: People
) -> None:
    a, b = _scoped(laptop, people)
    b.sql("UPDATE segments SET content = 'Typed.' WHERE segment_id = 's0'")
    b.segment("s2", "t0", content="New.")
    b.file.set_scope(b.space, {"tag": ["tag_b"]})
    page = b.wire.changes(b.space, b.file.link(b.space).cursor, scope={"tag": ["tag_b"]})
    b.file.apply(b.space, page)  # it arrives before anything was sent
    b.file.advance(b.space, cursor=page.cursor, epoch=page.epoch, head=page.head, more=page.more)
    b.sync()
    b.synced()
    a.synced()
    assert a.sql("SELECT content FROM segments WHERE segment_id <> 's1' ORDER BY segment_id") == [
        ("Typed.",),
        ("New.",),
    ]
    assert b.sql("SELECT segment_id FROM segments") == [("s1",)]


def test_a_filter_that_changes_while_a_pull_is_under_way_counts_from_the_next_one_on(
    laptop: Make, people: People
) -> None:
    a, b = _scoped(laptop, people)
    apply = b.file.apply

    def meanwhile(*args: Any, **options: Any) -> int:
        b.file.set_scope(b.space, {"tag": ["tag_b"]})
        return apply(*args, **options)

    b.file.apply = meanwhile  # type: ignore[method-assign]
    b.sync(proof=False)
    b.file.apply = apply  # type: ignore[method-assign]
    b.sync(proof=False)
    assert b.sql("SELECT thought_bubble_id FROM thoughts") == [("t1",)]
    a.thought("t2")
    a.link("t2", "tag_b")
    a.synced()
    b.sync(proof=False)
    assert b.sql("SELECT thought_bubble_id FROM thoughts ORDER BY 1") == [("t1",), ("t2",)]
    b.synced()


def test_what_is_hung_on_an_own_thought_that_left_the_file_reaches_the_server(
    laptop: Make, people: People
) -> None:
    a, b = _scoped(laptop, people)
    b.thought("t9")
    b.synced()
    assert b.sql("SELECT thought_bubble_id FROM thoughts") == [("t0",)]  # it is outside the filter
    b.segment("s9", "t9", content="Typed in a window that was still open.")
    b.link("t9", "tag_a")  # which brings it back
    b.segment("s_orphan", "t_gone")
    b.sync()
    b.synced()
    a.synced()
    assert a.sql("SELECT thought_bubble_id FROM segments WHERE segment_id = 's9'") == [("t9",)]
    assert b.sql("SELECT thought_bubble_id FROM thoughts ORDER BY 1") == [("t0",), ("t9",)]
    assert [(one.id, one.reason) for one in b.file.waiting()] == [("s_orphan", "missing-parent")]


# What was put aside


def test_words_of_a_decision_that_is_refused_are_rescued(
    laptop: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = laptop(), laptop()
    a.thought("t1", title="Old")
    in_step(a, b)
    for one, title in ((a, "Ana"), (b, "Ben")):
        one.sql("UPDATE thoughts SET title = ?", title)
    in_step(a, b)
    (conflict,) = a.file.conflicts(a.space)
    a.file.resolve(a.space, conflict["id"], {"set": {"title": "Words of a decision"}})
    with monkeypatch.context() as patch:
        refuse_all(a, patch)
        a.sync()
    assert "Words of a decision" in str(a.file.rescue())
    assert len(a.file.conflicts(a.space)) == 1
    a.file.resolve(a.space, conflict["id"], {"take": "server"})
    assert a.synced().state.value == "online"


# A row that was changed and never noted again


def test_a_tag_with_a_number_that_is_used_in_another_space_keeps_its_name(
    laptop: Make, people: People
) -> None:
    a, b = laptop(people.eva, people.private, people.space), laptop(people.ben)
    b.tag("tag_b", "Memory")
    b.thought("theirs")
    b.link("theirs", "tag_b")
    b.synced()
    a.tag("tag_a", "Memory")
    a.thought("mine")
    a.synced()
    assert a.sql("SELECT name FROM tags ORDER BY tag_id") == [("Memory",), ("Memory (2)",)]
    a.link("mine", "tag_b")
    a.synced()
    assert a.records()["tags", "tag_b"]["name"] == "Memory"
    assert a.records(str(people.space.pk))["tags", "tag_b"]["name"] == "Memory"


def test_a_refused_thought_and_what_hangs_on_it_go_out_once_it_is_mended(
    laptop: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = laptop(), laptop()
    push = a.wire.push

    def too_odd(space: str, epoch: Any, seen: int, changes: list[dict[str, Any]]) -> Any:
        bad = [it for it in changes if it.get("set", {}).get("title") == "odd"]
        answer = push(space, epoch, seen, [it for it in changes if it not in bad] or changes)
        error = {"type": "invalid-value", "title": "No.", "detail": "Not this."}
        by_id = {it["change_id"]: it for it in answer.results}
        by_id |= {
            it["change_id"]: {"change_id": it["change_id"], "status": "rejected", "error": error}
            for it in bad
        }
        answer.results[:] = [by_id[it["change_id"]] for it in changes]
        return answer

    a.thought("t1", title="odd")
    a.segment("s1", "t1")
    a.tag("tag_c")
    a.link("t1", "tag_c")
    a.thought("t2")
    with monkeypatch.context() as patch:
        patch.setattr(a.wire, "push", too_odd)
        assert a.sync().state.value == "attention"
    assert {id_ for _, id_ in in_step(b)} == {"t2", "tag_c"}
    a.sql("UPDATE thoughts SET title = 'mended' WHERE thought_bubble_id = 't1'")
    assert {id_ for _, id_ in in_step(a, b)} == {"t1", "s1", "tag_c", "t1/tag_c", "t2"}
    assert a.file.waiting() == []
