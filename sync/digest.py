"""Proof of convergence: one hash for a space, and one for each of its 256 sectors.

Computed in one statement, so it belongs to one moment. Conflicts and embeddings are outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sync.sql import cursor
from sync.tables import TABLES

_HASHED: Final = tuple(table for table in TABLES.values() if not table.type.opt_in)

_SECTORS = """
    SELECT h.head, h.epoch, s.sector, s.hash, s.records
    FROM sync_spacehead h LEFT JOIN (
        SELECT sector, bit_xor(hash) AS hash, sum(records)::int8 AS records
        FROM ({parts}) parts GROUP BY sector
    ) s ON true
    WHERE h.space_id = %(space)b""".format(
    parts=" UNION ALL ".join(
        f"SELECT sector, bit_xor(hash) AS hash, count(*) AS records FROM {table.name}"
        " WHERE space_id = %(space)b AND NOT deleted GROUP BY sector"
        for table in _HASHED
    )
)
_ONE_SECTOR = """
    SELECT h.head, r.type, r.id, r.version, r.hash
    FROM sync_spacehead h LEFT JOIN ({parts}) r ON true
    WHERE h.space_id = %(space)b""".format(
    parts=" UNION ALL ".join(
        f"SELECT '{table.type.name}' AS type, id, version, hash FROM {table.name}"
        " WHERE space_id = %(space)b AND NOT deleted AND sector = %(sector)b"
        for table in _HASHED
    )
)


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


def digest(space_id: UUID) -> Digest:
    rows = cursor().execute(_SECTORS, {"space": space_id}).fetchall()
    head, epoch = rows[0][:2]
    sectors = [0] * 256
    for _, _, sector, hash_, _ in rows:
        if sector is not None:
            sectors[sector] = hash_
    return Digest(head, epoch, sum(row[4] or 0 for row in rows), sectors)


def sector(space_id: UUID, number: int) -> tuple[int, list[tuple[str, str, int, str]]]:
    """The head, and (type, id, version, hash) of each record in a sector."""
    rows = cursor().execute(_ONE_SECTOR, {"space": space_id, "sector": number}).fetchall()
    listed = [
        (type_, id_, version, as_hex(hash_)) for _, type_, id_, version, hash_ in rows if type_ is not None
    ]
    return rows[0][0], listed


def as_hex(hash_: int) -> str:
    return f"{hash_ & 0xFFFFFFFFFFFFFFFF:016x}"
