"""The LogoMesh app as far as its file can tell: each era's statements, in the same transactions.

`App.of(path, dialect)` is one running app; `Hands` is the person at it, drawn from a seed, with a journal.
As a process of its own it writes without pause and prints what it wrote:

    python -m tests.client.app FILE DIALECT --seed 7 --seconds 5 [--journal FILE]
"""

from __future__ import annotations

import argparse
import json
import re
import sqlite3
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from tests.fuzz import prose
from tests.logomesh_files import SCHEMAS

BUSY_SECONDS = 1.0
"""What node-sqlite3 waits for a lock before it answers SQLITE_BUSY."""

DIALECTS = ("S1", "S2", "S2x", "S3", "S4")
_ULID = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def make(path: Path, dialect: str) -> Path:
    """A new file with this dialect's tables, in the journal mode that SQLite gives it."""
    with sqlite3.connect(path) as db:
        db.executescript(SCHEMAS[dialect])
    db.close()
    return path


def iso(moment: datetime) -> str:
    """As JavaScript's `toISOString`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def stringify(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class InvalidTime(Exception):
    """What the reader of July 2025 dies of."""


class App(ABC):
    """One running app on one file. Every method is what the app does when its user does that."""

    dialect = ""
    thought_key = "thought_bubble_id"
    parent = "thought_bubble_id"
    """The column of a segment that names its thought."""
    segment_key = "segment_id"
    updated = "updated_at"
    foreign_keys = False

    @staticmethod
    def of(path: Path, dialect: str, seed: int | str = 0, clock: Callable[[], datetime] | None = None) -> App:
        return _ERAS[dialect](path, seed, clock)

    def __init__(self, path: Path, seed: int | str, clock: Callable[[], datetime] | None) -> None:
        self.path = path
        self.chance = Random(f"app/{seed}")
        self.clock = clock or (lambda: datetime.now(UTC))
        self.db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        self.db.row_factory = sqlite3.Row
        if self.foreign_keys:
            self.db.execute("PRAGMA foreign_keys = ON")

    def close(self) -> None:
        self.db.close()

    # What the user does

    @abstractmethod
    def create_thought(self, title: str, **data: Any) -> str:
        """Returns the id that the app gave it."""

    @abstractmethod
    def create_segment(self, thought: str, title: str, content: str, **data: Any) -> str:
        """Returns the id that the app gave it."""

    def update_thought(self, thought: str, **updates: Any) -> bool:
        """Only what is named; tags, if named, replace all that there were. False: it is not there."""
        tags = updates.pop("tags", None)
        values = self._thought_columns(updates)
        found = True
        if values or tags is not None:
            found = self._update("thoughts", self.thought_key, thought, values)
        if tags is not None:
            self.replace_tags(thought, tags)
        return found

    def update_segment(self, segment: str, **updates: Any) -> bool:
        values = self._segment_columns(updates)
        return not values or self._update("segments", self.segment_key, segment, values)

    def delete_thought(self, thought: str) -> bool:
        """One row only: without foreign keys its segments and links stay behind."""
        done = self.db.execute(f"DELETE FROM thoughts WHERE {self.thought_key} = ?", (thought,))
        return done.rowcount > 0

    def delete_segment(self, segment: str) -> bool:
        return self.db.execute(f"DELETE FROM segments WHERE {self.segment_key} = ?", (segment,)).rowcount > 0

    def move(self, thought: str, x: float, y: float) -> None:
        """What the canvas does on every frame of its layout."""
        self.update_thought(thought, position={"x": x, "y": y})

    @abstractmethod
    def replace_tags(self, thought: str, tags: list[str]) -> None:
        """These, and no others."""

    # What its user does beside it, with a script or a database browser

    def replace_row(self, table: str, key: str, id_: str, **values: Any) -> None:
        """INSERT OR REPLACE of a whole row: no delete trigger fires for the old one."""
        row = self.db.execute(f'SELECT * FROM "{table}" WHERE "{key}" = ?', (id_,)).fetchone()
        new = dict(row) | values
        names = ", ".join(f'"{name}"' for name in new)
        marks = ", ".join("?" * len(new))
        self.db.execute(f'INSERT OR REPLACE INTO "{table}" ({names}) VALUES ({marks})', tuple(new.values()))

    def by_hand(self, statement: str, *values: Any) -> None:
        self.db.execute(statement, values)

    # What the app shows

    def thoughts(self) -> list[dict[str, Any]]:
        """All, as the list of the app shows them. Raises what the app's reader dies of."""
        shown = []
        for row in self.db.execute(f"SELECT * FROM thoughts ORDER BY {self._created()} DESC"):
            segments = [dict(it) for it in self._segments_of(row[self.thought_key])]
            self._read(row, segments)
            shown.append({**dict(row), "segments": segments, "tags": self.tags_of(row[self.thought_key])})
        return shown

    def thought_ids(self) -> list[str]:
        return [id_ for (id_,) in self.db.execute(f"SELECT {self.thought_key} FROM thoughts ORDER BY rowid")]

    def segment_ids(self) -> list[str]:
        """Those that the app shows: with a thought."""
        query = (
            f"SELECT s.{self.segment_key} FROM segments s JOIN thoughts t"
            f" ON t.{self.thought_key} = s.{self.parent} ORDER BY s.rowid"
        )
        return [id_ for (id_,) in self.db.execute(query)]

    def value(self, table: str, id_: str, column: str) -> Any:
        """A cell, None also where the row is gone."""
        key = self.thought_key if table == "thoughts" else self.segment_key
        row = self.db.execute(f'SELECT "{column}" FROM {table} WHERE {key} = ?', (id_,)).fetchone()
        return row and row[0]

    def tags_of(self, thought: str) -> list[str]:
        query = (
            "SELECT tg.name FROM thought_tags tt JOIN tags tg USING (tag_id)"
            " WHERE tt.thought_bubble_id = ? ORDER BY tt.rowid"
        )
        return [name for (name,) in self.db.execute(query, (thought,))]

    # Era by era

    def _created(self) -> str:
        return "created_at"

    def _now(self) -> str:
        return iso(self.clock())

    def _segments_of(self, thought: str) -> list[sqlite3.Row]:
        query = f"SELECT * FROM segments WHERE {self.parent} = ? ORDER BY {self._created()}, rowid"
        return self.db.execute(query, (thought,)).fetchall()

    def _read(self, row: sqlite3.Row, segments: list[dict[str, Any]]) -> None:  # noqa: B027 - a choice
        """Turn a row into what is shown; most eras pass texts through."""

    def _thought_columns(self, updates: dict[str, Any]) -> dict[str, Any]:
        values = {name: updates[name] for name in ("title", "description", "color") if name in updates}
        if (at := updates.get("position")) is not None:
            values |= {"position_x": at.get("x"), "position_y": at.get("y")}
        return values

    def _segment_columns(self, updates: dict[str, Any]) -> dict[str, Any]:
        values = {name: updates[name] for name in ("title", "content") if name in updates}
        if "fields" in updates:
            values["metadata"] = stringify(updates["fields"])
        return values

    def _update(self, table: str, key: str, id_: str, values: dict[str, Any]) -> bool:
        values = {**values, self.updated: self._now()}
        names = ", ".join(f"{name} = ?" for name in values)
        done = self.db.execute(f"UPDATE {table} SET {names} WHERE {key} = ?", (*values.values(), id_))
        return done.rowcount > 0

    def _insert(self, table: str, **values: Any) -> None:
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        self.db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))

    def _uuid(self) -> str:
        return str(UUID(int=self.chance.getrandbits(128), version=4))

    def _ulid(self) -> str:
        return "".join(self.chance.choice(_ULID) for _ in range(26))

    def _milliseconds(self) -> int:
        return int(self.clock().timestamp() * 1000)

    def _base36(self) -> str:
        return "".join(self.chance.choice("0123456789abcdefghijklmnopqrstuvwxyz") for _ in range(7))


