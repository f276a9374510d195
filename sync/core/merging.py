"""Merging one change into one record, field by field: the whole conflict rule.

A *path* names what merges by itself: a field ("title") or a key of an object
("fields.priority"; the key is all after the first dot). A *patch* maps paths to new
values, `GONE` for a key that the client removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from sync.core.records import Record
from sync.core.schema import Merge, RecordType
from sync.core.text import merge_text, propose_text


class _Marker(Enum):
    GONE = "gone"
    UNKNOWN = "unknown"


GONE: Final = _Marker.GONE
"""No such key in an object. An empty field is None instead."""
UNKNOWN: Final = _Marker.UNKNOWN
"""A base value that the history no longer holds."""

DELETED: Final = "deleted"
"""In `Stored.field_versions`: when the record was last deleted or brought back."""

Patch = Mapping[str, Any]

ORIGINALS: Final = "extra.originals"
"""Where stands what LogoMesh had stored in fields that could not be taken as they were."""
_OBJECTS: Final = ("fields", "metadata", "extra")


@dataclass(slots=True)
class Stored:
    """A record as the space holds it, live or as a tombstone."""

    record: Record
    version: int
    born: int
    field_versions: dict[str, int]
    deleted: bool = False
    cascaded: bool = False


@dataclass(slots=True)
class Merged:
    """What a change makes of a record."""

    record: Record
    changed: dict[str, Any] = field(default_factory=dict)
    """Path -> the value it had before (`GONE` where there was none)."""
    lost: dict[str, Any] = field(default_factory=dict)
    """Path -> the value that the client wanted and did not get."""
    conflict: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Path -> {base, server, client}, for the fields that a person must decide."""
    proposal: dict[str, str] = field(default_factory=dict)
    as_sent: bool = True
    """Whether the record now is what the client has after its own edit."""


def value_at(record: Record, path: str) -> Any:
    """The value at a path; `GONE` where an object has no such key, None where a field is empty."""
    name, dot, key = path.partition(".")
    if not dot:
        return record.get(name)
    return record.get(name, {}).get(key, GONE)


def copied(record: Record) -> Record:
    """A copy into which `put` may write."""
    copy = dict(record)
    for name in _OBJECTS:
        if name in copy:
            copy[name] = dict(copy[name])
    return copy


def put(record: Record, path: str, value: Any) -> None:
    """Set or remove (`GONE`) the value at a path, in place."""
    name, dot, key = path.partition(".")
    if not dot:
        record[name] = value
    elif value is not GONE:
        record.setdefault(name, {})[key] = value
    elif name in record:
        record[name].pop(key, None)
        if name == "extra" and not record["extra"]:
            del record["extra"]


def paths_of(record: Record) -> Iterable[str]:
    """Every path at which the record holds something."""
    for name, value in record.items():
        if name in _OBJECTS:
            yield from (f"{name}.{key}" for key in value)
        elif value is not None:
            yield name


def changed_at(stored: Stored, path: str) -> int:
    """The version that last changed this path; 0 if nobody ever set it."""
    if (version := stored.field_versions.get(path)) is not None:
        return version
    value = value_at(stored.record, path)
    return 0 if value is GONE or (value is None and "." not in path) else stored.born


def is_layout(type_: RecordType, path: str) -> bool:
    """Whether this path says only where and how a record is drawn (or that it was just moved)."""
    known = type_.by_name.get(path)
    return known is not None and known.merge in (Merge.LAYOUT, Merge.LATEST)


def content_version(type_: RecordType, stored: Stored) -> int:
    """The version at which the record was last changed in more than its layout."""
    return max(
        (at for path, at in stored.field_versions.items() if path != DELETED and not is_layout(type_, path)),
        default=stored.born,
    )


def concurrent_paths(stored: Stored, patch: Patch, base: int) -> list[str]:
    """Paths of the patch that somebody changed after `base`, to something else."""
    return [
        path
        for path, wanted in patch.items()
        if changed_at(stored, path) > base and not same(value_at(stored.record, path), wanted)
    ]


def needs_base(type_: RecordType, path: str) -> bool:
    """Whether merging a concurrent edit of this path looks at the value at `base`."""
    known = type_.by_name.get(path)
    return known is None or known.merge in (Merge.PLAIN, Merge.PROSE)


