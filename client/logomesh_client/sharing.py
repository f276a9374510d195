"""Moving thoughts between the spaces of a file: by hand, or by a rule that names a space by a tag."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from logomesh_client.file import LogoMeshFile
from logomesh_client.wire import Server

AT_ONCE: Final = 1000


@dataclass
class Moved:
    """What went to another space."""

    numbers: dict[str, int] = field(default_factory=dict)
    """Record type -> how many."""
    left: list[list[str]] = field(default_factory=list)
    """[type, id] of links to something that stays: they could not go along, and are deleted."""

    def add(self, answer: dict[str, Any]) -> None:
        for type_, number in answer["moved"].items():
            self.numbers[type_] = self.numbers.get(type_, 0) + number
        self.left += answer["left"]


def share(server: Server, space: str, thoughts: Iterable[str], to: str) -> Moved:
    """Move thoughts of a space, with all that hangs on them, on the server; the next pull brings it here."""
    ids, moved = list(thoughts), Moved()
    for start in range(0, len(ids), AT_ONCE):
        moved.add(server.move(space, ids[start : start + AT_ONCE], to))
    return moved


def due(file: LogoMeshFile, rules: Mapping[str, str]) -> dict[str, list[str]]:
    """Space -> the thoughts of the home space that a rule (tag name -> space) sends there.

    Only once all of the home space is sent: the server moves what it has.
    """
    links = {link.space: link for link in file.links()}
    home = next((link for link in links.values() if link.home), None)
    if home is None or not home.pulled or file.unsent(home.space):
        return {}
    found: dict[str, list[str]] = {}
    taken: set[str] = set()
    for tag, space in rules.items():
        if space not in links or space == home.space or links[space].server != home.server:
            continue  # a thought must not leave the file by a rule
        ids = [
            one
            for one in file.tagged(tag)
            if one not in taken and file.space_of("thoughts", one) == home.space
        ]
        if ids:
            found[space] = ids
            taken.update(ids)
    return found
