"""What becomes of every odd row and cell, rule by rule."""

from __future__ import annotations

import base64
import sqlite3
import struct
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.test import Client

from migration.models import Deviation, SetAsideRow
from tests.logomesh_files import NEW, SCHEMAS, LogoMeshFile, full
from tests.migration.importing import assess, digest_of, migrate, records_of
from tests.people import People
from tests.sync.devices import Device

pytestmark = pytest.mark.django_db
FEED = "2025-09-20T10:00:00.000000Z"


def thoughts_of(rows: list[dict[str, Any]], space: Any, laptop: Device, path: Path) -> dict[str, Any]:
    """Import thoughts with these cells, and give the records that they became."""
    with LogoMeshFile(path / "file.sqlite3", "S2x") as file:
        for number, row in enumerate(rows):
            file.thought(row.pop("id", f"t{number}"), **row)
    migrate(laptop.caller, space.pk, path / "file.sqlite3")
    return records_of(space.pk, "thoughts")


TIMES: dict[str, tuple[Any, str | None, bool]] = {
    # cell: (cell, value in the record, whether the original is kept)
    "as LogoMesh writes it": ("2025-09-20T10:00:00.000Z", FEED, False),
    "without milliseconds": ("2025-09-20T10:00:00Z", FEED, False),
    "as SQLite writes it, in S2": ("2025-09-20 10:00:00", FEED, True),
    "epoch seconds": ("1758362400", FEED, True),
    "epoch milliseconds": ("1758362400000", FEED, True),
    "epoch as an integer": (1758362400000, FEED, True),
    "an offset": ("2025-09-20T12:00:00+02:00", FEED, True),
    "without a zone": ("2025-09-20T10:00:00", FEED, True),
    "microseconds": ("2025-09-20T10:00:00.000001Z", "2025-09-20T10:00:00.000001Z", True),
    "words": ("yesterday", None, True),
    "nothing": ("", None, True),
    "a day that is none": ("2025-02-30T10:00:00.000Z", None, True),
    "bytes": (b"\x01", None, True),
}


def test_times(space: Any, laptop: Device, tmp_path: Path) -> None:
    rows = [{"id": name, "created_at": cell} for name, (cell, _, _) in TIMES.items()]
    found = thoughts_of(rows, space, laptop, tmp_path)
    became = {
        name: (record["created_at"], "created_at" in record.get("extra", {}).get("originals", {}))
        for name, record in found.items()
    }
    assert became == {name: (value, kept) for name, (_, value, kept) in TIMES.items()}


def test_the_times_of_s1_are_its_own_and_only_counted(space: Any, laptop: Device, tmp_path: Path) -> None:
    with LogoMeshFile(tmp_path / "file.sqlite3", "S1") as file:
        file.thought("t", created_at="2025-05-28 09:50:00")
    imported = migrate(laptop.caller, space.pk, tmp_path / "file.sqlite3")
    found = records_of(space.pk, "thoughts")["t"]
    assert found["created_at"] == "2025-05-28T09:50:00.000000Z"
    assert "extra" not in found
    assert imported.report["tables"]["thoughts"]["deviations"] == {"time-as-sqlite-writes-it/created_at": 1}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_text(space: Any, laptop: Device, tmp_path: Path) -> None:
    twins = {
        "nfc": "\u00e9",
        "nfd": "e\u0301",
        "bidi": "\u202eabc",
        "long": "x" * 20_000,
        "blank": "",
        "spaces": "  ",
    }
    rows = [{"id": name, "title": text} for name, text in twins.items()]
    rows += [
        {"id": "nul", "title": "a\0b"}, {"id": "blob", "title": b"abc\xff"}, {"id": "null", "description": None},
        {"id": "empty", "description": ""}, {"id": "number", "description": 5},
    ]  # fmt: skip
    with LogoMeshFile(
        tmp_path / "file.sqlite3", "S2x", SCHEMAS["S2x"].replace("description TEXT", "description")
    ) as file:
        for row in rows:
            file.thought(row.pop("id"), **row)
        file.db.execute(
            f"INSERT INTO thoughts (thought_bubble_id, title, created_at, updated_at) VALUES ('broken', CAST(x'61ff' AS TEXT), '{NEW}', '{NEW}')"
        )
    migrate(laptop.caller, space.pk, tmp_path / "file.sqlite3")
    found = records_of(space.pk, "thoughts")
    assert {name: found[name]["title"] for name in twins} == twins
    assert (found["nul"]["title"], found["blob"]["title"], found["broken"]["title"]) == (
        "a\u2400b",
        "abc\ufffd",
        "a\ufffd",
    )
    originals = {
        name: record["extra"]["originals"]
        for name, record in found.items()
        if "originals" in record.get("extra", {})
    }
    originals = {
        name: {k: v for k, v in each.items() if k in ("title", "description")}
        for name, each in originals.items()
    }
    assert originals["nul"] == {"title": {"base64": b64(b"a\0b")}}
    assert originals["blob"] == {"title": {"base64": b64(b"abc\xff"), "type": "blob"}}
    assert originals["broken"] == {"title": {"base64": b64(b"a\xff")}}
    assert originals["number"] == {"description": 5}
    assert (found["number"]["description"], found["null"]["description"], found["empty"]["description"]) == (
        "5",
        None,
        "",
    )


