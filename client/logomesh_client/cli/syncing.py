"""`sync`: one round, or an agent that goes on; and its installation, so that it starts by itself."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from logomesh_client.cli import installing
from logomesh_client.cli.desk import Desk
from logomesh_client.cli.endings import Exit, Failure
from logomesh_client.cli.options import some_files, with_desk
from logomesh_client.cli.saying import count
from logomesh_client.file import LogoMeshFile, State
from logomesh_client.profiles import SyncMode
from logomesh_client.sharing import due, share
from logomesh_client.sync import Agent, Report, sync_once
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


@click.command()
@some_files
@click.option("--watch", is_flag=True, help="Go on until stopped: at every change here or there.")
@click.option("--install", is_flag=True, help="Have the agent start by itself, for this user.")
@click.option("--uninstall", is_flag=True, help="No longer.")
@with_desk
def sync(desk: Desk, files: tuple[Path, ...], watch: bool, install: bool, uninstall: bool) -> int:
    """Bring FILES (without them: all that are attached here) in step with their spaces.

    Offline is no error of LogoMesh: what you do is kept in the file and follows later.
    """
    if install or uninstall:
        done = installing.install() if install else installing.uninstall()
        for words in done.words:
            desk.voice.say(words)
        desk.voice.result({"file": str(done.file), "installed": install})
        return Exit.DONE
    paths = desk.files(files)
    if watch:
        return _watch(desk, paths)
    code, reports = Exit.DONE, []
    for path in paths:
        with LogoMeshFile.open(path) as opened:
            if len(paths) > 1:
                desk.voice.say(path.name, bold=True)
            report = round_of(desk, opened)
            code = max(code, tell_report(desk, opened, report))
            reports.append(report)
    desk.voice.result({"files": reports})
    return int(code)


def round_of(desk: Desk, file: LogoMeshFile) -> dict[str, Any]:
    """One round with each server of a file; what came of it, as JSON."""
    if not file.attached:
        raise Failure(
            Exit.FILE, f"{file.path.name} is not attached to any space.", "logomesh attach FILE --home SPACE"
        )
    by_server: dict[str, list[str]] = {}
    for link in file.links():
        profile = desk.profiles.of_server(link.server)
        if profile is not None and profile.sync_mode is SyncMode.LOCAL_ONLY:
            continue
        if link.state is not State.ACCESS_LOST:
            by_server.setdefault(link.server, []).append(link.space)
    report = Report()
    for url, spaces in by_server.items():
        with desk.server_for(file, url, _PATIENCE) as server:
            found = sync_once(file, server, spaces, new_identity=desk.new_identity(file, url))
            report.spaces += found.spaces
            if moved := follow_rules(desk, file, url, server):
                desk.voice.say(f"  moved by a rule: {', '.join(moved)}")
                sync_once(file, server, spaces)
    return _as_json(file, report)


def follow_rules(desk: Desk, file: LogoMeshFile, url: str, server: Server) -> list[str]:
    """Move what the rules of the profile send to another space; the ids of the thoughts that went."""
    profile = desk.profiles.of_server(url)
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
    code = _EXITS[State(report["state"])]
    return Exit.ATTENTION if code is Exit.DONE and open_conflicts else code


# The agent


def _watch(desk: Desk, paths: list[Path]) -> int:
    agents: list[Agent] = []
    problems: list[Exception] = []
    with ExitStack() as stack:
        for path in paths:
            agents += _agents_of(desk, path, stack)
        if not agents:
            raise Failure(Exit.USAGE, "All profiles are local-only.", "logomesh profiles --mode hybrid")
        stopping = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopping.set())
        threads = [threading.Thread(target=_run, args=(one, problems, stopping)) for one in agents]
        for thread in threads:
            thread.start()
        desk.voice.say(f"Watching {count(len(paths), 'file')}. Stop with Ctrl-C; nothing is lost by that.")
        while not stopping.wait(3600):
            pass
        for agent in agents:
            agent.stop()
        for thread in threads:
            thread.join(timeout=20)
    if problems:
        raise problems[0]
    return Exit.DONE


def _agents_of(desk: Desk, path: Path, stack: ExitStack) -> list[Agent]:
    """An agent for each server of a file. Waits for no network: a token that is missing is made later."""
    agents = []
    with LogoMeshFile.open(path) as file:
        links = file.links()
        if not links:
            raise Failure(
                Exit.FILE, f"{path.name} is not attached to any space.", "logomesh attach FILE --home SPACE"
            )
        for url in dict.fromkeys(link.server for link in links):
            profile = desk.profiles.of_server(url)
            if profile is not None and profile.sync_mode is SyncMode.LOCAL_ONLY:
                continue
            server = stack.enter_context(desk.server_for(file, url, patience=0))
            spaces = [link.space for link in links if link.server == url]
            agents.append(
                Agent(
                    path,
                    server,
                    spaces=spaces,
                    new_identity=lambda url=url: _anew(desk, path, url),  # type: ignore[misc]
                    told=lambda report, url=url, server=server: _told(desk, path, url, server, report),  # type: ignore[misc]
                )
            )
    return agents


def _anew(desk: Desk, path: Path, url: str) -> Any:
    with LogoMeshFile.open(path) as file:
        return desk.new_identity(file, url)()


def _run(agent: Agent, problems: list[Exception], stopping: threading.Event) -> None:
    try:
        agent.run()
    except Exception as error:
        problems.append(error)
        stopping.set()


_last_state: dict[tuple[Path, str], tuple[State, str]] = {}


def _told(desk: Desk, path: Path, url: str, server: Server, report: Report) -> None:
    """A line for each round that did something, or that changed a state; then the rules."""
    if report.sent or report.received:
        with LogoMeshFile.open(path) as file:
            follow_rules(desk, file, url, server)
    at = datetime.now().astimezone()
    for one in report.spaces:
        known, now = _last_state.get((path, one.space)), (one.state, one.reason)
        _last_state[path, one.space] = now
        if not (one.sent or one.received or known != now):
            continue
        desk.voice.line(
            {
                "at": at.isoformat(timespec="milliseconds"),
                "file": str(path),
                "space": one.space,
                "state": one.state.value,
                "reason": one.reason,
                "request_id": one.request_id,
                "sent": one.sent,
                "received": one.received,
                "equal": one.proved,
            }
        )
        found_by = f" (request {one.request_id})" if one.request_id else ""
        why = f": {one.reason}{found_by}" if one.reason else ""
        desk.voice.say(
            f"{at:%H:%M:%S} {path.name} {one.space[:8]} {one.state.value}{why}"
            f" ({one.sent} sent, {one.received} received)"
        )
        sys.stdout.flush()