class _S2(App):
    """May to July 2025: fields lie in `metadata`, each tag operation is a transaction of its own."""

    dialect = "S2"

    def create_thought(self, title: str, **data: Any) -> str:
        id_, now = f"thought_{self._uuid()}", self._now()
        at = data.get("position") or {}
        self._insert(
            "thoughts", thought_bubble_id=id_, title=title, description=data.get("description") or None,
            created_at=now, updated_at=now, color=data.get("color") or "#3b82f6",
            position_x=at.get("x") or 0, position_y=at.get("y") or 0,
        )  # fmt: skip
        self._link(id_, data.get("tags") or [])
        return id_

    def create_segment(self, thought: str, title: str, content: str, **data: Any) -> str:
        id_, now = f"segment_{self._uuid()}", self._now()
        self._insert(
            "segments", segment_id=id_, thought_bubble_id=thought, title=title, content=content,
            created_at=now, updated_at=now, sort_order=0, metadata=stringify(data.get("fields") or {}),
        )  # fmt: skip
        return id_

    def replace_tags(self, thought: str, tags: list[str]) -> None:
        self.db.execute("DELETE FROM thought_tags WHERE thought_bubble_id = ?", (thought,))
        self._link(thought, tags)

    def _tag_id(self, name: str) -> str:
        return "tag_" + re.sub(r"\s+", "_", name.lower())

    def _link(self, thought: str, tags: list[str]) -> None:
        now = self._now()
        for name in tags:
            tag = self._tag_id(name)
            self.db.execute(
                "INSERT OR IGNORE INTO tags (tag_id, name, color, created_at) VALUES (?, ?, ?, ?)",
                (tag, name, "#10b981", now),
            )
            self.db.execute(
                "INSERT OR IGNORE INTO thought_tags (thought_bubble_id, tag_id, created_at) VALUES (?, ?, ?)",
                (thought, tag, now),
            )

    def _read(self, row: sqlite3.Row, segments: list[dict[str, Any]]) -> None:
        for segment in segments:
            segment["fields"] = json.loads(segment["metadata"]) if segment["metadata"] else {}


