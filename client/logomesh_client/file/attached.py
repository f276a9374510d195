"""The one door to a LogoMesh file: opened, attached, read, written in short transactions, detached."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from logomesh_client.file import capture
from logomesh_client.file.dialects import Dialect, NotLogoMesh, quoted
from logomesh_client.file.incoming import Incoming, release_held
from logomesh_client.file.links import Digest, Link, Push, SpaceLink, State, Waiting
from logomesh_client.file.outgoing import Outgoing, uuid7
from logomesh_client.file.placing import FIRST, Mark, Rows, ids_of_parents
from logomesh_client.file.rows import RowTable
from logomesh_client.file.store import CONFLICT, NAMES, NUMBERS, Ledger, Pace, Store, sector_of
from logomesh_client.records import CONFLICTS, Record

_SCAN = "scan"
_SCHEMA = "schema"
_COLUMNS = "columns"
_AHEAD = "ahead:"
_MASK = 2**64 - 1
_PIECE = 5_000


def _gentle() -> Pace:
    """For work that takes about a millisecond a piece."""
    return Pace(size=50, most=500, least=10)


class NotAttached(Exception):
    """The file is not attached to this space (or to none)."""


class LogoMeshFile:
    """A LogoMesh file, open. For one thread; the app may read and write it meanwhile."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows = Rows(store)
        self._outgoing = Outgoing(store)
        self._incoming = Incoming(store)

    @classmethod
    def open(cls, path: Path | str) -> LogoMeshFile:
        """Open a file that LogoMesh wrote, attached or not. Raises `NotLogoMesh`."""
        path = Path(path)
        if not path.is_file():
            raise NotLogoMesh("no-file", f"There is no file {path}.", "Look for logomesh.sqlite3.")
        file = cls(Store(path))
        if file.attached:
            file._mend()
        return file

    def close(self) -> None:
        self._store.close()

    def __enter__(self) -> LogoMeshFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def path(self) -> Path:
        return self._store.path

    @property
    def dialect(self) -> Dialect:
        return self._store.dialect

    # Attaching

    @property
    def attached(self) -> bool:
        return self._store.attached

    @property
    def file_id(self) -> str:
        """A random id, made when the file was attached; the name under which its token is kept."""
        if not self.attached:
            raise NotAttached(f"{self.path.name} is not attached to any space.")
        return str(self._store.note("file_id"))

    def attach(self, home: SpaceLink, others: Sequence[SpaceLink] = ()) -> None:
        """Make our tables and triggers in one transaction. Every row that is there counts as changed.
        On an attached file: adds the spaces that are missing; `home` becomes the home."""
        db = self._store.db
        db.execute("BEGIN IMMEDIATE")
        try:
            if not self.attached:
                capture.make_tables(db)
                capture.make_triggers(db, self._store.tables)
                self._store.set_note("format", str(capture.FORMAT))
                self._store.set_note("file_id", str(uuid4()))
                self._store.set_note(_SCAN, json.dumps({}))
            db.execute("UPDATE logomesh_sync_spaces SET home = 0")
            for link in (home, *others):
                db.execute(
                    "INSERT INTO logomesh_sync_spaces (space, server, name, home, scope)"
                    " VALUES (?, ?, ?, ?, ?) ON CONFLICT (space) DO UPDATE SET home = excluded.home,"
                    " server = excluded.server, name = iif(excluded.name = '', name, excluded.name),"
                    " state = iif(state = 'access-lost', 'offline', state)",
                    (link.space, link.server, link.name, link is home, json.dumps(link.scope)),
                )
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
        self._store.refresh()
        self._fill_new_columns()
        self._scan()

    def detach(self) -> None:
        """Take away all that attaching made: schema and rows stay just as LogoMesh has them."""
        db = self._store.db
        db.execute("BEGIN IMMEDIATE")
        try:
            capture.take_away(db)
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
        self._store.refresh()

    def _mend(self) -> None:
        """Go on with what was interrupted, and see that nothing of ours is missing."""
        if int(self._store.note("format") or 0) > capture.FORMAT:
            raise NotLogoMesh(
                "newer-client", "A newer client has attached this file.", "Update the client: pip install -U."
            )
        wanted = capture.triggers(self._store.tables)
        there = dict(
            self._store.db.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name GLOB 'logomesh_sync_*'"
            ).fetchall()
        )
        if there != wanted:
            with self._store.writing():
                capture.make_triggers(self._store.db, self._store.tables)
                self._store.set_note(_SCAN, json.dumps({}))
            self._store.refresh()
        self._fill_new_columns()
        self._scan()

    def _fill_new_columns(self) -> None:
        """A column that somebody has added gets what the records say: its NULLs are nobody's edit."""
        columns = {name: list(table.columns) for name, table in self._store.tables.items()}
        known: dict[str, list[str]] = json.loads(self._store.note(_COLUMNS) or "{}")
        if known == columns:
            return
        for name, names in columns.items():
            if new := set(names) - set(known.get(name, names)):
                self._fill(name, new)
        with self._store.writing(rows=False):
            self._store.set_note(_COLUMNS, json.dumps(columns))

    def _fill(self, name: str, new: set[str]) -> None:
        table = self._store.tables[name]
        defaults = {
            column.name: self._store.value(f"SELECT {column.default}")
            for column in table.shape.stored
            if column.name in new
        }
        self._with_copies(table, lambda space, id_: self._rows.fill(table, space, id_, defaults))

    def _with_copies(self, table: RowTable, act: Callable[[int, str], None]) -> None:
        """Do something for each copy of a record of this table, in short transactions."""
        pace, after = Pace(), 0
        while True:
            with self._store.writing(), pace.step(pace.size):
                found = self._store.db.execute(
                    "SELECT rowid, space, id FROM logomesh_sync_records"
                    " WHERE kind = ? AND rowid > ? ORDER BY rowid LIMIT ?",
                    (table.type.number, after, pace.size),
                ).fetchall()
                for after, space, id_ in found:  # noqa: B007 - it goes on from the last
                    act(space, id_)
            if not found:
                return

    def _scan(self) -> None:
        """Note every row as changed, a piece at a time; what is equal to its copy is forgotten again.
        Rows that went with their table, unseen by any trigger, come back: nobody has deleted them."""
        note = self._store.note(_SCAN)
        if note is None:
            return
        if self._store.value("SELECT EXISTS (SELECT 1 FROM logomesh_sync_records)"):
            for table in self._store.tables.values():
                self._with_copies(table, partial(self._rows.bring_row, table))
        version = self._store.value("PRAGMA schema_version")
        done: dict[str, int] = json.loads(note)
        if done.get(_SCHEMA) != version:  # since then, a VACUUM may have given the rows other numbers
            done = {_SCHEMA: version}
        pace = Pace(size=5_000, most=50_000)
        for name, table in self._store.tables.items():
            while (after := done.get(name, -(2**63))) is not None:
                size = pace.size
                with self._store.writing(), pace.step(size):
                    upto = None
                    if not table.shape.without_rowid:
                        upto = self._store.value(
                            f"SELECT max(rowid) FROM (SELECT rowid FROM {quoted(table.shape.name)}"
                            " WHERE rowid > ? ORDER BY rowid LIMIT ?)",
                            (after, size),
                        )
                        if upto is not None:
                            where = f"t.rowid > {after:d} AND t.rowid <= {upto:d}"
                            self._store.db.execute(capture.mark_rows(table, where))
                    else:
                        self._store.db.execute(capture.mark_rows(table, "TRUE"))
                    done[name] = upto  # type: ignore[assignment]
                    self._store.set_note(_SCAN, json.dumps(done))
        with self._store.writing():
            self._store.set_note(_SCAN, None)

    def refresh(self) -> None:
        """Take notice of a schema that the app has changed."""
        before = self._store.tables
        self._store.refresh()
        if self.attached and before is not self._store.tables:
            self._mend()

    # Spaces

    def links(self) -> list[Link]:
        """The spaces of the file, the home first; [] if it is not attached."""
        return self._store.links() if self.attached else []

    def link(self, space: str) -> Link:
        found = next((link for link in self.links() if link.space == space), None)
        if found is None:
            raise NotAttached(f"{self.path.name} is not attached to the space {space}.")
        return found

    def set_state(self, space: str, state: State, reason: str = "", contact: bool = False) -> None:
        """Keep how things stand with a space. `contact`: the server has answered just now."""
        link = self.link(space)
        if (link.state, link.reason) == (state, reason) and not contact:
            return
        self._set(space, "state = ?, reason = ?, contact = coalesce(?, contact)",
                  state.value, reason, time.time() if contact else None)  # fmt: skip

    def set_scope(self, space: str, scope: dict[str, Any]) -> None:
        """Another filter for selective sync; the next pull changes to it."""
        self._set(space, "scope = ?", json.dumps(scope))

    def _set(self, space: str, what: str, *values: Any) -> None:
        self._store.db.execute(
            f"UPDATE logomesh_sync_spaces SET {what} WHERE space = ?", (*values, self.link(space).space)
        )

    # What the file holds

    def record(self, type_: str, id_: str) -> tuple[str | None, Record] | None:
        """(space, record) as the file's row has it now, unsent edits included; None if there is no row."""
        kind = NUMBERS[type_]
        table, row = self._store.by_number.get(kind), self._rows.row(kind, id_)
        if table is None or row is None:
            return None
        space = self._outgoing.space_of(kind, id_) if self.attached else None
        copy = self._store.copy(space, kind, id_) if space is not None else None
        name = next((link.space for link in self.links() if link.number == space), None)
        return name, table.read(row, copy.record if copy else None)

    def agreed(self, space: str, type_: str, id_: str) -> tuple[int, Record] | None:
        """(version, record) as last agreed with the server."""
        copy = self._store.copy(self.link(space).number, NUMBERS[type_], id_)
        return None if copy is None else (copy.version, copy.record)

    def space_of(self, type_: str, id_: str) -> str | None:
        """The space to which a row belongs; None where that is not known yet."""
        number = self._outgoing.space_of(NUMBERS[type_], id_)
        return next((link.space for link in self.links() if link.number == number), None)

    def titled(self, type_: str, title: str) -> list[str]:
        """The ids of the rows that are called so."""
        table = self._store.by_number.get(NUMBERS[type_])
        named = table and (table.column_of.get("title") or table.column_of.get("name"))
        if table is None or table.id_column is None or not named:
            return []
        query = f"SELECT {quoted(table.id_column)} FROM {quoted(table.shape.name)} WHERE {quoted(named)} = ?"
        rows = self._store.db.execute(query, (title,)).fetchall()
        return [str(id_) for (id_,) in rows]

    def tagged(self, name: str) -> list[str]:
        """The ids of the thoughts that have a tag of this name."""
        link, tag = (self._store.by_number.get(NUMBERS[type_]) for type_ in ("thought_tags", "tags"))
        if link is None or tag is None or tag.id_column is None or "name" not in tag.column_of:
            return []
        thought, tag_id = (quoted(link.column_of[field]) for field in ("thought_id", "tag_id"))
        links, tags = quoted(link.shape.name), quoted(tag.shape.name)
        query = (
            f"SELECT DISTINCT l.{thought} FROM {links} AS l"
            f" JOIN {tags} AS t ON t.{quoted(tag.id_column)} = l.{tag_id}"
            f" WHERE t.{quoted(tag.column_of['name'])} = ?"
        )
        return [str(id_) for (id_,) in self._store.db.execute(query, (name,)).fetchall()]

    def hidden(self) -> list[tuple[str, str, str]]:
        """(space, type, id) of records that the file cannot show: another space's has the same id."""
        rows = self._store.db.execute(
            "SELECT s.space, r.kind, r.id FROM logomesh_sync_records AS r"
            " JOIN logomesh_sync_spaces AS s ON s.number = r.space WHERE NOT r.shown AND r.kind < ?",
            (CONFLICT,),
        )
        return [(s, NAMES[k], i) for s, k, i in rows if k in self._store.by_number and NAMES[k] != "tags"]

    # Going out

    def unsent(self, space: str) -> int:
        """How many records have changes that the server has not acknowledged."""
        link = self.link(space)
        count = int(
            self._store.value("SELECT count(*) FROM logomesh_sync_outbox WHERE space = ?", (link.number,))
        )
        noted: dict[int, list[str]] = {}
        for kind, *key in self._store.db.execute("SELECT kind, a, b, c FROM logomesh_sync_dirty").fetchall():
            table = self._store.by_number.get(kind)
            id_ = table.known_id(key) if table else None
            if id_ is not None:
                noted.setdefault(kind, []).append(id_)
        for kind, ids in noted.items():
            mine, known = self._store.db.execute(
                "SELECT count(*) FILTER (WHERE r.space = ?3), count(*) FROM json_each(?1) AS j"
                " CROSS JOIN logomesh_sync_records AS r ON r.kind = ?2 AND r.id = j.value AND r.shown",
                (orjson.dumps(ids).decode(), kind, link.number),
            ).fetchone()
            count += mine + (len(ids) - known if link.home else 0)
        return count

    def pending(self, space: str, limit: int = 1000, layout: bool = True) -> Push | None:
        """The next push: first what was sent without an answer, exactly as it was; else what changed since,
        stored before it is returned. None: there is nothing. `layout=False` leaves mere moves for later."""
        return self._outgoing.pending(self.link(space).number, limit, layout)

    def prepare(self, space: str, limit: int, layout: bool = True) -> None:
        """Store of what changed as much as goes into so many changes, those on their way included."""
        self._outgoing.collect(self.link(space).number, limit, layout)

    def answered(self, space: str, push: Push, results: list[dict[str, Any]]) -> None:
        """Take the results of a push, one for each of its changes, as the server gives them."""
        self._outgoing.answered(self.link(space).number, push, results)

    def split(self, space: str) -> None:
        """The server takes no push as large as the one that was sent, and took nothing of it: make others."""
        link = self.link(space)
        with self._store.writing():
            self._store.db.execute(
                "UPDATE logomesh_sync_outbox SET push = NULL WHERE space = ?", (link.number,)
            )
            self._store.db.execute("DELETE FROM logomesh_sync_pushes WHERE space = ?", (link.number,))

    def resend(self, space: str) -> None:
        """The server was restored: what waits for an answer is made anew, on what the server now has."""
        link = self.link(space)
        with self._store.writing():
            rows = self._store.db.execute(
                "SELECT kind, id FROM logomesh_sync_outbox WHERE space = ? AND kind < ?",
                (link.number, CONFLICT),
            ).fetchall()
            for id_, body in self._store.db.execute(
                "SELECT id, body FROM logomesh_sync_outbox WHERE space = ? AND kind = ?",
                (link.number, CONFLICT),
            ).fetchall():  # the server may have forgotten the conflict
                self._rows.set_aside(
                    link.number, CONFLICT, id_, {"change": orjson.loads(body)}, "server-restored"
                )
            for kind, id_ in rows:
                if (table := self._store.by_number.get(kind)) and (key := self._rows.key_of(table, id_)):
                    self._rows.set_mark(kind, key)
            for name in ("outbox", "pushes", "held"):
                self._store.db.execute(f"DELETE FROM logomesh_sync_{name} WHERE space = ?", (link.number,))
            self._store.db.execute(
                "UPDATE logomesh_sync_records SET base = NULL WHERE space = ? AND base > 0", (link.number,)
            )

    def resolve(self, space: str, conflict: str, decision: dict[str, Any]) -> None:
        """Decide a conflict, also offline: `{"take": …}` or `{"set": {…}}`; goes out with the next push."""
        link = self.link(space)
        copy = self._store.copy(link.number, CONFLICT, conflict)
        body = {
            "change_id": uuid7(), "type": CONFLICTS, "id": conflict, "base": copy.version if copy else 0,
            "set": decision,
        }  # fmt: skip
        with self._store.writing():
            self._store.db.execute(
                "INSERT INTO logomesh_sync_outbox (space, kind, id, deletes, body) VALUES (?, ?, ?, 0, ?)"
                " ON CONFLICT (kind, id, space) DO UPDATE SET body = excluded.body WHERE push IS NULL",
                (link.number, CONFLICT, conflict, orjson.dumps(body)),
            )

    def conflicts(self, space: str, state: str = "open") -> list[dict[str, Any]]:
        """The conflicts of a space as the feed brought them, with their `id` and `version`; those that were
        decided here are not open any more."""
        rows = self._store.db.execute(
            "SELECT r.id, r.version, o.body FROM logomesh_sync_records AS r"
            " LEFT JOIN logomesh_sync_outbox AS o ON (o.kind, o.id, o.space) = (r.kind, r.id, r.space)"
            " WHERE r.space = ? AND r.kind = ?",
            (self.link(space).number, CONFLICT),
        ).fetchall()
        found = []
        for id_, version, decided in rows:
            copy = self._store.copy(self.link(space).number, CONFLICT, id_)
            assert copy is not None
            if ("resolved" if decided else copy.record["state"]) == state:
                found.append({"id": id_, "version": version, **copy.record})
        return found

    def waiting(self) -> list[Waiting]:
        """What cannot be sent as it is."""
        if not self.attached:
            return []
        rows = self._store.db.execute(
            "SELECT s.space, w.kind, w.id, w.reason, w.detail FROM logomesh_sync_waiting AS w"
            " LEFT JOIN logomesh_sync_spaces AS s ON s.number = w.space ORDER BY w.kind, w.id"
        )
        return [Waiting(space, NAMES[kind], id_, reason, detail) for space, kind, id_, reason, detail in rows]

    # Coming in

    def apply(self, space: str, changes: Iterable[dict[str, Any]], anew: bool = False) -> int:
        """Apply changes of the feed in short transactions, as they come. What has unsent edits is left alone.
        Returns how many records changed. Then `advance`. `anew`: the server's word counts, however old."""
        return self._incoming.apply(self.link(space).number, changes, anew)

    def advance(
        self,
        space: str,
        *,
        cursor: str,
        epoch: str,
        head: int,
        more: bool,
        scope: dict[str, Any] | None = None,
    ) -> None:
        """Everything up to this cursor was applied. `more`: the pull is not at its end. `scope`: the filter
        with which it was asked for, where another may have been set since."""
        link = self.link(space)
        asked = None if scope is None else json.dumps(scope)
        if more:
            self._set(space, "cursor = ?, epoch = ?, pulled_scope = coalesce(?, scope)", cursor, epoch, asked)
            return
        if link.pulled and head > link.seen:
            self._outgoing.store_deletions(link.number)
        self._set(space, "cursor = ?, epoch = ?, seen = ?, pulled = 1, pulled_scope = coalesce(?, scope)",
                  cursor, epoch, head, asked)  # fmt: skip
        if self.is_ahead(space):
            self.set_ahead(space, False)
        release_held(self._store, self._rows, link.number)

    def is_ahead(self, space: str) -> bool:
        """Whether the server may have been asked to go on from a later cursor than the file's."""
        return self._store.note(f"{_AHEAD}{space}") is not None

    def set_ahead(self, space: str, ahead: bool) -> None:
        """Note, before the next page is asked for, that this one is not applied yet; or that all is."""
        self._store.set_note(f"{_AHEAD}{space}", "" if ahead else None)

    def begin_anew(self, space: str, reason: str) -> None:
        """The cursor cannot be continued: the next pull brings everything; what is equal costs nothing."""
        link = self.link(space)
        with self._store.writing(rows=False):
            self._store.db.execute(  # no digest tells which of them are gone
                "DELETE FROM logomesh_sync_records WHERE kind = ? AND space = ?", (CONFLICT, link.number)
            )
            self._set(space, "cursor = NULL, pulled = 0, anew = ?", reason)

    def scope_changed(self, space: str) -> bool:
        """Whether the filter is another than the cursor's."""
        return bool(
            self._store.value(
                "SELECT scope <> pulled_scope FROM logomesh_sync_spaces WHERE space = ?", (space,)
            )
        )

    # Proof

    def digest(self, space: str) -> Digest:
        """What this copy comes to. Equal to the server's at `version` if nothing is unsent."""
        records, sectors, seen = self._store.db.execute(
            "SELECT records, sectors, seen FROM logomesh_sync_spaces WHERE space = ?",
            (self.link(space).space,),
        ).fetchone()
        numbers = memoryview(sectors).cast("q")
        return Digest(seen, records, tuple(number & _MASK for number in numbers))

    def proved(self, space: str, version: int) -> None:
        """The digests were equal at this version."""
        self._set(space, "proof = ?, proof_version = ?, differing = '[]', anew = ''", time.time(), version)

    def differing(self, space: str) -> list[int]:
        """The sectors that differed, and were repaired, at the last comparison."""
        found: list[int] = json.loads(
            self._store.value("SELECT differing FROM logomesh_sync_spaces WHERE space = ?", (space,))
        )
        return found

    def set_differing(self, space: str, sectors: Sequence[int]) -> None:
        self._set(space, "differing = ?", json.dumps(list(sectors)))

    def sector_records(self, space: str, sectors: Iterable[int]) -> dict[tuple[str, str], str]:
        """(type, id) -> hash, as 16 hex digits, of what this copy has in these sectors."""
        wanted = set(sectors)
        return {
            (NAMES[kind], id_): f"{hash_ & _MASK:016x}"
            for kind, id_, hash_ in self._hashes(space)
            if sector_of(kind, id_) in wanted
        }

    def _hashes(self, space: str) -> Iterator[tuple[int, str, int]]:
        """(number of the type, id, hash) of what the digest counts, read in pieces: whoever reads without
        end keeps the app from writing."""
        number, last = self.link(space).number, (0, "")
        while piece := self._store.db.execute(
            "SELECT kind, id, hash FROM logomesh_sync_records WHERE (kind, id) > (?, ?) AND kind < ?"
            " AND space = ? ORDER BY kind, id LIMIT ?",
            (*last, CONFLICT, number, _PIECE),
        ).fetchall():
            yield from piece
            last = piece[-1][:2]

    def drop(self, space: str, refs: Iterable[tuple[str, str]], lost: bool = False) -> None:
        """Take away records that the server does not have, but for what has unsent edits.
        `lost`: it had them before it was restored; they are put aside first."""
        link = self.link(space)
        gone = []
        for type_, id_ in refs:
            copy = self._store.copy(link.number, NUMBERS[type_], id_)
            if copy is None:
                continue
            if lost:
                with self._store.writing():
                    self._rows.set_aside(link.number, NUMBERS[type_], id_, copy.record, "server-restored")
            gone.append({"type": type_, "id": id_, "version": copy.version, "deleted": True})
        self._incoming.apply(link.number, gone, anew=True)

    def recount(self, space: str) -> None:
        """Compute count and digest of a space from its copies."""
        sectors = [0] * 256
        count = 0
        for kind, id_, hash_ in self._hashes(space):
            sectors[sector_of(kind, id_)] ^= hash_
            count += 1
        blob = b"".join(number.to_bytes(8, "little", signed=True) for number in sectors)
        self._set(space, "records = ?, sectors = ?", count, blob)

    # Giving up

    def put_aside(self, space: str, reason: str) -> int:
        """Access was taken away: keep the unsent work for `rescue`, remove the local copy of the space.
        Returns how many pieces of work were put aside."""
        link = self.link(space)
        aside = self._set_unsent_aside(link, reason) + self._remove_copies(link, reason)
        self._set(space, "cursor = NULL, epoch = NULL, seen = 0, pulled = 0")
        return aside

    def _set_unsent_aside(self, link: Link, reason: str) -> int:
        with self._store.writing():
            aside = self._note_what_waits(link, reason)
        aside += self._set_edits_aside(link, reason) + self._set_outbox_aside(link, reason)
        with self._store.writing():
            for name in ("pushes", "held", "parents"):
                self._store.db.execute(f"DELETE FROM logomesh_sync_{name} WHERE space = ?", (link.number,))
        return aside

    def _set_outbox_aside(self, link: Link, reason: str) -> int:
        aside, pace = 0, _gentle()
        while True:
            with self._store.writing(), pace.step(pace.size):
                going = self._store.db.execute(
                    "SELECT number, kind, id, body FROM logomesh_sync_outbox WHERE space = ? LIMIT ?",
                    (link.number, pace.size),
                ).fetchall()
                for number, kind, id_, body in going:
                    row, table = self._rows.row(kind, id_), self._store.by_number.get(kind)
                    here = table.read(row) if table and row else {}
                    change = {"change": orjson.loads(body), **here}
                    self._rows.set_aside(link.number, kind, id_, change, reason)
                    if self._store.copy(link.number, kind, id_) is None:
                        self._rows.delete(kind, id_)
                    self._store.db.execute("DELETE FROM logomesh_sync_outbox WHERE number = ?", (number,))
            aside += len(going)
            if not going:
                return aside

    def _note_what_waits(self, link: Link, reason: str) -> int:
        """What was refused, or waits for something, counts as unsent. Returns how many decisions of
        conflicts, which have no row, were put aside."""
        decisions = 0
        for kind, id_, *key, body in self._store.db.execute(
            "SELECT kind, id, a, b, c, body FROM logomesh_sync_waiting WHERE space = ?", (link.number,)
        ).fetchall():
            if kind != CONFLICT:
                self._rows.set_mark(kind, key)
                continue
            self._rows.set_aside(link.number, kind, id_, {"change": orjson.loads(body)}, reason)
            decisions += 1
        self._store.db.execute("DELETE FROM logomesh_sync_waiting WHERE space = ?", (link.number,))
        return decisions

    def _set_edits_aside(self, link: Link, reason: str) -> int:
        aside, pace, after = 0, _gentle(), FIRST
        while True:
            with self._store.writing(), pace.step(pace.size):
                marks = self._rows.marks_after(after, pace.size)
                aside += sum(self._set_edit_aside(link, reason, mark) for mark in marks)
            if not marks:
                return aside
            after = marks[-1]

    def _set_edit_aside(self, link: Link, reason: str, mark: Mark) -> bool:
        """Whether a noted row of the space was put aside; a noted deletion is forgotten."""
        kind, *cells = mark
        table = self._store.by_number.get(kind)
        id_ = table.known_id(cells) if table else None
        if table is None or id_ is None:
            return False
        space = self._outgoing.space_of(kind, id_)
        row = self._store.row(table, cells)
        if space is None and row is not None:
            space = self._space_above(kind, table.read(row))
        if space != link.number:
            return False
        if row is not None:
            self._rows.set_aside(link.number, kind, id_, table.read(row), reason)
            if self._store.copy(link.number, kind, id_) is None:
                self._rows.delete(kind, id_)
        self._rows.forget_mark(kind, cells)
        return row is not None

    def _space_above(self, kind: int, record: Record) -> int | None:
        for parent, id_ in ids_of_parents(kind, record):
            if (space := self._outgoing.space_of(parent, id_)) is not None:
                return space
            table = self._store.by_number.get(parent)
            row = self._store.row(table, (id_,)) if table else None
            if (
                table
                and row is not None
                and (space := self._space_above(parent, table.read(row))) is not None
            ):
                return space
        return None

    def _remove_copies(self, link: Link, reason: str) -> int:
        """Remove the rows of a space. Returns how many of them the app, which goes on writing, had changed:
        those are put aside first."""
        aside, pace = 0, _gentle()
        while True:
            with self._store.writing(), pace.step(pace.size):
                refs = self._store.db.execute(
                    "SELECT kind, id FROM logomesh_sync_records WHERE space = ? LIMIT ?",
                    (link.number, pace.size),
                ).fetchall()
                ledger = Ledger(self._store, link.number)
                for kind, id_ in refs:
                    aside += self._remove_copy(ledger, link, kind, id_, reason)
                ledger.close()
            if not refs:
                return aside

    def _remove_copy(self, ledger: Ledger, link: Link, kind: int, id_: str, reason: str) -> bool:
        copy, table = self._store.copy(link.number, kind, id_), self._store.by_number.get(kind)
        assert copy is not None
        key = self._rows.key_of(table, id_) if table and copy.shown else ()
        edited = bool(key) and self._rows.is_marked(kind, key)
        if edited:
            edited = self._set_edit_aside(link, reason, (kind, *key, *[""] * (3 - len(key))))
        ledger.drop(kind, id_, copy)
        if copy.shown:
            self._rows.give_up(kind, id_, copy)
        return edited

    def rescue(self) -> list[dict[str, Any]]:
        """All that was put aside, and all that cannot be sent, as JSON objects."""
        if not self.attached:
            return []
        found = [
            {"at": at, "space": space, "reason": reason, **orjson.loads(body)}
            for at, space, reason, body in self._store.db.execute(
                "SELECT at, space, reason, body FROM logomesh_sync_aside ORDER BY number"
            )
        ]
        for one in self.waiting():
            here = self.record(one.type, one.id)
            found.append(
                {
                    "space": one.space,
                    "reason": one.reason,
                    "detail": one.detail,
                    "type": one.type,
                    "id": one.id,
                }
                | (here[1] if here else self._refused_change(one))
            )
        return found

    def _refused_change(self, one: Waiting) -> dict[str, Any]:
        """The change of what has no row."""
        body = self._store.value(
            "SELECT body FROM logomesh_sync_waiting WHERE kind = ? AND id = ? AND body NOT NULL",
            (NUMBERS[one.type], one.id),
        )
        return {"change": orjson.loads(body)} if body else {}

    # Watching

    def data_version(self) -> int:
        """A number that changes when somebody else has written to the file."""
        return int(self._store.value("PRAGMA data_version"))

    def has_marks(self) -> bool:
        """Whether any row was changed and not looked at yet."""
        return bool(self._store.value("SELECT EXISTS (SELECT 1 FROM logomesh_sync_dirty)"))