def merge(type_: RecordType, stored: Stored, patch: Patch, base: int, bases: Mapping[str, Any]) -> Merged:
    """Merge a patch made on version `base` of a record into the record as it is now.

    `bases` gives the value at `base` for each concurrent path that needs one
    (`UNKNOWN` where history no longer has it).
    """
    concurrent = set(concurrent_paths(stored, patch, base)) if base < stored.version else set()
    return _merge(type_, stored, patch, concurrent, bases)


def merge_on(type_: RecordType, stored: Stored, patch: Patch, bases: Mapping[str, Any]) -> Merged:
    """Merge a patch of which one knows the values that it was made on, whatever versions say.

    Concurrent is what is neither as it was then nor as it is wanted. Without a base an empty field is
    free. What LogoMesh had stored in the fields is only taken along where nothing is concurrent.
    """
    concurrent = {path for path, wanted in patch.items() if _differs(stored.record, path, wanted, bases)}
    if ORIGINALS in patch:
        patch = dict(patch)
        if concurrent - {ORIGINALS}:
            del patch[ORIGINALS]
        elif ORIGINALS in concurrent:
            edited = _names(bases.get(ORIGINALS)).keys() - _names(value_at(stored.record, ORIGINALS)).keys()
            wanted = _names(patch[ORIGINALS]).items()
            patch[ORIGINALS] = {name: value for name, value in wanted if name not in edited} or GONE
    return _merge(type_, stored, patch, concurrent - {ORIGINALS}, bases)


def _names(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _differs(record: Record, path: str, wanted: Any, bases: Mapping[str, Any]) -> bool:
    current = value_at(record, path)
    base = bases.get(path, UNKNOWN)
    if same(current, wanted):
        return False
    return current is not None and current is not GONE if base is UNKNOWN else not same(current, base)


def _merge(
    type_: RecordType, stored: Stored, patch: Patch, concurrent: set[str], bases: Mapping[str, Any]
) -> Merged:
    merged = Merged(copied(stored.record))
    for path, wanted in patch.items():
        if path in concurrent:
            _merge_concurrent(type_, merged, path, wanted, bases.get(path))
        else:
            _take(type_, merged, path, wanted)
    return merged


def created(type_: RecordType, empty: Record, patch: Patch) -> Merged:
    """A record that did not exist, made from a patch."""
    merged = Merged(copied(empty))
    for path, wanted in patch.items():
        put(merged.record, path, wanted)
    return merged


def _merge_concurrent(type_: RecordType, merged: Merged, path: str, wanted: Any, base: Any) -> None:
    current = value_at(merged.record, path)
    known = type_.by_name.get(path)
    rule = known.merge if known else Merge.PLAIN
    if rule is Merge.LAYOUT:
        _take(type_, merged, path, wanted)
    elif rule is Merge.LATEST:
        if _is_later(wanted, current):
            _take(type_, merged, path, wanted)
        else:
            merged.as_sent = False
    elif rule is Merge.FIRST:
        merged.as_sent = False
    else:
        if rule is Merge.PROSE and all(isinstance(text, str) for text in (base, current, wanted)):
            combined = merge_text(base, current, wanted)
            if combined is not None:
                _take(type_, merged, path, combined)
                merged.as_sent = merged.as_sent and combined == wanted
                return
            if (proposal := propose_text(base, current, wanted)) is not None:
                merged.proposal[path] = proposal
        merged.as_sent = False
        merged.lost[path] = wanted
        merged.conflict[path] = {"base": base, "server": current, "client": wanted}


def _take(type_: RecordType, merged: Merged, path: str, wanted: Any) -> None:
    current = value_at(merged.record, path)
    if same(current, wanted):
        return
    put(merged.record, path, wanted)
    merged.changed.setdefault(path, current)
    _drop_original(type_, merged, path)


def _drop_original(type_: RecordType, merged: Merged, path: str) -> None:
    """What LogoMesh had stored there is kept only for as long as nobody edits the field."""
    name = path.partition(".")[0]
    known = type_.by_name.get(name)
    originals = merged.record.get("extra", {}).get("originals")
    if known is None or not isinstance(originals, dict):
        return
    left = {column: value for column, value in originals.items() if column not in known.columns}
    if len(left) < len(originals):
        put(merged.record, ORIGINALS, left or GONE)
        merged.changed.setdefault(ORIGINALS, originals)
        merged.as_sent = False


def same(a: Any, b: Any) -> bool:
    """JSON equality: unlike in Python, true is not 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def _is_later(wanted: Any, current: Any) -> bool:
    """Feed times have one spelling, so they compare as text."""
    return isinstance(wanted, str) and (not isinstance(current, str) or wanted > current)
