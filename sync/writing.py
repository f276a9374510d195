"""The one service that allocates versions. Whoever changes records does it in a change set.

    with change_set(space_id, author=author, origin=Origin.PUSH) as changes:
        changes.copy_new("thoughts", [(id, record), …])

A change set locks the head of its space first and holds it to commit. So versions stand in
commit order, a reader never skips a change that was committed late, and two writers of a
space can neither deadlock nor overwrite each other.
"""

from __future__ import annotations

from base64 import b64decode
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import psycopg
from django.db import transaction

from sync import packing
from sync.announcing import announce_head
from sync.core.records import Record, hash_of, key_of
from sync.core.schema import RECORD_TYPES, Kind
from sync.core.sheets import sheet_of
from sync.models import Origin
from sync.problems import SpaceBusy
from sync.sql import cursor
from sync.tables import TABLES, Table, parent_keys
from workspaces.problems import NotFound

_LOCK = "SELECT head, epoch, history_before, counts::text FROM sync_spacehead WHERE space_id = %b FOR UPDATE"
_LOCK_PATIENCE = "SET LOCAL lock_timeout = '3s'"
_ADVANCE = "UPDATE sync_spacehead SET head = %b, counts = %b::text::jsonb WHERE space_id = %b"
_RECORD_CHANGE_SET = """
    INSERT INTO sync_changeset (space_id, version, at, person_id, device_id, origin)
    VALUES (%b, %b, %b, %b, %b, %b)"""
_BRING_BACK = """
    UPDATE {table} t SET version = %b, deleted = false, cascaded = false,
           field_versions = t.field_versions || jsonb_build_object('deleted', %b::int8)
    FROM unnest(%b::bytea[], %b::int8[]) AS u(key, version)
    WHERE t.space_id = %b AND t.key = u.key AND t.version = u.version AND t.deleted
    RETURNING t.key"""
_RECORD_RETURN = """
    INSERT INTO sync_history (space_id, key, version, old, lost, act)
    SELECT %b, key, %b, '{}', '{}', 'revive' FROM unnest(%b::bytea[]) AS u(key)"""
_EXISTING = "SELECT key FROM {table} WHERE space_id = %b AND key = ANY(%b)"


@dataclass(frozen=True)
class Author:
    """Who changes a space: a person, and the device in their hands if there is one."""

    person_id: UUID
    device_id: UUID | None = None


@dataclass
class Update:
    """New values for a stored record: only the columns that change are written."""

    key: bytes
    columns: Mapping[str, Any]
    """Column -> value as the table holds it (see `column_values`)."""


@dataclass
class ChangeSet:
    """An open transaction that holds the head of one space. All that it writes gets `version`."""

    space_id: UUID
    author: Author
    origin: Origin
    head: int
    epoch: UUID
    history_before: int
    counts: Counter[str]
    at: datetime
    cursor: psycopg.Cursor[Any]
    changed: bool = False
    """Whether anything was written: an empty change set takes no version."""

    @property
    def version(self) -> int:
        return self.head + 1

    def existing(self, type_: str, keys: Sequence[bytes]) -> set[bytes]:
        """Those of the keys under which the space has a record, tombstones included."""
        query = _EXISTING.format(table=TABLES[type_].name)
        return {key for (key,) in self.cursor.execute(query, (self.space_id, list(keys)))}

    def copy_new(self, type_: str, records: Iterable[tuple[str, Record]]) -> None:
        """Add records that do not exist yet."""
        self.copy_packed(type_, packing.pack(sheet_of(type_, list(records))))

    def copy_packed(self, type_: str, packed: Sequence[bytes]) -> None:
        """Add records that do not exist yet, packed by `sync.packing.pack`.

        They are stored by key, with which each begins: the indexes grow in order then, which costs a quarter
        less, and the feed finds a version's records side by side.
        """
        with self.cursor.copy(packing.copy_statement(type_)) as copy:
            copy.write(packing.SIGNATURE)
            copy.write(packing.rows(type_, sorted(packed), self.space_id, self.version))
            copy.write(packing.TRAILER)
        self.count(type_, len(packed))

    def bring_back(self, type_: str, tombstones: Sequence[tuple[bytes, int]]) -> int:
        """Let deleted records live again as they were, if they are still of these versions; says how many."""
        query = _BRING_BACK.format(table=TABLES[type_].name)
        keys, versions = [list(each) for each in zip(*tombstones, strict=True)]
        values = (self.version, self.version, keys, versions, self.space_id)
        back = [key for (key,) in self.cursor.execute(query, values).fetchall()]
        self.cursor.execute(_RECORD_RETURN, (self.space_id, self.version, back))
        self.count(type_, len(back))
        return len(back)

    def count(self, type_: str, live: int) -> None:
        """Note that the space has so many more (or fewer) live records of a type."""
        self.counts[type_] += live
        self.changed = True

    def update(self, type_: str, updates: Iterable[Update]) -> None:
        """Write new values into stored records and stamp them with the version."""
        groups: dict[tuple[str, ...], list[Update]] = defaultdict(list)
        for update in updates:
            groups[tuple(sorted(update.columns))].append(update)
        table = TABLES[type_]
        for columns, group in groups.items():
            keys = [update.key for update in group]
            arrays = [[update.columns[column] for update in group] for column in columns]
            self.cursor.execute(
                _update_statement(table, columns), (self.version, keys, *arrays, self.space_id)
            )
            self.changed = True


