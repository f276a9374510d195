"""Fourth stage of a push: what the merge came to, written in a few statements per record type."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from sync.core.changes import CONFLICTS
from sync.core.merging import GONE, UNKNOWN, is_layout
from sync.core.records import key_of
from sync.models import Origin
from sync.push.merging import FoundConflict, OpenConflict, Outcome, Result
from sync.push.tree import Node
from sync.writing import ChangeSet, Update, column_values

_HISTORY = """
    INSERT INTO sync_history (space_id, key, version, old, lost, act)
    SELECT %b, key, %b, old::jsonb, lost::jsonb, act
    FROM unnest(%b::bytea[], %b::text[], %b::text[], %b::text[]) AS u(key, old, lost, act)"""
# LogoMesh's canvas writes positions without pause: entries that only move something are folded
# into the one before, if that is the record's last, of the same device and not ten minutes old.
# Of the times passed through, the earliest and the latest stay: a scope by date asks for them.
_FOLD = """
    UPDATE sync_history h SET version = %b, old = u.old::jsonb || h.old || CASE
        WHEN h.old ? 'updated_at' AND u.old::jsonb ? 'updated_at' THEN jsonb_build_object('updated_at',
            (SELECT jsonb_build_array(h.old -> 'updated_at' -> 0, min(v COLLATE "C"), max(v COLLATE "C"))
             FROM jsonb_array_elements_text(
                 (u.old::jsonb -> 'updated_at') || ((h.old -> 'updated_at') - 0)) v))
        ELSE '{}' END
    FROM unnest(%b::bytea[], %b::int8[], %b::text[], %b::text[]) AS u(key, version, old, layout)
    JOIN sync_changeset c ON c.space_id = %b AND c.version = u.version
    WHERE h.space_id = c.space_id AND h.key = u.key AND h.version = u.version
      AND c.device_id = %b AND c.origin = 'push' AND c.at > now() - interval '10 minutes'
      AND h.act = 'edit' AND h.lost = '{}'
      AND NOT EXISTS (SELECT FROM jsonb_object_keys(h.old) k WHERE NOT (u.layout::jsonb ? k))
    RETURNING h.key"""
_RECEIPTS = """
    INSERT INTO sync_receipt (space_id, person_id, change_id, body_hash, version, conflict)
    SELECT %b, %b, u.* FROM unnest(%b::uuid[], %b::bytea[], %b::int8[], %b::uuid[]) AS u"""
_AUTHORS = """
    SELECT c.version, jsonb_build_object('user', p.email, 'device', d.name, 'version', c.version,
           'at', to_char(c.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))::text
    FROM sync_changeset c JOIN workspaces_person p ON p.id = c.person_id
    LEFT JOIN workspaces_device d ON d.id = c.device_id
    WHERE c.space_id = %b AND c.version = ANY(%b)"""
_PUSHER = """
    SELECT p.email, (SELECT d.name FROM workspaces_device d WHERE d.id = %b)
    FROM workspaces_person p WHERE p.id = %b"""
_NEW_CONFLICTS = """
    INSERT INTO sync_conflicts (space_id, key, id, version, record_type, record_id, record_key, kind,
                                fields, proposal, server, client, state, created_at)
    SELECT %b, key, id, %b, record_type, record_id, record_key, kind,
           fields::jsonb, proposal::jsonb, server::jsonb, client::jsonb, 'open', %b
    FROM unnest(%b::bytea[], %b::uuid[], %b::text[], %b::text[], %b::bytea[], %b::text[],
                %b::text[], %b::text[], %b::text[], %b::text[])
      AS u(key, id, record_type, record_id, record_key, kind, fields, proposal, server, client)"""
_RESOLVED = """
    UPDATE sync_conflicts c SET state = 'resolved', version = %b, resolution = u.resolution::jsonb
    FROM unnest(%b::bytea[], %b::text[]) AS u(key, resolution)
    WHERE c.space_id = %b AND c.key = u.key"""


@dataclass(frozen=True)
class Stored:
    """A push that is in the database, as soon as its change set commits."""

    version: int
    outcome: Outcome


def store(changes: ChangeSet, outcome: Outcome) -> Stored:
    """Write what a push came to. Nothing is written, and no version taken, where nothing changed."""
    by_type: dict[str, list[Node]] = defaultdict(list)
    for node in outcome.tree:
        by_type[node.type.name].append(node)
    for type_, nodes in by_type.items():
        _store_records(changes, type_, nodes)
    _store_history(changes, outcome.tree)
    _store_conflicts(changes, outcome.conflicts)
    _store_resolutions(changes, outcome.resolved)
    if changes.origin is Origin.PUSH:  # nobody sends again what the server itself made
        _store_receipts(changes, outcome.results)
    return Stored(changes.version if changes.changed else changes.head, outcome)


def _store_records(changes: ChangeSet, type_: str, nodes: list[Node]) -> None:
    # What was made and deleted in one push must still leave its tombstone.
    new = [node for node in nodes if node.new]
    if new:
        changes.copy_new(type_, ((node.id, node.stored.record) for node in new))
    written = [node for node in nodes if (node.written if not node.new else node.stored.deleted)]
    changes.update(type_, [Update(node.key, _columns(type_, node)) for node in written])
    live = sum(node.live - node.was_live for node in written if not node.new)
    live -= sum(not node.live for node in new)
    if live:
        changes.count(type_, live)


def _columns(type_: str, node: Node) -> dict[str, Any]:
    """The columns of a node that the push changed, with their new values."""
    flags = {"deleted": node.stored.deleted, "cascaded": node.stored.cascaded}
    columns: dict[str, Any] = {name: flags[name] for name in node.written if name in flags}
    columns["field_versions"] = orjson.dumps(node.stored.field_versions).decode()
    if fields := node.written - flags.keys():
        columns |= column_values(type_, node.id, node.stored.record, fields)
    return columns


def _store_history(changes: ChangeSet, nodes: Iterable[Node]) -> None:
    entries = [node for node in nodes if not node.new and (node.written or node.lost)]
    if not entries:
        return
    folded = _folded(changes, [node for node in entries if _only_layout(node)])
    entries = [node for node in entries if node.key not in folded]
    if not entries:
        return
    changes.cursor.execute(
        _HISTORY,
        (
            changes.space_id,
            changes.version,
            [node.key for node in entries],
            [_old(node) for node in entries],
            [_dumped(node.lost) for node in entries],
            [node.act for node in entries],
        ),
    )
    changes.changed = True


def _only_layout(node: Node) -> bool:
    return node.act == "edit" and not node.lost and all(is_layout(node.type, path) for path in node.old)


def _folded(changes: ChangeSet, nodes: list[Node]) -> set[bytes]:
    """Fold layout entries into the ones before them; returns the keys for which that was possible."""
    if not nodes or changes.author.device_id is None or changes.origin is not Origin.PUSH:
        return set()
    layouts = [[f.name for f in node.type.fields if is_layout(node.type, f.name)] for node in nodes]
    rows = changes.cursor.execute(
        _FOLD,
        (
            changes.version,
            [node.key for node in nodes],
            [node.stored_version for node in nodes],
            [_old(node) for node in nodes],
            [orjson.dumps(layout).decode() for layout in layouts],
            changes.space_id,
            changes.author.device_id,
        ),
    ).fetchall()
    return {bytes(key) for (key,) in rows}


def _old(node: Node) -> str:
    old = {path: [] if value is GONE else [value] for path, value in node.old.items()}
    return orjson.dumps(old).decode()


def _store_conflicts(changes: ChangeSet, conflicts: list[FoundConflict]) -> None:
    if not conflicts:
        return
    versions = list({conflict.server_version for conflict in conflicts})
    authors = dict(changes.cursor.execute(_AUTHORS, (changes.space_id, versions)).fetchall())
    client = _client(changes)
    # A conflict with what this very push had done before has its own author on both sides.
    own = orjson.dumps({**client, "version": changes.version}).decode()
    changes.cursor.execute(
        _NEW_CONFLICTS,
        (
            changes.space_id,
            changes.version,
            changes.at,
            [key_of(CONFLICTS, str(conflict.id)) for conflict in conflicts],
            [conflict.id for conflict in conflicts],
            [conflict.node.type.name for conflict in conflicts],
            [conflict.node.id for conflict in conflicts],
            [conflict.node.key for conflict in conflicts],
            [conflict.kind for conflict in conflicts],
            [_sides(conflict) for conflict in conflicts],
            [orjson.dumps(conflict.proposal).decode() for conflict in conflicts],
            [authors.get(conflict.server_version, own) for conflict in conflicts],
            [orjson.dumps(client).decode()] * len(conflicts),
        ),
    )
    changes.changed = True


def _sides(conflict: FoundConflict) -> str:
    """{path: {base, server, client}}; a key that a side removed has no such side."""
    return orjson.dumps(
        {
            path: {
                side: _plain(value) for side, value in sides.items() if side == "base" or value is not GONE
            }
            for path, sides in conflict.fields.items()
        }
    ).decode()


def _dumped(values: dict[str, Any]) -> str:
    return orjson.dumps({path: _plain(value) for path, value in values.items()}).decode()


def _plain(value: Any) -> Any:
    """The value as JSON has it: null where there is none. (orjson would write a marker as its name.)"""
    return None if value is GONE or value is UNKNOWN else value


def _client(changes: ChangeSet) -> dict[str, Any]:
    row = changes.cursor.execute(_PUSHER, (changes.author.device_id, changes.author.person_id)).fetchone()
    email, device = row or (None, None)
    at = changes.at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {"user": email, "device": device, "at": at}


def _store_resolutions(changes: ChangeSet, resolved: list[OpenConflict]) -> None:
    if not resolved:
        return
    by = _client(changes)
    changes.cursor.execute(
        _RESOLVED,
        (
            changes.version,
            [conflict.key for conflict in resolved],
            [orjson.dumps({**conflict.resolution, "by": by}).decode() for conflict in resolved],
            changes.space_id,
        ),
    )
    changes.changed = True


def _store_receipts(changes: ChangeSet, results: Iterable[Any]) -> None:
    taken = [it for it in results if isinstance(it, Result) and it.status != "duplicate"]
    if not taken:
        return
    changes.cursor.execute(
        _RECEIPTS,
        (
            changes.space_id,
            changes.author.person_id,
            [it.change.change_id for it in taken],
            [it.change.body_hash for it in taken],
            [it.version for it in taken],
            [it.conflict for it in taken],
        ),
        prepare=True,
    )
