"""Files made to do harm, or to be mistaken for something else: one function a file."""

from __future__ import annotations

import io
import json
import random
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests.logomesh_files import NEW, SCHEMAS, LogoMeshFile, full

TAKEN = "taken"
Maker = Callable[[Path], None]
CORPUS: dict[str, tuple[Maker, str]] = {}
"""Name -> what makes the file, and the verdict that it must get: `TAKEN` or the kind of refusal."""


def file(verdict: str) -> Callable[[Maker], Maker]:
    def register(make: Maker) -> Maker:
        CORPUS[make.__name__] = (make, verdict)
        return make

    return register


def base(path: Path, *statements: str, settings: tuple[str, ...] = (), dialect: str = "S2x") -> None:
    """A sound file with a thought and a segment, then these statements."""
    db = sqlite3.connect(path)
    for setting in settings:
        db.execute(f"PRAGMA {setting}")
    db.executescript(SCHEMAS[dialect])
    db.execute(
        "INSERT INTO thoughts (thought_bubble_id, title, created_at, updated_at) VALUES ('t', 'T', ?, ?)",
        (NEW, NEW),
    )
    db.execute(
        "INSERT INTO segments (segment_id, thought_bubble_id, title, content, created_at, updated_at)"
        " VALUES ('s', 't', 'S', 'C', ?, ?)", (NEW, NEW),
    )  # fmt: skip
    db.commit()
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