class _S2x(_S2):
    """July to October 2025: five more columns, tags replaced in one transaction, times parsed."""

    dialect = "S2x"

    def create_thought(self, title: str, **data: Any) -> str:
        id_, now = data.get("id") or f"thought_{self._uuid()}", self._now()
        at = data.get("position") or {}
        self._insert(
            "thoughts", thought_bubble_id=id_, title=title, description=data.get("description") or None,
            created_at=now, updated_at=now, color=data.get("color") or "#3b82f6",
            position_x=at.get("x") or 0, position_y=at.get("y") or 0,
            fields=stringify(data["fields"]) if data.get("fields") else None,
            metadata=stringify(data["metadata"]) if data.get("metadata") else None,
        )  # fmt: skip
        self._link(id_, data.get("tags") or [])
        return id_

    def create_segment(self, thought: str, title: str, content: str, **data: Any) -> str:
        id_, now = data.get("id") or f"segment_{self._uuid()}", self._now()
        kept = data.get("metadata") or data.get("fields")
        self._insert(
            "segments", segment_id=id_, thought_bubble_id=thought, title=title or None, content=content,
            content_type=data.get("content_type") or "text", created_at=now, updated_at=now, sort_order=0,
            metadata=stringify(kept) if kept else None,
            abstraction_level=data.get("abstraction_level") or "Fact",
            local_priority=data.get("local_priority") or 0.5,
            cluster_id=data.get("cluster_id") or "uncategorized",
        )  # fmt: skip
        return id_

    def replace_tags(self, thought: str, tags: list[str]) -> None:
        self.db.execute("BEGIN TRANSACTION")
        try:
            super().replace_tags(thought, tags)
            self.db.execute("COMMIT")
        except sqlite3.Error:
            self.db.execute("ROLLBACK")
            raise

    def _tag_id(self, name: str) -> str:
        return "tag_" + re.sub(r"[^a-z0-9_]", "", re.sub(r"\s+", "_", name.lower()))

    def _thought_columns(self, updates: dict[str, Any]) -> dict[str, Any]:
        values = super()._thought_columns(updates)
        for name in ("fields", "metadata"):
            if name in updates:
                values[name] = stringify(updates[name]) if updates[name] else None
        return values

    def _segment_columns(self, updates: dict[str, Any]) -> dict[str, Any]:
        values = super()._segment_columns(updates)
        for name in ("content_type", "abstraction_level", "local_priority", "cluster_id"):
            if name in updates:
                values[name] = updates[name]
        if "metadata" in updates:
            values["metadata"] = stringify(updates["metadata"] or updates.get("fields") or {})
        return values

    def _read(self, row: sqlite3.Row, segments: list[dict[str, Any]]) -> None:
        for it in (row, *segments):
            for name in ("created_at", "updated_at"):
                javascript_date(it[name])
            json_of(it["metadata"])


