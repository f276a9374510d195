"""Reads the rows of a recognised file. Runs only in the child.

SQLite itself sorts the rows in two: those whose every cell is already what the record will
hold (nearly all; see `migration.sandbox.plain`) come as values ready to use; the others are read
cell by cell, with their storage class and bytes, and go through `migration.mapping`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Any

import apsw
import orjson

from migration.cells import Cell, RawText, described, read_id
from migration.dialects import Dialect, Schema, Table
from migration.mapping import (
    Made,
    SetAside,
    Source,
    Taken,
    map_row,
    missing_tag,
    recovered_thought,
    sources,
    unknown_source,
)
from migration.sandbox.limits import LARGEST_CONVERTED
from migration.sandbox.opening import quoted
from migration.sandbox.plain import LEFT, PLAIN, POSITION, SIZE, PlainRows, Plan, is_id, position_of, table_of
from sync.core.records import compose_id
from sync.core.sheets import Sheet, sheet_of

_CODECS = {"UTF-8": "utf-8", "UTF-16le": "utf-16-le", "UTF-16be": "utf-16-be"}
_MOST_CELLS = 900
"""SQLite gives at most 2,000 columns in a result; each cell takes two."""
_MOST_RENAMED = 10_000
"""So many ids that cannot be used are remembered; what hangs on further ones is set aside."""
_AFFINITY_TEXT = ("CHAR", "CLOB", "TEXT")


@dataclass(frozen=True, slots=True)
class Odd:
    """A row that is not plain: what it becomes, and what it is."""

    outcome: Taken | SetAside
    cells: dict[str, Cell]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of one table that stand together."""

    last: int
    """Position of the last of them."""
    rows: int
    plain: PlainRows
    odd: list[tuple[int, Odd]]
    """(position, row)"""
    left: int
    """How many of the rows are left for later."""
    size: int
    """About how many bytes they have."""

    def sheets(self) -> Iterator[tuple[Sequence[int], Sheet]]:
        """The records of the batch, and the positions of their rows."""
        if len(self.plain):
            yield self.plain.positions, self.plain.sheet()
        taken = [(place, odd.outcome) for place, odd in self.odd if isinstance(odd.outcome, Taken)]
        if taken:
            records = [(outcome.id, outcome.record) for _, outcome in taken]
            yield [place for place, _ in taken], sheet_of(self.plain.type, records)