JSON: dict[str, tuple[str | None, dict[str, Any], Any]] = {
    # the cell, the value in the record, the original that is kept ("" for none)
    "object": ('{"a": [1, {"b": null}]}', {"a": [1, {"b": None}]}, ""),
    "spaces and order": ('{ "b" : 1,\n "a" : 2 }', {"b": 1, "a": 2}, ""),
    "null": (None, {}, None),
    "empty": ("", {}, ""),
    "array": ("[1,2]", {}, "[1,2]"),
    "scalar": ('"text"', {}, '"text"'),
    "the word null": ("null", {}, "null"),
    "no JSON": ("{oops", {}, "{oops"),
    "twice": ('{"a":1,"a":2}', {"a": 2}, '{"a":1,"a":2}'),
    "too large": ('{"a":1e400}', {"a": 1.7976931348623157e308}, '{"a":1e400}'),
    "20 digits": ('{"a":12345678901234567891}', {"a": 12345678901234567000}, '{"a":12345678901234567891}'),
    "half a pair": ('{"a":"\\ud83d"}', {"a": "\ufffd" * 3}, '{"a":"\\ud83d"}'),
    "nul": ('{"a":"\\u0000"}', {"a": "\u2400"}, '{"a":"\\u0000"}'),
    "deep": ("[" * 5_000, {}, "[" * 5_000),
}


def test_json(space: Any, laptop: Device, tmp_path: Path) -> None:
    found = thoughts_of(
        [{"id": name, "fields": cell, "metadata": "{}"} for name, (cell, _, _) in JSON.items()],
        space,
        laptop,
        tmp_path,
    )
    for name, (_, value, original) in JSON.items():
        record = found[name]
        kept = record.get("extra", {}).get("originals", {})
        if name != "half a pair":
            assert record["fields"] == value, name
        if name == "empty" or original != "":
            assert kept == {"fields": original}, name
        else:
            assert kept == {}, name


def test_numbers(space: Any, laptop: Device, tmp_path: Path) -> None:
    exact = [0.1 + 0.2, 1e308, -1e-308, 123456789.123456789, -0.0]
    rows = [{"id": f"n{n}", "position_x": x, "position_y": None} for n, x in enumerate(exact)]
    rows += [
        {"id": "inf", "position_x": float("inf")},
        {"id": "-inf", "position_x": float("-inf")},
        {"id": "word", "position_x": "left"},
    ]
    found = thoughts_of(rows, space, laptop, tmp_path)
    assert [found[f"n{n}"]["position_x"] for n in range(len(exact))] == exact
    assert found["n0"]["position_y"] is None
    assert found["inf"]["position_x"] is None
    assert found["inf"]["extra"]["originals"]["position_x"] == {"type": "real", "value": "Infinity"}
    assert found["-inf"]["extra"]["originals"]["position_x"] == {"type": "real", "value": "-Infinity"}
    assert found["word"]["extra"]["originals"]["position_x"] == "left"