class _S1(App):
    """The first schema, which no code of LogoMesh ever filled: its owner's own scripts did."""

    dialect = "S1"

    def create_thought(self, title: str, **data: Any) -> str:
        id_ = f"tb_{self._ulid()}"
        self._insert("thoughts", thought_bubble_id=id_, title=title, description=data.get("description"))
        self._link(id_, data.get("tags") or [])
        return id_

    def create_segment(self, thought: str, title: str, content: str, **data: Any) -> str:
        id_ = f"seg_{self._ulid()}"
        self._insert("segments", segment_id=id_, thought_bubble_id=thought, content=content)
        for name, value in (data.get("fields") or {}).items():
            self._insert("segment_fields", segment_id=id_, field_key=name, field_value=str(value))
        return id_

    def replace_tags(self, thought: str, tags: list[str]) -> None:
        self.db.execute("DELETE FROM thought_tags WHERE thought_bubble_id = ?", (thought,))
        self._link(thought, tags)

    def _link(self, thought: str, tags: list[str]) -> None:
        for name in tags:
            tag = "tag_" + re.sub(r"\s+", "_", name.lower())
            self.db.execute("INSERT OR IGNORE INTO tags (tag_id, tag_name) VALUES (?, ?)", (tag, name))
            self.db.execute("INSERT OR IGNORE INTO thought_tags VALUES (?, ?)", (thought, tag))

    def tags_of(self, thought: str) -> list[str]:
        query = (
            "SELECT tg.tag_name FROM thought_tags tt JOIN tags tg USING (tag_id)"
            " WHERE tt.thought_bubble_id = ? ORDER BY tt.rowid"
        )
        return [name for (name,) in self.db.execute(query, (thought,))]

    def _segment_columns(self, updates: dict[str, Any]) -> dict[str, Any]:
        return {"content": updates["content"]} if "content" in updates else {}

    def _now(self) -> str:
        return self.clock().astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


