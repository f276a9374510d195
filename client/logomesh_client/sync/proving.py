"""Whether a copy and the server's are equal, and the repair of what is not, sector by sector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from logomesh_client.file import LogoMeshFile
from logomesh_client.file.links import FORGETFUL

if TYPE_CHECKING:
    from logomesh_client.sync.rounds import Server

_AT_ONCE = 5_000


@dataclass(frozen=True)
class Verdict:
    equal: bool | None
    """None: the server has moved on meanwhile; the next round compares."""
    stuck: bool = False
    """The same sector differed twice in a row: it is not repaired a third time."""
    repaired: int = 0
    """How many sectors were fetched anew."""


def prove(file: LogoMeshFile, server: Server, space: str) -> Verdict:
    """Compare with the server, and repair once what differs. Asks for nothing unsent."""
    theirs = _digest(file, server, space)
    if theirs["version"] != file.digest(space).version:
        return Verdict(None)
    sectors = _differing(file, space, theirs)
    if not sectors:
        file.proved(space, theirs["version"])
        return Verdict(True)
    file.recount(space)
    sectors = _differing(file, space, theirs)
    before = set(file.differing(space))
    if sectors and before & set(sectors):
        return Verdict(False, stuck=True)
    if sectors:
        _repair(file, server, space, sectors)
        file.set_differing(space, [] if file.link(space).anew else sectors)
    theirs = _digest(file, server, space)
    if theirs["version"] != file.digest(space).version:
        return Verdict(None, repaired=len(sectors))
    if _differing(file, space, theirs):
        return Verdict(False, repaired=len(sectors))
    file.proved(space, theirs["version"])
    return Verdict(True, repaired=len(sectors))


def _digest(file: LogoMeshFile, server: Server, space: str) -> dict[str, Any]:
    return server.digest(space, scope=file.link(space).scope or None)


def _differing(file: LogoMeshFile, space: str, theirs: dict[str, Any]) -> list[int]:
    mine = file.digest(space)
    return [n for n, digest in enumerate(theirs["sectors"]) if int(digest, 16) != mine.sectors[n]]


def _repair(file: LogoMeshFile, server: Server, space: str, sectors: list[int]) -> None:
    """Fetch what differs, drop what the server does not have. What has unsent edits is left alone."""
    link = file.link(space)
    here = file.sector_records(space, sectors)
    there: dict[tuple[str, str], str] = {}
    for sector in sectors:
        listed = server.digest(space, sector, scope=link.scope or None)
        there |= {(type_, id_): hash_ for type_, id_, _, hash_ in listed["records"]}
    wanted = [ref for ref, hash_ in there.items() if here.get(ref) != hash_]
    for start in range(0, len(wanted), _AT_ONCE):
        file.apply(space, server.fetch(space, wanted[start : start + _AT_ONCE]), anew=True)
    gone = [ref for ref in here if ref not in there]
    # A part of a space says nothing about the rest; but of a whole one, nothing may vanish unheard.
    lost = link.anew in FORGETFUL or not (link.anew or link.scope)
    file.drop(space, gone, lost=lost)
