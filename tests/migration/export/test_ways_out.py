"""Exports over HTTP and on the command line."""

from __future__ import annotations

import json
import sqlite3
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from tests.people import Member, People
from tests.sync.devices import Device, change

pytestmark = pytest.mark.django_db


def fill(people: People) -> str:
    Device(people.ben.caller, people.space.pk).push(
        change("thoughts", "t1", set={"title": "One", "updated_at": "2025-06-01T00:00:00Z"}),
        change("thoughts", "t2", set={"title": "Two", "updated_at": "2025-08-01T00:00:00Z"}),
    )
    return f"/api/v1/spaces/{people.space.pk}/export"


def body(member: Member, address: str) -> bytes:
    answer = Client().get(address, headers=member.headers)
    assert answer.status_code == 200, answer.content
    assert answer["Content-Disposition"].startswith('attachment; filename="logomesh-export-')
    return b"".join(answer.streaming_content)


def test_whoever_may_read_a_space_may_take_it_home(people: People, tmp_path: Path) -> None:
    address = fill(people)
    (tmp_path / "file.sqlite3").write_bytes(body(people.cai, f"{address}?format=sqlite"))
    db = sqlite3.connect(tmp_path / "file.sqlite3")
    assert db.execute("SELECT title FROM thoughts ORDER BY title").fetchall() == [("One",), ("Two",)]
    document = json.loads(body(people.cai, f"{address}?format=json&updated_after=2025-07-01T00:00:00Z"))
    assert [thought["title"] for thought in document["data"]["thoughts"]] == ["Two"]


@pytest.mark.parametrize("query", ["", "?format=xml", "?format=sqlite&scope=some", "?format=json&tag=a%00b"])
def test_what_cannot_be_asked_for_is_told(people: People, query: str) -> None:
    answer = Client().get(fill(people) + query, headers=people.cai.headers)
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (400, "invalid-parameter")


def test_an_export_leaves_nothing_on_the_disk(people: People) -> None:
    from django.conf import settings

    body(people.cai, f"{fill(people)}?format=sqlite")
    assert not list(Path(settings.UPLOADS_DIR).glob("export-*"))


def test_the_command_writes_a_new_file(people: People, tmp_path: Path) -> None:
    fill(people)
    path, out = tmp_path / "out.json", StringIO()
    call_command(
        "export", str(people.space.pk), str(path), email="cai@lab.example", format="json", stdout=out
    )
    assert out.getvalue().strip() == str(path)
    assert len(json.loads(path.read_bytes())["data"]["thoughts"]) == 2
    with pytest.raises(CommandError, match="exists already"):
        call_command("export", str(people.space.pk), str(path), email="cai@lab.example")
    with pytest.raises(CommandError):
        call_command("export", str(people.private.pk), str(tmp_path / "x"), email="cai@lab.example")
    assert not (tmp_path / "x").exists()