class _S3(App):
    """The side branch of May 2025: links have ids of their own, fields are rows with a type."""

    dialect = "S3"

    def create_thought(self, title: str, **data: Any) -> str:
        id_, now = f"tb_{self._milliseconds()}_{self._base36()}", self._now()
        at = data.get("position") or {}
        self._insert(
            "thoughts", thought_bubble_id=id_, title=title, description=data.get("description"),
            created_at=now, updated_at=now, position_x=at.get("x"), position_y=at.get("y"),
            color=data.get("color"),
        )  # fmt: skip
        for name in data.get("tags") or []:
            self._add_tag(id_, name)
        return id_

    def create_segment(self, thought: str, title: str, content: str, **data: Any) -> str:
        id_, now = f"seg_{self._milliseconds()}_{self._base36()}", self._now()
        self._insert(
            "segments", segment_id=id_, thought_bubble_id=thought, title=title, content=content,
            content_type="text", asset_path=data.get("asset_path"), created_at=now, updated_at=now,
            abstraction_level="Fact", local_priority=0.5, cluster_id="uncategorized_cluster",
        )  # fmt: skip
        if data.get("fields"):
            self._replace_fields(id_, data["fields"])
        return id_

    def update_segment(self, segment: str, **updates: Any) -> bool:
        fields = updates.pop("fields", None)
        found = super().update_segment(segment, **updates)
        if fields is not None:
            self._replace_fields(segment, fields)
        return found

    def replace_tags(self, thought: str, tags: list[str]) -> None:
        """One by one, as its buttons do."""
        for name in self.tags_of(thought):
            if name not in tags:
                [(tag,)] = self.db.execute("SELECT tag_id FROM tags WHERE name = ?", (name,))
                self.db.execute(
                    "DELETE FROM thought_tags WHERE thought_id = ? AND tag_id = ?", (thought, tag)
                )
                self._update("thoughts", self.thought_key, thought, {})
        for name in tags:
            self._add_tag(thought, name)

    def _add_tag(self, thought: str, name: str) -> None:
        now = self._now()
        found = self.db.execute("SELECT tag_id FROM tags WHERE name = ?", (name,)).fetchone()
        tag = found[0] if found else f"tag_{self._milliseconds()}_{self._base36()}"
        if not found:
            self._insert("tags", tag_id=tag, name=name, color="#10b981", created_at=now, updated_at=now)
        try:
            self._insert("thought_tags", thought_tag_id=f"tt_{thought}_{tag}", thought_id=thought, tag_id=tag)
        except sqlite3.IntegrityError:
            return  # the thought has it already
        self._update("thoughts", self.thought_key, thought, {})

    def _replace_fields(self, segment: str, fields: dict[str, Any]) -> None:
        now, moment = self._now(), self._milliseconds()
        self.db.execute("BEGIN TRANSACTION")
        try:
            self.db.execute("DELETE FROM segment_fields WHERE segment_id = ?", (segment,))
            for name, value in fields.items():
                id_ = f"sf_{segment}_{re.sub(r'[^0-9A-Za-z_]', '_', name)}_{moment}"
                kind, text = _typed(value)
                self._insert(
                    "segment_fields", field_id=id_, segment_id=segment, name=name, value=text, type=kind,
                    created_at=now, updated_at=now,
                )  # fmt: skip
            self.db.execute("COMMIT")
        except sqlite3.Error:
            self.db.execute("ROLLBACK")
            raise

    def tags_of(self, thought: str) -> list[str]:
        query = (
            "SELECT tg.name FROM thought_tags tt JOIN tags tg USING (tag_id)"
            " WHERE tt.thought_id = ? ORDER BY tt.rowid"
        )
        return [name for (name,) in self.db.execute(query, (thought,))]

    def _segment_columns(self, updates: dict[str, Any]) -> dict[str, Any]:
        return {name: updates[name] for name in ("title", "content") if name in updates}


class _S4(App):
    """October 2025: two small tables, foreign keys on. It could not update; its owner's scripts do."""

    dialect = "S4"
    thought_key = segment_key = "id"
    parent = "thoughtId"
    updated = "updatedAt"
    foreign_keys = True

    def create_thought(self, title: str, **data: Any) -> str:
        id_, now = self._ulid(), self._now()
        self._insert(
            "thoughts", id=id_, title=title, description=data.get("description"), createdAt=now, updatedAt=now
        )
        return id_

    def create_segment(self, thought: str, title: str, content: str, **data: Any) -> str:
        id_, now = self._ulid(), self._now()
        self._insert(
            "segments", id=id_, thoughtId=thought, title=title, content=content, createdAt=now, updatedAt=now
        )
        return id_

    def replace_tags(self, thought: str, tags: list[str]) -> None:
        """There are none."""

    def tags_of(self, thought: str) -> list[str]:
        return []

    def _created(self) -> str:
        return "createdAt"

    def _thought_columns(self, updates: dict[str, Any]) -> dict[str, Any]:
        return {name: updates[name] for name in ("title", "description") if name in updates}

    def _segment_columns(self, updates: dict[str, Any]) -> dict[str, Any]:
        return {name: updates[name] for name in ("title", "content") if name in updates}


_ERAS: dict[str, type[App]] = {era.dialect: era for era in (_S1, _S2, _S2x, _S3, _S4)}


def javascript_date(text: Any) -> None:
    """Raise `InvalidTime` where `new Date(text).toISOString()` would."""
    if isinstance(text, (int, float)):
        return
    try:
        datetime.fromisoformat(str(text).replace(" ", "T", 1))
    except ValueError:
        raise InvalidTime(f"Invalid time value: {text!r}") from None


def json_of(text: str | None) -> Any:
    """The reader of July 2025 warns of what is no JSON, and goes on."""
    try:
        return json.loads(text) if text else {}
    except ValueError:
        return {}


