"""What a file says of a record, as an edit of what it said before. Pure."""

from __future__ import annotations

from typing import Any

from sync.core.changes import Change
from sync.core.merging import paths_of, same, value_at
from sync.core.records import Record, key_and_sector
from workspaces.ids import uuid7


def edit_of(type_: str, id_: str, file: Record, base: Record | None) -> Change | None:
    """The edit that leads from the previous copy of a file to this one; None if there is none.

    Without a previous copy it says all that the file knows, on no base.
    """
    if base is None:
        return _change(type_, id_, {path: value_at(file, path) for path in _in_order(paths_of(file))}, {})
    patch = _patch(base, file)
    return _change(type_, id_, patch, {path: value_at(base, path) for path in patch}) if patch else None


def overwriting(type_: str, id_: str, file: Record, space: Record, version: int) -> Change:
    """The edit that makes the record of a space, at this version, just what the file says."""
    return _change(type_, id_, _patch(space, file), None, version)


def creating_again(type_: str, id_: str, file: Record, version: int) -> Change:
    """The edit that puts the file's record in the place of a tombstone of this version."""
    return _change(type_, id_, {path: value_at(file, path) for path in _all_paths(file)}, None, version)


def _patch(before: Record, after: Record) -> dict[str, Any]:
    paths = _in_order({*_all_paths(before), *_all_paths(after)})
    return {
        path: value_at(after, path)
        for path in paths
        if not same(value_at(before, path), value_at(after, path))
    }


def _change(
    type_: str, id_: str, patch: dict[str, Any], bases: dict[str, Any] | None, version: int = 0
) -> Change:
    """`version`: of the record now, for an edit that counts only if nobody has edited it since."""
    key, sector = key_and_sector(type_, id_)
    return Change(uuid7(), type_, id_, key, sector, version, patch, False, b"", bases=bases)


def _all_paths(record: Record) -> set[str]:
    named = {name for name, value in record.items() if not isinstance(value, dict)}
    return {*named, *paths_of(record)}


def _in_order(paths: Any) -> list[str]:
    """What stands beside the fields comes after them: an edit of a field drops its original."""
    return sorted(paths, key=lambda path: (path.startswith("extra."), path))
