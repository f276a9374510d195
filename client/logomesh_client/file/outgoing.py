"""From noted rows to changes for the server, and what becomes of its answers.

A change is stored before it is sent and sent again just as it was until its answer is known; only then is
the next one of that record made. So nothing is sent twice as something else, whenever the machine stops.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final
from uuid import UUID

import orjson

from logomesh_client.file.cells import Cell
from logomesh_client.file.dialects import quoted
from logomesh_client.file.links import Push
from logomesh_client.file.placing import (
    FIRST,
    MISSING_PARENT,
    OTHER_SPACE,
    Mark,
    Rows,
    ids_of_parents,
    marked_cells,
)
from logomesh_client.file.rows import Key, NoRecord, Patch, RowTable, creation, patched
from logomesh_client.file.store import CONFLICT, LARGEST_PIECE, NAMES, NUMBERS, Copy, Ledger, Pace, Ref, Store
from logomesh_client.records import Record

LARGEST_PUSH: Final = 24 * 1024 * 1024
"""Bytes of changes in a push; the server takes 32 MiB, and a single larger change."""
_TAGS: Final = NUMBERS["tags"]
_SEGMENTS: Final = NUMBERS["segments"]
_PARENTS: Final = frozenset({NUMBERS["thoughts"], _SEGMENTS, _TAGS})
"""The types on which others hang."""
_AT_ONCE: Final = 1_000
"""Changes in a push."""
_ALL: Final = 2**63 - 1
_DECIDED: Final = frozenset({"conflict-resolved", "not-found"})
"""Why the server takes no decision of a conflict: somebody was first, or it is gone with its record."""


def uuid7() -> str:
    """A UUID that begins with the time: the server's index of change ids stays warm."""
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return str(UUID(int=number & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62))


@dataclass(slots=True)
class _Changed:
    """A noted row that is there."""

    kind: int
    id: str
    table: RowTable
    key: Key
    row: list[Cell]
    copies: dict[int, Copy]
    """Space -> its copy."""