def _typed(value: Any) -> tuple[str, str]:
    if isinstance(value, bool):
        return "boolean", "true" if value else "false"
    if isinstance(value, (int, float)):
        return "number", str(value)
    if isinstance(value, list):
        return ("number[]" if value and isinstance(value[0], (int, float)) else "string[]"), stringify(value)
    return "string", str(value)


# The person at it


@dataclass
class Entry:
    """One act: what is in the file after it, where the person put it there."""

    act: str
    table: str
    id: str
    values: dict[str, Any] = field(default_factory=dict)
    """Column -> the text that was written."""
    gone: bool = False


TAGS = ("memory", "recall", "to read", "C++", "theory of mind", "MIT", "lab meeting", "память")


@dataclass
class Hands:
    """Somebody who works with the app, drawn from a seed, and remembers what they wrote."""

    app: App
    chance: Random
    journal: list[Entry] = field(default_factory=list)
    locked: int = 0
    """How often the app said "database is locked"."""

    def work(self) -> str:
        """One act. What the app could not do is not in the journal."""
        [name] = self.chance.choices(list(_ACTS), [weight for weight, _ in _ACTS.values()])
        try:
            _ACTS[name][1](self)
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            self.locked += 1
        return name

    def wrote(self, act: str, table: str, id_: str, *, gone: bool = False, **values: Any) -> None:
        self.journal.append(Entry(act, table, id_, values, gone))

    def thought(self) -> str | None:
        ids = self.app.thought_ids()
        return self.chance.choice(ids) if ids else None

    def segment(self) -> str | None:
        ids = self.app.segment_ids()
        return self.chance.choice(ids) if ids else None

    def last_words(self) -> dict[tuple[str, str, str], str]:
        """(table, id, column) -> the last text that was put there and not deleted with its record."""
        words: dict[tuple[str, str, str], str] = {}
        for entry in self.journal:
            if entry.gone:
                words = {key: text for key, text in words.items() if key[:2] != (entry.table, entry.id)}
            for name, value in entry.values.items():
                words[entry.table, entry.id, name] = value
        return words

    # acts

    def new_thought(self) -> None:
        title = f"{prose.token(self.chance)} {prose.token(self.chance)}"
        description = prose.text(self.chance) if self.chance.random() < 0.5 else None
        tags = self.chance.sample(TAGS, self.chance.choice((0, 0, 1, 2)))
        id_ = self.app.create_thought(title, description=description, tags=tags)
        self.wrote("create", "thoughts", id_, title=title, **_given(description=description))

    def new_segment(self) -> None:
        if (thought := self.thought()) is None:
            return self.new_thought()
        title, content = prose.token(self.chance), prose.text(self.chance)
        fields = {"Location": prose.token(self.chance)} if self.chance.random() < 0.3 else None
        id_ = self.app.create_segment(thought, title, content, fields=fields)
        titled = {} if self.app.dialect == "S1" else {"title": title}
        self.wrote("create", "segments", id_, content=content, **titled)
        return None

    def retitle(self) -> None:
        if (id_ := self.thought()) is not None:
            title = f"{prose.token(self.chance)} {prose.token(self.chance)}"
            if self.app.update_thought(id_, title=title):  # else it was taken away in this moment
                self.wrote("edit", "thoughts", id_, title=title)

    def rewrite(self) -> None:
        """Edit one sentence of a segment, as it is shown."""
        if (id_ := self.segment()) is not None:
            content = prose.edited(self.chance, self.app.value("segments", id_, "content"))
            if self.app.update_segment(id_, content=content):
                self.wrote("edit", "segments", id_, content=content)

    def describe(self) -> None:
        if (id_ := self.thought()) is not None:
            description = prose.edited(self.chance, self.app.value("thoughts", id_, "description"))
            if self.app.update_thought(id_, description=description):
                self.wrote("edit", "thoughts", id_, description=description)

    def tag(self) -> None:
        if (id_ := self.thought()) is not None:
            self.app.update_thought(id_, tags=self.chance.sample(TAGS, self.chance.randint(0, 3)))

    def drag(self) -> None:
        if (id_ := self.thought()) is not None:
            for _ in range(self.chance.choice((1, 5))):
                self.app.move(id_, self.chance.uniform(-999, 999), self.chance.uniform(-999, 999))

    def drop_segment(self) -> None:
        if (id_ := self.segment()) is not None and self.app.delete_segment(id_):
            self.wrote("delete", "segments", id_, gone=True)

    def drop_thought(self) -> None:
        if (id_ := self.thought()) is not None:
            segments = [row[self.app.segment_key] for row in self.app._segments_of(id_)]
            if self.app.delete_thought(id_):
                self.wrote("delete", "thoughts", id_, gone=True)
                for segment in segments:
                    self.wrote("delete", "segments", segment, gone=True)

    def script(self) -> None:
        """A script of the user's own replaces a whole row."""
        if (id_ := self.thought()) is not None:
            title = f"{prose.token(self.chance)} {prose.token(self.chance)}"
            lost = self.app._segments_of(id_) if self.app.foreign_keys else []
            self.app.replace_row("thoughts", self.app.thought_key, id_, title=title)
            self.wrote("edit", "thoughts", id_, title=title)
            for segment in lost:  # to SQLite that is a deletion, which takes them along
                self.wrote("delete", "segments", segment[self.app.segment_key], gone=True)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


