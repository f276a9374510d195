"""What an assessment tells of the columns of a table. Runs only in the child."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from migration.cells import Cell, RawText
from migration.mapping import Source, Taken
from migration.sandbox.frames import Column, Surveyed
from migration.sandbox.rows import Batch

_CLASSES: Final[Mapping[type, str]] = {
    str: "text",
    RawText: "text",
    int: "integer",
    float: "real",
    bytes: "blob",
    type(None): "null",
}
"""How SQLite stores what we read as a value of this type."""
_NUMBER_BYTES: Final = 8


class Survey:
    """Counts the cells of a table as they go by."""

    def __init__(self, source: Source, is_known: bool = True) -> None:
        self.source = source
        self.is_known = is_known
        self._classes = {name: Counter[str]() for name in source.columns}
        self._bytes = dict.fromkeys(source.columns, 0)
        self._dimensions: Counter[int] = Counter()

    def add(self, batch: Batch) -> None:
        for name, values in batch.plain.by_column().items():
            self._add(name, values)
        self.add_rows([odd.cells for _, odd in batch.odd])
        for _, odd in batch.odd:
            if isinstance(odd.outcome, Taken) and odd.outcome.embedding:
                self._dimensions[odd.outcome.embedding[1]["dimensions"] or 0] += 1

    def add_rows(self, rows: Sequence[Mapping[str, Cell]]) -> None:
        for name in self.source.columns if rows else ():
            self._add(name, [cells[name] for cells in rows])

    def found(self) -> Surveyed:
        columns = [
            Column(name, self._becomes(name), dict(self._classes[name]), self._bytes[name])
            for name in self.source.columns
        ]
        return Surveyed(
            self.source.table.name, columns, {str(n): rows for n, rows in self._dimensions.items()}
        )

    def _add(self, name: str, cells: Sequence[Cell]) -> None:
        types = Counter(map(type, cells))
        for type_, count in types.items():
            self._classes[name][_CLASSES[type_]] += count
        self._bytes[name] += _NUMBER_BYTES * (types[int] + types[float])
        if types[str] == len(cells):
            self._bytes[name] += sum(map(len, map(str.encode, cells)))  # type: ignore[arg-type]
        else:
            self._bytes[name] += sum(map(_length, cells))

    def _becomes(self, name: str) -> str:
        """Where the cells of a column go: `segments.content`."""
        source = self.source
        if not self.is_known:
            return "kept"
        if name == source.vector_column:
            return "embeddings.vector"
        fields = {column: field.name for field, column in source.fields}
        if name == source.id_column:
            fields[name] = "id"
        return f"{source.name}.{fields.get(name) or f'extra.{name}'}"


def _length(cell: Cell) -> int:
    if isinstance(cell, RawText):
        return len(cell.data)
    if isinstance(cell, str):
        return len(cell.encode())
    return len(cell) if isinstance(cell, bytes) else 0