class Outgoing:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.rows = Rows(store)
        self.pace = Pace()
        self._lives: dict[tuple[int, int, str], bool] = {}
        self._going: set[Ref] = set()
        """What is in the outbox, while a transaction collects."""
        self._anything_waits = True
        self._ready: set[int] = set()
        self._scoped: set[int] = set()
        """The spaces of which the file may have only a part."""

    # The next push

    def pending(self, space: int, limit: int, layout: bool) -> Push | None:
        if (sent := self._sent(space)) is not None:
            return sent
        self.collect(space, limit, layout)
        with self.store.writing(rows=False):
            self._assign(space, limit)
        return self._sent(space)

    def store_deletions(self, space: int) -> None:
        """Before more of a space counts as seen: what was deleted until now did not know of it."""
        if self._has_deletions():
            self.collect(space, _ALL, layout=False)
            with self.store.writing(rows=False):
                while self._assign(space, _AT_ONCE):
                    pass

    def _has_deletions(self) -> bool:
        return any(map(self._has_deletions_in, self.store.by_number.values()))

    def _has_deletions_in(self, table: RowTable) -> bool:
        same = " AND ".join(
            f"t.{quoted(name)} = d.{cell}" for name, cell in zip(table.key, "abc", strict=False)
        )
        return bool(
            self.store.value(
                "SELECT EXISTS (SELECT 1 FROM logomesh_sync_dirty AS d WHERE d.kind = ? AND NOT EXISTS"
                f" (SELECT 1 FROM {quoted(table.shape.name)} AS t WHERE {same}))",
                (table.type.number,),
            )
        )

    def _sent(self, space: int) -> Push | None:
        """The push whose answer is not known, just as it was stored."""
        db = self.store.db
        found = db.execute(
            "SELECT p.number, p.epoch, p.seen, s.space FROM logomesh_sync_pushes AS p"
            " JOIN logomesh_sync_spaces AS s ON s.number = p.space WHERE p.space = ? ORDER BY p.number",
            (space,),
        ).fetchone()
        if found is None:
            return None
        number, epoch, seen, name = found
        bodies = db.execute(
            "SELECT body FROM logomesh_sync_outbox WHERE push = ? ORDER BY deletes, number", (number,)
        )
        return Push(name, epoch, seen, [orjson.loads(body) for (body,) in bodies])

    def _assign(self, space: int, limit: int) -> bool:
        """Choose what goes into the next push: edits before deletions, parents before children.
        Whether there is anything."""
        db = self.store.db
        chosen: list[int] = []
        size = 0
        for number, kind, body in db.execute(
            "SELECT number, kind, body FROM logomesh_sync_outbox WHERE space = ? AND push IS NULL"
            " ORDER BY deletes, number",
            (space,),
        ):
            if kind == CONFLICT and self._is_busy(orjson.loads(body)):
                continue
            if chosen and (len(chosen) == limit or size + len(body) > LARGEST_PUSH):
                break
            chosen.append(number)
            size += len(body)
        if not chosen:
            return False
        epoch, seen = db.execute(
            "SELECT epoch, min(seen, coalesce((SELECT min(version) - 1 FROM logomesh_sync_held"
            " WHERE space = ?1), seen)) FROM logomesh_sync_spaces WHERE number = ?1",
            (space,),
        ).fetchone()
        push = db.execute("INSERT INTO logomesh_sync_pushes (space, epoch, seen) VALUES (?, ?, ?)",
                          (space, epoch, seen)).lastrowid  # fmt: skip
        db.executemany(
            "UPDATE logomesh_sync_outbox SET push = ? WHERE number = ?", ((push, number) for number in chosen)
        )
        return True

    def _is_busy(self, decision: dict[str, Any]) -> bool:
        """A decision changes its conflict's record: it waits until no edit of that is on its way."""
        conflict = self.store.db.execute(
            "SELECT copy FROM logomesh_sync_records WHERE kind = ? AND id = ?", (CONFLICT, decision["id"])
        ).fetchone()
        if conflict is None:
            return False
        record = orjson.loads(conflict[0])
        kind = NUMBERS.get(record["record_type"], 0)
        return bool(
            self.store.value(
                "SELECT EXISTS (SELECT 1 FROM logomesh_sync_outbox WHERE kind = ? AND id = ?)",
                (kind, record["record_id"]),
            )
        )

    # Collecting

    def collect(self, space: int, limit: int, layout: bool) -> None:
        """Turn noted rows into stored changes, a short transaction at a time: edits first, then deletions.

        (A segment that moved to another thought must say so before its old thought is deleted.)
        """
        for deletions in (False, True):
            after: Mark | None = FIRST
            while after is not None:
                if self._waiting_to_go(space) >= limit:
                    return
                size = self.pace.size
                with self.store.writing(rows=False), self.pace.step(size):
                    self._look_around()
                    after = self._collect_piece(after, size, deletions, layout)

    def _look_around(self) -> None:
        """What a transaction asks for every row, asked once."""
        db = self.store.db
        self._lives.clear()
        self._going = set(db.execute("SELECT kind, id FROM logomesh_sync_outbox").fetchall())
        self._anything_waits = bool(self.store.value("SELECT EXISTS (SELECT 1 FROM logomesh_sync_waiting)"))
        self._ready = {n for (n,) in db.execute("SELECT number FROM logomesh_sync_spaces WHERE pulled")}
        self._scoped = {
            n
            for (n,) in db.execute(
                "SELECT number FROM logomesh_sync_spaces WHERE scope <> '{}' OR pulled_scope <> '{}'"
            )
        }

    def _waiting_to_go(self, space: int) -> int:
        return int(self.store.value("SELECT count(*) FROM logomesh_sync_outbox WHERE space = ?", (space,)))

    def _collect_piece(self, after: Mark, size: int, deletions: bool, layout: bool) -> Mark | None:
        marks = self.rows.marks_after(after, size)
        changed: list[_Changed] = []
        weight = 0
        last: Mark | None = marks[-1] if len(marks) == size else None
        for number, mark in enumerate(marks):
            if weight > LARGEST_PIECE:
                last = marks[number - 1]
                break
            kind, *cells = mark
            table = self.store.by_number.get(kind)
            if table is None:
                self._forget(mark)
                continue
            key = tuple(cells[: len(table.key)])
            try:
                id_ = table.id_of_key(key)
            except NoRecord as reason:
                self._forget(mark)
                self._wait(kind, "/".join(map(str, key)), 0, key, str(reason), "The row has no usable id.")
                continue
            row = self.store.row(table, key)
            if (row is None) is not deletions or self._is_going_out(kind, id_):
                continue
            if row is None:
                self._collect_deletion(mark, table, id_)
            else:
                changed.append(_Changed(kind, id_, table, key, row, self.store.all_copies(kind, id_)))
                weight += sum(len(cell) for cell in row if isinstance(cell, str | bytes))
        places = self._places(changed)
        for one in changed:
            self._collect_edit(one, places, layout)
        return last

    def _is_going_out(self, kind: int, id_: str) -> bool:
        return (kind, id_) in self._going

    def _collect_deletion(self, mark: Mark, table: RowTable, id_: str) -> None:
        kind = mark[0]
        copies = {space: copy for space, copy in self.store.all_copies(kind, id_).items() if copy.shown}
        if not copies:
            self._forget(mark)
            self._stop_waiting(kind, id_)
            return
        for space, copy in copies.items():
            if not all(
                self.store.has_row(*parent) or self._is_out_of_scope(space, *parent)
                for parent in ids_of_parents(kind, copy.record)
            ):
                return  # what it hangs on went with it: that deletion takes it along
        if kind == _TAGS:  # one row serves all spaces
            copies = self.store.all_copies(kind, id_)
        if not all(map(self._is_ready, copies)):
            return
        for space, copy in copies.items():
            self._send(space, kind, id_, _base(copy), None)
        self._forget(mark)
        self._stop_waiting(kind, id_)

    def _collect_edit(self, one: _Changed, places: dict[str, Any], layout: bool) -> None:
        copies = one.copies
        shown = next(((space, copy) for space, copy in copies.items() if copy.shown), None)
        if shown is None:
            self._collect_creation(one, copies, places)
            return
        space, copy = shown
        patch = one.table.edits(one.id, copy.record, one.row, copy.aliases or {})
        if not patch:
            self._done(one)
            return
        if not layout and patch.is_layout(one.table.type):
            return
        concerned = copies if one.kind == _TAGS else {space: copy}
        if not all(map(self._is_ready, concerned)):
            return
        record = patched(one.table.type.name, copy.record, patch.set, patch.unset)
        if not self._has_parents(one, space, record, patch):
            return
        for number, theirs in concerned.items():
            self._send(number, one.kind, one.id, _base(theirs), patch)
        self._done(one)

    def _collect_creation(self, one: _Changed, copies: dict[int, Copy], places: dict[str, Any]) -> None:
        record = one.table.read(one.row)
        if one.kind == _SEGMENTS and one.id in places:
            _keep_order(one.table, record, places[one.id])
        space = self._space_for(one, record)
        if space is None or (space not in copies and not self._is_ready(space)):
            return
        if space in copies or not self._has_parents(one, space, record):
            return
        self._send(space, one.kind, one.id, 0, creation(record))
        self._done(one)

    def _done(self, one: _Changed) -> None:
        self._forget((one.kind, *one.key))
        self._stop_waiting(one.kind, one.id)
        self._arrived(one.kind, one.id)

    def _space_for(self, one: _Changed, record: Record) -> int | None:
        """The space of a new record: that of what it hangs on, else the home. None: it waits."""
        if not one.table.type.parents:
            return self._home()
        name, parent = next(iter(one.table.type.parents.items()))
        space = self.space_of(NUMBERS[parent], record[name] or "")
        if space is None and not self._comes_later(NUMBERS[parent], record[name] or ""):
            if self._is_out_of_scope(home := self._home(), NUMBERS[parent], record[name] or ""):
                return home
            self._wait_for_parents(one, 0, record, MISSING_PARENT, f"There is no {name} {record[name]!r}.")
        return space

    def _home(self) -> int:
        return int(self.store.value("SELECT number FROM logomesh_sync_spaces WHERE home"))

    def space_of(self, kind: int, id_: str) -> int | None:
        """The space to which the row of this record belongs, as far as it is known."""
        space = self.store.value(
            "SELECT space FROM logomesh_sync_records WHERE kind = ? AND id = ? AND shown", (kind, id_)
        )
        if space is None:
            space = self.store.value(
                "SELECT space FROM logomesh_sync_outbox WHERE kind = ? AND id = ? AND NOT deletes",
                (kind, id_),
            )
        return None if space is None else int(space)

    def _comes_later(self, kind: int, id_: str) -> bool:
        """Whether the row of a parent is there, and noted but not collected yet."""
        table = self.store.by_number.get(kind)
        if table is None or self.store.row(table, (id_,)) is None:
            return False
        return bool(
            self.store.value("SELECT 1 FROM logomesh_sync_dirty WHERE kind = ? AND a = ?", (kind, id_))
        )

    def _has_parents(self, one: _Changed, space: int, record: Record, patch: Patch | None = None) -> bool:
        """Whether all that a record hangs on is in its space; if not, it waits for that.
        `patch`: what an edit changes in a record that is there."""
        for name, parent in one.table.type.parents.items():
            kind, id_ = NUMBERS[parent], record[name] or ""
            if self._lives_in(space, kind, id_):
                continue
            stays = patch is None or name not in patch.set
            if stays and self._is_out_of_scope(space, kind, id_):
                continue  # the server knows whether it is there
            if self._comes_later(kind, id_) or self._is_going_out(kind, id_):
                return False
            if kind == _TAGS and self._send_tag(space, id_):
                continue
            other = self.store.has_row(kind, id_)
            detail = (
                f"{name} {id_!r} is in another space: this stays in the file only."
                if other
                else f"There is no {name} {id_!r}."
            )
            self._wait_for_parents(one, space, record, OTHER_SPACE if other else MISSING_PARENT, detail)
            return False
        return True

    def _is_out_of_scope(self, space: int, kind: int, id_: str) -> bool:
        """Whether what a record hangs on may be there on the server, though the file does not have it."""
        return (
            space in self._scoped
            and self.store.copy(space, kind, id_) is None
            and not self.store.has_row(kind, id_)
        )

    def _lives_in(self, space: int, kind: int, id_: str) -> bool:
        known = self._lives.get((space, kind, id_))
        if known is None:
            known = self.store.has_row(kind, id_) and bool(
                self.store.value(
                    "SELECT 1 FROM logomesh_sync_records WHERE kind = ?1 AND id = ?2 AND space = ?3 UNION ALL"
                    " SELECT 1 FROM logomesh_sync_outbox WHERE kind = ?1 AND id = ?2 AND space = ?3"
                    " AND NOT deletes",
                    (kind, id_, space),
                )
            )
            if known:
                self._lives[space, kind, id_] = True
        return known

    def _send_tag(self, space: int, id_: str) -> bool:
        """Make a tag of the file known in one more space. Whether there is such a tag."""
        table = self.store.by_number[_TAGS]
        row = self.store.row(table, (id_,))
        if row is None:
            return False
        # Its row may show another name, where two tags have the same one.
        shown = next((copy for copy in self.store.all_copies(_TAGS, id_).values() if copy.shown), None)
        self._send(space, _TAGS, id_, 0, creation(shown.record if shown else table.read(row)))
        return True

    def _send(self, space: int, kind: int, id_: str, base: int, patch: Patch | None) -> None:
        body: dict[str, Any] = {"change_id": uuid7(), "type": NAMES[kind], "id": id_, "base": base}
        if patch is None:
            body["delete"] = True
        else:
            body["set"] = patch.set
            if patch.unset:
                body["unset"] = patch.unset
        self.store.db.execute(
            "INSERT INTO logomesh_sync_outbox (space, kind, id, deletes, body) VALUES (?, ?, ?, ?, ?)",
            (space, kind, id_, patch is None, orjson.dumps(body)),
        )
        self._going.add((kind, id_))

    def _is_ready(self, space: int) -> bool:
        """A space is pulled once before anything is sent to it: what is there already is not sent again."""
        return space in self._ready

    def _forget(self, mark: tuple[Any, ...]) -> None:
        self.rows.forget_mark(mark[0], mark[1:])

    # Waiting for what it hangs on

    def _wait_for_parents(self, one: _Changed, space: int, record: Record, reason: str, detail: str) -> None:
        self._forget((one.kind, *one.key))
        self._wait(one.kind, one.id, space, one.key, reason, detail)
        for name, parent in one.table.type.parents.items():
            self._await(NUMBERS[parent], record[name] or "", one.kind, one.id, space)

    def _wait(
        self, kind: int, id_: str, space: int, key: Key, reason: str, detail: str, body: bytes | None = None
    ) -> None:
        marks, cells = marked_cells(key)
        self._anything_waits = True
        self.store.db.execute(
            "INSERT OR REPLACE INTO logomesh_sync_waiting (kind, id, space, a, b, c, reason, detail, body)"
            f" VALUES (?, ?, ?, {', '.join(marks)}, ?, ?, ?)",
            (kind, id_, space, *cells, reason, detail, body),
        )

    def _await(self, parent_kind: int, parent: str, kind: int, id_: str, space: int) -> None:
        self.store.db.execute(
            "INSERT OR IGNORE INTO logomesh_sync_parents VALUES (?, ?, ?, ?)",
            (f"{parent_kind}/{parent}", kind, id_, space),
        )

    def _stop_waiting(self, kind: int, id_: str) -> None:
        if self._anything_waits:
            self.rows.stop_waiting(kind, id_)

    def _arrived(self, kind: int, id_: str) -> None:
        if kind in _PARENTS and self._anything_waits:
            self.rows.arrived([(kind, id_)])

    # Segments whose order only rowids decide

    def _places(self, changed: list[_Changed]) -> dict[str, Any]:
        """Id -> `sort_order` that keeps the place of a new segment where the file's own would not."""
        table = self.store.by_number.get(_SEGMENTS)
        if table is None or table.shape.without_rowid:
            return {}
        thoughts = {
            one.table.read(one.row)["thought_id"]
            for one in changed
            if one.kind == _SEGMENTS and not one.copies
        }
        found: dict[str, Any] = {}
        for thought in thoughts - {None}:
            found.update(_kept_places(self._siblings(table, str(thought))))
        return found

    def _siblings(self, table: RowTable, thought: str) -> Iterator[tuple[Any, str, str]]:
        order, created = (
            quoted(column) if (column := table.column_of.get(name)) else "NULL"
            for name in ("sort_order", "created_at")
        )
        number = f"CASE WHEN typeof({order}) IN ('integer', 'real') THEN {order} END"
        text = f"CASE typeof({created}) WHEN 'text' THEN {created} END"
        rows = self.store.db.execute(
            f"SELECT {number}, {text}, {quoted(table.key[0])} FROM {quoted(table.shape.name)}"
            f" WHERE {quoted(table.column_of['thought_id'])} = ? ORDER BY {order}, {created}, rowid",
            (thought,),
        )
        for sort_order, created_at, id_ in rows:
            yield sort_order, str(created_at or ""), str(id_)

    # Answers

    def answered(self, space: int, push: Push, results: list[dict[str, Any]]) -> None:
        """Take the results of a push, a short transaction at a time."""
        work = list(zip(push.changes, results, strict=True))[::-1]
        while work:
            piece: list[tuple[dict[str, Any], dict[str, Any]]] = []
            weight = 0
            while work and len(piece) < self.pace.size and weight <= LARGEST_PIECE:
                piece.append(work.pop())
                sent = piece[-1][0].get("set", {}).values()
                weight += sum(len(value) for value in sent if isinstance(value, str))
            with self.store.writing(), self.pace.step(len(piece)):
                ledger = Ledger(self.store, space)
                for change, result in piece:
                    self._take(ledger, change, result)
                ledger.close()
                self.store.db.execute(
                    "DELETE FROM logomesh_sync_pushes WHERE NOT EXISTS"
                    " (SELECT 1 FROM logomesh_sync_outbox WHERE push = logomesh_sync_pushes.number)"
                )

    def _take(self, ledger: Ledger, change: dict[str, Any], result: dict[str, Any]) -> None:
        kind, id_ = NUMBERS[change["type"]], change["id"]
        known = self.store.db.execute(
            "SELECT number, body FROM logomesh_sync_outbox WHERE kind = ? AND id = ? AND space = ?",
            (kind, id_, ledger.space),
        ).fetchone()
        if known is None or orjson.loads(known[1])["change_id"] != change["change_id"]:
            return  # a second answer to the same push
        self.store.db.execute("DELETE FROM logomesh_sync_outbox WHERE number = ?", (known[0],))
        if result["status"] == "rejected":
            self._rejected(ledger, kind, id_, change, result["error"])
            return
        if kind == CONFLICT:
            self._stop_waiting(kind, id_)
            return  # the feed brings what came of it
        before = self.store.copy(ledger.space, kind, id_)
        record = result.get("record")
        if record is None or result["status"] == "applied":
            self._applied(ledger, kind, id_, change, result["version"], before)
        else:
            sent = None if change.get("delete") else _sent_record(change, before)
            self.rows.settle(ledger, kind, id_, before, sent, record, change["base"])
            if change.get("delete") and not record.get("deleted"):
                self.rows.bring_back(ledger, kind, id_)
                self._arrived(kind, id_)  # what was hung on it meanwhile

    def _applied(
        self, ledger: Ledger, kind: int, id_: str, change: dict[str, Any], version: int, before: Copy | None
    ) -> None:
        if change.get("delete"):
            if before is not None:
                ledger.drop(kind, id_, before)
                self.rows.show_another(kind, id_)
            return
        shown = kind in self.store.by_number and (
            before.shown if before else self.rows.is_free(kind, id_, ledger.space)
        )
        copy = Copy(version, _sent_record(change, before), 0, shown)
        if before is not None and before.aliases and (table := self.store.by_number.get(kind)):
            copy.aliases = table.still_aliased(id_, before.record, copy.record, before.aliases)
        ledger.put(kind, id_, copy, before)

    def _rejected(
        self, ledger: Ledger, kind: int, id_: str, change: dict[str, Any], error: dict[str, Any]
    ) -> None:
        reason = str(error.get("type", "")).rpartition("/")[2]
        table = self.store.by_number.get(kind)
        key = self.rows.key_of(table, id_) if table else ()
        if reason == "change-id-reused" and table:
            self.rows.set_mark(kind, key)  # sent anew, under an id of its own
            return
        if kind == CONFLICT and reason in _DECIDED:
            self.rows.set_aside(ledger.space, kind, id_, {"change": change}, reason)
            self._stop_waiting(kind, id_)
            return
        detail = str(error.get("detail") or error.get("title") or "")
        self._wait(kind, id_, ledger.space, key, reason, detail, orjson.dumps(change))
        if reason == MISSING_PARENT and table is not None:
            before = self.store.copy(ledger.space, kind, id_)
            record = _sent_record(change, before)
            for name, parent in table.type.parents.items():
                self._await(NUMBERS[parent], record[name] or "", kind, id_, ledger.space)


