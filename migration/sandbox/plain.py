"""Plain rows: those whose every cell is already what the record will hold. Runs only in the child.

SQLite tells them from the others while it reads them, but for what a look at a whole column finds
faster. They become records column by column.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, Final

import orjson

from migration.cells import is_usual_time, plain_object_spelled
from migration.mapping import Source, are_fields
from migration.sandbox.opening import quoted
from sync.core.limits import MAX_ID_CHARACTERS, MAX_INTEGER
from sync.core.records import compose_ids
from sync.core.schema import RECORD_TYPES, Field, Kind
from sync.core.sheets import Sheet

_EMPTY: Final = b"{}"
_ROWIDS: Final = ("rowid", "_rowid_", "oid")
_TOGETHER: Final = 50
"""So many columns are asked at once whether they are NULL."""
POSITION, PLAIN, SIZE, _OWN_ID = range(4)
"""Where these stand in a row that `Plan.select` gives; the values come behind them."""
_VALUES: Final = 4
LEFT: Final = 2
"""What the selection says of a row that is left for later, instead of whether it is plain."""


class Plan:
    """How the rows of one table are selected, and what is a plain one."""

    def __init__(self, source: Source, parents_live: str, left: str, all_plain: bool) -> None:
        self.source = source
        self.columns = {field.name: column for field, column in source.fields}
        self.objects = [field.name for field, _ in source.fields if field.kind is Kind.OBJECT]
        self.texts = [field.name for field, _ in source.fields if field.kind is Kind.TEXT]
        self.times = [field.name for field, _ in source.fields if field.kind is Kind.TIME]
        self.place_of = {field.name: _VALUES + n for n, (field, _) in enumerate(source.fields)}
        """Field -> where its value stands in a row."""
        position = position_of(source)
        own = f"t.{quoted(source.id_column)}" if source.id_column else "NULL"
        known = {f"t.{quoted(column)}": field for field, column in source.fields}
        values = list(known)
        tests = self._tests(own, position, known, parents_live) if not all_plain else ["TRUE"]
        taken = (
            f"SELECT {position} AS position, {' AND '.join(tests)}, {_size(known)},"
            f" {own}, {', '.join(values)}"
            f" FROM {table_of(source)} AS t WHERE {position} > ?1"
        )
        if left:  # their values are not even read
            nothing = ", NULL" * (len(values) + 2)
            taken += (
                f" AND {left} IS NOT TRUE UNION ALL SELECT {position}, {LEFT}{nothing}"
                f" FROM {table_of(source)} AS t WHERE {position} > ?1 AND {left}"
            )
        self.select = f"{taken} ORDER BY 1"
        self.next_position = f"SELECT min({position}) FROM {table_of(source)} AS t WHERE {position} > ?"

    def _tests(self, own: str, position: str, known: Mapping[str, Field], parents_live: str) -> list[str]:
        source = self.source
        tests = [_test(field.kind, column) for column, field in known.items()]
        if source.id_column:
            tests.append(is_id(own))
        else:
            tests += [is_id(f"t.{quoted(self.columns[name])}") for name in source.type.identity]
        beside = [*source.unknown, *filter(None, (source.vector_column, source.seal_column))]
        for start in range(0, len(beside), _TOGETHER):
            together = ", ".join(f"t.{quoted(column)}" for column in beside[start : start + _TOGETHER])
            tests.append(f"coalesce({together}, NULL) IS NULL")
        if source.name == "segments":
            tests.append(f"NOT EXISTS (SELECT 1 FROM temp.places WHERE position = {position})")
        if source.name == "segment_related_context" and "context_type" in self.columns:
            tests.append(f"t.{quoted(self.columns['context_type'])} IS NOT 'embedding'")
        return [test for test in (*tests, parents_live) if test]


class PlainRows:
    """Some plain rows of one table as columns."""

    def __init__(self, plan: Plan, rows: Sequence[tuple[Any, ...]]) -> None:
        self.plan = plan
        self.type = plan.source.name
        self._spelled = _spelled_objects(plan, rows)
        self._unfit = _unfit(plan, rows)
        self.doubtful: list[int] = []
        """Positions of rows that turned out to be no plain ones. They are left out here."""
        if self._unfit or None in self._spelled.values():
            rows = list(filter(self._is_sound, rows))
        self._columns = list(zip(*rows, strict=True))
        self._length = len(rows)

    def __len__(self) -> int:
        return self._length

    @property
    def positions(self) -> Sequence[int]:
        return self._columns[POSITION] if self._columns else ()

    @cached_property
    def noted(self) -> Counter[tuple[str, str]]:
        """(deviation, column) -> how many of the rows have it."""
        found: Counter[tuple[str, str]] = Counter()
        for nulls, rows in Counter(self._nulls).items():
            found.update({("json-null", self.plan.columns[name]): rows for name in nulls})
        if moved := sum(self._moved):
            found["fields-from-metadata", self.plan.columns["metadata"]] = moved
        return found

    def by_column(self) -> dict[str, Sequence[Any]]:
        """Column of the file -> cells. What a plain row has in a column that was not read is NULL."""
        source = self.plan.source
        read = {column: self._column(field.name) for field, column in source.fields}
        if source.id_column and self._columns:
            read[source.id_column] = self._columns[_OWN_ID]
        nothing = (None,) * self._length
        return {name: read.get(name, nothing) for name in source.columns}

    def sheet(self) -> Sheet:
        """The records that the rows become."""
        type_ = RECORD_TYPES[self.type]
        columns: dict[str, Sequence[Any]] = {}
        spelled: dict[str, Sequence[bytes]] = {}
        for field in type_.fields:
            values = self._column(field.name)
            if field.kind is Kind.OBJECT:
                values = spelled[field.name] = [self._spelled[text] or _EMPTY for text in values]
            elif field.kind is Kind.TIME:
                values = [None if text is None else f"{text[:23]}000Z" for text in values]
            columns[field.name] = values
        if any(self._moved):
            pairs = list(zip(self._moved, spelled["metadata"], strict=True))
            columns["fields"] = spelled["fields"] = [text if moved else _EMPTY for moved, text in pairs]
            columns["metadata"] = spelled["metadata"] = [_EMPTY if moved else text for moved, text in pairs]
        extras = {nulls: _extra([self.plan.columns[name] for name in nulls]) for nulls in set(self._nulls)}
        spelled["extra"] = [extras[nulls] for nulls in self._nulls]
        columns["extra"] = [extra or _EMPTY for extra in spelled["extra"]]
        if self.plan.source.id_column:
            return Sheet(self.type, self._columns[_OWN_ID] if self._columns else (), columns, spelled)
        return Sheet(
            self.type, compose_ids([self._column(name) for name in type_.identity]), columns, spelled
        )

    def _is_sound(self, row: tuple[Any, ...]) -> bool:
        place_of = self.plan.place_of
        sound = all(self._spelled[row[place_of[name]]] is not None for name in self.plan.objects) and all(
            row[place_of[name]] not in self._unfit for name in (*self.plan.times, *self.plan.texts)
        )
        if not sound:
            self.doubtful.append(row[POSITION])
        return sound

    def _column(self, name: str) -> Sequence[Any]:
        place = self.plan.place_of.get(name)
        return (None,) * self._length if place is None or not self._columns else self._columns[place]

    @cached_property
    def _nulls(self) -> Sequence[tuple[str, ...]]:
        """Of each row the fields whose JSON is NULL."""
        objects = self.plan.objects
        if not objects:
            return ((),) * self._length
        texts = list(zip(*map(self._column, objects), strict=True))
        names = {
            which: tuple(name for name, null in zip(objects, which, strict=True) if null)
            for which in {tuple(text is None for text in row) for row in texts}
        }
        return [names[tuple([text is None for text in row])] for row in texts]

    @cached_property
    def _moved(self) -> Sequence[bool]:
        """Of each row whether its metadata are really its fields."""
        if not self.plan.source.metadata_is_fields or "metadata" not in self.plan.columns:
            return (False,) * self._length
        parts = map(self._column, ("metadata", "created_at", "updated_at"))
        return [
            self._spelled[text] != _EMPTY and are_fields(self.plan.source, created, updated)
            for text, created, updated in zip(*parts, strict=True)
        ]


def _spelled_objects(plan: Plan, rows: Sequence[tuple[Any, ...]]) -> dict[str | None, bytes | None]:
    """JSON cell -> its canonical form; None where it wants a closer look."""
    places = [plan.place_of[name] for name in plan.objects]
    texts = {row[place] for place in places for row in rows}
    return {text: _EMPTY if text is None else plain_object_spelled(text) for text in texts | {None}}


def _unfit(plan: Plan, rows: Sequence[tuple[Any, ...]]) -> set[str]:
    """Texts that cannot be stored as they are: a time that never was, anything with a NUL."""
    found: set[str] = set()
    for name in plan.times:
        texts = {row[plan.place_of[name]] for row in rows} - {None}
        try:
            deque(map(datetime.fromisoformat, texts), maxlen=0)
        except ValueError:
            found.update(text for text in texts if not is_usual_time(text))
    for name in plan.texts:
        column = [row[plan.place_of[name]] or "" for row in rows]
        if "\0" in "".join(column):
            found.update(text for text in column if "\0" in text)
    return found


def _extra(nulls: Sequence[str]) -> bytes:
    if not nulls:
        return b""
    return orjson.dumps({"originals": dict.fromkeys(nulls)}, option=orjson.OPT_SORT_KEYS)


# SQL


def _test(kind: Kind, column: str) -> str:
    if kind is Kind.NUMBER:
        return (
            f"({column} IS NULL OR typeof({column}) = 'real' AND abs({column}) < 1e308"
            f" OR typeof({column}) = 'integer' AND {column} BETWEEN -{MAX_INTEGER} AND {MAX_INTEGER})"
        )
    if kind is Kind.TIME:
        return (
            f"({column} IS NULL OR typeof({column}) = 'text'"
            f" AND {column} GLOB '????-??-??T??:??:??.???Z')"  # whether there is such a day is asked later
        )
    if kind is Kind.BYTES:
        return "FALSE"  # of our own exports only: read cell by cell
    return f"({column} IS NULL OR typeof({column}) = 'text')"  # whether there is a NUL in it is asked later


def _size(known: Mapping[str, Field]) -> str:
    long = [column for column, field in known.items() if field.kind in (Kind.TEXT, Kind.OBJECT)]
    return " + ".join(f"coalesce(octet_length({column}), 0)" for column in long) or "0"


def is_id(column: str) -> str:
    """SQL: whether a cell can be an id."""
    return (
        f"typeof({column}) = 'text' AND length({column}) BETWEEN 1 AND {MAX_ID_CHARACTERS}"
        f" AND instr({column}, char(0)) = 0"
    )


def table_of(source: Source) -> str:
    """SQL: the table with a position for every row."""
    name, position = f"main.{quoted(source.table.name)}", position_of(source)
    if position in _ROWIDS:
        return name
    return f"(SELECT row_number() OVER () AS {position}, * FROM {name})"


def position_of(source: Source) -> str:
    """SQL: the position of a row: its rowid, or its place in a table without, or of which columns have
    taken all names of the rowid."""
    taken = {column.name.lower() for column in source.table.columns}
    names = () if source.table.without_rowid else _ROWIDS
    own = next((name for name in names if name not in taken), "position_")
    while own in taken:
        own += "_"
    return own
