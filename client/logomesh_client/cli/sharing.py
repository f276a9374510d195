"""`share` and `history`: thoughts go to another space; who changed what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from logomesh_client import sharing as moving
from logomesh_client.cli.desk import Desk, find_space
from logomesh_client.cli.endings import Exit, Failure
from logomesh_client.cli.options import existing_file, with_desk
from logomesh_client.cli.saying import count, short
from logomesh_client.cli.syncing import round_of, tell_report
from logomesh_client.file import LogoMeshFile
from logomesh_client.sharing import Moved
from logomesh_client.wire import Problem

_TYPES = ("thoughts", "segments", "tags")


@click.command(short_help="Move thoughts to another space.")
@click.argument("thoughts", nargs=-1, required=True)
@click.option("--space", required=True, metavar="SPACE", help="Where they go.")
@click.option("--file", "path", type=existing_file, help="The file; needed if several are attached here.")
@with_desk
def share(desk: Desk, thoughts: tuple[str, ...], space: str, path: Path | None) -> int:
    """Move THOUGHTS (by id, or by a title that only one has) with all that hangs on them to another space.

    Their history goes along. A link to something that stays is deleted there, and named.
    """
    with LogoMeshFile.open(_file(desk, path)) as file:
        ids = [_thought(file, named) for named in thoughts]
        report = round_of(desk, file)  # the server moves what it has: send first what was not sent yet
        if report["resting"]:
            raise Failure(
                Exit.USAGE,
                "The thoughts were not moved: while a profile is local-only, or remote-only, files rest.",
                "logomesh profiles --mode hybrid",
            )
        if report["state"] not in ("online", "attention"):
            tell_report(desk, file, report)
            raise Failure(Exit.OFFLINE, "The thoughts were not moved.", "Moving needs the server; try later.")
        by_space: dict[str, list[str]] = {}
        for id_ in ids:
            found = file.space_of("thoughts", id_)
            if found is None:
                raise Failure(Exit.ATTENTION, f"{id_} is in no space yet.", "Sync first: logomesh sync")
            by_space.setdefault(found, []).append(id_)
        moved = Moved()
        for source, chosen in by_space.items():
            link = file.link(source)
            with desk.server_for(file, link.server) as server:
                target = find_space(server.spaces(), space)
                if target["id"] == source:
                    desk.voice.say(f"{count(len(chosen), 'thought')} of these already in {target['name']}.")
                    continue
                done = moving.share(server, source, chosen, target["id"])
                moved.add({"moved": done.numbers, "left": done.left})
        if target["id"] not in {link.space for link in file.links()}:
            desk.voice.warn(
                f"{file.path.name} is not attached to {target['name']}, so these thoughts leave the file."
                f" To see them: logomesh attach {file.path.name} --home … --with {target['name']!r}"
            )
        report = round_of(desk, file)
        said = (
            ", ".join(count(number, type_.removesuffix("s")) for type_, number in moved.numbers.items())
            or "nothing"
        )
        desk.voice.say(f"Moved to {target['name']}: {said}.")
        for type_, id_ in moved.left:
            desk.voice.say(f"  left behind and deleted: {type_} {id_}")
        code = tell_report(desk, file, report)
        desk.voice.result({"to": target["id"], "moved": moved.numbers, "left": moved.left, "sync": report})
    return int(code)


@click.command(short_help="Who changed what; bring an old state back.")
@click.argument("record")
@click.option("--type", "type_", type=click.Choice(_TYPES), help="Without it: whatever has this id or title.")
@click.option("--file", "path", type=existing_file, help="The file; needed if several are attached here.")
@click.option("--restore", type=int, metavar="VERSION", help="Bring back what it was after this version.")
@click.option("--moves-ago", type=int, default=0, help="Of a version from before a move.")
@with_desk
def history(
    desk: Desk, record: str, type_: str | None, path: Path | None, restore: int | None, moves_ago: int
) -> int:
    """Who changed which field of RECORD (an id, or a title), newest first; or bring an old state back."""
    with LogoMeshFile.open(_file(desk, path)) as file:
        type_, id_ = _record(file, record, type_)
        known = file.space_of(type_, id_)
        links = [file.link(known)] if known else file.links()
        entries: list[dict[str, Any]] = []
        for link in links:
            with desk.server_for(file, link.server) as server:
                try:
                    if restore is not None:
                        done = server.restore(link.space, type_, id_, restore, moves_ago)
                        desk.voice.say(
                            f"It is again as after version {restore}; now version {done['version']}."
                        )
                        desk.voice.result(done)
                        return int(tell_report(desk, file, round_of(desk, file)))
                    entries = server.history(link.space, type_, id_)
                except Problem as problem:
                    if problem.status != 404:
                        raise
            if entries:
                break
    if not entries:
        raise Failure(
            Exit.USAGE, f"The server has no history of {record[:100]}.", "Sync first: logomesh sync"
        )
    for entry in entries:
        device = f" on {entry['device']}" if entry["device"] else ""
        ago = f" ({count(entry['moves_ago'], 'move')} ago)" if entry.get("moves_ago") else ""
        desk.voice.say(
            f"version {entry['version']}{ago}  {entry['at'][:19].replace('T', ' ')}  {entry['act']}"
            f"  {entry['user']}{device}",
            bold=True,
        )
        for name, sides in entry["changes"].items():
            desk.voice.say(f"  {name}: {short(sides.get('old'), 40)} → {short(sides.get('new'), 40)}")
        for name, value in entry["lost"].items():
            desk.voice.say(f"  {name}: not taken, kept in the conflict: {short(value, 40)}")
    desk.voice.result(entries)
    return Exit.DONE


def _file(desk: Desk, path: Path | None) -> Path:
    if path is not None:
        return path
    found = desk.files([])
    if len(found) > 1:
        raise Failure(Exit.USAGE, "Several files are attached here.", f"Name one: --file {found[0]}")
    return found[0]


def _thought(file: LogoMeshFile, named: str) -> str:
    type_, id_ = _record(file, named, "thoughts")
    if file.record(type_, id_) is None:
        raise Failure(Exit.USAGE, f"No thought here has the id or title {named[:100]}.")
    return id_


def _record(file: LogoMeshFile, named: str, type_: str | None) -> tuple[str, str]:
    """The record with this id, or the only thought or tag with this title."""
    for one in (type_,) if type_ else _TYPES:
        if file.record(one, named) is not None:
            return one, named
    for one in (type_,) if type_ else _TYPES:
        ids = file.titled(one, named)
        if len(ids) == 1:
            return one, ids[0]
        if ids:
            raise Failure(
                Exit.USAGE, f"Several {one} are called {named[:80]}.", f"Name one by id: {', '.join(ids[:5])}"
            )
    if type_ is not None:
        return type_, named  # it may be deleted here; the server knows more
    raise Failure(
        Exit.USAGE, f"Nothing here has the id or title {named[:100]}.", "Say what it is: --type thoughts"
    )
