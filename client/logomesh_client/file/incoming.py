"""From the changes of a feed to rows of the file, in transactions so short that the app never waits.

What has unsent edits is left alone: the server merges, and its answer to the edit brings the record. What
those edits hang on is kept too while they are on their way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from time import monotonic
from typing import Any, Final

import orjson

from logomesh_client.file.cells import Cell, RawText
from logomesh_client.file.dialects import quoted
from logomesh_client.file.links import FORGETFUL, ROLLED_BACK
from logomesh_client.file.placing import WAITS_FOR_PARENT, Rows, ids_of_parents
from logomesh_client.file.rows import RowTable
from logomesh_client.file.store import (
    CONFLICT,
    LARGEST_PIECE,
    NUMBERS,
    Copy,
    Ledger,
    Pace,
    Ref,
    Store,
    encoded,
)
from logomesh_client.records import TYPES, Record

_PARENTS = frozenset(NUMBERS[name] for name in ("thoughts", "segments", "tags"))
_TAGS = NUMBERS["tags"]
_MOST_IN_BATCH: Final = 6_000
"""Each costs some 6 KB of memory. A page of 10,000 ends within the second batch, so the next page is asked
for before that is written."""
_LARGEST_BATCH: Final = 16 * 1024 * 1024
_LONGEST_BATCH: Final = 1.0
"""Seconds after which what came over a slow line is applied, and not waited for more."""


@dataclass(slots=True)
class _Incoming:
    """One change of the feed, worked out before the file is held."""

    kind: int
    id: str
    version: int
    record: Record | None
    leaves: bool = False
    """Out of scope: it goes from here, and lives on."""
    data: bytes = b""
    hash: int = 0
    sector: int = -1
    cells: list[Cell] | None = None
    place: str = ""
    """Where it comes among others of its kind that may be applied in any order."""


class Incoming:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.rows = Rows(store)
        self.pace = Pace()

    def apply(self, space: int, changes: Iterable[dict[str, Any]], anew: bool = False) -> int:
        """Apply changes as they come. Returns how many records changed here.

        `anew`: what the server says counts even where it is older than what was agreed (it was restored).
        """
        source = iter(changes)
        applied = 0
        while batch := self._batch(source):
            while piece := self._piece(batch):
                with self.store.writing(), self.pace.step(len(piece)):
                    applied += _Piece(self.store, self.rows, space, anew).take(piece)
        return applied

    def _batch(self, changes: Iterator[dict[str, Any]]) -> list[_Incoming]:
        """The next changes, worked out, last first; parents before children, neighbours together.

        LogoMesh's ids are random. A transaction whose records lie side by side in the indexes of the file
        changes a few pages of those, and not nearly all of them.
        """
        batch: list[_Incoming] = []
        size, until = 0, monotonic() + _LONGEST_BATCH
        for change in changes:
            one = self._prepare(change)
            batch.append(one)
            size += len(one.data)
            if len(batch) == _MOST_IN_BATCH or size > _LARGEST_BATCH or monotonic() > until:
                break
        batch.sort(key=attrgetter("kind", "place"))
        batch.reverse()
        return batch

    def _piece(self, batch: list[_Incoming]) -> list[_Incoming]:
        """Takes from a batch what the next transaction applies: not too many changes, nor too large ones."""
        piece: list[_Incoming] = []
        size = 0
        while batch and len(piece) < self.pace.size and size <= LARGEST_PIECE:
            piece.append(batch.pop())
            size += len(piece[-1].data)
        return piece

    def _prepare(self, change: dict[str, Any]) -> _Incoming:
        kind = NUMBERS.get(change["type"])
        if kind is None or (kind != CONFLICT and not TYPES[change["type"]].hashed):
            return _Incoming(0, "", 0, None)  # of a newer server
        id_, version = change["id"], change["version"]
        table = self.store.by_number.get(kind)
        record = change.get("record")
        if record is None:
            one = _Incoming(kind, id_, version, None, "out_of_scope" in change)
            one.place = id_ if table and table.any_order else ""
            return one
        for name in ("type", "id", "version"):
            record.pop(name, None)
        one = _Incoming(kind, id_, version, record)
        one.data, one.hash, one.sector = encoded(kind, id_, record)
        if table is not None:
            one.cells = table.write(id_, record)
            one.place = id_ if table.any_order else ""
        return one


class _Piece:
    """What one transaction applies."""

    def __init__(self, store: Store, rows: Rows, space: int, anew: bool) -> None:
        self.store, self.rows, self.space, self.anew = store, rows, space, anew
        self.ledger = Ledger(store, space)
        self.arrived: list[Ref] = []
        exists = store.db.execute(
            "SELECT EXISTS (SELECT 1 FROM logomesh_sync_dirty), EXISTS (SELECT 1 FROM logomesh_sync_outbox),"
            " EXISTS (SELECT 1 FROM logomesh_sync_held WHERE space = ?1),"
            " EXISTS (SELECT 1 FROM logomesh_sync_parents),"
            " (SELECT count(*) FROM logomesh_sync_spaces) > 1,"
            " EXISTS (SELECT 1 FROM logomesh_sync_records WHERE space = ?1),"
            " EXISTS (SELECT 1 FROM logomesh_sync_waiting)",
            (space,),
        ).fetchone()
        self.forgotten = store.value("SELECT anew FROM logomesh_sync_spaces WHERE number = ?", (space,))
        self.marks, self.outbox, self.held, self.waiting, self.several, self.known, self.kept = map(
            bool, exists
        )
        self._busy_above: set[Ref] | None = None

    def take(self, piece: list[_Incoming]) -> int:
        applied = 0
        by_kind: dict[int, list[_Incoming]] = {}
        for one in piece:
            by_kind.setdefault(one.kind, []).append(one)
        by_kind.pop(0, None)
        for kind in sorted(by_kind):
            applied += self._take_kind(kind, by_kind[kind])
        self.ledger.close()
        if self.waiting and self.arrived:
            self.rows.arrived(self.arrived)
        return applied

    def _take_kind(self, kind: int, changes: list[_Incoming]) -> int:
        copies = self.store.copies(self.space, kind, [one.id for one in changes]) if self.known else {}
        busy = self._outgoing(kind, changes) if self.outbox else set()
        fresh: list[_Incoming] = []
        applied = 0
        for one in changes:
            copy = copies.get(one.id)
            if one.id in busy:
                continue
            if one.record is None:
                applied += self._take_away(one, copy)
            elif copy is not None:
                applied += self._change(one, copy)
            else:
                fresh.append(one)
        applied += self._take_fresh(kind, fresh)
        if kind in _PARENTS:
            self.arrived += [(kind, one.id) for one in changes if one.record is not None]
        if self.held:
            self.store.db.executemany(
                "DELETE FROM logomesh_sync_held WHERE space = ? AND kind = ? AND id = ?",
                [(self.space, kind, one.id) for one in changes if one.record is not None],
            )
        return applied

    def _outgoing(self, kind: int, changes: list[_Incoming]) -> set[str]:
        ids = orjson.dumps([one.id for one in changes]).decode()
        rows = self.store.db.execute(
            "SELECT o.id FROM json_each(?) AS j CROSS JOIN logomesh_sync_outbox AS o"
            " ON o.kind = ? AND o.id = j.value AND o.space = ?",
            (ids, kind, self.space),
        )
        return {id_ for (id_,) in rows}

    # New records

    def _take_fresh(self, kind: int, fresh: list[_Incoming]) -> int:
        """Records that were not here: all at once where the file has nothing in their place."""
        table = self.store.by_number.get(kind)
        if not fresh:
            return 0
        if table is None:
            self._keep(fresh, shown=False)
            return len(fresh)
        fresh = list({one.id: one for one in fresh}.values())
        hidden = self._hidden() if self.several and table.type.parents else set()
        if not hidden and table.keyed and self._insert_all(table, fresh):
            self._keep(fresh, shown=True)
            return len(fresh)
        return sum(self._take_one(table, one, hidden) for one in fresh)

    def _insert_all(self, table: RowTable, fresh: list[_Incoming]) -> bool:
        if any(RawText in map(type, one.cells or ()) for one in fresh if "extra" in (one.record or ())):
            return False  # only an original can be such a text
        db = self.store.db
        marks = ", ".join("?" * len(table.columns))
        db.execute("SAVEPOINT logomesh_sync")
        try:
            db.executemany(
                f"INSERT INTO {quoted(table.shape.name)} ({', '.join(map(quoted, table.columns))})"
                f" VALUES ({marks})",
                [one.cells or [] for one in _in_reading_order(table, fresh)],
            )
        except sqlite3.IntegrityError:
            db.execute("ROLLBACK TO logomesh_sync")
            db.execute("RELEASE logomesh_sync")
            return False
        db.execute("RELEASE logomesh_sync")
        return True

    def _keep(self, fresh: list[_Incoming], shown: bool) -> None:
        self.ledger.add(
            [(one.kind, one.id, one.version, one.hash, shown, one.data, one.sector) for one in fresh]
        )

    def _take_one(self, table: RowTable, one: _Incoming, hidden: set[Ref]) -> int:
        """A record that was not here, with a look at what is in its place."""
        assert one.record is not None
        key = self.rows.key_of(table, one.id)
        row = self.store.row(table, key) if key else None
        copy = Copy(one.version, one.record, one.hash, True)
        if not key or any(parent in hidden for parent in ids_of_parents(one.kind, one.record)):
            copy.shown = False
        elif row is None:
            copy.shown, copy.aliases = self.rows.insert(table, one.id, one.record)
            self.rows.forget_mark(one.kind, key)
        elif not self.rows.is_free(one.kind, one.id, self.space):
            copy.shown = False  # the row is, or becomes, the record of another space
            self._hide_below(one.kind, one.id)
        elif table.edits(one.id, one.record, row, {}):
            copy.base = None if _is_later(table, row, one.record) else 0
            self.rows.set_mark(one.kind, key)
        else:
            self.rows.forget_mark(one.kind, key)  # what was imported from this very file
        self.ledger.put(one.kind, one.id, copy, None)
        return 1

    def _hidden(self) -> set[Ref]:
        """Records of this space that have no row because another space's has their id."""
        self.ledger.flush()
        rows = self.store.db.execute(
            "SELECT kind, id FROM logomesh_sync_records WHERE space = ? AND NOT shown AND kind IN (1, 2)",
            (self.space,),
        )
        return {(kind, id_) for kind, id_ in rows if kind in self.store.by_number}

    def _hide_below(self, kind: int, id_: str) -> None:
        """What came before the record that it hangs on, and hangs on one without a row, has none either."""
        for type_, child, _ in self._children(kind, id_):
            copy = self.store.copy(self.space, type_, child)
            if copy is not None and copy.shown and kind != _TAGS:
                self._hide_below(type_, child)
                self.rows.delete(type_, child)
                self.store.db.execute(
                    "UPDATE logomesh_sync_records SET shown = 0 WHERE kind = ? AND id = ? AND space = ?",
                    (type_, child, self.space),
                )

    def _children(self, kind: int, id_: str) -> list[tuple[int, str, tuple[Cell, ...]]]:
        """(type, id, key) of the rows that hang on a record."""
        self.ledger.flush()
        found: list[tuple[int, str, tuple[Cell, ...]]] = []
        for table in self.store.tables.values():
            for field, parent in table.type.parents.items():
                if NUMBERS[parent] == kind:
                    rows = self.store.db.execute(
                        f"SELECT {', '.join(map(quoted, table.key))} FROM {quoted(table.shape.name)}"
                        f" WHERE {quoted(table.column_of[field])} = ?",
                        (id_,),
                    )
                    found += [
                        (table.type.number, child, tuple(key))
                        for key in rows
                        if (child := table.known_id(key)) is not None
                    ]
        return found

    # Changed records

    def _change(self, one: _Incoming, copy: Copy) -> int:
        assert one.record is not None
        differs = one.hash != copy.hash
        if one.version < copy.version or (one.version == copy.version and not differs):
            if not self.anew or one.kind == CONFLICT:
                return 0
            if not differs:
                self._count_back(one, copy)
                return 0
        lost = self._has_lost(one, copy)
        if lost:
            self.rows.set_aside(self.space, one.kind, one.id, copy.record, "server-restored")
        table = self.store.by_number.get(one.kind)
        new = Copy(one.version, one.record, one.hash, copy.shown, None, copy.aliases)
        if table is not None and copy.shown:
            key = self.rows.key_of(table, one.id)
            waits = self.kept and self.rows.why_it_waits(self.space, one.kind, one.id) is not None
            marked = self.marks and self.rows.is_marked(one.kind, key)
            row = self.store.row(table, key) if marked or waits else None
            edited = row is None or table.edits(one.id, copy.record, row, copy.aliases or {})
            if marked and edited and not lost:
                return 0  # the user has changed it: the answer to that edit brings the record
            if not edited:
                self.rows.forget_mark(one.kind, key)
                self.rows.stop_waiting(one.kind, one.id)
            if waits and row is None:  # its deletion was refused
                new.shown, new.aliases = self.rows.insert(table, one.id, one.record)
                self.rows.stop_waiting(one.kind, one.id)
            elif row is not None or not marked:
                clash = self.rows.update(table, one.id, copy.record, one.record, new, row)
                if clash and lost:
                    new.base = 0  # of what the edit was made on, the server knows nothing
                elif clash and waits:
                    new.base = copy.version if copy.base is None else copy.base
        self.ledger.put(one.kind, one.id, new, copy)
        return 1

    def _has_lost(self, one: _Incoming, copy: Copy) -> bool:
        """Whether the server was restored to a state in which it did not have what was agreed."""
        if not self.anew or one.hash == copy.hash:
            return False
        if self.forgotten in FORGETFUL and one.version == copy.version:
            return True
        return one.version < copy.version or self.forgotten == ROLLED_BACK

    def _count_back(self, one: _Incoming, copy: Copy) -> None:
        """The server has the same, of an earlier version: the next edit is made on that."""
        base = 0 if copy.base == 0 else None
        earlier = Copy(one.version, copy.record, copy.hash, copy.shown, base, copy.aliases)
        self.ledger.put(one.kind, one.id, earlier, copy)

    # Records that go

    def _take_away(self, one: _Incoming, copy: Copy | None) -> int:
        if copy is None or (one.version < copy.version and not self.anew and not one.leaves):
            return 0
        if copy.shown and (self.marks or self.outbox or self.kept) and self._is_in_use(one, copy):
            return 0
        self._remove(one.kind, one.id, copy)
        if one.leaves:
            self._remove_below(one.kind, one.id)
        return 1

    def _is_in_use(self, one: _Incoming, copy: Copy) -> bool:
        """Whether the user has changed this, or what hangs on it, and the server does not know yet."""
        table = self.store.by_number[one.kind]
        key = self.rows.key_of(table, one.id)
        marked = self.rows.is_marked(one.kind, key)
        reason = self.rows.why_it_waits(self.space, one.kind, one.id) if self.kept else None
        row = self.store.row(table, key) if marked or reason else None
        if row is not None and table.edits(one.id, copy.record, row, copy.aliases or {}):
            if marked and not self.anew:
                return True
            hangs_here = reason in WAITS_FOR_PARENT and self._hangs_here(one.kind, table.read(row))
            if marked or self.forgotten or hangs_here:
                self._is_new_again(one, copy, key)
                return True
            self.rows.set_aside(self.space, one.kind, one.id, table.read(row), "deleted-meanwhile")
        if one.kind in _PARENTS and (one.kind, one.id) in self._above_what_is_noted():
            if self.forgotten:
                self._is_new_again(one, copy, key)
            elif not one.leaves:
                self._hold(one)
            return True
        self.rows.forget_mark(one.kind, key)
        self.rows.stop_waiting(one.kind, one.id)
        return False

    def _is_new_again(self, one: _Incoming, copy: Copy, key: tuple[Cell, ...]) -> None:
        """The server does not have it, not even as deleted, or it hangs on something else by now."""
        self.ledger.drop(one.kind, one.id, copy)
        self.rows.stop_waiting(one.kind, one.id)
        self.rows.set_mark(one.kind, key)

    def _hangs_here(self, kind: int, record: Record) -> bool:
        return all(self.store.has_row(*parent) for parent in ids_of_parents(kind, record))

    def _remove(self, kind: int, id_: str, copy: Copy) -> None:
        self.ledger.drop(kind, id_, copy)
        if copy.shown:
            self.rows.give_up(kind, id_, copy)

    def _remove_below(self, kind: int, id_: str) -> None:
        """What hangs on a record that left the scope leaves with it."""
        for type_, child, key in self._children(kind, id_):
            copy = self.store.copy(self.space, type_, child)
            busy = self.rows.is_marked(type_, key) or self.rows.why_it_waits(self.space, type_, child)
            if copy and copy.shown and not busy:
                self._remove_below(type_, child)
                self._remove(type_, child, copy)

    def _hold(self, one: _Incoming) -> None:
        """What hangs on it is on its way to the server, which may bring it back: it stays till then."""
        self.store.db.execute(
            "INSERT OR REPLACE INTO logomesh_sync_held VALUES (?, ?, ?, ?)",
            (self.space, one.kind, one.id, one.version),
        )
        self.held = True

    def _above_what_is_noted(self) -> set[Ref]:
        """All that rows with unsent changes hang on."""
        if self._busy_above is None:
            self._busy_above = set()
            refs: list[tuple[int, str, Any]] = [
                (kind, "", key) for kind, *key in self.store.db.execute("SELECT * FROM logomesh_sync_dirty")
            ]
            refs += [
                (kind, id_, None)
                for kind, id_ in self.store.db.execute(
                    "SELECT kind, id FROM logomesh_sync_outbox WHERE NOT deletes AND kind < ?", (CONFLICT,)
                )
            ]
            if self.forgotten:  # then what hangs on it was refused because of that
                refs += [
                    (kind, "", key)
                    for kind, *key in self.store.db.execute("SELECT kind, a, b, c FROM logomesh_sync_waiting")
                ]
            for kind, id_, key in refs:
                table = self.store.by_number.get(kind)
                if table is None:
                    continue
                self._climb(table, tuple(key) if key is not None else self.rows.key_of(table, id_))
        return self._busy_above

    def _climb(self, table: RowTable, key: tuple[Cell, ...]) -> None:
        assert self._busy_above is not None
        row = self.store.row(table, key) if key else None
        if row is None:
            return
        for ref in ids_of_parents(table.type.number, table.read(row)):
            if ref not in self._busy_above:
                self._busy_above.add(ref)
                above = self.store.by_number.get(ref[0])
                if above is not None:
                    self._climb(above, (ref[1],))


