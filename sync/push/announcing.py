"""Last stage of a push: the answer to the client. Others hear of it from `sync.writing` after the commit."""

from __future__ import annotations

from typing import Any

import orjson

from sync.push.merging import Result
from sync.push.storing import Stored
from sync.push.tree import Node
from sync.push.validating import Rejected


def answer(stored: Stored) -> bytes:
    """The body of the answer: one result for each change, in order."""
    return orjson.dumps(
        {"version": stored.version, "results": [_result(result) for result in stored.outcome.results]}
    )


def _result(result: Result | Rejected) -> dict[str, Any]:
    if isinstance(result, Rejected):
        return {"change_id": result.change_id, "status": "rejected", "error": result.error}
    shown: dict[str, Any] = {
        "change_id": result.change.change_id,
        "status": result.status,
        "version": result.version,
    }
    if result.node is not None:
        shown["record"] = shown_record(result.node)
    if result.conflict is not None:
        shown["conflict"] = result.conflict
    return shown


def shown_record(node: Node) -> dict[str, Any]:
    """A record as answers carry it."""
    head = {"type": node.type.name, "id": node.id, "version": node.stored.version}
    return {**head, **node.stored.record} if node.live else {**head, "deleted": True}