def with_schema(path: Path, old: str, new: str) -> None:
    """Edit the text of the schema by hand, as no statement of SQLite would allow."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA writable_schema = ON")
    db.execute("UPDATE sqlite_schema SET sql = replace(sql, ?, ?)", (old, new))
    db.commit()
    db.close()


BOMB = "hex(randomblob(500000000))"
FIXED_BOMB = "hex(zeroblob(400000000))"
ENDLESS = "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c) SELECT x AS {} FROM c"


@file("not-a-table")
def view_named_like_a_table(path: Path) -> None:
    base(
        path,
        "ALTER TABLE thoughts RENAME TO real",
        f"CREATE VIEW thoughts AS {ENDLESS.format('thought_bubble_id')}",
    )


@file("unknown-dialect")
def view_named_segments(path: Path) -> None:
    base(
        path, "ALTER TABLE segments RENAME TO real", f"CREATE VIEW segments AS {ENDLESS.format('segment_id')}"
    )


@file(TAKEN)
def endless_view_beside(path: Path) -> None:
    base(path, f"CREATE VIEW notes AS {ENDLESS.format('n')}", f"CREATE VIEW tags_ AS SELECT {BOMB}")


@file(TAKEN)
def triggers(path: Path) -> None:
    base(path, *(
        f"CREATE TRIGGER t{n} AFTER {event} ON thoughts BEGIN DELETE FROM segments; SELECT {BOMB}; END"
        for n, event in enumerate(("INSERT", "UPDATE", "DELETE"))
    ))  # fmt: skip


@file(TAKEN)
def virtual_tables(path: Path) -> None:
    base(
        path,
        "CREATE VIRTUAL TABLE notes USING fts5(body)",
        "INSERT INTO notes VALUES ('x')",
        "CREATE VIRTUAL TABLE places USING rtree(id, a, b)",
    )


@file("not-a-table")
def thoughts_is_virtual(path: Path) -> None:
    base(path, "DROP TABLE thoughts", "CREATE VIRTUAL TABLE thoughts USING fts5(thought_bubble_id, title)")


@file(TAKEN)
def virtual_table_of_an_unknown_module(path: Path) -> None:
    base(path, "CREATE TABLE other (x)")
    with_schema(
        path, "CREATE TABLE other (x)", "CREATE VIRTUAL TABLE other USING csv(filename='/etc/passwd')"
    )


@file(TAKEN)
def generated_columns(path: Path) -> None:
    base(path, f"ALTER TABLE thoughts ADD COLUMN bomb TEXT AS ({FIXED_BOMB})")


@file(TAKEN)
def generated_title(path: Path) -> None:
    base(path, f"ALTER TABLE segments ADD COLUMN made TEXT AS ({FIXED_BOMB})")
    with_schema(path, "title TEXT NOT NULL", f"title TEXT AS ({FIXED_BOMB})")


@file(TAKEN)
def expensive_check(path: Path) -> None:
    base(path)
    with_schema(path, "title TEXT NOT NULL", f"title TEXT NOT NULL CHECK (length({BOMB}) > 1)")


@file(TAKEN)
def index_on_an_expression(path: Path) -> None:
    base(path, "CREATE INDEX bomb ON thoughts(upper(title))")
    with_schema(path, "upper(title)", "hex(zeroblob(900000000))")


@file(TAKEN)
def partial_index_with_a_bomb(path: Path) -> None:
    base(path, "CREATE INDEX bomb ON thoughts(title) WHERE length(title) > 0")
    with_schema(path, "length(title) > 0", "length(hex(zeroblob(900000000))) > 0")


@file(TAKEN)
def default_with_a_bomb(path: Path) -> None:
    base(path, f"CREATE TABLE other (x DEFAULT ({BOMB}))", "INSERT INTO other VALUES (1)")


@file("damaged")
def unknown_collation(path: Path) -> None:
    base(path, "CREATE INDEX c ON thoughts(title)")
    with_schema(path, "thoughts(title)", "thoughts(title COLLATE nowhere)")


@file("damaged")
def two_tables_on_one_root(path: Path) -> None:
    base(path)
    db = sqlite3.connect(path)
    db.execute("PRAGMA writable_schema = ON")
    db.execute("UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'thoughts')"
               " WHERE name = 'segments'")  # fmt: skip
    db.commit()
    db.close()


@file("damaged")
def schema_that_is_no_sql(path: Path) -> None:
    base(path)
    with_schema(path, "CREATE TABLE tags", "CREATE TABLE tags tags tags")


@file("damaged")
def schema_of_another_name(path: Path) -> None:
    base(path)
    db = sqlite3.connect(path)
    db.execute("PRAGMA writable_schema = ON")
    db.execute("UPDATE sqlite_schema SET tbl_name = 'nowhere' WHERE name = 'tags'")
    db.execute("UPDATE sqlite_schema SET sql = 'CREATE TABLE thoughts (x)' WHERE name = 'tags'")
    db.commit()
    db.close()


@file(TAKEN)
def deep_expression_in_the_schema(path: Path) -> None:
    base(path, "CREATE TABLE other (x)")
    with_schema(path, "CREATE TABLE other (x)", f"CREATE TABLE other (x DEFAULT ({'(' * 90}1{')' * 90}))")


@file("damaged")
def endless_sql_in_the_schema(path: Path) -> None:
    base(path, "CREATE TABLE other (x)")
    with_schema(path, "CREATE TABLE other (x)", f"CREATE TABLE other (x /* {'y' * 2_000_000} */)")


@file(TAKEN)
def two_thousand_columns(path: Path) -> None:
    columns = ", ".join(f"c{n} INTEGER" for n in range(1_990))
    base(path, f"CREATE TABLE wide ({columns})", "INSERT INTO wide (c0) VALUES (1)")


@file(TAKEN)
def two_thousand_tables(path: Path) -> None:
    base(path, *(f"CREATE TABLE other{n} (x)" for n in range(2_000)))


@file(TAKEN)
def without_rowid(path: Path) -> None:
    base(path)
    db = sqlite3.connect(path)
    for (sql,) in db.execute(
        "SELECT sql FROM sqlite_schema WHERE name IN ('thoughts', 'segments')"
    ).fetchall():
        name = sql.split()[2]
        db.execute(f"ALTER TABLE {name} RENAME TO old_{name}")
        db.execute(f"{sql} WITHOUT ROWID")
        db.execute(f"INSERT INTO {name} SELECT * FROM old_{name}")
    db.commit()
    db.close()


@file(TAKEN)
def strict_table(path: Path) -> None:
    base(path, "CREATE TABLE other (x INTEGER, y ANY) STRICT", "INSERT INTO other VALUES (1, x'00')")


def _settings(name: str, *settings: str) -> None:
    def make(path: Path) -> None:
        base(path, settings=settings)

    make.__name__ = name
    file(TAKEN)(make)


_settings("utf16_little", "encoding = 'UTF-16le'")
_settings("utf16_big", "encoding = 'UTF-16be'")
for size in (512, 1024, 8192, 65536):
    _settings(f"pages_of_{size}", f"page_size = {size}")
_settings("auto_vacuum", "auto_vacuum = FULL")
_settings("incremental_vacuum", "auto_vacuum = INCREMENTAL")
_settings("wal_mode_without_a_wal", "journal_mode = WAL")


@file("too-big")
def a_cell_of_70_mb(path: Path) -> None:
    base(path, "UPDATE segments SET content = hex(zeroblob(35000000))")


@file(TAKEN)
def a_cell_of_45_mb(path: Path) -> None:
    base(path, "UPDATE segments SET content = hex(zeroblob(22500000))")


@file(TAKEN)
def a_blob_of_45_mb(path: Path) -> None:
    base(path, "UPDATE segments SET content = randomblob(45000000)")


@file(TAKEN)
def defaults_that_call_functions(path: Path) -> None:
    base(
        path, "CREATE TABLE other (x, at TEXT DEFAULT (datetime('now')))", "INSERT INTO other (x) VALUES (1)"
    )


@file(TAKEN)
def a_blob_of_20_mb(path: Path) -> None:
    base(path, "UPDATE segments SET content = randomblob(20000000)")


@file(TAKEN)
def deep_json_in_a_cell(path: Path) -> None:
    with LogoMeshFile(path, "S2x") as made:
        made.thought("t", fields="[" * 1_000_000, metadata='{"a":' * 5_000 + "1" + "}" * 5_000)


@file(TAKEN)
def numbers_that_take_long(path: Path) -> None:
    with LogoMeshFile(path, "S2x") as made:
        made.thought(
            "t", fields='{"a": ' + "9" * 1_000_000 + ', "b": 1e999999999, "c": 1' + "0" * 5_000 + "}"
        )


@file(TAKEN)
def ids_of_every_odd_kind(path: Path) -> None:
    with LogoMeshFile(path, "S2x") as made:
        for id_ in (
            None,
            None,
            "",
            "a\0b",
            b"\x00\xff",
            "x" * 2_000,
            5,
            2.5,
            "../../etc/passwd",
            "'; DROP TABLE x; --",
        ):
            made.thought(id_)
        made.db.execute(
            f"INSERT INTO thoughts VALUES (CAST(x'ff' AS TEXT), 'T', NULL, '{NEW}', '{NEW}', '', 0, 0, '', '')"
        )


@file(TAKEN)
def names_with_quotes(path: Path) -> None:
    base(
        path,
        'CREATE TABLE "a""b; DROP TABLE thoughts" ("x""y" TEXT, "sel;ect" INT)',
        """INSERT INTO "a""b; DROP TABLE thoughts" VALUES ('1', 2)""",
        'ALTER TABLE thoughts ADD COLUMN "we""ird\nname" TEXT',
        """UPDATE thoughts SET "we""ird\nname" = 'x'""",
    )


@file(TAKEN)
def tables_missing(path: Path) -> None:
    base(path, "DROP TABLE tags", "INSERT INTO thought_tags VALUES ('t', 'a', '')")


@file(TAKEN)
def columns_missing(path: Path) -> None:
    base(path)
    db = sqlite3.connect(path)
    db.executescript("""DROP TABLE segment_related_context; CREATE TABLE segment_related_context (context_id, segment_id);
        INSERT INTO segment_related_context VALUES ('c', 's');
        DROP TABLE segment_tags; CREATE TABLE segment_tags (segment_id); INSERT INTO segment_tags VALUES ('s');""")
    db.close()


@file(TAKEN)
def tables_in_capitals(path: Path) -> None:
    db = sqlite3.connect(path)
    db.executescript(SCHEMAS["S2x"].replace("thoughts", "THOUGHTS").replace("segment_id", "Segment_ID"))
    db.close()


@file(TAKEN)
def duplicate_ids(path: Path) -> None:
    db = sqlite3.connect(path)
    db.executescript(SCHEMAS["S2x"].replace("TEXT PRIMARY KEY", "TEXT").replace("UNIQUE", ""))
    for _ in range(3):
        db.execute(
            "INSERT INTO thoughts (thought_bubble_id, title, created_at, updated_at) VALUES ('t', 'T', '', '')"
        )
    db.commit()
    db.close()


@file("empty")
def nothing(path: Path) -> None:
    path.write_bytes(b"")


@file("empty")
def no_tables(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE x (y)")
    db.execute("DROP TABLE x")
    db.commit()
    db.close()


@file("ledger-only")
def ledger_only(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE migrations (id INTEGER PRIMARY KEY, name TEXT, applied_at TEXT)")
    db.close()


@file("foreign")
def another_application(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE battles (id INTEGER PRIMARY KEY)")
    db.close()


@file("not-sqlite")
def encrypted(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(8192))


@file("not-sqlite")
def zip_named_sqlite(path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("logomesh.sqlite3", b"\0" * 10_000)
    path.write_bytes(packed.getvalue())


@file("not-sqlite")
def plain_text(path: Path) -> None:
    path.write_text("SQLite format 2\n" * 100)


@file("damaged")
def header_alone(path: Path) -> None:
    base(path)
    path.write_bytes(path.read_bytes()[:100])


def _header(name: str, verdict: str, *lies: tuple[int, bytes]) -> None:
    def make(path: Path) -> None:
        base(path)
        data = bytearray(path.read_bytes())
        for place, value in lies:
            data[place : place + len(value)] = value
        path.write_bytes(data)

    make.__name__ = f"header_{name}"
    file(verdict)(make)


_header("page_size_of_3", "damaged", (16, b"\0\x03"))
_header("page_size_of_0", "damaged", (16, b"\0\0"))
_header("larger_pages", "damaged", (16, b"\x20\0"))
_header("future_format", "damaged", (18, b"\x09\x09"))
_header("reserved_bytes", "damaged", (20, b"\xff"))
_header("huge_page_count", "damaged", (28, b"\x7f\xff\xff\xff"), (92, b"\0\0\0\x01"), (24, b"\0\0\0\x01"))
_header("freelist_anywhere", "damaged", (32, b"\0\0\0\x02\0\0\xff\xff"))
_header("encoding_of_9", TAKEN, (56, b"\0\0\0\x09"))
_header("utf16_claimed", "damaged", (56, b"\0\0\0\x02"))


@file("foreign-journal")
def journal_of_another_file(path: Path) -> None:
    base(path)
    Path(f"{path}-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"\xff\xff\xff\xff" + bytes(4) + b"\0\0\0\x01" + b"\0\0\x02\0" + b"\0\0\x04\0" + b"x" * 5_000)  # fmt: skip


@file("foreign-journal")
def text_as_a_wal(path: Path) -> None:
    base(path, settings=("journal_mode = WAL",))
    Path(f"{path}-wal").write_text("this is no write-ahead log, whatever its name says")


@file("wal-alone")
def wal_alone(path: Path) -> None:
    other = path.with_name("other")
    db = sqlite3.connect(other)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE thoughts (x)")
    path.write_bytes(Path(f"{other}-wal").read_bytes())
    db.close()


@file("journal-alone")
def journal_alone(path: Path) -> None:
    path.write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))


def _document(name: str, verdict: str, data: bytes) -> None:
    def make(path: Path) -> None:
        path.write_bytes(data)

    make.__name__ = f"json_{name}"
    file(verdict)(make)


_document("nested", "not-json", b"[" * 5_000_000)
_document(
    "nested_in_a_thought",
    "not-json",
    b'[{"id":"t","fields":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}]",
)
_document("cut_off", "not-json", b'{"thoughts":[{"id":"t","title":"T"')
_document("of_nulls", "foreign-document", b"[" + b"null," * 200_000 + b"null]")
_document("of_another_application", "foreign-document", b'{"users":[{"id":1}]}')
_document("empty_object", "foreign-document", b"{}")
_document("with_garbage_in_it", TAKEN, json.dumps({"thoughts": [
    None, 5, "x", [], {}, {"id": 7}, {"id": None}, {"id": ""}, {"id": "t", "segments": 5, "tags": "x", "position": []},
    {"id": "u", "tags": [None, 5, {}, {"name": 5}, {"name": "a", "color": {}}, "a", ""], "segments": [None, [], {"segment_id": []}]},
    {"id": "v", "position": {"x": "1", "y": None, "z": 3}, "fields": [1], "metadata": "x", "rowid": 1, "oid": 2, "Title": 3},
    {"id": {"a": 1}, "further_members": 1, "originals": 2, "logomesh_server": {"was": None, "is": {"title": 5}}},
]}).encode())  # fmt: skip
_document(
    "with_half_a_pair", TAKEN, b'[{"id":"\\ud83d","title":"a\\u0000b\\udc00","fields":{"\\ud83d":"\\uDC00"}}]'
)
_document("with_numbers", TAKEN, b'[{"id":"t","position":{"x":1e999,"y":' + b"9" * 100_000 + b"}}]")
_document("with_bad_utf8", "not-json", b'[{"id":"t","title":"\xff\xfe"}]')
_document("in_utf16", TAKEN, '[{"id":"t","title":"ünï"}]'.encode("utf-16"))
_document(
    "too_many_members",
    "too-many-members",
    json.dumps([{"id": "t", **{f"m{n}": n for n in range(600)}}]).encode(),
)
_document("of_forged_records", TAKEN, json.dumps({"thoughts": [{"id": "t"}], "logomesh_server": {"tables": {
    "tags": [None, 1, {}, {"id": "a"}, {"id": "a", "record": 5}, {"id": "a", "record": {"name": 5, "x": float(1)}}],
    "thought_tags": [{"id": "t", "record": {}}, {"id": "t/a", "record": {"thought_id": 5, "tag_id": []}}],
    "embeddings": [{"id": "x", "record": {"vector": "no base64", "owner_id": []}}],
    "segment_neighbors": [{"id": "////", "record": {"metadata": []}}], "nonsense": 5, "segment_fields": 7,
}}}).encode())  # fmt: skip


@file(TAKEN)
def every_dialect_at_once(path: Path) -> None:
    full(path, "S2x")
    db = sqlite3.connect(path)
    for column in ("id", "createdAt", "thought_tag_id", "asset_path", "embedding_vector", "tag_name_"):
        db.execute(f"ALTER TABLE segments ADD COLUMN {column}")
    db.close()
