"""The workflow of an import over HTTP, in steps, and from the command line."""

from __future__ import annotations

import base64
import csv
import struct
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from migration import imports, jobs
from migration.models import Import
from migration.stages.copying import copy
from tests.logomesh_files import LogoMeshFile, full
from tests.migration.importing import digest_of, records_of
from tests.people import People
from workspaces.ids import uuid7

pytestmark = pytest.mark.django_db(transaction=True)


def send(people: People, path: Path, **parts: bytes) -> dict[str, Any]:
    data: dict[str, Any] = {"space": str(people.space.pk), "file": _part("lab.sqlite3", path.read_bytes())}
    data |= {name: _part(name, content) for name, content in parts.items()}
    answer = Client().post("/api/v1/imports", data, headers=people.ben.headers)
    assert answer.status_code == 201, answer.content
    return dict(answer.json())


def _part(name: str, content: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content)


def ask(people: People, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    data = b"" if body is None else orjson.dumps(body)
    answer = Client().generic(
        method, f"/api/v1/imports{path}", data, content_type="application/json", headers=people.ben.headers
    )
    assert answer.status_code == status, answer.content
    if answer.streaming:
        return list(answer.streaming_content)
    return answer.json() if "json" in answer["Content-Type"] else answer.content


def work(id_: str) -> None:
    jobs.run(Import.objects.get(id=id_).id)


def test_from_file_to_report(people: People, tmp_path: Path) -> None:
    sent = send(people, full(tmp_path / "lab.sqlite3", "S2x"))
    assert sent["state"] == "uploaded"
    work(sent["id"])
    ready = ask(people, "GET", f"/{sent['id']}")
    assert ready["state"] == "ready"
    assert ready["assessment"]["dialect"] == "S2x"
    assert ready["assessment"]["tables"]["segments"]["reasons"] == {"missing-thought": 1}
    assert ask(people, "POST", f"/{sent['id']}/start", {"strategy": "full"})["state"] == "copying"
    work(sent["id"])
    done = ask(people, "GET", f"/{sent['id']}")
    assert done["state"] == "done"
    report = done["report"]
    assert report["source_digest"] == report["target_digest"] == digest_of(people.space.pk)[0]
    for counts in report["tables"].values():
        assert counts["rows_in"] == counts["migrated"] + counts["set_aside"]
    assert report["tables"]["segments"]["migrated"] == 15 == len(records_of(people.space.pk, "segments"))
    assert ask(people, "GET", f"/{sent['id']}/report") == report
    table = b"".join(ask(people, "GET", f"/{sent['id']}/report?format=csv")).decode()
    assert ["segments", "set_aside", "missing-thought", "1"] in list(csv.reader(StringIO(table)))
    assert [each["id"] for each in ask(people, "GET", "")["imports"]] == [sent["id"]]


def test_the_assessment_tells_of_each_column(people: People, tmp_path: Path) -> None:
    with LogoMeshFile(tmp_path / "lab.sqlite3", "S1") as file:
        file.db.execute("ALTER TABLE segments ADD COLUMN mood")
        file.db.execute("CREATE TABLE notes (text, number)")
        file.db.execute("INSERT INTO notes VALUES ('ä', 1.5), (NULL, 2)")
        file.thought()
        file.segment(content="Text")
        file.segment("segment_2", content="Ünï", embedding_vector=struct.pack("<3f", 1, 2, 3), mood=7)
        file.segment("segment_3", content=b"\xff\xfe", position_in_thought=3, mood="calm")
    sent = send(people, tmp_path / "lab.sqlite3")
    work(sent["id"])
    found = ask(people, "GET", f"/{sent['id']}")["assessment"]
    columns = found["tables"]["segments"]["columns"]
    assert columns["content"] == {
        "becomes": "segments.content", "storage": {"text": 2, "blob": 1}, "bytes": 4 + 5 + 2,
    }  # fmt: skip
    assert columns["segment_id"]["becomes"] == "segments.id"
    assert columns["thought_bubble_id"]["becomes"] == "segments.thought_id"
    assert columns["embedding_vector"] == {
        "becomes": "embeddings.vector", "storage": {"null": 2, "blob": 1}, "bytes": 12,
    }  # fmt: skip
    assert columns["mood"] == {
        "becomes": "segments.extra.mood", "storage": {"null": 1, "integer": 1, "text": 1}, "bytes": 8 + 4,
    }  # fmt: skip
    assert found["tables"]["notes"]["columns"] == {
        "text": {"becomes": "kept", "storage": {"text": 1, "null": 1}, "bytes": 2},
        "number": {"becomes": "kept", "storage": {"real": 1, "integer": 1}, "bytes": 16},
    }
    assert found["embeddings"] == {"3": 1}


def test_a_table_called_like_a_formula_does_not_run_in_the_report(people: People, tmp_path: Path) -> None:
    with LogoMeshFile(tmp_path / "f.sqlite3") as file:
        file.thought("t1")
        file.db.execute("""CREATE TABLE "=1+1" (a)""")
    sent = send(people, tmp_path / "f.sqlite3")
    work(sent["id"])
    ask(people, "POST", f"/{sent['id']}/start", {})
    work(sent["id"])
    table = b"".join(ask(people, "GET", f"/{sent['id']}/report?format=csv")).decode()
    assert not [line for line in table.splitlines() if line.startswith(("=", '"='))]
    assert "'=1+1" in table


def test_what_is_set_aside_is_given_back_byte_by_byte(people: People, tmp_path: Path) -> None:
    with LogoMeshFile(tmp_path / "f.sqlite3") as file:
        file.thought("t1")
        file.segment("s1", "gone", content=b"\x00\xff", title="é")
        for n in range(230):
            file.segment(f"x{n}", "gone")
    sent = send(people, file.path)
    work(sent["id"])
    ask(people, "POST", f"/{sent['id']}/start", {})
    work(sent["id"])
    rows: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        page = ask(people, "GET", f"/{sent['id']}/set-aside?cursor={cursor}")
        rows, cursor = rows + page["rows"], page["cursor"]
    assert len({row["rowid"] for row in rows}) == len(rows) == 231
    first = rows[0]
    assert (first["reason"], first["missing"]) == ("missing-thought", "gone")
    assert base64.b64decode(first["columns"]["content"]["base64"]) == b"\x00\xff"
    assert base64.b64decode(first["columns"]["title"]["base64"]).decode() == "é"
    ask(people, "GET", f"/{sent['id']}/set-aside?cursor=%21", status=400)


def test_a_second_import_of_a_file_changes_nothing(people: People, tmp_path: Path) -> None:
    path = full(tmp_path / "lab.sqlite3", "S2")
    heads = []
    for _ in range(2):
        sent = send(people, path)
        work(sent["id"])
        ask(people, "POST", f"/{sent['id']}/start", {})
        work(sent["id"])
        done = ask(people, "GET", f"/{sent['id']}")
        assert done["state"] == "done"
        people.space.refresh_from_db()
        heads.append(
            Client().get(f"/api/v1/spaces/{people.space.pk}", headers=people.ben.headers).json()["head"]
        )
    assert heads[0] == heads[1]
    assert done["report"]["tables"]["thoughts"]["already_there"] == 5


def test_a_dry_run_tells_the_same_and_keeps_nothing(people: People, tmp_path: Path) -> None:
    sent = send(people, full(tmp_path / "lab.sqlite3", "S2x"))
    work(sent["id"])
    ask(people, "POST", f"/{sent['id']}/start", {"dry_run": True})
    work(sent["id"])
    rehearsed = ask(people, "GET", f"/{sent['id']}")
    assert rehearsed["state"] == "ready"
    assert rehearsed["report"]["dry_run"]
    assert digest_of(people.space.pk) == ("0" * 16, 0)
    assert not ask(people, "GET", f"/{sent['id']}/set-aside")["rows"]
    ask(people, "POST", f"/{sent['id']}/start", {})
    work(sent["id"])
    done = ask(people, "GET", f"/{sent['id']}")
    assert done["state"] == "done"
    assert done["report"]["tables"] == rehearsed["report"]["tables"]


def test_paused_it_waits_and_goes_on(people: People, tmp_path: Path) -> None:
    sent = send(people, full(tmp_path / "lab.sqlite3", "S2x"))
    work(sent["id"])
    ask(people, "POST", f"/{sent['id']}/pause", status=409)
    ask(people, "POST", f"/{sent['id']}/start", {})
    assert ask(people, "POST", f"/{sent['id']}/pause")["state"] == "paused"
    work(sent["id"])
    assert digest_of(people.space.pk)[1] == 0
    assert ask(people, "POST", f"/{sent['id']}/resume")["state"] == "copying"
    work(sent["id"])
    assert ask(people, "GET", f"/{sent['id']}")["state"] == "done"
    ask(people, "POST", f"/{sent['id']}/cancel", status=409)


def test_undone_it_takes_back_what_nobody_touched(people: People, tmp_path: Path) -> None:
    sent = send(people, full(tmp_path / "lab.sqlite3", "S2x"))
    ask(people, "POST", f"/{sent['id']}/undo", status=409)
    work(sent["id"])
    ask(people, "POST", f"/{sent['id']}/start", {})
    work(sent["id"])
    head = Client().get(f"/api/v1/spaces/{people.space.pk}", headers=people.eva.headers).json()["head"]
    changes = [
        _change("thoughts", "t0", base=_version_of(people, "t0"), set={"title": "Mine now"}),
        _change("segments", "own", base=0, set={"thought_id": "t1", "title": "", "content": "New"}),
    ]
    pushed = Client().post(
        f"/api/v1/spaces/{people.space.pk}/changes",
        orjson.dumps({"seen": head, "changes": changes}),
        content_type="application/json",
        headers=people.eva.headers,
    )
    assert [each["status"] for each in pushed.json()["results"]] == ["applied", "applied"]
    assert ask(people, "POST", f"/{sent['id']}/undo")["undoing"]
    ask(people, "POST", f"/{sent['id']}/undo", status=409)
    work(sent["id"])
    undone = ask(people, "GET", f"/{sent['id']}")
    assert undone["state"] == "undone"
    left = {type_: set(records_of(people.space.pk, type_)) for type_ in ("thoughts", "segments", "tags")}
    assert left == {"thoughts": {"t0", "t1"}, "segments": {"own"}, "tags": set()}
    assert undone["report"]["undo"]["listed"] == [
        {"type": "thoughts", "id": "t0", "reason": "changed-since"},
        {"type": "thoughts", "id": "t1", "reason": "something-hangs-on-it"},
    ]
    assert records_of(people.space.pk, "thoughts")["t0"]["title"] == "Mine now"


def _version_of(people: People, thought: str) -> int:
    return int(records_of(people.space.pk, "thoughts")[thought]["version"])


def _change(type_: str, id_: str, **what: Any) -> dict[str, Any]:
    return {"change_id": str(uuid7()), "type": type_, "id": id_, **what}


def test_cancelled_it_stays_so(people: People, tmp_path: Path) -> None:
    sent = send(people, full(tmp_path / "lab.sqlite3", "S2x"))
    work(sent["id"])
    assert ask(people, "POST", f"/{sent['id']}/cancel")["state"] == "cancelled"
    ask(people, "POST", f"/{sent['id']}/start", {}, status=409)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({"strategy": "some"}, "/strategy"), ({"filters": [1]}, "/filters"), ({"dry_run": 1}, "/dry_run")],
)
def test_choices_that_are_none_are_named(people: People, tmp_path: Path, body: Any, pointer: str) -> None:
    sent = send(people, full(tmp_path / "lab.sqlite3", "S2x"))
    work(sent["id"])
    assert ask(people, "POST", f"/{sent['id']}/start", body, status=400)["pointer"] == pointer


