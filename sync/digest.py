"""Proof of convergence: one hash for a space, and one for each of its 256 sectors.

Computed in one statement, so it belongs to one moment. Conflicts and embeddings are outside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sync import replica
from sync.pull.reading import read_head
from sync.pull.scope import ALL, Scope, parameters
from sync.pull.scoped import condition
from sync.sql import cursor
from sync.tables import TABLES

_HASHED: Final = tuple(table for table in TABLES.values() if not table.type.opt_in)


@dataclass(frozen=True)
class Digest:
    version: int
    epoch: UUID
    records: int
    sectors: list[int]
    """XOR of the hashes of each sector's records, as signed 64-bit integers."""

    @property
    def whole(self) -> int:
        total = 0
        for sector in self.sectors:
            total ^= sector
        return total


def digest(space_id: UUID, scope: Scope = ALL) -> Digest:
    rows = _asked_where_best(space_id, scope)
    head, epoch = rows[0][:2]
    sectors = [0] * 256
    for _, _, sector, hash_, _ in rows:
        if sector is not None:
            sectors[sector] = hash_
    return Digest(head, epoch, sum(row[4] or 0 for row in rows), sectors)


def sector(space_id: UUID, number: int, scope: Scope = ALL) -> tuple[int, list[tuple[str, str, int, str]]]:
    """The head, and (type, id, version, hash) of each record in a sector."""
    rows = _asked(_one_sector, space_id, scope, number)
    listed = [(type_, id_, version, as_hex(hash_)) for _, type_, id_, version, hash_ in rows if type_]
    return rows[0][0], listed


def _asked_where_best(space_id: UUID, scope: Scope) -> list[Any]:
    """It reads every hash of the space: a replica that has caught up can do that."""
    if replica.is_configured():
        head = read_head(space_id)
        if replica.has(space_id, head.epoch, head.head):
            return replica.ask(lambda: _asked(_sectors, space_id, scope))
    return _asked(_sectors, space_id, scope)


def _asked(query: Callable[[Scope], str], space_id: UUID, scope: Scope, number: int = 0) -> list[Any]:
    values = {"space": space_id, "sector": number, **parameters(scope)}
    return cursor().execute(query(scope), values).fetchall()


def _sectors(scope: Scope) -> str:
    parts = (
        f"SELECT t.sector, bit_xor(t.hash) AS hash, count(*) AS records FROM {table.name} t"
        f" WHERE t.space_id = %(space)b AND NOT t.deleted AND {condition(table.type.name, scope)}"
        " GROUP BY t.sector"
        for table in _HASHED
    )
    return f"""
        SELECT h.head, h.epoch, s.sector, s.hash, s.records
        FROM sync_spacehead h LEFT JOIN (
            SELECT sector, bit_xor(hash) AS hash, sum(records)::int8 AS records
            FROM ({" UNION ALL ".join(parts)}) parts GROUP BY sector
        ) s ON true
        WHERE h.space_id = %(space)b"""


def _one_sector(scope: Scope) -> str:
    parts = (
        f"SELECT '{table.type.name}' AS type, t.id, t.version, t.hash FROM {table.name} t"
        f" WHERE t.space_id = %(space)b AND NOT t.deleted AND t.sector = %(sector)b"
        f" AND {condition(table.type.name, scope)}"
        for table in _HASHED
    )
    return f"""
        SELECT h.head, r.type, r.id, r.version, r.hash
        FROM sync_spacehead h LEFT JOIN ({" UNION ALL ".join(parts)}) r ON true
        WHERE h.space_id = %(space)b"""


def as_hex(hash_: int) -> str:
    return f"{hash_ & 0xFFFFFFFFFFFFFFFF:016x}"
