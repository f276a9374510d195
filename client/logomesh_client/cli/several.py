"""What a command does to each of several files: one that cannot be used keeps nobody from the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from logomesh_client.cli.desk import Desk
from logomesh_client.cli.endings import ending


def each_file(
    desk: Desk, paths: Sequence[Path], act: Callable[[Path], tuple[int, dict[str, Any]]], named: bool = True
) -> tuple[int, list[dict[str, Any]]]:
    """The worst exit code, and what came of each file. What goes wrong with the only one is raised.

    `named`: whether the name of each stands over what is said of it.
    """
    worst, found = 0, []
    for path in paths:
        if named and len(paths) > 1:
            desk.voice.say(path.name, bold=True)
        try:
            code, result = act(path)
        except Exception as error:
            if len(paths) == 1:
                raise
            end = ending(error)
            desk.voice.tell(end, about=path.name)
            code, result = end.code, {"file": str(path.resolve()), **end.as_json()}
        worst = max(worst, code)
        found.append(result)
    return int(worst), found