@contextmanager
def change_set(space_id: UUID, *, author: Author, origin: Origin) -> Iterator[ChangeSet]:
    """Open a transaction that may change a space; its devices hear of it after the commit.

    Raises `SpaceBusy` when another change set holds the space for more than three seconds.
    """
    with transaction.atomic():
        cur = cursor()
        head, epoch, history_before, counts = hold(cur, space_id)
        changes = ChangeSet(
            space_id,
            author,
            origin,
            head,
            epoch,
            history_before,
            Counter(orjson.loads(counts)),
            datetime.now(UTC),
            cur,
        )
        yield changes
        if changes.changed:
            _close(changes)


def hold(cur: psycopg.Cursor[Any], space_id: UUID) -> tuple[int, UUID, int, str]:
    """Keep all writers out of a space to the end of the transaction: head, epoch, history_before, counts.

    Raises `SpaceBusy` or `NotFound`.
    """
    cur.execute(_LOCK_PATIENCE)
    try:
        row: tuple[int, UUID, int, str] | None = cur.execute(_LOCK, (space_id,), prepare=True).fetchone()
    except psycopg.errors.LockNotAvailable:
        raise SpaceBusy from None
    if row is None:
        raise NotFound
    return row


def _close(changes: ChangeSet) -> None:
    changes.cursor.execute(
        _RECORD_CHANGE_SET,
        (
            changes.space_id,
            changes.version,
            changes.at,
            changes.author.person_id,
            changes.author.device_id,
            str(changes.origin),
        ),
        prepare=True,
    )
    counts = orjson.dumps({name: count for name, count in changes.counts.items() if count}).decode()
    changes.cursor.execute(_ADVANCE, (changes.version, counts, changes.space_id), prepare=True)
    transaction.on_commit(lambda: announce_head(changes.space_id, changes.version), robust=True)


def column_values(type_: str, id_: str, record: Record, names: Iterable[str]) -> dict[str, Any]:
    """The values that the table holds for these fields, with what follows from them: keys and hash."""
    fields = RECORD_TYPES[type_].by_name
    values: dict[str, Any] = {"hash": signed_hash(type_, id_, record)}
    for name in names:
        if name == "extra":
            values[name] = _dumped(record.get("extra", {}))
        else:
            values[name] = _column_value(fields[name].kind, record[name])
    for name, column in parent_keys(RECORD_TYPES[type_]):
        if name in values:
            values[column] = parent_key(type_, name, record)
    return values


def signed_hash(type_: str, id_: str, record: Record) -> int:
    return int.from_bytes(hash_of(type_, id_, record), signed=True)


def parent_key(type_: str, name: str, record: Record) -> bytes | None:
    """The key of the record that a field names; None where it names none."""
    parent = record["owner_type"] if type_ == "embeddings" else RECORD_TYPES[type_].parents[name]
    return None if record[name] is None else key_of(parent, record[name])


def _column_value(kind: Kind, value: Any) -> Any:
    if kind is Kind.OBJECT:
        return _dumped(value)
    if value is None:
        return None
    if kind is Kind.BYTES:
        return b64decode(value)
    return float(value) if kind is Kind.NUMBER else value


def _dumped(value: Any) -> str:
    return orjson.dumps(value).decode() if value else "{}"


def _update_statement(table: Table, columns: tuple[str, ...]) -> str:
    """UPDATE … FROM unnest(arrays): one statement for all records that change the same columns."""
    # JSON and times travel as text: PostgreSQL reads them faster than the driver packs them.
    sent = {"jsonb": "text", "timestamptz": "text"}
    arrays = "".join(f", %b::{sent.get(table.columns[c], table.columns[c])}[]" for c in columns)
    names = "".join(f", {c}" for c in columns)
    sets = ", ".join(f"{c} = u.{c}::{table.columns[c]}" for c in columns)
    return (
        f"UPDATE {table.name} t SET version = %b, {sets}"
        f" FROM unnest(%b::bytea[]{arrays}) AS u(key{names})"
        " WHERE t.space_id = %b AND t.key = u.key"
    )