def test_ids(space: Any, laptop: Device, tmp_path: Path) -> None:
    taken = ["thought_" + "a" * 36, "A", "a", "x" * 1_024, "a/b c", "é", "e\u0301", " "]
    refused = {
        None: "no-id",
        "": "no-id",
        "y" * 1_025: "id-too-long",
        "a\0": "id-with-nul",
        b"\x01": "id-is-a-blob",
    }
    with LogoMeshFile(tmp_path / "file.sqlite3", "S2x") as file:
        for id_ in [*taken, *refused, None]:
            file.thought(id_)
    imported = migrate(laptop.caller, space.pk, tmp_path / "file.sqlite3")
    assert set(records_of(space.pk, "thoughts")) == set(taken)
    reasons = imported.report["tables"]["thoughts"]["reasons"]
    assert reasons == {"no-id": 3, "id-too-long": 1, "id-with-nul": 1, "id-is-a-blob": 1}


def test_rows_with_any_rowid_are_taken(space: Any, laptop: Device, tmp_path: Path) -> None:
    places = (-(2**63) + 1, -5, 0, 7)
    rows = [{"id": f"t{place}", "rowid": place} for place in places]
    assert set(thoughts_of(rows, space, laptop, tmp_path)) == {f"t{place}" for place in places}


def test_rows_that_are_plain_beside_rows_that_are_not(space: Any, laptop: Device, tmp_path: Path) -> None:
    """What a whole column shows and SQLite does not: only the rows concerned are read again."""
    rows = [
        {"id": "plain", "title": "A title", "metadata": '{"b":1,"a":{"c":[0.5]}}'},
        {"id": "nul", "title": "A\0title"},
        {"id": "spaced", "metadata": '{"a": 1.0}'},
        {"id": "beyond", "metadata": '{"\U0001f300":1,"\uffff":2}'},
        {"id": "never", "updated_at": "2025-06-31T10:00:00.000Z"},
        {"id": "also plain", "metadata": "{}"},
    ]
    found = thoughts_of(rows, space, laptop, tmp_path)
    assert found["plain"]["metadata"] == {"b": 1, "a": {"c": [0.5]}}
    assert found["nul"]["title"] == "A\u2400title"
    assert found["spaced"]["metadata"] == {"a": 1}
    assert found["beyond"]["metadata"] == {"\U0001f300": 1, "\uffff": 2}
    assert found["never"]["updated_at"] is None
    kept = {id_ for id_, record in found.items() if len(record.get("extra", {}).get("originals", {})) > 1}
    assert kept == {"nul", "never"}


def test_of_two_rows_with_one_id_the_first_is_the_record(space: Any, laptop: Device, tmp_path: Path) -> None:
    schema = SCHEMAS["S2x"].replace("TEXT PRIMARY KEY", "TEXT")
    with LogoMeshFile(tmp_path / "file.sqlite3", "S2x", schema) as file:
        for title in ("first", "second", "third"):
            file.thought("t", title=title)
    imported = migrate(laptop.caller, space.pk, tmp_path / "file.sqlite3")
    assert records_of(space.pk, "thoughts")["t"]["title"] == "first"
    aside = SetAsideRow.objects.filter(imported_by=imported)
    assert [(row.position, row.reason) for row in aside.order_by("position")] == [
        (2, "duplicate-id"),
        (3, "duplicate-id"),
    ]


def test_what_hangs_on_nothing_is_set_aside_and_its_children_with_it(
    space: Any, laptop: Device, tmp_path: Path
) -> None:
    imported = migrate(laptop.caller, space.pk, full(tmp_path / "file.sqlite3", "S2x"))
    tables = imported.report["tables"]
    assert all(each["rows_in"] == each["migrated"] + each["set_aside"] for each in tables.values())
    assert tables["segments"]["reasons"] == {"missing-thought": 1}
    assert tables["thought_tags"]["reasons"] == {"missing-thought": 1, "missing-tag": 1}
    assert {each["id"] for each in imported.assessment["missing"]} >= {"t_gone", "tag_gone"}
    row = SetAsideRow.objects.get(imported_by=imported, table="segments")
    cells = orjson.loads(bytes(row.columns))
    assert cells["segment_id"] == {"type": "text", "base64": b64(b"stray")}