def release_held(store: Store, rows: Rows, space: int) -> None:
    """Apply the deletions that were put off and that nothing is on its way for any more."""
    held = store.db.execute(
        "SELECT kind, id, version FROM logomesh_sync_held WHERE space = ?", (space,)
    ).fetchall()
    if not held:
        return
    with store.writing():
        piece = _Piece(store, rows, space, anew=True)
        above = piece._above_what_is_noted()
        gone = [one for one in held if (one[0], one[1]) not in above]
        store.db.executemany(
            "DELETE FROM logomesh_sync_held WHERE space = ? AND kind = ? AND id = ?",
            [(space, kind, id_) for kind, id_, _ in gone],
        )
        piece.take([_Incoming(kind, id_, version, None) for kind, id_, version in gone])


def _in_reading_order(table: RowTable, fresh: list[_Incoming]) -> list[_Incoming]:
    """LogoMesh shows segments of the same time in the order of their rows."""
    if table.type.name != "segments":
        return fresh
    return sorted(
        fresh,
        key=lambda one: (
            (one.record or {})["sort_order"] or 0,
            (one.record or {})["created_at"] or "",
        ),
    )


def _is_later(table: RowTable, row: list[Cell], record: Record) -> bool:
    """Whether the row was written after the record."""
    mine, theirs = table.read(row).get("updated_at"), record.get("updated_at")
    return bool(mine and theirs and mine > theirs)


__all__ = ["Incoming", "release_held"]
