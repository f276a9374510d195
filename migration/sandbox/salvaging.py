"""Takes every row that SQLite still reads from a damaged file into a sound one. Only in the child.

Rows that lie on a damaged page are skipped; what follows them is found again by rowid.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw

from migration.cells import Cell, RawText
from migration.dialects import Schema
from migration.mapping import Source
from migration.sandbox.frames import BEFORE_ALL
from migration.sandbox.opening import quoted
from migration.sandbox.rows import Reader

_MOST = 2**63 - 1


def salvage(reader: Reader, schema: Schema, target: Path) -> None:
    """Copy what can be read of all ordinary tables, with their rowids. The storage classes stay."""
    target.unlink(missing_ok=True)
    db = apsw.Connection(str(target))
    for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -16000"):
        db.execute(f"PRAGMA {setting}")
    with db:
        for table in schema.tables.values():
            names = [column.name for column in table.stored]
            if not names:
                continue
            keyed = table.without_rowid or any(name.lower() == "rowid" for name in names)
            db.execute(f"CREATE TABLE {quoted(table.name)} ({', '.join(map(quoted, names))})")
            columns = ", ".join(map(quoted, names if keyed else ["rowid", *names]))
            for position, cells in surviving(reader, reader.as_it_is(table)):
                values: list[Cell] = [*cells.values()] if keyed else [position, *cells.values()]
                marks = ", ".join(
                    "CAST(? AS TEXT)" if isinstance(value, RawText) else "?" for value in values
                )
                bound = tuple(value.data if isinstance(value, RawText) else value for value in values)
                db.execute(f"INSERT INTO {quoted(table.name)} ({columns}) VALUES ({marks})", bound)
    db.close()


def surviving(reader: Reader, source: Source) -> Iterator[tuple[int, dict[str, Cell]]]:
    """(position, cells) of each row that can be read."""
    after: int | None = BEFORE_ALL
    while after is not None:
        try:
            for position, cells in reader.rows_as_they_are(source, after):
                yield position, cells
                after = position
            return
        except apsw.Error:
            after = _behind_the_damage(reader, source, after)


def _behind_the_damage(reader: Reader, source: Source, after: int) -> int | None:
    """The least position behind which reading goes on; None if nothing more can be read."""
    if source.table.without_rowid:
        return None
    step = 1
    while not _reads(reader, source, after + step):
        step *= 2
        if after + step > _MOST:
            return None
    fails, reads = after + step // 2, after + step
    while reads - fails > 1:
        middle = (fails + reads) // 2
        if _reads(reader, source, middle):
            reads = middle
        else:
            fails = middle
    return reads


def _reads(reader: Reader, source: Source, after: int) -> bool:
    try:
        next(reader.rows_as_they_are(source, after), None)
    except apsw.Error:
        return False
    return True
