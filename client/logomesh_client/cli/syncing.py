"""`sync`: one round, or an agent that goes on; and its installation, so that it starts by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from logomesh_client.cli import installing
from logomesh_client.cli.desk import Desk
from logomesh_client.cli.endings import Exit, Failure
from logomesh_client.cli.options import some_files, with_desk
from logomesh_client.cli.saying import count
from logomesh_client.cli.several import each_file
from logomesh_client.file import LogoMeshFile, State
from logomesh_client.sharing import due, share
from logomesh_client.sync import Report, sync_once
from logomesh_client.wire import Server, WireError

_PATIENCE = 3.0
"""Seconds: offline is the normal state, and is soon told."""
_EXITS = {
    State.ONLINE: Exit.DONE,
    State.DEGRADED: Exit.OFFLINE,
    State.OFFLINE: Exit.OFFLINE,
    State.ACCESS_LOST: Exit.NOT_ALLOWED,
    State.ATTENTION: Exit.ATTENTION,
}
_WORST = [State.ONLINE, State.DEGRADED, State.OFFLINE, State.ATTENTION, State.ACCESS_LOST]


@click.command(short_help="Bring files in step now, or go on (--watch).")
@some_files
@click.option("--watch", is_flag=True, help="Go on until stopped: at every change here or there.")
@click.option("--install", is_flag=True, help="Have the agent start by itself, for this user.")
@click.option("--uninstall", is_flag=True, help="No longer.")
@with_desk
def sync(desk: Desk, files: tuple[Path, ...], watch: bool, install: bool, uninstall: bool) -> int:
    """Bring FILES (without them: all that are attached here) in step with their spaces.

    Offline is no error of LogoMesh: what you do is kept in the file and follows later.
    """
    if install + uninstall + watch > 1 or ((install or uninstall) and files):
        raise Failure(
            Exit.USAGE,
            "--install, --uninstall and --watch go one at a time, and the first two without files.",
            "The installed agent keeps all files in step that are attached here.",
        )
    if install or uninstall:
        done = installing.install() if install else installing.uninstall()
        for words in done.words:
            desk.voice.say(words)
        desk.voice.result({"file": str(done.file), "installed": install})
        return Exit.DONE
    if watch:
        from logomesh_client.cli.watching import watch_files

        watch_files(desk, files)
        return Exit.DONE

    def round_and_tell(path: Path) -> tuple[int, dict[str, Any]]:
        with LogoMeshFile.open(path) as opened:
            report = round_of(desk, opened)
            return tell_report(desk, opened, report), report

    code, reports = each_file(desk, desk.files(files), round_and_tell)
    desk.voice.result({"files": reports})
    return code


def round_of(desk: Desk, file: LogoMeshFile) -> dict[str, Any]:
    """One round with each server of a file; what came of it, as JSON."""
    if not file.attached:
        raise Failure(
            Exit.FILE, f"{file.path.name} is not attached to any space.", "logomesh attach FILE --home SPACE"
        )
    report, spaces, resting = Report(), file.links(), []
    for url in dict.fromkeys(link.server for link in spaces):
        profile = desk.profile_of(url, file.path)
        if profile is not None and not profile.keeps_files:
            desk.voice.say(
                f"  The profile {profile.name} is {profile.sync_mode.value}: nothing is exchanged."
            )
            resting += [link.space for link in spaces if link.server == url]
            continue
        wanted = [link.space for link in spaces if link.server == url and link.state is not State.ACCESS_LOST]
        if not wanted:
            continue
        with desk.server_for(file, url, _PATIENCE) as server:
            found = sync_once(file, server, wanted, new_identity=desk.new_identity(file, url))
            if moved := follow_rules(desk, file, url, server):
                desk.voice.say(f"  moved by a rule: {', '.join(moved)}")
                found = sync_once(file, server, wanted)
            report.spaces += found.spaces
    return {**_as_json(file, report), "resting": resting}


def follow_rules(desk: Desk, file: LogoMeshFile, url: str, server: Server) -> list[str]:
    """Move what the rules of the profile send to another space; the ids of the thoughts that went."""
    profile = desk.profile_of(url, file.path)
    if profile is None or not profile.rules:
        return []
    named = {link.name: link.space for link in file.links() if link.server == url}
    rules = {tag: named.get(space, space) for tag, space in profile.rules.items()}
    home = next(link.space for link in file.links() if link.home)
    gone: list[str] = []
    for space, thoughts in due(file, rules).items():
        try:
            share(server, home, thoughts, space)
            gone += thoughts
        except WireError as error:
            desk.voice.warn(f"A rule could not move {count(len(thoughts), 'thought')}: {error}")
    return gone


def _as_json(file: LogoMeshFile, report: Report) -> dict[str, Any]:
    spaces = [
        {
            "space": one.space,
            "name": file.link(one.space).name,
            "state": one.state.value,
            "reason": one.reason,
            "request_id": one.request_id,
            "sign_in": one.sign_in,
            "sent": one.sent,
            "received": one.received,
            "merged": one.merged,
            "conflicts": one.conflicts,
            "refused": one.refused,
            "put_aside": one.put_aside,
            "equal": one.proved,
        }
        for one in report.spaces
    ]
    worst = max((one.state for one in report.spaces), key=_WORST.index, default=State.ONLINE)
    return {"file": str(file.path.resolve()), "state": worst.value, "spaces": spaces}


def tell_report(desk: Desk, file: LogoMeshFile, report: dict[str, Any]) -> Exit:
    """Say what a round did; the exit code that it deserves."""
    open_conflicts = 0
    for one in report["spaces"]:
        parts = [f"{one['sent']:,} sent", f"{one['received']:,} received"]
        parts += [f"{one[name]:,} {name}" for name in ("merged", "conflicts", "refused") if one[name]]
        equal = {True: "equal, proved by digest", False: "not equal", None: ""}[one["equal"]]
        desk.voice.say(f"  {one['name'] or one['space']}: {', '.join([*parts, *filter(None, [equal])])}")
        if one["reason"]:
            found_by = f" (request {one['request_id']})" if one["request_id"] else ""
            desk.voice.say(f"    {one['state']}: {one['reason']}{found_by}", fg="yellow")
        if one["put_aside"]:
            words = f"    {count(one['put_aside'], 'piece')} of unsent work put aside: logomesh rescue"
            desk.voice.say(f"{words} {file.path.name}", fg="yellow")
        if one["state"] != State.ACCESS_LOST.value:
            open_conflicts += len(file.conflicts(one["space"]))
    if open_conflicts:
        desk.voice.say(f"  {count(open_conflicts, 'open conflict')}: logomesh conflicts {file.path.name}")
    if servers := {file.link(one["space"]).server for one in report["spaces"] if one["sign_in"]}:
        desk.voice.say(f"  logomesh login {' '.join(servers)}; what is in the file stays.")
        return Exit.SIGN_IN
    code = _EXITS[State(report["state"])]
    return Exit.ATTENTION if code is Exit.DONE and open_conflicts else code
