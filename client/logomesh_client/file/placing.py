"""Records put into the rows of a file, and taken out of them, beside what its user is doing there.

A row is never written as a whole: only the cells that the agreed record changes, and never one that the user
has changed since. All of it happens inside a transaction of the caller.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from logomesh_client.file.cells import Cell
from logomesh_client.file.dialects import quoted
from logomesh_client.file.rows import Key, RowTable, same
from logomesh_client.file.store import NAMES, NUMBERS, Copy, Ledger, Ref, Store, bindable, mark
from logomesh_client.records import TYPES, Record, split_id

_HEAD = ("type", "id", "version")
_TAGS: Final = NUMBERS["tags"]
Mark = tuple[Any, ...]
"""How a row is noted: the number of its type, and three cells."""
FIRST: Final[Mark] = (0, "", "", "")
"""Before all marks."""
MISSING_PARENT: Final = "missing-parent"
OTHER_SPACE: Final = "other-space"
WAITS_FOR_PARENT: Final = frozenset({MISSING_PARENT, OTHER_SPACE})
"""Why something waits though nobody refused it."""


class Rows:
    def __init__(self, store: Store) -> None:
        self.store = store

    # Marks

    def set_mark(self, kind: int, key: Sequence[Cell]) -> None:
        """Note a row as changed, as the triggers do."""
        marks, cells = marked_cells(key)
        self.store.db.execute(
            f"INSERT OR IGNORE INTO logomesh_sync_dirty VALUES (?, {', '.join(marks)})", (kind, *cells)
        )

    def marks_after(self, after: Mark, size: int) -> list[Mark]:
        """The next noted rows, in order."""
        marks, cells = marked_cells(after[1:])
        found: list[Mark] = self.store.db.execute(
            "SELECT kind, a, b, c FROM logomesh_sync_dirty"
            f" WHERE (kind, a, b, c) > (?, {', '.join(marks)}) ORDER BY kind, a, b, c LIMIT ?",
            (after[0], *cells, size),
        ).fetchall()
        return found

    def forget_mark(self, kind: int, key: Sequence[Cell]) -> None:
        (a, b, c), cells = marked_cells(key)
        self.store.db.execute(
            f"DELETE FROM logomesh_sync_dirty WHERE kind = ? AND a = {a} AND b = {b} AND c = {c}",
            (kind, *cells),
        )

    def is_marked(self, kind: int, key: Sequence[Cell]) -> bool:
        (a, b, c), cells = marked_cells(key)
        return bool(
            self.store.value(
                f"SELECT 1 FROM logomesh_sync_dirty WHERE kind = ? AND a = {a} AND b = {b} AND c = {c}",
                (kind, *cells),
            )
        )

    def arrived(self, parents: Iterable[Ref]) -> None:
        """What waited for these is looked at again."""
        db = self.store.db
        for kind, id_ in parents:
            parent = f"{kind}/{id_}"
            waiting = db.execute(
                "SELECT w.kind, w.id, w.space, w.a, w.b, w.c FROM logomesh_sync_parents AS p"
                " JOIN logomesh_sync_waiting AS w ON (w.kind, w.id, w.space) = (p.kind, p.id, p.space)"
                " WHERE p.parent = ?",
                (parent,),
            ).fetchall()
            for child, child_id, space, *key in waiting:
                self.set_mark(child, key)
                for table in ("waiting", "parents"):
                    db.execute(
                        f"DELETE FROM logomesh_sync_{table} WHERE kind = ? AND id = ? AND space = ?",
                        (child, child_id, space),
                    )

    # Waiting

    def why_it_waits(self, space: int, kind: int, id_: str) -> str | None:
        """The reason for which an edit of this record was not sent, or not taken."""
        found: str | None = self.store.value(
            "SELECT reason FROM logomesh_sync_waiting WHERE kind = ? AND id = ? AND space = ?",
            (kind, id_, space),
        )
        return found

    def stop_waiting(self, kind: int, id_: str) -> None:
        for table in ("waiting", "parents"):
            self.store.db.execute(f"DELETE FROM logomesh_sync_{table} WHERE kind = ? AND id = ?", (kind, id_))

    # Rows

    def key_of(self, table: RowTable, id_: str) -> Key:
        """The cells by which the row of a record is found; () where this dialect cannot have such a row."""
        if table.id_column:
            return (id_,)
        parts = split_id(id_)
        return tuple(parts) if parts and len(parts) == len(table.key) and all(parts) else ()

    def row(self, kind: int, id_: str) -> list[Cell] | None:
        table = self.store.by_number.get(kind)
        key = self.key_of(table, id_) if table else ()
        return self.store.row(table, key) if table and key else None

    def is_free(self, kind: int, id_: str, space: int) -> bool:
        """Whether no space has its record in this row, and none but this is just getting it."""
        return not self.store.value(
            "SELECT 1 FROM logomesh_sync_records WHERE kind = ?1 AND id = ?2 AND shown UNION ALL"
            " SELECT 1 FROM logomesh_sync_outbox WHERE kind = ?1 AND id = ?2 AND space <> ?3 AND kind <> ?4",
            (kind, id_, space, _TAGS),
        )

    def insert(self, table: RowTable, id_: str, record: Record) -> tuple[bool, dict[str, Cell] | None]:
        """(whether there is a row now, cells that had to be written otherwise)."""
        key = self.key_of(table, id_)
        if not key:
            return False, None
        cells = table.write(id_, record)
        if self._insert(table, cells):
            return True, None
        aliases = self._alias(table, record)
        if aliases and self._insert(table, table.as_written(id_, record, aliases)):
            return True, aliases
        return False, None

    def _insert(self, table: RowTable, cells: list[Cell]) -> bool:
        marks = ", ".join(map(mark, cells))
        try:
            self.store.db.execute(
                f"INSERT INTO {quoted(table.shape.name)} ({', '.join(map(quoted, table.columns))})"
                f" VALUES ({marks})",
                [bindable(cell) for cell in cells],
            )
        except sqlite3.IntegrityError:
            return False
        return True

    def _alias(self, table: RowTable, record: Record) -> dict[str, Cell] | None:
        """LogoMesh has each tag name once: a second one is shown with a number."""
        if table.type.name != "tags":
            return None
        column = table.column_of["name"]
        number = 2
        while self.store.value(
            f"SELECT 1 FROM {quoted(table.shape.name)} WHERE {quoted(column)} = ?",
            (f"{record['name'] or ''} ({number})",),
        ):
            number += 1
        return {column: f"{record['name'] or ''} ({number})"}

    def update(
        self, table: RowTable, id_: str, old: Record, new: Record, copy: Copy, row: Sequence[Cell] | None
    ) -> bool:
        """Bring a row from one agreed record to the next. `row`: as it is, None if nobody touched it.

        Whether the user has changed a cell since that the new record changes too.
        """
        aliases = copy.aliases or {}
        before = table.as_written(id_, old, aliases)
        if aliases:
            copy.aliases = table.still_aliased(id_, old, new, aliases)
            aliases = copy.aliases or {}
        after = table.as_written(id_, new, aliases)
        there = before if row is None else row
        theirs = {n for n in range(len(after)) if not same(before[n], after[n])}
        mine = set() if row is None else table.changed_places(old, before, row)
        clash = any(not same(there[n], after[n]) for n in theirs & mine)
        cells = {
            table.columns[n]: after[n] for n in theirs - mine if row is None or not same(there[n], after[n])
        }
        if cells and not self._update(table, id_, cells):
            copy.aliases = self._alias(table, new) or {}
            if not copy.aliases or not self._update(table, id_, cells | copy.aliases):
                actual = self.store.row(table, self.key_of(table, id_)) or before
                copy.aliases = {name: actual[table.columns.index(name)] for name in cells}
        return clash

    def fill(self, table: RowTable, space: int, id_: str, columns: Mapping[str, Cell]) -> None:
        """Write what a record says into columns that are new, where nobody has written anything yet.
        `columns`: those columns, and what stands there by itself."""
        copy, row = self.store.copy(space, table.type.number, id_), self.row(table.type.number, id_)
        if copy is None or not copy.shown or row is None:
            return
        cells = zip(table.columns, table.write(id_, copy.record), row, strict=True)
        missing = {
            name: cell
            for name, cell, there in cells
            if name in columns and (there is None or same(columns[name], there)) and not same(cell, there)
        }
        if missing:
            self._update(table, id_, missing)

    def _update(self, table: RowTable, id_: str, cells: Mapping[str, Cell]) -> bool:
        sets = ", ".join(f"{quoted(name)} = {mark(cell)}" for name, cell in cells.items())
        where = " AND ".join(f"{quoted(name)} = ?" for name in table.key)
        values = [*map(bindable, cells.values()), *self.key_of(table, id_)]
        try:
            self.store.db.execute(f"UPDATE {quoted(table.shape.name)} SET {sets} WHERE {where}", values)
        except sqlite3.IntegrityError:
            return False
        return True

    def delete(self, kind: int, id_: str) -> None:
        table = self.store.by_number.get(kind)
        key = self.key_of(table, id_) if table else ()
        if table and key:
            where = " AND ".join(f"{quoted(name)} = ?" for name in table.key)
            self.store.db.execute(f"DELETE FROM {quoted(table.shape.name)} WHERE {where}", key)

    # Records

    def set_aside(self, space: int, kind: int, id_: str, body: Mapping[str, Any], reason: str) -> None:
        """Keep what has no place any more where its owner finds it."""
        self.store.db.execute(
            "INSERT INTO logomesh_sync_aside (at, space, reason, body)"
            " SELECT ?, space, ?, ? FROM logomesh_sync_spaces WHERE number = ?",
            (time.time(), reason, orjson.dumps({"type": NAMES[kind], "id": id_, **body}).decode(), space),
        )

    def settle(
        self, ledger: Ledger, kind: int, id_: str, before: Copy | None, sent: Record | None,
        answer: Mapping[str, Any], base: int,
    ) -> None:  # fmt: skip
        """Take the record of an answer. `sent`: what the row was when its change was made; None: deleted."""
        table = self.store.by_number.get(kind)
        row = self.row(kind, id_)
        if answer.get("deleted"):
            own = before is None or before.shown
            aliases = (before.aliases if before else None) or {}
            if table and own and row and sent is not None and not table.edits(id_, sent, row, aliases):
                self.delete(kind, id_)
            if before is not None:
                ledger.drop(kind, id_, before)
                self.show_another(kind, id_)
            return
        record = {name: value for name, value in answer.items() if name not in _HEAD}
        shown = before.shown if before else table is not None and self.is_free(kind, id_, ledger.space)
        copy = Copy(answer["version"], record, 0, shown, None, before.aliases if before else None)
        if table and shown and row is not None and sent is not None:
            if self.update(table, id_, sent, record, copy, row):
                copy.base = base
        elif table and shown and row is None and sent is None:
            copy.shown, copy.aliases = self.insert(table, id_, record)
        elif table and shown and record != sent:
            copy.base = base  # deleted, or made again, by somebody who had not seen this
        ledger.put(kind, id_, copy, before)

    def bring_back(self, ledger: Ledger, kind: int, id_: str) -> None:
        """The server kept what was deleted here: the rows that went with it come back."""
        for child, *cells in self.store.db.execute(
            "SELECT kind, a, b, c FROM logomesh_sync_dirty WHERE kind > 1"
        ).fetchall():
            table = self.store.by_number.get(child)
            if table is None or self.store.row(table, cells) is not None:
                continue
            child_id = table.known_id(cells)
            copy = self.store.copy(ledger.space, child, child_id) if child_id else None
            if (
                child_id
                and copy
                and copy.shown
                and self._hangs_on(ledger.space, child, copy.record, (kind, id_))
            ):
                self.insert(table, child_id, copy.record)
                self.forget_mark(child, cells[: len(table.key)])

    def _hangs_on(self, space: int, kind: int, record: Record, root: Ref) -> bool:
        for name, parent in TYPES[NAMES[kind]].parents.items():
            ref = (NUMBERS[parent], record[name])
            if ref == root:
                return True
            above = self.store.copy(space, *ref)
            if above and self._hangs_on(space, ref[0], above.record, root):
                return True
        return False

    def give_up(self, kind: int, id_: str, copy: Copy) -> None:
        """A space gives up the row of its record, whose copy is gone already."""
        others = self.store.all_copies(kind, id_) if kind == _TAGS else {}
        table, row = self.store.by_number.get(kind), self.row(kind, id_)
        if table is None or row is None or not others:
            self.delete(kind, id_)
            self.show_another(kind, id_)
            return
        space, other = next(iter(others.items()))  # a tag's row goes on serving another space
        other.aliases = copy.aliases
        self.update(table, id_, copy.record, other.record, other, row)
        self._show(space, kind, id_, other.aliases)

    def _show(self, space: int, kind: int, id_: str, aliases: Mapping[str, Cell] | None) -> None:
        self.store.db.execute(
            "UPDATE logomesh_sync_records SET shown = 1, aliases = ? WHERE kind = ? AND id = ? AND space = ?",
            (orjson.dumps(aliases).decode() if aliases else None, kind, id_, space),
        )

    def bring_row(self, table: RowTable, space: int, id_: str) -> None:
        """Give a record its row, unless it has one, or the user has deleted that."""
        kind, key = table.type.number, self.key_of(table, id_)
        copy = self.store.copy(space, kind, id_)
        if copy is None or not key or self.store.row(table, key) is not None or self.is_marked(kind, key):
            return
        going = self.store.value(
            "SELECT 1 FROM logomesh_sync_outbox WHERE kind = ? AND id = ? AND space = ?", (kind, id_, space)
        )
        if going or not (copy.shown or self.is_free(kind, id_, space)):
            return
        shown, aliases = self.insert(table, id_, copy.record)
        if shown:
            self._show(space, kind, id_, aliases)

    def show_another(self, kind: int, id_: str) -> None:
        """A record of the same id that another space keeps behind a row that is gone now gets the row."""
        table = self.store.by_number.get(kind)
        if table is None or self.row(kind, id_) is not None:
            return
        for space, copy in self.store.all_copies(kind, id_).items():
            if copy.shown:
                return
            shown, aliases = self.insert(table, id_, copy.record)
            if shown:
                self._show(space, kind, id_, aliases)
                return


def marked_cells(key: Sequence[Cell]) -> tuple[list[str], list[Any]]:
    """The SQL of three parameters, and their values: how a key is noted."""
    cells: list[Cell] = [*key, *[""] * (3 - len(key))]
    return [mark(cell) for cell in cells], [bindable(cell) for cell in cells]


def ids_of_parents(kind: int, record: Record) -> list[Ref]:
    """What a record hangs on."""
    return [(NUMBERS[parent], record[name] or "") for name, parent in TYPES[NAMES[kind]].parents.items()]


__all__ = ["FIRST", "MISSING_PARENT", "OTHER_SPACE", "WAITS_FOR_PARENT", "Mark", "Rows", "ids_of_parents"]
