"""`export` and `rescue`: what is in a space, and what could not be sent, as files."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import orjson

from logomesh_client.cli.desk import Desk, find_space
from logomesh_client.cli.endings import Exit, Failure
from logomesh_client.cli.options import new_file, some_files, with_desk
from logomesh_client.cli.saying import count
from logomesh_client.cli.several import each_file
from logomesh_client.file import LogoMeshFile
from logomesh_client.places import write_atomically

_FORMATS = {"sqlite": "sqlite3", "json": "json"}


@click.command(short_help="Write a space to a LogoMesh file, or JSON.")
@click.argument("space")
@click.option("--format", "format_", type=click.Choice(list(_FORMATS)), default="sqlite", show_default=True)
@click.option("--output", "-o", type=new_file, help="Without it: SPACE.sqlite3 here.")
@click.option("--force", is_flag=True, help="Also over a file that is there.")
@with_desk
def export(desk: Desk, space: str, format_: str, output: Path | None, force: bool) -> None:
    """Write all of SPACE to a file that LogoMesh opens (sqlite), or as JSON."""
    with desk.server() as server:
        found = find_space(server.spaces(), space)
        name = (
            "".join(c if c.isalnum() or c in " -_" else "-" for c in found["name"]).strip()[:100] or "space"
        )
        target = output or Path(f"{name}.{_FORMATS[format_]}")
        if not target.absolute().parent.is_dir():
            raise Failure(Exit.FILE, f"There is no folder {target.absolute().parent}.", "Make it first.")
        if target.exists() and not force:
            raise Failure(Exit.FILE, f"{target} is there already.", "Name another with -o, or use --force.")
        handle, part = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.absolute().parent)
        try:
            size = 0
            with os.fdopen(handle, "wb") as file, server.export(found["id"], format_) as parts:
                for piece in parts:
                    size += file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            Path(part).replace(target)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
    desk.voice.say(f"{found['name']} is in {target} ({size:,} bytes).")
    desk.voice.result({"space": found["id"], "file": str(target.resolve()), "bytes": size})


@click.command(short_help="Write what could not be sent to a file.")
@some_files
@click.option("--output", "-o", type=new_file, help="Without it: beside the file.")
@with_desk
def rescue(desk: Desk, files: tuple[Path, ...], output: Path | None) -> int:
    """Write what could not be sent (access was taken away, the server refused it) to a file, one JSON object
    a line. Nothing is removed."""
    paths = desk.files(files)
    if output is not None and len(paths) > 1:
        raise Failure(Exit.USAGE, "Several files cannot go into one.", "Name one file with -o.")
    code, results = each_file(desk, paths, lambda path: _rescued(desk, path, output))
    desk.voice.result({"files": results})
    return code


def _rescued(desk: Desk, path: Path, output: Path | None) -> tuple[int, dict[str, Any]]:
    with LogoMeshFile.open(path) as file:
        found = file.rescue()
    target = None
    if found:
        at = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        target = output or path.with_name(f"{path.stem}-rescued-{at}.jsonl")
        lines = b"".join(orjson.dumps(one, default=str) + b"\n" for one in found)
        write_atomically(target, lines, mode=0o600)
        desk.voice.say(f"{path.name}: {count(len(found), 'piece')} of work, now also in {target}")
    else:
        desk.voice.say(f"{path.name}: nothing was left behind.")
    return Exit.DONE, {
        "file": str(path),
        "pieces": len(found),
        "rescued": str(target) if target else None,
    }
