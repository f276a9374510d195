"""`test`: what lies between this machine and its spaces, step by step."""

from __future__ import annotations

import time
from pathlib import Path

import click

from logomesh_client.cli.desk import Desk
from logomesh_client.cli.endings import Exit
from logomesh_client.cli.options import existing_file, with_desk
from logomesh_client.connection import Step, examine
from logomesh_client.wire import Address, BadAddress

_SIGNS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red"), "skipped": ("-", None)}
_EXITS = {"token": Exit.SIGN_IN, "address": Exit.USAGE}


@click.command(short_help="Find out why a server is not reached.")
@click.argument("server", required=False)
@click.option("--ca", type=existing_file, help="Trust only the certificates of this PEM file.")
@with_desk
def test(desk: Desk, server: str | None, ca: Path | None) -> int:
    """Test the connection to SERVER (without it: of the profile): name, port, TLS, proxy, version, clock,
    speed, token, roles. Each failure comes with its remedy."""
    profile = None
    if server is None:
        profile = desk.profile()
        server = profile.url
    else:
        try:
            profile = desk.profiles.of_server(Address.parse(server).url)
        except BadAddress:
            profile = None  # the test says why
    token = desk.secrets.get(profile.secret_name) if profile else None
    steps: list[Step] = []
    started = time.monotonic()
    for step in examine(server, token, ca=ca or (profile.ca if profile else None)):
        steps.append(step)
        sign, color = _SIGNS[step.result]
        desk.voice.say(f"{sign} {step.name:15}{step.words}", **({"fg": color} if color else {}))
        if step.result != "ok" and step.remedy:
            desk.voice.say(f"  {'':15}{step.remedy}")
    failed = next((step for step in steps if step.result == "failed"), None)
    code = Exit.DONE if failed is None else _EXITS.get(failed.name, Exit.OFFLINE)
    doubtful = [step.name for step in steps if step.result == "warning"]
    desk.voice.say()
    if failed is not None:
        desk.voice.say(f"It does not work: {failed.name}.", bold=True)
    elif doubtful:
        desk.voice.say(f"It works; look at: {', '.join(doubtful)}.", bold=True)
    else:
        desk.voice.say("All is well.", bold=True)
    desk.voice.result(
        {
            "server": server.rpartition("@")[2],
            "ok": failed is None,
            "seconds": round(time.monotonic() - started, 3),
            "steps": [step.as_json() for step in steps],
        }
    )
    return int(code)
