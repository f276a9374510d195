"""The command `logomesh`: thin commands over the library; each ends with a documented exit code."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import Any

import click

from logomesh_client import VERSION
from logomesh_client.cli.desk import Desk
from logomesh_client.cli.endings import Ending, Exit, Failure, ending
from logomesh_client.cli.saying import Voice

_COMMANDS = {
    "login": "signing_in",
    "logout": "signing_in",
    "profiles": "signing_in",
    "test": "testing",
    "spaces": "signing_in",
    "attach": "attaching",
    "detach": "attaching",
    "migrate": "migrate",
    "sync": "syncing",
    "status": "status",
    "conflicts": "conflicts",
    "share": "sharing",
    "history": "sharing",
    "export": "exporting",
    "rescue": "exporting",
    "doctor": "doctor",
}
"""Command -> the module that has it: only that one is loaded, so the command starts quickly."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from importlib import import_module

        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"logomesh_client.cli.{_COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option("--profile", metavar="NAME", help="The profile to use; without it the default one.")
@click.option("--json", "json_", is_flag=True, help="Print JSON for scripts.")
@click.version_option(VERSION, prog_name="logomesh")
@click.pass_context
def logomesh(ctx: click.Context, profile: str | None, json_: bool) -> None:
    """Keep LogoMesh files in step with the spaces of a LogoMesh server.

    LogoMesh itself goes on as ever: offline is the normal state. Exit codes: 0 done, 1 somebody must look,
    2 usage, 3 not reached, 4 sign in, 5 not allowed, 6 the file, 7 refused, 70 our mistake.
    """
    ctx.obj = Desk(Voice(json_), profile)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit. No exception gets out."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal need not have all signs
    given = sys.argv[1:] if arguments is None else arguments
    sys.exit(run(given))


def run(arguments: list[str]) -> int:
    try:
        done: Any = logomesh.main(arguments, prog_name="logomesh", standalone_mode=False)
        sys.stdout.flush()
        return int(done) if isinstance(done, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped. What was done so far counts; the same command goes on.", err=True)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return Exit.USAGE
    except click.ClickException as error:
        return _tell(arguments, Ending(Exit.USAGE, "usage", error.format_message(), _help_for(error)))
    except Exception as error:
        return _tell(arguments, ending(error))


def _help_for(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path} --help says how." if context is not None else ""


def _tell(arguments: list[str], end: Ending) -> int:
    voice = Voice("--json" in arguments)
    if voice.json:
        voice.result(end.as_json())
    else:
        voice.tell(end)
    return int(end.code)


__all__ = ["Exit", "Failure", "main", "run"]