def test_a_child_of_an_orphan_follows_it(space: Any, laptop: Device, tmp_path: Path) -> None:
    with LogoMeshFile(tmp_path / "file.sqlite3", "S2x") as file:
        file.thought("t")
        file.segment("s", "gone")
        file.add(
            "segment_fields", field_id="f", segment_id="s", field_name="a", field_value="b", created_at=NEW
        )
    imported = migrate(laptop.caller, space.pk, tmp_path / "file.sqlite3")
    assert imported.report["tables"]["segment_fields"]["reasons"] == {"missing-segment": 1}


def test_siblings_of_one_moment_keep_their_order(space: Any, laptop: Device, tmp_path: Path) -> None:
    with LogoMeshFile(tmp_path / "file.sqlite3", "S2x") as file:
        file.thought("t")
        for name in ("c", "a", "b"):
            file.segment(name, "t", sort_order=0)
    migrate(laptop.caller, space.pk, tmp_path / "file.sqlite3")
    found = records_of(space.pk, "segments")
    assert sorted(found, key=lambda name: (found[name]["sort_order"], found[name]["created_at"])) == [
        "c",
        "a",
        "b",
    ]
    assert found["b"]["extra"]["originals"]["sort_order"] == 0


def test_fields_that_were_stored_as_metadata_are_fields_again(
    space: Any, laptop: Device, tmp_path: Path
) -> None:
    old = {"created_at": "2025-06-10T10:00:00.000Z", "updated_at": "2025-06-10T10:00:00.000Z"}
    with LogoMeshFile(tmp_path / "file.sqlite3", "S2x") as file:
        file.thought("t")
        file.segment("old", "t", metadata='{"Location":"Lab"}', **old)
        file.segment("new", "t", metadata='{"source":"voice"}')
        file.segment("edited", "t", metadata='{"a":1}', **(old | {"updated_at": NEW}))
    migrate(laptop.caller, space.pk, tmp_path / "file.sqlite3")
    found = {
        id_: (record["fields"], record["metadata"])
        for id_, record in records_of(space.pk, "segments").items()
    }
    assert found == {
        "old": ({"Location": "Lab"}, {}),
        "new": ({}, {"source": "voice"}),
        "edited": ({}, {"a": 1}),
    }


def test_nulls_of_later_columns_stay_null(space: Any, laptop: Device, tmp_path: Path) -> None:
    with LogoMeshFile(tmp_path / "file.sqlite3", "S2x") as file:
        file.thought("t", color=None, position_x=None, description=None)
        file.segment("s", "t")
    migrate(laptop.caller, space.pk, tmp_path / "file.sqlite3")
    found = records_of(space.pk, "segments")["s"]
    assert (
        found["content_type"],
        found["abstraction_level"],
        found["local_priority"],
        found["cluster_id"],
    ) == (None,) * 4
    thought = records_of(space.pk, "thoughts")["t"]
    assert (thought["color"], thought["position_x"], thought["description"]) == (None, None, None)


def test_embeddings(space: Any, laptop: Device, tmp_path: Path) -> None:
    numbers = (0.5, -0.25, 0.125, 0.75)
    cells = {
        "float32": struct.pack("<4f", *numbers), "float64": struct.pack("<4d", *numbers), "json": "[0.5,-0.25,0.125,0.75]",
        "opaque": b"\x01\x02\x03", "none": None,
    }  # fmt: skip
    with LogoMeshFile(tmp_path / "file.sqlite3", "S1") as file:
        file.thought("t")
        for n, (name, cell) in enumerate(cells.items()):
            file.segment(name, "t", embedding_vector=cell, position_in_thought=n)
    migrate(laptop.caller, space.pk, tmp_path / "file.sqlite3")
    vectors = {
        id_: base64.b64decode(record["vector"]) for id_, record in records_of(space.pk, "embeddings").items()
    }
    assert vectors == dict.fromkeys(("float32/unknown", "float64/unknown", "json/unknown"), cells["float32"])
    kept = {
        id_
        for id_, record in records_of(space.pk, "segments").items()
        if "embedding_vector" in record.get("extra", {}).get("originals", {})
    }
    assert kept == {"float64", "json", "opaque"}


