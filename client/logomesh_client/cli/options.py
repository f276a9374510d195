"""Options and arguments that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from logomesh_client.cli.desk import Desk
from logomesh_client.cli.saying import Voice

F = TypeVar("F", bound=Callable[..., Any])

existing_file: click.Path = click.Path(exists=True, dir_okay=False, path_type=Path)
new_file: click.Path = click.Path(dir_okay=False, path_type=Path)


def with_desk(command: F) -> F:
    """Hand the desk to a command, which may say --json and --profile itself, too."""

    @click.option("--json", "json_", is_flag=True, help="Print JSON for scripts.")
    @click.option("--profile", metavar="NAME", help="The profile to use.")
    @click.pass_context
    @wraps(command)
    def called(context: click.Context, *args: Any, **options: Any) -> Any:
        desk: Desk = context.obj
        json_, profile = options.pop("json_"), options.pop("profile")
        if json_:
            desk.voice = Voice(True)
        if profile is not None:
            desk.profile_name = profile
        return command(desk, *args, **options)

    return called  # type: ignore[return-value]


def one_file(command: F) -> F:
    return click.argument("file", type=existing_file)(command)


def some_files(command: F) -> F:
    return click.argument("files", type=existing_file, nargs=-1)(command)
