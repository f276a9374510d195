"""Deciding conflicts from a page: one, many at once, and once more after the decision.

A decision is a change of type `conflicts`, as a device would push it. A conflict that is decided stays
decided; whoever thinks better of it makes an ordinary edit with the words of the other side.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sync.clock import now
from sync.core.changes import CONFLICTS
from sync.core.records import key_of
from sync.core.schema import RECORD_TYPES
from sync.models import Origin
from sync.problems import ChangeRejected, ConflictResolved
from sync.push import edit
from sync.push.validating import Rejected
from sync.restoring import restore_deleted
from sync.sql import cursor
from sync.tables import TABLES
from workspaces.access import Caller
from workspaces.ids import uuid7
from workspaces.problems import NotFound

_STANDING = "SELECT version, deleted FROM {table} WHERE space_id = %b AND key = %b"
_HEAD = "SELECT head FROM sync_spacehead WHERE space_id = %b"


def decide(caller: Caller, space_id: UUID, conflict: dict[str, Any], decision: dict[str, Any]) -> None:
    """Decide an open conflict. Raises `ConflictResolved` where somebody was first, or `ChangeRejected`."""
    result = edit(caller, space_id, [_decision(conflict, decision)], Origin.RESOLVE).outcome.results[0]
    if isinstance(result, Rejected):
        if result.error["type"] == ConflictResolved.type:
            raise ConflictResolved(result.error["detail"])
        raise ChangeRejected(result.error)


def decide_all(
    caller: Caller, found: Iterable[tuple[UUID, dict[str, Any]]], take: str
) -> tuple[int, list[dict[str, Any]]]:
    """Decide many open conflicts alike: how many were decided, and the errors of the others."""
    by_space: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
    for space_id, conflict in found:
        by_space[space_id].append(_decision(conflict, {"take": take}))
    decided, errors = 0, []
    for space_id, changes in by_space.items():
        for result in edit(caller, space_id, changes, Origin.RESOLVE).outcome.results:
            if isinstance(result, Rejected):
                errors.append(result.error)
            else:
                decided += 1
    return decided, errors


def decide_anew(
    caller: Caller, space_id: UUID, conflict: dict[str, Any], decision: dict[str, Any], base: int
) -> None:
    """Give the record of a decided conflict the words of another side, or those that were typed.

    `base` is the version of the record that the person saw: what somebody wrote after it collides by
    the rules of every push.
    """
    type_, id_ = conflict["record_type"], conflict["record_id"]
    query = _STANDING.format(table=TABLES[type_].name)
    standing = cursor().execute(query, (space_id, key_of(type_, id_))).fetchone()
    if standing is None:
        raise NotFound
    version, deleted = standing
    change: dict[str, Any] = {"change_id": str(uuid7()), "type": type_, "id": id_}
    change["base"] = version if deleted else min(version, base)
    if conflict["kind"] != "edit":
        goes = (conflict["kind"], decision.get("take")) in (("delete", "client"), ("revive", "server"))
        head = (cursor().execute(_HEAD, (space_id,)).fetchone() or (0,))[0]
        if goes == deleted:
            return
        if not goes:
            restore_deleted(caller, space_id, type_, id_, head)
            return
        result = edit(caller, space_id, [{**change, "base": version, "delete": True}], Origin.RESOLVE, head)
    else:
        to_set, unset = _words(conflict, decision)
        if "updated_at" in RECORD_TYPES[type_].by_name:
            to_set["updated_at"] = now()
        result = edit(caller, space_id, [{**change, "set": to_set, "unset": unset}], Origin.RESOLVE)
    first = result.outcome.results[0]
    if isinstance(first, Rejected):
        raise ChangeRejected(first.error)


def before(conflict: dict[str, Any]) -> dict[str, Any]:
    """The decision that leaves the record as it was while the conflict was open."""
    return {"take": "client" if conflict["kind"] == "revive" else "server"}


def _decision(conflict: dict[str, Any], decision: dict[str, Any]) -> dict[str, Any]:
    return {
        "change_id": str(uuid7()),
        "type": CONFLICTS,
        "id": conflict["id"],
        "base": conflict["version"],
        "set": decision,
    }


def _words(conflict: dict[str, Any], decision: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """(set, unset) of what a decision says about the fields of a conflict."""
    to_set: dict[str, Any] = {}
    unset = []
    for path, sides in conflict["fields"].items():
        match decision.get("take"):
            case "both":
                value = f"{sides.get('server') or ''}\n\n{sides.get('client') or ''}"
            case "proposal":
                value = conflict["proposal"].get(path, sides.get("server"))
            case ("server" | "client") as side if side in sides:
                value = sides[side]
            case None if path in decision.get("set", {}):
                value = decision["set"][path]
            case _:
                unset.append(path)
                continue
        name, dot, key = path.partition(".")
        if dot:
            to_set.setdefault(name, {})[key] = value
        else:
            to_set[name] = value
    return to_set, unset
