"""Makes SQLite files as the versions of LogoMesh wrote them, clean or odd, small or large."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_CHILD = "FOREIGN KEY (segment_id) REFERENCES segments(segment_id) ON DELETE CASCADE"
_NOW = "DATETIME DEFAULT CURRENT_TIMESTAMP"

SCHEMAS: dict[str, str] = {
    "S1": f"""
        CREATE TABLE thoughts (thought_bubble_id TEXT PRIMARY KEY, title TEXT NOT NULL, description TEXT,
            position_x REAL DEFAULT 0, position_y REAL DEFAULT 0, color TEXT DEFAULT '#3B82F6',
            created_at {_NOW}, updated_at {_NOW});
        CREATE TABLE segments (segment_id TEXT PRIMARY KEY, thought_bubble_id TEXT NOT NULL,
            content TEXT NOT NULL, segment_type TEXT DEFAULT 'text', position_in_thought INTEGER DEFAULT 0,
            embedding_vector BLOB, created_at {_NOW}, updated_at {_NOW},
            FOREIGN KEY (thought_bubble_id) REFERENCES thoughts(thought_bubble_id) ON DELETE CASCADE);
        CREATE TABLE tags (tag_id TEXT PRIMARY KEY, tag_name TEXT UNIQUE NOT NULL,
            color TEXT DEFAULT '#6B7280', created_at {_NOW});
        CREATE TABLE thought_tags (thought_bubble_id TEXT NOT NULL, tag_id TEXT NOT NULL,
            PRIMARY KEY (thought_bubble_id, tag_id));
        CREATE TABLE segment_tags (segment_id TEXT NOT NULL, tag_id TEXT NOT NULL,
            PRIMARY KEY (segment_id, tag_id), {_CHILD});
        CREATE TABLE segment_fields (segment_id TEXT NOT NULL, field_key TEXT NOT NULL, field_value TEXT,
            PRIMARY KEY (segment_id, field_key), {_CHILD});
        CREATE TABLE segment_neighbors (source_segment_id TEXT NOT NULL, target_segment_id TEXT NOT NULL,
            relationship_type TEXT DEFAULT 'related', weight REAL DEFAULT 1.0,
            PRIMARY KEY (source_segment_id, target_segment_id));
        CREATE TABLE segment_related_context (segment_id TEXT NOT NULL, context_type TEXT NOT NULL,
            context_data TEXT, relevance_score REAL DEFAULT 0.5, created_at {_NOW},
            PRIMARY KEY (segment_id, context_type), {_CHILD});
        CREATE TABLE segment_llm_history (history_id TEXT PRIMARY KEY, segment_id TEXT NOT NULL,
            prompt TEXT NOT NULL, response TEXT, llm_executor TEXT, timestamp {_NOW}, metadata TEXT,
            {_CHILD});
        CREATE INDEX idx_segments_thought_id ON segments(thought_bubble_id);
        """,
    "S2": f"""
        CREATE TABLE thoughts (thought_bubble_id TEXT PRIMARY KEY, title TEXT NOT NULL, description TEXT,
            created_at TEXT NOT NULL, updated_at TEXT NOT NULL, color TEXT DEFAULT '#3b82f6',
            position_x REAL DEFAULT 0, position_y REAL DEFAULT 0, metadata TEXT);
        CREATE TABLE segments (segment_id TEXT PRIMARY KEY, thought_bubble_id TEXT NOT NULL,
            title TEXT NOT NULL, content TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
            sort_order INTEGER DEFAULT 0, metadata TEXT,
            FOREIGN KEY (thought_bubble_id) REFERENCES thoughts(thought_bubble_id) ON DELETE CASCADE);
        CREATE TABLE tags (tag_id TEXT PRIMARY KEY, name TEXT UNIQUE NOT NULL,
            color TEXT DEFAULT '#6b7280', created_at TEXT NOT NULL);
        CREATE TABLE thought_tags (thought_bubble_id TEXT NOT NULL, tag_id TEXT NOT NULL,
            created_at TEXT NOT NULL, PRIMARY KEY (thought_bubble_id, tag_id));
        CREATE TABLE segment_tags (segment_id TEXT NOT NULL, tag_id TEXT NOT NULL, created_at TEXT NOT NULL,
            PRIMARY KEY (segment_id, tag_id), {_CHILD});
        CREATE TABLE segment_fields (field_id TEXT PRIMARY KEY, segment_id TEXT NOT NULL,
            field_name TEXT NOT NULL, field_value TEXT, field_type TEXT DEFAULT 'text',
            created_at TEXT NOT NULL, {_CHILD});
        CREATE TABLE segment_neighbors (source_segment_id TEXT NOT NULL, target_segment_id TEXT NOT NULL,
            relationship_type TEXT DEFAULT 'related', strength REAL DEFAULT 1.0, created_at TEXT NOT NULL,
            metadata TEXT, PRIMARY KEY (source_segment_id, target_segment_id, relationship_type));
        CREATE TABLE segment_related_context (context_id TEXT PRIMARY KEY, segment_id TEXT NOT NULL,
            context_type TEXT NOT NULL, context_data TEXT, source TEXT, created_at TEXT NOT NULL,
            expires_at TEXT, {_CHILD});
        CREATE TABLE segment_llm_history (history_id TEXT PRIMARY KEY, segment_id TEXT NOT NULL,
            prompt TEXT NOT NULL, response TEXT, llm_model TEXT NOT NULL,
            interaction_type TEXT DEFAULT 'prompt', metadata TEXT, created_at TEXT NOT NULL, {_CHILD});
        CREATE INDEX idx_thoughts_created_at ON thoughts(created_at);
        CREATE INDEX idx_segments_thought_id ON segments(thought_bubble_id);
        CREATE INDEX idx_segments_created_at ON segments(created_at);
        CREATE INDEX idx_tags_name ON tags(name);
        CREATE INDEX idx_segment_fields_segment_id ON segment_fields(segment_id);
        CREATE INDEX idx_segment_context_segment_id ON segment_related_context(segment_id);
        CREATE INDEX idx_segment_llm_segment_id ON segment_llm_history(segment_id);
        """,
    "S3": """
        CREATE TABLE thoughts (thought_bubble_id TEXT PRIMARY KEY, title TEXT NOT NULL, description TEXT,
            created_at TEXT NOT NULL, updated_at TEXT NOT NULL, position_x REAL, position_y REAL, color TEXT);
        CREATE TABLE segments (segment_id TEXT PRIMARY KEY, thought_bubble_id TEXT NOT NULL,
            title TEXT NOT NULL, content TEXT NOT NULL, content_type TEXT NOT NULL DEFAULT 'text',
            asset_path TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
            abstraction_level TEXT NOT NULL DEFAULT 'Fact', local_priority REAL DEFAULT 0.5,
            cluster_id TEXT DEFAULT 'uncategorized_cluster');
        CREATE TABLE tags (tag_id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, color TEXT NOT NULL,
            created_at TEXT NOT NULL, updated_at TEXT NOT NULL);
        CREATE TABLE thought_tags (thought_tag_id TEXT PRIMARY KEY, thought_id TEXT NOT NULL,
            tag_id TEXT NOT NULL, UNIQUE (thought_id, tag_id));
        CREATE TABLE segment_tags (segment_tag_id TEXT PRIMARY KEY, segment_id TEXT NOT NULL,
            tag_id TEXT NOT NULL, UNIQUE (segment_id, tag_id));
        CREATE TABLE segment_fields (field_id TEXT PRIMARY KEY, segment_id TEXT NOT NULL, name TEXT NOT NULL,
            value TEXT NOT NULL, type TEXT NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL);
        """,
    "S4": """
        CREATE TABLE thoughts (id TEXT PRIMARY KEY, title TEXT NOT NULL, description TEXT,
            createdAt TEXT NOT NULL, updatedAt TEXT NOT NULL);
        CREATE TABLE segments (id TEXT PRIMARY KEY, thoughtId TEXT NOT NULL, title TEXT,
            content TEXT NOT NULL, createdAt TEXT NOT NULL, updatedAt TEXT NOT NULL,
            FOREIGN KEY (thoughtId) REFERENCES thoughts(id) ON DELETE CASCADE);
        """,
}
SCHEMAS["S2x"] = (
    SCHEMAS["S2"]
    + """
        ALTER TABLE thoughts ADD COLUMN fields TEXT;
        ALTER TABLE segments ADD COLUMN content_type TEXT;
        ALTER TABLE segments ADD COLUMN abstraction_level TEXT;
        ALTER TABLE segments ADD COLUMN local_priority REAL;
        ALTER TABLE segments ADD COLUMN cluster_id TEXT;
        """
)

NEW = "2025-09-20T10:00:00.000Z"
OLD = "2025-06-01T10:00:00.000Z"


class LogoMeshFile:
    """A SQLite file under construction; every value may be overridden, with any storage class."""

    def __init__(self, path: Path, dialect: str = "S2x", ddl: str = "") -> None:
        self.path = path
        self.dialect = dialect
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.executescript(ddl or SCHEMAS[dialect])
        self.db.execute("BEGIN")

    def add(self, table: str, **values: Any) -> int:
        """Insert a row and return its rowid."""
        columns = ", ".join(f'"{name}"' for name in values)
        marks = ", ".join("?" for _ in values)
        query = f'INSERT INTO "{table}" ({columns}) VALUES ({marks})'
        return int(self.db.execute(query, tuple(values.values())).lastrowid or 0)

    def thought(self, id_: Any = "thought_1", **values: Any) -> int:
        if self.dialect == "S4":
            defaults = {"id": id_, "title": "A thought", "createdAt": NEW, "updatedAt": NEW}
        else:
            defaults = {"thought_bubble_id": id_, "title": "A thought", "created_at": NEW, "updated_at": NEW}
        return self.add("thoughts", **(defaults | values))

    def segment(self, id_: Any = "segment_1", thought: Any = "thought_1", **values: Any) -> int:
        if self.dialect == "S4":
            defaults = {
                "id": id_,
                "thoughtId": thought,
                "content": "Text",
                "createdAt": NEW,
                "updatedAt": NEW,
            }
        else:
            defaults = {
                "segment_id": id_,
                "thought_bubble_id": thought,
                "title": "A segment",
                "content": "Text",
                "created_at": NEW,
                "updated_at": NEW,
            }
        if self.dialect == "S1":
            del defaults["title"]
        return self.add("segments", **(defaults | values))

    def tag(self, id_: Any = "tag_memory", **values: Any) -> int:
        name = "tag_name" if self.dialect == "S1" else "name"
        defaults = {"tag_id": id_, name: str(id_), "color": "#10b981", "created_at": NEW}
        if self.dialect == "S3":
            defaults["updated_at"] = NEW
        return self.add("tags", **(defaults | values))

    def close(self) -> Path:
        self.db.execute("COMMIT")
        self.db.close()
        return self.path

    def __enter__(self) -> LogoMeshFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def full(path: Path, dialect: str, thoughts: int = 5, segments: int = 3) -> Path:
    """A file of this dialect with something in every table it has, and the usual dangling rows."""
    with LogoMeshFile(path, dialect) as file:
        for t in range(thoughts):
            file.thought(f"t{t}", title=f"Thought {t} ünï", description=None if t % 2 else f"About {t}")
            for s in range(segments):
                at = f"2025-09-20T10:{t:02d}:{s:02d}.{s:03d}Z"
                names = ("createdAt", "updatedAt") if dialect == "S4" else ("created_at", "updated_at")
                file.segment(f"s{t}.{s}", f"t{t}", content=f"Content {t}.{s}", **dict.fromkeys(names, at))
        file.segment("stray", "t_gone")
        if dialect == "S4":
            return path
        _links(file)
    return path


def _links(file: LogoMeshFile) -> None:
    dialect = file.dialect
    made = {} if dialect == "S1" else {"created_at": NEW}
    file.tag("tag_c")
    file.tag("tag_память")
    if dialect == "S3":
        for n, (thought, tag) in enumerate((("t0", "tag_c"), ("t1", "tag_память"), ("t_gone", "tag_c"))):
            id_ = f"tt_{thought}_{tag}" if n else "tt_by_hand"
            file.add("thought_tags", thought_tag_id=id_, thought_id=thought, tag_id=tag)
        file.add("segment_tags", segment_tag_id="st_s0.0_tag_c", segment_id="s0.0", tag_id="tag_c")
        for kind, value in (("string", "x"), ("number", "3.5"), ("string[]", '["a"]')):
            file.add(
                "segment_fields", field_id=f"sf_{kind}", segment_id="s0.0", name=kind, value=value, type=kind,
                created_at=NEW, updated_at=NEW,
            )  # fmt: skip
        return
    for thought, tag in (("t0", "tag_c"), ("t1", "tag_память"), ("t_gone", "tag_c"), ("t1", "tag_gone")):
        file.add("thought_tags", thought_bubble_id=thought, tag_id=tag, **made)
    file.add("segment_tags", segment_id="s0.0", tag_id="tag_c", **made)
    for source, target in (("s0.0", "s0.1"), ("s0.1", "s0.1"), ("s0.1", "gone")):
        file.add("segment_neighbors", source_segment_id=source, target_segment_id=target, **made)
    if dialect == "S1":
        file.add("segment_fields", segment_id="s0.0", field_key="Ort/№", field_value="MIT")
        file.add("segment_related_context", segment_id="s0.0", context_type="summary", context_data="short")
        file.add(
            "segment_llm_history", history_id="h1", segment_id="s0.0", prompt="Why?", llm_executor="mock"
        )
        return
    for n in range(2):
        file.add(
            "segment_fields",
            field_id=f"f{n}",
            segment_id="s0.0",
            field_name="twice",
            field_value=str(n),
            **made,
        )
    file.add(
        "segment_related_context", context_id="c1", segment_id="s0.0", context_type="summary",
        context_data="short", expires_at="2026-01-01T00:00:00.000Z", **made,
    )  # fmt: skip
    file.add(
        "segment_llm_history", history_id="h1", segment_id="s0.0", prompt="Why?", llm_model="mock",
        metadata='{"ms": 12}', **made,
    )  # fmt: skip


_WORDS = [
    "memory",
    "schema",
    "attention",
    "recall",
    "priming",
    "salience",
    "cue",
    "trace",
    "theory",
    "of",
    "mind",
    "spacing",
    "effect",
]


def many(path: Path, segments: int = 1_000_000, seed: int = 1) -> Path:
    """A large S2x file: a tenth as many thoughts, as many links as segments, about 600 bytes a segment."""
    file = LogoMeshFile(path, "S2x")
    file.db.execute("COMMIT")
    file.db.execute("PRAGMA journal_mode = OFF")
    file.db.execute("PRAGMA synchronous = OFF")
    file.db.execute("BEGIN")
    thoughts = max(1, segments // 10)
    for table, columns, rows in _many_rows(random.Random(seed), thoughts, segments):
        file.db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * columns)})", rows)
    return file.close()


def large(path: Path, megabytes: int = 2_300, seed: int = 1) -> Path:
    """An S2x file of large rows: segments of about 700 KB of prose, a talk with a model beside each."""
    rng = random.Random(seed)
    prose = " ".join(rng.choices([*_WORDS, *(f"{rng.getrandbits(32):x}" for _ in range(5_000))], k=200_000))
    segments = max(1, round(megabytes / 0.72))
    with LogoMeshFile(path, "S2x") as file:
        file.db.execute("COMMIT")
        file.db.execute("PRAGMA journal_mode = OFF")
        file.db.execute("PRAGMA synchronous = OFF")
        file.db.execute("BEGIN")
        for n in range(max(1, segments // 4)):
            file.thought(f"thought_{n}", metadata="{}")
        for n in range(segments):
            start, length = rng.randrange(500_000), rng.randrange(600_000, 800_000)
            file.segment(
                f"segment_{n}", f"thought_{n // 4}", content=prose[start : start + length], sort_order=n
            )
        for n in range(segments):
            start = rng.randrange(500_000)
            file.add(
                "segment_llm_history", history_id=f"history_{n}", segment_id=f"segment_{n}", llm_model="mock",
                prompt=prose[start : start + 500], response=prose[start : start + 20_000], created_at=NEW,
            )  # fmt: skip
    return path


def _many_rows(
    rng: random.Random, thoughts: int, segments: int
) -> Iterator[tuple[str, int, Iterable[tuple[Any, ...]]]]:
    prose = " ".join(rng.choices(_WORDS, k=4_000))
    tags = [f"tag_{n}" for n in range(50)]

    def at(n: int) -> str:
        seconds = n // 10
        return (
            f"2025-09-{1 + seconds // 86400 % 28:02d}T{seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}"
            f":{seconds % 60:02d}.{n % 10:01d}00Z"
        )

    def text(length: int) -> str:
        start = rng.randrange(len(prose) - length)
        return prose[start : start + length]

    yield "tags", 4, ((tag, tag[4:], "#10b981", at(n)) for n, tag in enumerate(tags))
    yield "thoughts", 10, (
        (f"thought_{n:08x}-0000-4000-8000-000000000000", text(30), text(80), at(n), at(n + 9), "#3b82f6",
         rng.random() * 2000, rng.random() * 2000, None, '{"source":"notes"}' if n % 4 == 0 else None)
        for n in range(thoughts)
    )  # fmt: skip
    yield "segments", 12, (
        (f"segment_{n:08x}-0000-4000-8000-000000000000",
         f"thought_{n % thoughts:08x}-0000-4000-8000-000000000000", text(24), text(rng.randrange(300, 700)),
         at(n), at(n + 5), 0, f'{{"Location":"Cambridge, MA","n":{n}}}' if n % 5 == 0 else None,
         "text", "Fact", 0.5, f"cluster_{n % 20}")
        for n in range(segments)
    )  # fmt: skip
    yield (
        "thought_tags",
        3,
        ((f"thought_{n:08x}-0000-4000-8000-000000000000", tags[n % 50], at(n)) for n in range(thoughts)),
    )
    yield "segment_neighbors", 6, (
        (f"segment_{n:08x}-0000-4000-8000-000000000000",
         f"segment_{rng.randrange(segments):08x}-0000-4000-8000-000000000000", "related", rng.random(),
         at(n), None)
        for n in range(segments * 9 // 10)
    )  # fmt: skip
