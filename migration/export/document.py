"""A space as LogoMesh's JSON export (the shape of 2025-09-10 on), with what that shape leaves out beside it.

    {"success": true,
     "data": {"metadata": {…}, "thoughts": [{"id": …, "segments": […], "tags": […], …}]},
     "metadata": {…},
     "logomesh_server": {"version": 1, "tables": {"tags": [{"id", "record"}], …}}}

A thought or a segment that would be read as another record carries a seal, in a member
`logomesh_server` of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import orjson

from migration.cells import Cell
from migration.documents import Members, members_of, segment_cells, source_like, thought_cells
from migration.export.reading import Chosen, counts, joined, one_moment, records, tied
from migration.export.rows import NO_TIME
from migration.mapping import ORDER, read_alone
from migration.sealing import SEAL, seal
from sync.core.records import Record

_T = TypeVar("_T")
VERSION: Final = 1
_WHERE_SET: Final = (
    "content_type", "asset_path", "abstraction_level", "local_priority", "cluster_id", "sort_order",
)  # fmt: skip
_BESIDE: Final = tuple(name for name in ORDER if name not in ("thoughts", "segments"))


def write_document(chosen: Chosen, path: Path) -> None:
    """Write the file (`path` must not exist). A thought and its segments are never held at once."""
    with one_moment() as moment, path.open("xb") as file:
        numbers = counts(chosen)
        thoughts, segments = numbers["thoughts"], numbers["segments"]
        head = {
            "exportDate": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z",
            "version": "1.0.0",
            "thoughtCount": thoughts,
            "segmentCount": segments,
        }
        file.write(b'{"success":true,"data":{"metadata":' + orjson.dumps(head) + b',"thoughts":[')
        _write_thoughts(chosen, file)
        tail = {"originalCount": thoughts, "exportedCount": thoughts}
        file.write(b'\n]},"metadata":' + orjson.dumps(tail))
        file.write(b',"logomesh_server":{"version":%d,"tables":{' % VERSION)
        for number, type_ in enumerate(_BESIDE):
            file.write(b",\n" if number else b"\n")
            file.write(orjson.dumps(type_) + b":[")
            _write_list(
                file, (orjson.dumps({"id": id_, "record": record}) for id_, record in records(chosen, type_))
            )
            file.write(b"]")
        file.write(b"}}}\n")


def _write_thoughts(chosen: Chosen, file: BinaryIO) -> None:
    segments = _Following(joined(chosen, "segments"))
    tags = _Following(joined(chosen, "thought_tags"))
    with_ties = tied(chosen)
    for number, (key, id_, record) in enumerate(joined(chosen, "thoughts")):
        file.write(b",\n" if number else b"\n")
        document = orjson.dumps(_thought(id_, record))
        file.write(document[:-1])
        found = [_tag(link) for _, link in tags.of(key)]
        if found:
            file.write(b',"tags":' + orjson.dumps(found))
        children = segments.of(key)
        if (first := next(children, None)) is not None:
            file.write(b',"segments":[')
            must = key in with_ties
            _write_list(file, (_segment(each, record, must) for each, record in _chain(first, children)))
            file.write(b"]")
        file.write(b"}")


def _write_list(file: BinaryIO, items: Iterator[bytes]) -> None:
    for number, item in enumerate(items):
        file.write(b",\n" if number else b"\n")
        file.write(item)


def _chain(first: _T, rest: Iterator[_T]) -> Iterator[_T]:
    yield first
    yield from rest


def _thought(id_: str, record: Record) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": id_,
        "title": record["title"] or "",
        "description": record["description"],
        "created_at": _time(record["created_at"]),
        "updated_at": _time(record["updated_at"]),
        "color": record["color"],
        "fields": record["fields"],
        "metadata": record["metadata"],
    }
    if record["position_x"] is not None or record["position_y"] is not None:
        found["position"] = {"x": record["position_x"], "y": record["position_y"]}
    return _sealed("thoughts", id_, record, found, thought_cells(_members(found)), must=False)


def _segment(id_: str, record: Record, must: bool) -> bytes:
    found = {
        "segment_id": id_,
        "thought_bubble_id": record["thought_id"],
        "title": record["title"] or "",
        "content": record["content"] or "",
        **{name: record[name] for name in _WHERE_SET if record[name] is not None},
        "fields": record["fields"],
        "metadata": record["metadata"],
        "created_at": _time(record["created_at"]),
        "updated_at": _time(record["updated_at"]),
    }
    cells = segment_cells(_members(found), record["thought_id"])
    return orjson.dumps(_sealed("segments", id_, record, found, cells, must=must))


def _tag(link: Record) -> dict[str, Any]:
    return {"id": link["tag_id"], "name": link["tag_name"] or "", "color": link["tag_color"]}


def _sealed(
    type_: str, id_: str, record: Record, found: dict[str, Any], cells: dict[str, Cell], *, must: bool
) -> dict[str, Any]:
    read = read_alone(source_like(type_, cells), 0, cells)
    if must or read != record:
        found[SEAL] = orjson.Fragment(seal(type_, id_, read, record))
    return found


def _members(found: dict[str, Any]) -> Members:
    members = members_of(orjson.dumps(found))
    assert members is not None
    return members


def _time(value: str | None) -> str:
    if value is None:
        return NO_TIME
    return f"{value[:23]}Z" if value.endswith("000Z") else value


class _Following:
    """What hangs on thoughts, in the order of the thoughts."""

    def __init__(self, rows: Iterator[tuple[bytes, str, Record]]) -> None:
        self.groups = groupby(rows, lambda row: row[0])
        self.group = next(self.groups, None)

    def of(self, key: bytes) -> Iterator[tuple[str, Record]]:
        """Those of the thought with this key. They must be taken before the next thought is asked for."""
        if self.group is not None and self.group[0] == key:
            for _, id_, record in self.group[1]:
                yield id_, record
            self.group = next(self.groups, None)
