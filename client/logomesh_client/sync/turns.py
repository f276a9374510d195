"""One round at a time for a file: an agent, a command and a program may all want one."""

from __future__ import annotations

from contextlib import AbstractContextManager

import platformdirs

from logomesh_client.places import only_one


def turn(file_id: str) -> AbstractContextManager[None]:
    """Wait until no other process or thread of this machine is in a round of this file."""
    return only_one(platformdirs.user_cache_path("logomesh") / "turns" / f"{file_id}.lock")
