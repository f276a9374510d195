"""A client that is killed at a named point: `python -m tests.client.killed FILE URL TOKEN POINT COUNT`.

It syncs until the point was passed COUNT times; then it kills itself, as a power cut would.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from logomesh_client.file import LogoMeshFile
from logomesh_client.file.incoming import _Piece
from logomesh_client.file.outgoing import Outgoing
from logomesh_client.file.store import Ledger
from logomesh_client.sync import sync_once
from logomesh_client.wire import Server

POINTS: dict[str, tuple[Any, str, bool]] = {
    # name: (class, method, whether the kill comes after it)
    "while changes are collected": (Outgoing, "_send", True),
    "before a push is sent": (Outgoing, "pending", True),
    "after it arrived": (Server, "push", True),
    "while its answer is taken": (Outgoing, "_take", True),
    "before that is committed": (Ledger, "close", True),
    "after that is committed": (Outgoing, "answered", True),
    "while changes are applied": (_Piece, "take", True),
    "before the cursor is kept": (LogoMeshFile, "advance", False),
    "after the cursor is kept": (LogoMeshFile, "advance", True),
}


def die_at(point: str, count: int) -> None:
    owner, name, afterwards = POINTS[point]
    real: Callable[..., Any] = getattr(owner, name)
    left = [count]

    def deadly(*arguments: Any, **options: Any) -> Any:
        found = real(*arguments, **options) if afterwards else None
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return found if afterwards else real(*arguments, **options)

    setattr(owner, name, deadly)


def main() -> None:
    path, url, token, point, count = sys.argv[1:]
    die_at(point, int(count))
    with LogoMeshFile.open(path) as file, Server(url, token) as server:
        for _ in range(3):
            sync_once(file, server)


if __name__ == "__main__":
    main()