def test_links_are_taken_as_they_are(space: Any, laptop: Device, tmp_path: Path) -> None:
    with LogoMeshFile(tmp_path / "file.sqlite3", "S2x") as file:
        file.thought("t")
        for n, name in enumerate("ab"):
            file.segment(name, "t", sort_order=n)
        for source, target, kind, strength in (
            ("a", "a", "related", -3.5),
            ("a", "b", "x y/z", 7),
            ("b", "a", "related", None),
        ):
            file.add(
                "segment_neighbors",
                source_segment_id=source,
                target_segment_id=target,
                relationship_type=kind,
                strength=strength,
                created_at=NEW,
            )
    migrate(laptop.caller, space.pk, tmp_path / "file.sqlite3")
    found = {id_: record["strength"] for id_, record in records_of(space.pk, "segment_neighbors").items()}
    assert found == {"a/a/related": -3.5, "a/b/x%20y%2Fz": 7, "b/a/related": None}


def test_what_nobody_knows_is_kept(space: Any, laptop: Device, tmp_path: Path) -> None:
    with LogoMeshFile(tmp_path / "file.sqlite3", "S2x") as file:
        file.db.execute("ALTER TABLE thoughts ADD COLUMN mood")
        file.db.execute("CREATE TABLE user_notes (id INTEGER PRIMARY KEY, body)")
        file.thought("t", mood=b"\x00\xff")
        for body in ("note", 2.5, b"\x00", None):
            file.add("user_notes", body=body)
    imported = migrate(laptop.caller, space.pk, tmp_path / "file.sqlite3")
    assert records_of(space.pk, "thoughts")["t"]["extra"] == {"mood": {"base64": "AP8=", "type": "blob"}} | {
        "originals": {"fields": None, "metadata": None}
    }
    counts = imported.report["tables"]["user_notes"]
    assert (counts["rows_in"], counts["migrated"], counts["set_aside"]) == (4, 0, 4)
    rows = SetAsideRow.objects.filter(imported_by=imported, table="user_notes").order_by("position")
    assert [orjson.loads(bytes(row.columns))["body"] for row in rows] == [
        {"type": "text", "base64": b64(b"note")}, {"type": "real", "value": 2.5},
        {"type": "blob", "base64": "AA=="}, {"type": "null", "value": None},
    ]  # fmt: skip


def test_a_table_that_nobody_knows_can_be_taken_home_by_who_brought_it(
    people: People, tmp_path: Path
) -> None:
    with LogoMeshFile(tmp_path / "file.sqlite3", "S2x") as file:
        file.db.execute("CREATE TABLE user_notes (body)")
        for body in ("note", 2.5, b"\x00"):
            file.add("user_notes", body=body)
    imported = migrate(people.ben.caller, people.space.pk, tmp_path / "file.sqlite3")
    address = f"/api/v1/imports/{imported.pk}/attachments/"
    answer = Client().get(f"{address}user_notes", headers=people.ben.headers)
    lines = [orjson.loads(line) for line in b"".join(answer.streaming_content).splitlines()]
    assert [line["columns"]["body"] for line in lines] == [
        {"type": "text", "base64": b64(b"note")}, {"type": "real", "value": 2.5}, {"type": "blob", "base64": "AA=="}
    ]  # fmt: skip
    for who, table in ((people.eva, "user_notes"), (people.ben, "thoughts"), (people.ben, "nothing")):
        assert Client().get(address + table, headers=who.headers).status_code == 404