class Reader:
    """The rows of one file, table by table, and what a row must know of the others."""

    def __init__(self, db: apsw.Connection, schema: Schema, dialect: Dialect) -> None:
        self.db = db
        self.schema = schema
        self.dialect = dialect
        self.codec = _CODECS[schema.encoding]
        self.sources = {source.name: source for source in sources(schema, dialect)}
        self.unknown = {
            name: unknown_source(table, dialect)
            for name, table in schema.tables.items()
            if name not in self.sources
        }
        """Lower-case name -> table that LogoMesh does not know, or not with these columns."""
        self._temporary: set[str] = set()
        self._uniqueness: dict[str, bool] = {}
        self._with_dead: dict[str, str] = {}
        self._new_names: dict[str, dict[bytes, str]] = {}
        self.left: Callable[[Source], str] = lambda source: ""
        """SQL: whether the row `t` of a table is left for later; "" where none is."""
        self.recovered = ""
        """Id of the thought under which segments without a thought are gathered, if they are."""
        self.missing_tags = False
        """Whether tags that the file does not have are made."""
        self.new_ids = ""
        """What new ids are made of, if rows get some."""
        self.all_plain: set[str] = set()
        """Tables of which a survey has seen that all rows are plain: SQLite need not test them again."""
        self.with_odd: set[str] = set()
        """Tables in which this reader has met rows that are not."""
        db.execute("CREATE TEMP TABLE places (position INTEGER PRIMARY KEY, sort_order NUMERIC)")

    # What a row must know of the others (mapping.World)

    def lives(self, type_: str, id_: str) -> bool:
        return (
            bool(self._value(f"SELECT {self._lives(type_, '?1')}", (id_,)))
            if type_ in self.sources
            else False
        )

    def is_first(self, source: Source, id_: str, position: int) -> bool:
        if self._is_unique(source):
            return True
        first = self.db.execute(f"SELECT position FROM temp.{self._firsts(source)} WHERE id = ?", (id_,))
        return first.fetchone() == (position,)

    def is_first_vector(self, segment_id: str, position: int) -> bool:
        first = self.db.execute(f"SELECT position FROM temp.{self._vectors} WHERE id = ?", (segment_id,))
        return first.fetchone() == (position,)

    def sort_order(self, position: int) -> int | float | None:
        row = self.db.execute("SELECT sort_order FROM temp.places WHERE position = ?", (position,)).fetchone()
        return row and row[0]

    def new_id(self, source: Source, position: int) -> str | None:
        if not self.new_ids:
            return None
        named = f"{self.new_ids}/{source.name}/{position}".encode()
        return f"new_{sha256(named).hexdigest()[:24]}"

    def renamed(self, type_: str, cell: Cell) -> str | None:
        return self._renamed(type_).get(_mark(cell)) if self.new_ids and cell is not None else None

    def _renamed(self, type_: str) -> dict[bytes, str]:
        """What spells an id that cannot be used -> the new id of the first row that has it and is taken."""
        if type_ not in self._new_names:
            names = self._new_names[type_] = {}
            source = self.sources.get(type_)
            if source is None or not source.id_column:
                return names
            own = f"t.{quoted(source.id_column)}"
            found = self.db.execute(  # all at once: SQLite aborts a SELECT under way when tables are made
                f"SELECT {position_of(source)} FROM {table_of(source)} AS t"
                f" WHERE {own} IS NOT NULL AND ({is_id(own)}) IS NOT TRUE ORDER BY 1 LIMIT {_MOST_RENAMED}"
            ).fetchall()
            for (position,) in found:
                cells = self.cells(source, int(str(position)))
                cell = cells[source.id_column]
                if read_id(cell)[0] is None and _mark(cell) not in names:
                    outcome = map_row(source, int(str(position)), cells, self)
                    if isinstance(outcome, Taken):
                        names[_mark(cell)] = outcome.id
        return self._new_names[type_]

    def instead(self, source: Source, parent: str, id_: str | None) -> Made | None:
        if parent == "thoughts" and source.name == "segments" and self.recovered:
            return recovered_thought(self.recovered)
        return missing_tag(id_) if parent == "tags" and id_ is not None and self.missing_tags else None

    def _lives(self, type_: str, id_: str) -> str:
        """SQL: whether there is a record of this id that is taken itself."""
        if type_ not in self.sources:
            return "FALSE"
        source = self.sources[type_]
        if not self._is_unique(source):
            return f"EXISTS (SELECT 1 FROM temp.{self._firsts(source)} WHERE id = {id_} AND lives)"
        own = f"{type_}.{quoted(source.id_column or '')}"
        dead = self._dead(source)
        return f"EXISTS (SELECT 1 FROM main.{quoted(source.table.name)} AS {type_} WHERE {own} = {id_})" + (
            f" AND NOT EXISTS (SELECT 1 FROM temp.{dead} WHERE id = {id_})" if dead else ""
        )

    def _dead(self, source: Source) -> str:
        """A temporary table: the ids of this table's rows that are not taken. "" if there are none.

        It is asked for every link, so it is made once: few rows of a file hang on nothing.
        """
        if source.name not in self._with_dead:
            name, table = f"dead_{source.name}", quoted(source.table.name)
            own = f"t.{quoted(source.id_column or '')}"
            lives = "" if self._needs_no_parent(source) else self._parents_live(source)
            self.db.execute(f"CREATE TEMP TABLE {name} (id TEXT PRIMARY KEY) WITHOUT ROWID")
            self.db.execute(
                f"INSERT OR IGNORE INTO temp.{name} SELECT {own} FROM main.{table} AS t"
                f" WHERE {own} IS NOT NULL AND ({is_id(own)}{f' AND {lives}' if lives else ''}) IS NOT TRUE"
            )
            any_dead = self._value(f"SELECT EXISTS (SELECT 1 FROM temp.{name})")
            self._with_dead[source.name] = name if any_dead else ""
        return self._with_dead[source.name]

    def _needs_no_parent(self, source: Source) -> bool:
        """Whether rows of this table are taken even if what they hang on is missing."""
        return source.name == "segments" and bool(self.recovered)

    def _is_unique(self, source: Source) -> bool:
        """Whether an index of the file vouches that no two rows of this table have the same id."""
        if source.name not in self._uniqueness:
            columns = (
                [source.id_column]
                if source.id_column
                else [source.column_of(name) or name for name in source.type.identity]
            )
            self._uniqueness[source.name] = self._has_unique_index(source, columns)
        return self._uniqueness[source.name]

    def _has_unique_index(self, source: Source, columns: Sequence[str]) -> bool:
        declared = {column.name: column.declared.upper() for column in source.table.columns}
        if not all(
            any(word in declared[name] for word in _AFFINITY_TEXT) and "INT" not in declared[name]
            for name in columns
        ):
            return False
        table = quoted(source.table.name)
        for _, index, unique, _, partial in self.db.execute(f"PRAGMA main.index_list({table})").fetchall():
            if not unique or partial:
                continue
            info = self.db.execute(f"PRAGMA main.index_xinfo({quoted(str(index))})").fetchall()
            keys = {(name, collation) for _, _, name, _, collation, key in info if key}
            if keys and keys <= {(name, "BINARY") for name in columns}:
                return True
        return False

    def _firsts(self, source: Source) -> str:
        """A temporary table: id -> position of its first row, and whether that row is taken."""
        name = f"firsts_{source.name}"
        if name in self._temporary:
            return name
        self._temporary.add(name)
        self.db.execute(
            f"CREATE TEMP TABLE {name} (id TEXT PRIMARY KEY, position INTEGER, lives INTEGER) WITHOUT ROWID"
        )
        names = [source.id_column] if source.id_column else list(source.type.identity)
        columns = [source.id_column or source.column_of(each) or each for each in names if each]
        parents = [(source.column_of(each) or each, type_) for each, type_ in source.type.parents.items()]
        for position, cells in self._cells(source, "TRUE"):
            parts = [read_id(cells[column])[0] for column in columns]
            if not all(parts):
                continue
            texts = [part for part in parts if part]
            id_ = texts[0] if source.id_column else compose_id(texts)
            ends = [(read_id(cells[column])[0], type_) for column, type_ in parents]
            lives = self._needs_no_parent(source) or all(
                end is not None and self.lives(type_, end) for end, type_ in ends
            )
            self.db.execute(f"INSERT OR IGNORE INTO temp.{name} VALUES (?, ?, ?)", (id_, position, lives))
        return name

    @cached_property
    def _vectors(self) -> str:
        """A temporary table: segment -> position of its first context row of type embedding."""
        source = self.sources["segment_related_context"]
        self.db.execute("CREATE TEMP TABLE vectors (id TEXT PRIMARY KEY, position INTEGER) WITHOUT ROWID")
        if source.column_of("context_type") is None:
            return "vectors"
        segment, kind = (quoted(source.column_of(name) or name) for name in ("segment_id", "context_type"))
        self.db.execute(
            f"INSERT OR IGNORE INTO temp.vectors SELECT CAST({segment} AS TEXT), {position_of(source)}"
            f" FROM {table_of(source)} WHERE {kind} = 'embedding' ORDER BY {position_of(source)}"
        )
        return "vectors"

    # Segments whose order only rowids decide

    def find_places(self) -> Iterator[tuple[int, int | float]]:
        """(position, sort_order that keeps the segment's place) where the file's own would not."""
        source = self.sources.get("segments")
        if source is None:
            return
        thought = quoted(source.column_of("thought_id") or "")
        order, created = (
            quoted(column) if (column := source.column_of(name)) else "NULL"
            for name in ("sort_order", "created_at")
        )
        position = position_of(source)
        tie = f"{order} IS lag({order}) OVER own AND {created} IS lag({created}) OVER own"
        number = f"CASE WHEN typeof({order}) IN ('integer', 'real') THEN {order} END"
        ordered = self.db.execute(  # text as bytes: it may be no UTF-8
            f"SELECT CAST({thought} AS BLOB), {number},"
            f" CASE typeof({created}) WHEN 'text' THEN CAST({created} AS BLOB) END, {position}, ({tie})"
            f" FROM {table_of(source)} WHERE typeof({thought}) = 'text'"
            f" WINDOW own AS (PARTITION BY {thought} ORDER BY {order}, {created}, {position})"
        )
        siblings: list[tuple[int | float | None, str, int]] = []
        tied, current = False, None
        for thought_id, sort_order, created_at, place, is_tie in ordered:
            if thought_id != current:
                if tied:
                    yield from _places(siblings)
                siblings, tied, current = [], False, thought_id
            siblings.append((sort_order, (created_at or b"").decode(self.codec, "replace"), place))
            tied = tied or bool(is_tie)
        if tied:
            yield from _places(siblings)

    def keep_places(self, places: Iterable[tuple[int, int | float]]) -> None:
        self.db.executemany("INSERT INTO temp.places VALUES (?, ?)", places)

    # Rows

    def count(self, table: str) -> int:
        """How many rows a table has, whatever its indexes say."""
        name = quoted(self.schema.tables[table].name)
        return int(self._value(f"SELECT count(*) FROM main.{name} NOT INDEXED"))

    def _value(self, query: str, values: tuple[Any, ...] = ()) -> Any:
        row = self.db.execute(query, values).fetchone()
        return row and row[0]

    def batches(self, source: Source, after: int, most_rows: int, most_bytes: int) -> Iterator[Batch]:
        """The rows of a table after a position, in batches of about this size."""
        plan = self._plan(source)
        plain: list[tuple[Any, ...]] = []
        odd: list[tuple[int, Odd]] = []
        size = left = position = 0
        for position, row, other in self._sorted(plan, after):
            if row:
                plain.append(row)
                size += row[SIZE]
            elif other:
                odd.append((position, other))
                size += sum(map(_cell_bytes, other.cells.values()))
            else:
                left += 1
            if len(plain) + len(odd) + left >= most_rows or size >= most_bytes:
                yield self._batch(plan, plain, odd, left, position, size)
                plain, odd, size, left = [], [], 0, 0
        if plain or odd or left:
            yield self._batch(plan, plain, odd, left, position, size)

    def _sorted(self, plan: Plan, after: int) -> Iterator[tuple[int, tuple[Any, ...], Odd | None]]:
        """(position, values, None) of each plain row, (position, (), row) of the others, (position, (), None)
        of those left for later."""
        # An id may stand twice, or text is UTF-16, of which SQLite makes text whatever it is: every row
        # wants a closer look.
        if not self._is_unique(plan.source) or self.codec != _CODECS["UTF-8"]:
            left = self._left_positions(plan.source)
            for position, cells in self._cells(plan.source, f"{position_of(plan.source)} > {after:d}"):
                yield position, (), None if position in left else self._mapped(plan.source, position, cells)
            return
        for row in self._values(plan, after):
            position = row[POSITION]
            if row[PLAIN] == 1:
                yield position, row, None
            elif row[PLAIN] == LEFT:
                yield position, (), None
            else:
                yield position, (), self._odd(plan.source, position)

    def _batch(
        self,
        plan: Plan,
        plain: list[tuple[Any, ...]],
        odd: list[tuple[int, Odd]],
        left: int,
        last: int,
        size: int,
    ) -> Batch:
        rows = PlainRows(plan, plain)
        for position in rows.doubtful:
            odd.append((position, self._odd(plan.source, position)))
        if odd:
            self.with_odd.add(plan.source.name)
        return Batch(last, len(rows) + len(odd) + left, rows, odd, left, size)

    def _plan(self, source: Source) -> Plan:
        # Temporary tables are made now: SQLite aborts a SELECT under way when one is.
        if not self._is_unique(source):
            self._firsts(source)
        if source.name == "segment_related_context":
            self._vectors  # noqa: B018
        for parent in source.type.parents.values() if self.new_ids else ():
            self._renamed(parent)
        parents_live = self._parents_live(source)
        return Plan(source, parents_live, self.left(source), source.name in self.all_plain)

    def _left_positions(self, source: Source) -> set[int]:
        left = self.left(source)
        if not left:
            return set()
        query = f"SELECT {position_of(source)} FROM {table_of(source)} AS t WHERE {left}"
        return {int(str(position)) for (position,) in self.db.execute(query)}

    def _parents_live(self, source: Source) -> str:
        return " AND ".join(
            self._lives(parent, f"t.{quoted(source.column_of(name) or name)}")
            for name, parent in source.type.parents.items()
        )

    def _values(self, plan: Plan, after: int) -> Iterator[tuple[Any, ...]]:
        """What `Plan.select` says of each row. A row whose text is no UTF-8 is not plain."""
        while True:
            try:
                for row in self.db.execute(plan.select, (after,)):
                    yield row
                    after = row[POSITION]
                return
            except UnicodeDecodeError:
                after = self._value(plan.next_position, (after,))
                yield after, False

    def cells(self, source: Source, position: int) -> dict[str, Cell]:
        """One row as it is."""
        for _, cells in self._cells(source, f"{position_of(source)} = {position:d}"):
            return cells
        raise apsw.CorruptError(f"row {position} of {source.name} is not found again")

    def as_it_is(self, table: Table) -> Source:
        """A table of which only cells are asked for."""
        return unknown_source(table, self.dialect)

    def rows_as_they_are(self, source: Source, after: int) -> Iterator[tuple[int, dict[str, Cell]]]:
        """(position, cells) of each row of an unknown table after a position."""
        return self._cells(source, f"{position_of(source)} > {after:d}")

    def cells_where(self, source: Source, where: str) -> Iterator[tuple[int, dict[str, Cell]]]:
        """(position, cells) of the rows of which an SQL condition is true."""
        return self._cells(source, where)

    def _odd(self, source: Source, position: int) -> Odd:
        return self._mapped(source, position, self.cells(source, position))

    def _mapped(self, source: Source, position: int, cells: dict[str, Cell]) -> Odd:
        if sum(map(_converted_bytes, cells.values())) > LARGEST_CONVERTED:
            return Odd(SetAside("row-too-large"), cells)
        return Odd(map_row(source, position, cells, self), cells)

    def _cells(self, source: Source, where: str) -> Iterator[tuple[int, dict[str, Cell]]]:
        """Rows as they are: every cell in its storage class, text as bytes decoded by us."""
        names = source.columns
        if len(names) > _MOST_CELLS:
            yield from self._wide_cells(source, where)
            return
        exact = ", ".join(
            f"typeof(t.{quoted(name)}), CASE typeof(t.{quoted(name)})"
            f" WHEN 'text' THEN CAST(t.{quoted(name)} AS BLOB) ELSE t.{quoted(name)} END"
            for name in names
        )
        position = position_of(source)
        query = f"SELECT {position}, {exact} FROM {table_of(source)} AS t WHERE {where} ORDER BY {position}"
        for place, *values in self.db.execute(query):
            yield (
                place,
                {
                    name: self._decoded(values[2 * n + 1]) if values[2 * n] == "text" else values[2 * n + 1]
                    for n, name in enumerate(names)
                },
            )

    def _wide_cells(self, source: Source, where: str) -> Iterator[tuple[int, dict[str, Cell]]]:
        """The same for a table with more columns than one result can have."""
        position, names = position_of(source), source.columns
        parts = [
            replace(source, table=source.table.narrowed(names[start : start + _MOST_CELLS]))
            for start in range(0, len(names), _MOST_CELLS)
        ]
        query = f"SELECT {position} FROM {table_of(source)} AS t WHERE {where} ORDER BY {position}"
        for (place,) in self.db.execute(query):
            cells: dict[str, Cell] = {}
            for part in parts:
                cells |= self.cells(part, int(str(place)))
            yield int(str(place)), cells

    def _decoded(self, data: bytes) -> str | RawText:
        try:
            return data.decode(self.codec)
        except UnicodeDecodeError:
            return RawText(data, self.codec)


def _places(siblings: list[tuple[int | float | None, str, int]]) -> Iterator[tuple[int, int | float]]:
    """The smallest change of `sort_order` that makes (sort_order, created_at) order all siblings."""
    last_order: float | int | None = None
    last_created = ""
    for sort_order, created, position in siblings:
        order = sort_order or 0
        new = order
        if last_order is not None and order <= last_order:
            new = last_order if created > last_created else last_order + 1
        if new != sort_order:
            yield position, new
        last_order, last_created = new, created


def _mark(cell: Cell) -> bytes:
    """A cell, of whatever length, as a key."""
    return sha256(orjson.dumps(described(cell))).digest()


def _cell_bytes(cell: Cell) -> int:
    """About what a cell takes wherever its row goes."""
    return 64 + (len(cell) if isinstance(cell, str | bytes) else 0)


def _converted_bytes(cell: Cell) -> int:
    if isinstance(cell, RawText):
        return len(cell.data)
    return len(cell) if isinstance(cell, bytes) or (isinstance(cell, str) and "\0" in cell) else 0