_ACTS: dict[str, tuple[float, Callable[[Hands], None]]] = {
    "new thought": (10, Hands.new_thought),
    "new segment": (18, Hands.new_segment),
    "retitle": (12, Hands.retitle),
    "rewrite": (24, Hands.rewrite),
    "describe": (8, Hands.describe),
    "tag": (10, Hands.tag),
    "drag": (10, Hands.drag),
    "drop segment": (3, Hands.drop_segment),
    "drop thought": (2, Hands.drop_thought),
    "script": (3, Hands.script),
}
"""Act -> weight, and what happens."""


def lab(path: Path, dialect: str = "S2x", thoughts: int = 847, seed: int = 1) -> Path:
    """A file that somebody worked with for half a year, written by the app itself."""
    make(path, dialect)
    app = App.of(path, dialect, seed)
    chance = Random(f"lab/{seed}")
    with one_transaction(app):
        for number in range(thoughts):
            id_ = app.create_thought(
                f"Idea {number}: {prose.token(chance)}",
                description=prose.text(chance) if number % 2 else None,
                position={"x": chance.uniform(0, 2000), "y": chance.uniform(0, 2000)},
                tags=chance.sample(TAGS, number % 3),
            )
            for n in range(chance.randint(2, 6)):
                app.create_segment(
                    id_, f"Note {number}.{n}", prose.text(chance), fields={"n": n} if n % 2 else None
                )
    app.close()
    return path


@contextmanager
def one_transaction(app: App) -> Iterator[None]:
    """To be quick about it: the transactions that the app begins inside this one are left out."""
    db, lasting = app.db, app.db.execute
    lasting("BEGIN")

    class Quick:
        def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
            return lasting("SELECT 1" if statement.startswith(("BEGIN", "COMMIT")) else statement, *values)

        def close(self) -> None:
            db.close()

    app.db = Quick()  # type: ignore[assignment]
    yield
    lasting("COMMIT")
    app.db = db


def main() -> int:
    parser = argparse.ArgumentParser(description="Write to a file as LogoMesh does, without pause.")
    parser.add_argument("file", type=Path)
    parser.add_argument("dialect", choices=DIALECTS)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--pause", type=float, default=0, help="seconds between two acts")
    parser.add_argument("--journal", type=Path, help="where to write what was written, a line an act")
    options = parser.parse_args()
    hands = Hands(App.of(options.file, options.dialect, options.seed), Random(options.seed))
    waits = []
    until = time.monotonic() + options.seconds
    while time.monotonic() < until:
        began = time.perf_counter()
        hands.work()
        waits.append((time.perf_counter() - began) * 1000)
        if len(waits) % 50 == 0:
            hands.app.thoughts()
        time.sleep(options.pause)
    if options.journal:
        options.journal.write_text("".join(stringify(asdict(it)) + "\n" for it in hands.journal))
    waits.sort()
    said = {
        "acts": len(waits),
        "locked": hands.locked,
        "milliseconds": {
            "median": waits[len(waits) // 2],
            "p99": waits[-1 - len(waits) // 100],
            "longest": waits[-1],
        },
    }
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main())