@pytest.mark.parametrize("taken", ["NULL, NULL, NULL", "1, 1, 1", "'x', 'y', 'z'"])
def test_columns_with_the_names_of_the_rowid_hide_no_row(
    space: Any, laptop: Device, tmp_path: Path, taken: str
) -> None:
    path = tmp_path / "file.sqlite3"
    db = sqlite3.connect(path)
    wide = ", ".join(f"c{n}" for n in range(950))
    db.executescript(f"""
        CREATE TABLE thoughts (thought_bubble_id, title, rowid, _rowid_, oid);
        CREATE TABLE segments (segment_id TEXT PRIMARY KEY, thought_bubble_id, sort_order, cluster_id, position_)
            WITHOUT ROWID;
        CREATE TABLE odd (rowid, _rowid_, oid);
        CREATE TABLE broad ({wide}, rowid);
        INSERT INTO thoughts VALUES ('t1', 'One', {taken}), ('t2', 'Two', {taken});
        INSERT INTO segments VALUES ('s1', 't1', 1, 'c', 'mine'), ('s2', 't2', 2, 'c', 'mine');
        INSERT INTO odd VALUES ({taken}), ({taken});
        INSERT INTO broad (c1, rowid) VALUES (1, 7), (2, 7);""")
    db.close()
    report = migrate(laptop.caller, space.pk, path).report["tables"]
    assert {name: each["rows_in"] for name, each in report.items()} == dict.fromkeys(report, 2)
    assert records_of(space.pk, "thoughts").keys() == {"t1", "t2"}
    segments = records_of(space.pk, "segments")
    assert [segments[id_]["extra"] for id_ in ("s1", "s2")] == [{"position_": "mine"}] * 2
    kept = SetAsideRow.objects.filter(table="broad").order_by("position").values_list("columns", flat=True)
    assert [orjson.loads(bytes(each))["c1"]["value"] for each in kept] == [1, 2]


def test_names_are_compared_without_case_and_any_columns_will_do(
    space: Any, laptop: Device, tmp_path: Path
) -> None:
    db = sqlite3.connect(tmp_path / "file.sqlite3")
    db.execute("PRAGMA encoding = 'UTF-16be'")
    db.executescript("""CREATE TABLE Thoughts (THOUGHT_BUBBLE_ID, Title);
        CREATE TABLE SEGMENTS (Segment_Id, thought_bubble_ID, sort_order, CLUSTER_id) ;
        INSERT INTO thoughts VALUES ('t', 'ünï 質'); INSERT INTO segments VALUES ('s', 't', 2, 'c1');""")
    db.close()
    imported = migrate(laptop.caller, space.pk, tmp_path / "file.sqlite3")
    assert (imported.report["dialect"], imported.assessment["encoding"]) == ("S2x", "UTF-16be")
    assert records_of(space.pk, "thoughts")["t"]["title"] == "ünï 質"
    assert records_of(space.pk, "segments")["s"]["cluster_id"] == "c1"


@pytest.mark.parametrize("title", [b"\x00\xd8A\x00", b"\x00\xdcA\x00", b"A\x00\x00\xd8"])
def test_what_is_no_utf_16_is_not_made_into_other_text(
    space: Any, laptop: Device, tmp_path: Path, title: bytes
) -> None:
    """Half a surrogate pair: SQLite would make something else of it without a word."""
    db = sqlite3.connect(tmp_path / "file.sqlite3")
    db.execute("PRAGMA encoding = 'UTF-16le'")
    db.execute("CREATE TABLE thoughts (thought_bubble_id TEXT PRIMARY KEY, title TEXT)")
    db.execute(
        "CREATE TABLE segments (segment_id TEXT PRIMARY KEY, thought_bubble_id, sort_order, cluster_id)"
    )
    db.execute("CREATE TABLE bytes AS SELECT ? AS title", (title,))
    db.execute("INSERT INTO thoughts SELECT 't', CAST(title AS TEXT) FROM bytes")
    db.commit()
    db.close()
    migrate(laptop.caller, space.pk, tmp_path / "file.sqlite3")
    record = records_of(space.pk, "thoughts")["t"]
    assert record["title"] == title.decode("utf-16-le", "replace")
    assert base64.b64decode(record["extra"]["originals"]["title"]["base64"]) == title


