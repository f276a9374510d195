"""The tables that the client keeps inside a file: spaces, agreed copies of records, marks, what goes out.

Nothing here decides anything about a change; `outgoing` and `incoming` do.
"""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from operator import itemgetter
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

import orjson
import zstandard

from logomesh_client.file.cells import Cell, RawText, readable_text, text_of
from logomesh_client.file.dialects import Dialect, dialect_of, not_sqlite, quoted, read_schema
from logomesh_client.file.links import Link, State
from logomesh_client.file.rows import Key, RowTable, row_tables
from logomesh_client.records import CONFLICTS, TYPES, Record, canonical

Ref = tuple[int, str]
"""Number of a type, and an id."""

CONFLICT: Final = 100
"""The number under which conflicts are kept beside the records."""
NAMES: Final = {type_.number: name for name, type_ in TYPES.items()} | {CONFLICT: CONFLICTS}
NUMBERS: Final = {name: number for number, name in NAMES.items()}
LARGEST_PIECE: Final = 4 * 1024 * 1024
"""Bytes of texts that are written in one transaction, and no more than one record beyond."""
_WORTH_PACKING: Final = 2_048
_PACKED: Final = b"\x28\xb5\x2f\xfd"
_SECONDS: Final = 30.0
"""How long we wait for the app; it waits one second for us."""


@dataclass(slots=True)
class Copy:
    """A record as last agreed with the server."""

    version: int
    record: Record
    hash: int
    """Signed, as SQLite keeps it; 0 for what the digest does not count."""
    shown: bool
    """Whether the file's row is this record. Not where the dialect has no table for it, or where another
    space has a record of the same id in the file."""
    base: int | None = None
    """The version to send the next edit on, where it is not `version`."""
    aliases: dict[str, Cell] | None = None
    """Column -> cell that stands in the row instead of what the record says."""


def pack(data: bytes) -> bytes:
    return zstandard.compress(data, 1) if len(data) > _WORTH_PACKING else data


def unpack(data: bytes) -> bytes:
    return zstandard.decompress(data) if data[:4] == _PACKED else data


def signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number


_LONGEST_PAUSE: Final = 0.105
"""A little longer than SQLite's longest pause between two looks at a lock."""
_LONGEST_STRETCH: Final = 0.7
"""For so long the file may look taken to somebody who looks at the wrong moments."""
_APP_SECONDS: Final = 2.0


