"""`status`: how things stand with each file and space, also without a network."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click

from logomesh_client.cli.desk import QUICK, Desk
from logomesh_client.cli.endings import Exit
from logomesh_client.cli.options import some_files, with_desk
from logomesh_client.cli.saying import ago, count, iso
from logomesh_client.cli.several import each_file
from logomesh_client.file import Link, LogoMeshFile, State
from logomesh_client.profiles import Profile, SyncMode
from logomesh_client.secrets import SecretsAway
from logomesh_client.wire import BadToken, WireError

_SOON: Final = 6.0
"""Seconds that `status` waits for all servers together."""
_COLORS = {
    State.ONLINE: "green",
    State.DEGRADED: "yellow",
    State.OFFLINE: "yellow",
    State.ACCESS_LOST: "red",
    State.ATTENTION: "red",
}


@click.command(short_help="How files stand: unsent, behind, proved equal.")
@some_files
@click.option("--offline", is_flag=True, help="Do not ask the servers how far behind the files are.")
@with_desk
def status(desk: Desk, files: tuple[Path, ...], offline: bool) -> int:
    """Say how FILES (without them: all that are attached here) stand: state, last contact, what was not sent
    yet, how far behind, and when both copies were last proved equal."""
    code, found = each_file(desk, desk.files(files), lambda path: _of_file(desk, path, offline))
    desk.voice.result({"files": found})
    return code


def _of_file(desk: Desk, path: Path, offline: bool) -> tuple[int, dict[str, Any]]:
    with LogoMeshFile.open(path) as file:
        if not file.attached:
            desk.voice.say(f"{path.name} is not attached to any space.")
            return Exit.DONE, {"file": str(path.resolve()), "attached": False}
        heads = {} if offline else _heads(desk, file)
        spaces = [_space(desk, file, link, heads) for link in file.links()]
        waiting = [{**one.__dict__, "refused": one.refused} for one in file.waiting()]
        aside = len(file.rescue())
        _say(desk, path, file, spaces, waiting, aside)
        attention = any(one["state"] in ("attention", "access-lost") or one["conflicts"] for one in spaces)
        return Exit.ATTENTION if attention else Exit.DONE, {
            "file": str(path.resolve()),
            "attached": True,
            "dialect": file.dialect.value,
            "spaces": spaces,
            "waiting": waiting,
            "to_rescue": aside,
        }


def _space(desk: Desk, file: LogoMeshFile, link: Link, heads: dict[str, int]) -> dict[str, Any]:
    head = heads.get(link.space)
    profile = desk.profile_of(link.server, file.path)
    return {
        "sync_mode": profile.sync_mode.value if profile else None,
        "space": link.space,
        "name": link.name,
        "server": link.server,
        "home": link.home,
        "scope": link.scope,
        "state": link.state.value,
        "reason": link.reason,
        "contact": iso(link.contact),
        "contact_ago": ago(link.contact),
        "unsent": file.unsent(link.space),
        "seen": link.seen,
        "head": head,
        "behind": None if head is None else max(0, head - link.seen),
        "proved": iso(link.proof),
        "proved_ago": ago(link.proof),
        "proved_version": link.proof_version,
        "conflicts": len(file.conflicts(link.space)),
    }


def _heads(desk: Desk, file: LogoMeshFile) -> dict[str, int]:
    """Space -> its version on the server, of those that can be reached soon."""
    heads: dict[str, int] = {}
    asking = []
    for url in dict.fromkeys(link.server for link in file.links()):
        profile = desk.profile_of(url, file.path)
        if profile is None or profile.sync_mode is SyncMode.LOCAL_ONLY:
            continue
        with suppress(SecretsAway):
            if (token := desk.secrets.get(profile.secret_name)) is not None:
                asking.append(threading.Thread(target=_ask, args=(profile, token, heads), daemon=True))
    until = time.monotonic() + _SOON
    for one in asking:
        one.start()
    for one in asking:
        one.join(max(0.0, until - time.monotonic()))
    return dict(heads)


def _ask(profile: Profile, token: str, heads: dict[str, int]) -> None:
    """In a thread of its own: no timeout ends the system's search for the address of a name."""
    with suppress(WireError, BadToken), profile.server(token, timeouts=QUICK) as server:
        heads |= {one["id"]: one["head"] for one in server.spaces() if one["head"] is not None}


def _say(
    desk: Desk, path: Path, file: LogoMeshFile, spaces: list[dict[str, Any]], waiting: list[Any], aside: int
) -> None:
    say = desk.voice.say
    say(f"{path} ({file.dialect.value})", bold=True)
    for one in spaces:
        state = State(one["state"])
        say(
            f"  {one['name'] or one['space']}{' (home)' if one['home'] else ''}: {state.value}",
            fg=_COLORS[state],
        )
        if one["reason"]:
            say(f"    {one['reason']}")
        if one["sync_mode"] is None:
            say(f"    nobody is signed in there: logomesh login {one['server']}", fg="yellow")
        if one["sync_mode"] not in (None, SyncMode.HYBRID.value):
            say(f"    its profile is {one['sync_mode']}: nothing is exchanged", fg="yellow")
        behind = "" if one["behind"] is None else f", {count(one['behind'], 'version')} behind"
        say(f"    last contact {one['contact_ago']}, {count(one['unsent'], 'change')} not sent yet{behind}")
        proof = one["proved_ago"]
        at = f" at version {one['proved_version']}" if one["proved_version"] is not None else ""
        say(f"    proved equal by digest: {proof}{at}")
        if one["conflicts"]:
            say(
                f"    {count(one['conflicts'], 'open conflict')}: logomesh conflicts {path.name}", fg="yellow"
            )
    refused = [one for one in waiting if one["refused"]]
    if refused:
        say(f"  {count(len(refused), 'record')} not taken by the server:", fg="yellow")
    for one in refused[:10]:
        say(f"    {one['type']} {one['id']}: {one['reason']}. {one['detail']}")
    if len(refused) > 10:
        say(f"    … and {len(refused) - 10} more: logomesh status --json")
    if kept := len(waiting) - len(refused):
        words = "stay in the file alone: what they hang on is not there. They go out once it is."
        say(f"  {count(kept, 'row')} {words}")
    if aside > len(waiting):
        say(f"  {count(aside, 'piece')} of work put aside: logomesh rescue {path.name}", fg="yellow")