def test_views_and_triggers_are_named_and_never_executed(space: Any, laptop: Device, tmp_path: Path) -> None:
    with LogoMeshFile(tmp_path / "file.sqlite3", "S2x") as file:
        file.thought("t")
        file.db.execute("CREATE VIEW v AS SELECT 1")
        file.db.execute("CREATE TRIGGER g AFTER INSERT ON thoughts BEGIN DELETE FROM thoughts; END")
    imported = assess(laptop.caller, space.pk, tmp_path / "file.sqlite3")
    assert imported.assessment["not_executed"] == {"v": "view", "g": "trigger"}


def test_a_second_import_changes_nothing(space: Any, laptop: Device, tmp_path: Path) -> None:
    path = full(tmp_path / "file.sqlite3", "S2x")
    migrate(laptop.caller, space.pk, path)
    before = digest_of(space.pk), space.pk
    imported = migrate(laptop.caller, space.pk, path)
    assert (digest_of(space.pk), space.pk) == before
    assert all(each["already_there"] == each["migrated"] for each in imported.report["tables"].values())
    assert imported.report["source_digest"] == imported.report["target_digest"] == before[0][0]


def test_every_deviation_is_listed_by_row(space: Any, laptop: Device, tmp_path: Path) -> None:
    with LogoMeshFile(tmp_path / "file.sqlite3", "S2x") as file:
        file.thought("fine", metadata="{}", fields="{}")
        file.thought("odd", title="a\0b", created_at="words", fields="[1]", metadata="{}")
    imported = migrate(laptop.caller, space.pk, tmp_path / "file.sqlite3")
    listed = Deviation.objects.filter(imported_by=imported)
    assert {(each.record_id, each.column, each.kind) for each in listed} == {
        ("odd", "title", "nul"), ("odd", "created_at", "time-unreadable"), ("odd", "fields", "json-not-an-object")
    }  # fmt: skip
    assert imported.report["issues"] == 3


def test_a_write_ahead_log_goes_with_its_own_file_only(space: Any, laptop: Device, tmp_path: Path) -> None:
    paths = []
    for name in ("mine", "other"):
        path = tmp_path / f"{name}.sqlite3"
        db = sqlite3.connect(path)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.executescript(SCHEMAS["S2x"])
        if name == "other":
            db.execute("CREATE TABLE more (x)")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute(
            f"INSERT INTO thoughts (thought_bubble_id, title, created_at, updated_at) VALUES ('{name}', 'T', '{NEW}', '{NEW}')"
        )
        db.commit()
        copy = tmp_path / f"copy-{name}.sqlite3"
        copy.write_bytes(path.read_bytes())
        Path(f"{copy}-wal").write_bytes(Path(f"{path}-wal").read_bytes())
        db.close()
        paths.append(copy)
    mine, other = paths
    migrate(laptop.caller, space.pk, mine)
    assert set(records_of(space.pk, "thoughts")) == {"mine"}
    again = assess(laptop.caller, space.pk, mine).assessment["previous"]
    assert again["same_file"] is False  # with a log beside it, equal bytes say nothing
    Path(f"{mine}-wal").write_bytes(Path(f"{other}-wal").read_bytes())
    assert assess(laptop.caller, space.pk, mine).problem["type"] == "foreign-journal"
    alone = tmp_path / "alone"
    alone.write_bytes(Path(f"{other}-wal").read_bytes())
    assert assess(laptop.caller, space.pk, alone).problem["type"] == "wal-alone"


def test_ledgers_are_counted_like_any_table_that_is_not_of_thoughts(
    space: Any, laptop: Device, tmp_path: Path
) -> None:
    with LogoMeshFile(tmp_path / "file.sqlite3", "S2") as file:
        file.thought("t1")
        file.db.execute("CREATE TABLE _migrations (name TEXT PRIMARY KEY, applied_at DATETIME)")
        file.add("_migrations", name="001_initial_schema.ts", applied_at=NEW)
    report = migrate(laptop.caller, space.pk, tmp_path / "file.sqlite3").report or {}
    ledger = report["tables"]["_migrations"]
    assert (ledger["rows_in"], ledger["migrated"], ledger["set_aside"]) == (1, 0, 1)