class Store:
    """A file's connection, and what we keep in it."""

    def __init__(self, path: Path) -> None:
        """Raises `NotLogoMesh`."""
        self.path = path
        try:
            self.db = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_SECONDS, isolation_level=None
            )
            utf8 = self.value("PRAGMA encoding") == "UTF-8"
            self.db.text_factory = text_of if utf8 else readable_text
            self.db.execute("PRAGMA foreign_keys = OFF")
            self.db.execute("PRAGMA cache_size = -16000")
            self._courtesy = Courtesy(self.db)
            self.refresh()
        except sqlite3.DatabaseError as error:
            raise not_sqlite(path, error) from None

    def close(self) -> None:
        self.db.close()

    def refresh(self) -> None:
        """Read the schema anew if somebody has changed it."""
        version = self.value("PRAGMA schema_version")
        if version == getattr(self, "_schema_version", None):
            return
        self._schema_version = version
        schema = read_schema(self.db)
        self.dialect: Dialect = dialect_of(schema)
        self.tables: dict[str, RowTable] = row_tables(schema, self.dialect)
        self.by_number = {table.type.number: table for table in self.tables.values()}
        self.attached = bool(
            self.value("SELECT count(*) FROM sqlite_master WHERE name = 'logomesh_sync_file'")
        )

    # Asking

    def value(self, query: str, values: Sequence[Any] = ()) -> Any:
        row = self.db.execute(query, values).fetchone()
        return None if row is None else row[0]

    def note(self, name: str) -> str | None:
        found: str | None = self.value("SELECT value FROM logomesh_sync_file WHERE name = ?", (name,))
        return found

    def set_note(self, name: str, value: str | None) -> None:
        self.db.execute("INSERT OR REPLACE INTO logomesh_sync_file VALUES (?, ?)", (name, value))

    @contextmanager
    def writing(self, rows: bool = True) -> Iterator[None]:
        """A transaction of ours: short, seen by nobody's triggers, all or nothing.
        `rows=False`: it writes to our own tables only; where it changes nothing it costs nothing."""
        self._courtesy.wait()
        self.db.execute("BEGIN IMMEDIATE")
        began = monotonic()
        try:
            if rows:
                self.db.execute("UPDATE logomesh_sync_applying SET busy = 1")
            yield
            if rows:
                self.db.execute("UPDATE logomesh_sync_applying SET busy = 0")
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise
        finally:
            self._courtesy.held(began)

    # Spaces

    def links(self) -> list[Link]:
        rows = self.db.execute(
            "SELECT number, space, server, name, home, scope, cursor, epoch, seen, state, reason, contact,"
            " proof, proof_version, pulled, anew FROM logomesh_sync_spaces ORDER BY home DESC, number"
        )
        return [
            Link(
                number=row[0], space=row[1], server=row[2], name=row[3], home=bool(row[4]),
                scope=json.loads(row[5]), cursor=row[6], epoch=row[7], seen=row[8], state=State(row[9]),
                reason=row[10], contact=row[11], proof=row[12], proof_version=row[13],
                pulled=bool(row[14]), anew=row[15],
            )
            for row in rows
        ]  # fmt: skip

    # Copies

    def copies(self, space: int, kind: int, ids: Iterable[str]) -> dict[str, Copy]:
        """Id -> copy of those that there are."""
        rows = self.db.execute(
            "SELECT r.id, r.version, r.base, r.hash, r.shown, r.aliases, r.copy FROM json_each(?3) AS j"
            " CROSS JOIN logomesh_sync_records AS r ON r.kind = ?2 AND r.id = j.value AND r.space = ?1",
            (space, kind, json.dumps(list(ids))),
        )
        return {row[0]: _copy(row[1:]) for row in rows}

    def copy(self, space: int, kind: int, id_: str) -> Copy | None:
        row = self.db.execute(
            "SELECT version, base, hash, shown, aliases, copy FROM logomesh_sync_records"
            " WHERE kind = ? AND id = ? AND space = ?",
            (kind, id_, space),
        ).fetchone()
        return None if row is None else _copy(row)

    def all_copies(self, kind: int, id_: str) -> dict[int, Copy]:
        """Space -> its copy of a record."""
        rows = self.db.execute(
            "SELECT space, version, base, hash, shown, aliases, copy FROM logomesh_sync_records"
            " WHERE kind = ? AND id = ? ORDER BY space",
            (kind, id_),
        )
        return {row[0]: _copy(row[1:]) for row in rows}

    # Rows of LogoMesh

    def row(self, table: RowTable, key: Sequence[Cell]) -> list[Cell] | None:
        """The cells of the row with this key, in the order of the table's columns."""
        found = self.db.execute(_select(table), [bindable(cell) for cell in key[: len(table.key)]]).fetchone()
        return None if found is None else list(found)

    def has_row(self, kind: int, id_: str) -> bool:
        """Whether a record that others hang on has a row."""
        table = self.by_number.get(kind)
        return table is not None and self.row(table, (id_,)) is not None

    def rows(self, table: RowTable, keys: Sequence[Key]) -> dict[Key, list[Cell]]:
        """Key -> cells of those rows that there are. Keys of text only."""
        wanted = json.dumps(keys)
        on = " AND ".join(
            f"t.{quoted(name)} = json_extract(j.value, '$[{n}]')" for n, name in enumerate(table.key)
        )
        names = ", ".join(f"t.{quoted(name)}" for name in table.columns)
        found = self.db.execute(
            f"SELECT {names} FROM json_each(?) AS j CROSS JOIN {quoted(table.shape.name)} AS t ON {on}",
            (wanted,),
        )
        return {table.key_cells(row): list(row) for row in found}


def bindable(cell: Cell) -> Any:
    """The cell as a parameter; text that is no UTF-8 only works through a cast."""
    return cell.data if isinstance(cell, RawText) else cell


def mark(cell: Cell) -> str:
    """The SQL of a parameter that takes this cell."""
    return "CAST(? AS TEXT)" if isinstance(cell, RawText) else "?"


@lru_cache(maxsize=64)
def _select(table: RowTable) -> str:
    names = ", ".join(map(quoted, table.columns))
    where = " AND ".join(f"{quoted(name)} = ?" for name in table.key)
    return f"SELECT {names} FROM {quoted(table.shape.name)} WHERE {where} LIMIT 1"


def _copy(row: Sequence[Any]) -> Copy:
    version, base, hash_, shown, aliases, data = row
    record = orjson.loads(unpack(data))
    record.pop("type", None)
    record.pop("id", None)
    return Copy(version, record, hash_, bool(shown), base, orjson.loads(aliases) if aliases else None)