def test_a_file_of_another_kind_is_explained(people: People, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary")
    sent = send(people, path)
    work(sent["id"])
    failed = ask(people, "GET", f"/{sent['id']}")
    assert failed["state"] == "failed"
    assert failed["problem"]["detail"]


def test_another_files_log_is_refused(people: People, tmp_path: Path) -> None:
    sent = send(people, full(tmp_path / "lab.sqlite3", "S2x"), wal=b"\x37\x7f\x06\x82" + bytes(60))
    work(sent["id"])
    assert ask(people, "GET", f"/{sent['id']}")["problem"]["type"] == "foreign-journal"


def test_without_a_file_nothing_begins(people: People) -> None:
    answer = Client().post("/api/v1/imports", {"space": str(people.space.pk)}, headers=people.ben.headers)
    assert (answer.status_code, answer.json()["pointer"]) == (400, "/file")
    assert not Import.objects.exists()


def test_a_worker_that_lost_the_job_writes_nothing_more(people: People, tmp_path: Path) -> None:
    sent = send(people, full(tmp_path / "lab.sqlite3", "S2x"))
    work(sent["id"])
    ask(people, "POST", f"/{sent['id']}/start", {})
    job = jobs._take(Import.objects.get().id)
    assert job is not None
    assert jobs._take(job.id) is None
    Import.objects.update(leased_until="2020-01-01T00:00:00Z")
    assert jobs.orphans() == [job.id]
    assert jobs.run(job.id)
    with pytest.raises(jobs.Stopped):
        job.save("done", progress={})


def test_the_command_prints_the_report(people: People, tmp_path: Path, capsys: Any) -> None:
    path = full(tmp_path / "lab.sqlite3", "S1")
    say = ["--space", str(people.space.pk), "--as", people.ben.email]
    call_command("import_sqlite", str(path), *say, "--json")
    report = orjson.loads(capsys.readouterr().out)
    assert report["state"] == "done"
    assert report["dialect"] == "S1"
    assert report["source_digest"] == report["target_digest"]
    assert (
        report["tables"]["thoughts"] | {"rows_in": 5, "migrated": 5, "set_aside": 0}
        == report["tables"]["thoughts"]
    )
    call_command("import_sqlite", str(path), *say)
    said = capsys.readouterr().out.split()
    assert said[-1] == "done"
    assert said[said.index("thoughts") :][:7] == ["thoughts", "5", "rows,", "5", "migrated,", "0", "set"]


def test_the_command_fails_where_nothing_was_verified(people: People, tmp_path: Path, capsys: Any) -> None:
    empty = tmp_path / "empty.sqlite3"
    empty.touch()
    with pytest.raises(SystemExit, match="1"):
        call_command(
            "import_sqlite", str(empty), "--space", str(people.space.pk), "--as", people.ben.email, "--json"
        )
    assert orjson.loads(capsys.readouterr().out)["problem"]["type"] == "empty"
    with pytest.raises(CommandError, match="role of an editor"):
        call_command("import_sqlite", str(empty), "--space", str(people.space.pk), "--as", people.cai.email)
    with pytest.raises(CommandError, match="There is no file"):
        call_command(
            "import_sqlite", str(tmp_path / "none"), "--space", str(people.space.pk), "--as", people.ben.email
        )
    assert imports.imports_of(people.cai.caller) == []


def test_every_adjusted_cell_is_listed(people: People, tmp_path: Path) -> None:
    with LogoMeshFile(tmp_path / "f.sqlite3") as file:
        for n in range(25):
            file.thought(f"t{n:02}", title=f"nul\0{n}", created_at="soon")
    sent = send(people, file.path)
    work(sent["id"])
    ask(people, "POST", f"/{sent['id']}/start", {"strategy": "hybrid"})
    work(sent["id"])
    cells: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        page = ask(people, "GET", f"/{sent['id']}/deviations?limit=7&cursor={cursor}")
        cells, cursor = cells + page["deviations"], page["cursor"]
    assert len(cells) == 50
    assert cells[0] == {
        "table": "thoughts",
        "rowid": 1,
        "id": "t00",
        "column": "created_at",
        "what": cells[0]["what"],
    }
    assert (cells[1]["column"], cells[1]["what"]) == ("title", "nul")
    lines = ask(people, "GET", f"/{sent['id']}/deviations?format=jsonl")
    assert [orjson.loads(line) for line in b"".join(lines).splitlines()] == cells
    ask(people, "GET", f"/{sent['id']}/deviations?limit=0", status=400)
    ask(people, "GET", f"/{sent['id']}/deviations?cursor=WzFd", status=400)
    done = ask(people, "GET", f"/{sent['id']}")
    answer = Client().get(f"/api/v1/spaces/{people.space.pk}", headers=people.ben.headers).json()
    digest, _ = digest_of(people.space.pk)
    told = {"epoch": answer["epoch"], "head": answer["head"], "file_digest": digest}
    assert done["sync"] | told == done["sync"]
    assert done["progress"]["rows"] == done["progress"]["of"] == 50


@pytest.mark.parametrize(
    ("segment", "column", "value"),
    [
        ("segment_short", "content", "Another text"),
        ("segment_long", "content", "Long " * 20_000 + "!"),
        ("segment_long", "sort_order", "7"),
        ("segment_json", "metadata", '{"a": [1, 2.5, 3]}'),
        ("segment_long_json", "metadata", '{"a": 2}'),
    ],
)
def test_a_record_that_the_database_holds_otherwise_is_found(
    people: People, tmp_path: Path, segment: str, column: str, value: str
) -> None:
    with LogoMeshFile(tmp_path / "lab.sqlite3") as file:
        file.thought()
        positions = {
            "segment_short": file.segment("segment_short", content="A text", sort_order=1),
            "segment_long": file.segment("segment_long", content="Long " * 20_000, sort_order=2),
            "segment_json": file.segment("segment_json", metadata='{"a":[1,2.5]}', sort_order=3),
            "segment_long_json": file.segment(
                "segment_long_json", metadata='{"a":1}', content="ä\n" * 9_000, sort_order=4
            ),
        }
    sent = send(people, tmp_path / "lab.sqlite3")
    work(sent["id"])
    ask(people, "POST", f"/{sent['id']}/start", {})
    job = jobs._take(Import.objects.get().id)
    assert job is not None
    copy(job)
    Import.objects.update(lease=None, leased_until=None)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE sync_segments SET {column} = %s WHERE id = %s", [value, segment])
    work(sent["id"])
    found = ask(people, "GET", f"/{sent['id']}")
    assert (found["state"], found["problem"]["type"]) == ("failed", "not-verified")
    assert found["report"]["differences"] == [
        {"table": "segments", "position": positions[segment], "how": "differs"}
    ]
    assert found["report"]["source_digest"] != found["report"]["target_digest"]
