"""The simulator of the app writes what LogoMesh wrote, and reads as it read."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.client.app import DIALECTS, App, Hands, InvalidTime, make


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_person_can_work_with_every_dialect(tmp_path: Path, dialect: str) -> None:
    hands = Hands(App.of(make(tmp_path / "file.sqlite3", dialect), dialect, 3), Random(3))
    for _ in range(60):
        hands.work()
    assert hands.locked == 0
    thoughts = {row[hands.app.thought_key]: row for row in hands.app.thoughts()}
    for (table, id_, column), text in hands.last_words().items():
        assert hands.app.value(table, id_, column) == text
        if table == "thoughts":
            assert thoughts[id_][column] == text


def test_one_bad_time_and_the_list_of_july_2025_is_gone(tmp_path: Path) -> None:
    app = App.of(make(tmp_path / "file.sqlite3", "S2x"), "S2x")
    thought = app.create_thought("A thought", tags=["memory", "C++"])
    assert [row["tags"] for row in app.thoughts()] == [["memory", "C++"]]
    app.by_hand("UPDATE thoughts SET created_at = 'yesterday' WHERE thought_bubble_id = ?", thought)
    with pytest.raises(InvalidTime):
        app.thoughts()


def test_a_deletion_leaves_orphans_where_foreign_keys_are_off(tmp_path: Path) -> None:
    for dialect, left in (("S2", 1), ("S4", 0)):
        app = App.of(make(tmp_path / dialect, dialect), dialect)
        thought = app.create_thought("A thought")
        app.create_segment(thought, "A segment", "Text")
        assert app.delete_thought(thought)
        assert app.db.execute("SELECT count(*) FROM segments").fetchone()[0] == left