class Ledger:
    """The copies of one space while a transaction changes them: keeps count and digest in step.

    Made inside a transaction; `close` before its end.
    """

    def __init__(self, store: Store, space: int) -> None:
        self.store, self.space = store, space
        records, sectors = store.db.execute(
            "SELECT records, sectors FROM logomesh_sync_spaces WHERE number = ?", (space,)
        ).fetchone()
        self._records: int = records
        self._sectors = array("q", sectors)
        self._new: list[tuple[Any, ...]] = []

    def put(self, kind: int, id_: str, copy: Copy, before: Copy | None) -> None:
        """Keep a copy in place of the one that was there."""
        data, copy.hash, number = encoded(kind, id_, copy.record)
        aliases = orjson.dumps(copy.aliases).decode() if copy.aliases else None
        if before is None:
            self._count(number, copy.hash, 1)
            self._new.append(
                (self.space, kind, id_, copy.version, copy.base, copy.hash, copy.shown, aliases, pack(data))
            )
            return
        self._count(number, copy.hash ^ before.hash, 0)
        self.store.db.execute(
            "UPDATE logomesh_sync_records SET version = ?, base = ?, hash = ?, shown = ?, aliases = ?,"
            " copy = ? WHERE kind = ? AND id = ? AND space = ?",
            (copy.version, copy.base, copy.hash, copy.shown, aliases, pack(data), kind, id_, self.space),
        )

    def add(self, fresh: Iterable[tuple[int, str, int, int, bool, bytes, int]]) -> None:
        """Keep copies that are new: (type, id, version, hash, shown, encoded record, sector)."""
        space = self.space
        for kind, id_, version, hash_, shown, data, number in fresh:
            if number >= 0:
                self._sectors[number] ^= hash_
                self._records += 1
            self._new.append((space, kind, id_, version, None, hash_, shown, None, pack(data)))

    def drop(self, kind: int, id_: str, before: Copy) -> None:
        self.flush()
        if kind != CONFLICT:
            self._count(sector_of(kind, id_), before.hash, -1)
        self.store.db.execute(
            "DELETE FROM logomesh_sync_records WHERE kind = ? AND id = ? AND space = ?",
            (kind, id_, self.space),
        )

    def _count(self, number: int, hash_: int, more: int) -> None:
        if number >= 0:
            self._sectors[number] ^= hash_
            self._records += more

    def flush(self) -> None:
        if self._new:
            self._new.sort(key=itemgetter(1, 2))  # neighbours in the index lie on the same pages
            self.store.db.executemany(
                "INSERT INTO logomesh_sync_records (space, kind, id, version, base, hash, shown, aliases,"
                " copy) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                self._new,
            )
            self._new = []

    def close(self) -> None:
        self.flush()
        self.store.db.execute(
            "UPDATE logomesh_sync_spaces SET records = ?, sectors = ? WHERE number = ?",
            (self._records, self._sectors.tobytes(), self.space),
        )


def sector_of(kind: int, id_: str) -> int:
    return sha256(f"{NAMES[kind]}/{id_}".encode()).digest()[31]


def encoded(kind: int, id_: str, record: Record) -> tuple[bytes, int, int]:
    """(bytes to keep, signed hash, sector) of a record; a conflict has neither hash nor sector (-1)."""
    if kind == CONFLICT:
        return orjson.dumps(record), 0, -1
    data = canonical(NAMES[kind], id_, record)
    hash_ = int.from_bytes(sha256(data).digest()[:8], "big", signed=True)
    return data, hash_, sector_of(kind, id_)


class Courtesy:
    """Leaves the app its turns at the file.

    SQLite gives the lock to whoever asks while it is free. Who finds it taken looks again after pauses that
    grow to 0.1 s, and LogoMesh gives up after a second: transactions of ours, however short, would keep it
    out if they came one right after another.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._held = 0.0
        self._free_since = self._stretch = self._app_wrote = -_APP_SECONDS
        self._version = 0

    def wait(self) -> None:
        """Before a transaction: as long as the last one took if the app writes, and now and then anyway."""
        now = monotonic()
        free = now - self._free_since
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._version, self._app_wrote = version, now
        pause = 0.0
        if now - self._app_wrote < _APP_SECONDS:
            pause = min(self._held, _LONGEST_PAUSE)
        if now - self._stretch > _LONGEST_STRETCH:
            pause = _LONGEST_PAUSE
        if pause > free:
            sleep(pause - free)
        if max(pause, free) >= _LONGEST_PAUSE:
            self._stretch = monotonic()

    def held(self, began: float) -> None:
        """After a transaction."""
        self._free_since = monotonic()
        self._held = self._free_since - began


class Pace:
    """How much to do in one transaction so that nobody waits for us: learns from how long the last took.

    A step goes inside the transaction: less work would not make its beginning and end any shorter.
    """

    def __init__(self, size: int = 500, most: int = 2_000, least: int = 250, target: float = 0.05) -> None:
        self.size, self._most, self._least, self._target = size, most, least, target

    @contextmanager
    def step(self, size: int) -> Iterator[None]:
        start = monotonic()
        yield
        took = monotonic() - start
        if took > self._target:
            self.size = max(self._least, min(self.size, int(size * self._target / took)))
        elif size >= self.size:
            self.size = min(self._most, self.size * 2)


__all__ = ["CONFLICT", "NAMES", "NUMBERS", "Copy", "Ledger", "Pace", "Ref", "Store"]
