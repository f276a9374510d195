"""Telling the open live streams that a space has a new version.

Sent through Redis after the commit, never inside it. A lost announcement costs only time:
clients also ask once a minute.
"""

from __future__ import annotations

from uuid import UUID

from workspaces.announcing import publish

HEADS = "logomesh:head:"
"""Before the id of a space: the channel that says which version it is at."""


def announce_head(space_id: UUID, version: int) -> None:
    publish(f"{HEADS}{space_id}", {"space": str(space_id), "version": version})