def _base(copy: Copy) -> int:
    return copy.version if copy.base is None else copy.base


def _sent_record(change: dict[str, Any], before: Copy | None) -> Record:
    """The record as the device has it with its own change."""
    record = None if before is None else before.record
    return patched(change["type"], record, change.get("set", {}), change.get("unset", []))


def _keep_order(table: RowTable, record: Record, place: int | float) -> None:
    column = table.column_of.get("sort_order")
    if column:
        extra = record.setdefault("extra", {})
        extra.setdefault("originals", {}).setdefault(column, record["sort_order"])
    record["sort_order"] = place


def _kept_places(siblings: Iterator[tuple[Any, str, str]]) -> Iterator[tuple[str, int | float]]:
    """The smallest change of `sort_order` that makes (sort_order, created_at) order all siblings; none where
    nothing is tied."""
    rows = list(siblings)
    if not any(a[:2] == b[:2] for a, b in pairwise(rows)):
        return
    last_order: float | int | None = None
    last_created = ""
    for sort_order, created, id_ in rows:
        order = sort_order or 0
        new = order
        if last_order is not None and order <= last_order:
            new = last_order if created > last_created else last_order + 1
        if new != sort_order:
            yield id_, new
        last_order, last_created = new, created


__all__ = ["MISSING_PARENT", "OTHER_SPACE", "Outgoing", "uuid7"]
