"""`migrate`: a LogoMesh file into a space, with progress; full, hybrid, or bit by bit."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from logomesh_client.cli.attaching import attach_file, links_for, require_file_keeping
from logomesh_client.cli.desk import Desk, find_space
from logomesh_client.cli.endings import Exit, Failure
from logomesh_client.cli.options import one_file, with_desk
from logomesh_client.cli.saying import Voice
from logomesh_client.cli.syncing import round_of, tell_report
from logomesh_client.file import LogoMeshFile
from logomesh_client.migrating import STRATEGIES, Migration, OtherChoices
from logomesh_client.places import Taken

_LONG = 60.0
_LABELS = {
    "snapshot": "Copying aside",
    "upload": "Uploading",
    "assess": "Assessing",
    "copy": "Bringing over",
    "verify": "Verifying",
}


@click.command(short_help="Bring a whole file into a space.")
@one_file
@click.option("--to", "space", required=True, metavar="SPACE", help="Where the thoughts go.")
@click.option("--strategy", type=click.Choice(STRATEGIES), default=None, help="full unless said otherwise.")
@click.option(
    "--tag", "tags", multiple=True, metavar="TAG", help="Gradual: only thoughts with one of these tags."
)
@click.option("--cluster", "clusters", multiple=True, metavar="ID", help="Gradual: only of these clusters.")
@click.option("--after", metavar="TIME", help="Gradual: only thoughts that changed after this time.")
@click.option("--before", metavar="TIME", help="Gradual: only thoughts that changed before this time.")
@click.option("--existing", type=click.Choice(["keep", "take", "merge"]), help="What the space has already.")
@click.option("--orphans", type=click.Choice(["set-aside", "recover"]), help="Segments without a thought.")
@click.option(
    "--missing-tags", type=click.Choice(["set-aside", "create"]), help="Links to tags that are not there."
)
@click.option("--ids", type=click.Choice(["keep", "new"]), help="Rows whose id cannot be used.")
@click.option("--dry-run", is_flag=True, help="A rehearsal: the whole report, and nothing in the space.")
@click.option("--salvage", is_flag=True, help="Of a damaged file take what can still be read.")
@with_desk
def migrate(
    desk: Desk,
    file: Path,
    space: str,
    strategy: str | None,
    tags: tuple[str, ...],
    clusters: tuple[str, ...],
    after: str | None,
    before: str | None,
    dry_run: bool,
    salvage: bool,
    **choices: str | None,
) -> int:
    """Bring FILE into SPACE. Stopped in the middle, the same command goes on.

    \b
    full     all of it, once; the file stays as it is, as a backup
    hybrid   all of it, then the file is attached: both stay in step (nothing is uploaded twice)
    gradual  bit by bit: only what the filters choose; again, with others or none, until nothing is left
    """
    chosen = {"tags": list(tags), "clusters": list(clusters), "after": after, "before": before}
    filters = {name: value for name, value in chosen.items() if value}
    strategy = strategy or ("gradual" if filters else "full")
    if filters and strategy != "gradual":
        raise Failure(Exit.USAGE, f"Filters go with --strategy gradual, not {strategy}.")
    profile = desk.profile()
    if strategy == "hybrid":
        require_file_keeping(profile)
    with desk.server(profile) as server, ExitStack() as stack:
        target = find_space(server.spaces(), space)
        told = _Progress(desk.voice, stack)
        try:
            found = Migration(file, server, target["id"], told).run(
                strategy,
                filters,
                dry_run=dry_run,
                salvage=salvage,
                **{name: value for name, value in choices.items() if value},
            )
        except OtherChoices as error:
            raise Failure(
                Exit.USAGE,
                f"An import of {file.name} with other choices is under way ({error}).",
                "Say the command with those to go on with it, or cancel it on its page.",
            ) from None
        except Taken:
            raise Failure(
                Exit.USAGE, f"{file.name} is being migrated just now.", "Wait for the other command to end."
            ) from None
        stack.close()
        result: dict[str, Any] = {"import": found}
        rehearsed = dry_run and found["state"] == "ready" and found["report"] is not None
        code = Exit.DONE if found["state"] == "done" or rehearsed else Exit.REFUSED
        _tell(desk.voice, file, target, found, code, dry_run)
        if strategy == "hybrid" and code is Exit.DONE and not dry_run:
            home, others = links_for(server, profile, target["id"], ())
            with LogoMeshFile.open(file) as opened:
                attach_file(desk, profile, opened, home, others)
                report = round_of(desk, opened)
                desk.voice.say(f"{file.name} is attached to {target['name']}; from now on both stay in step.")
                code = tell_report(desk, opened, report)
                result["sync"] = report
    desk.voice.result(result)
    return int(code)


class _Progress:
    """A bar for each phase whose end is known; a word where nothing moves for long."""

    def __init__(self, voice: Voice, stack: ExitStack) -> None:
        self._voice, self._stack = voice, stack
        self._phase = ""
        self._bar: Callable[[int], None] = _nothing
        self._last: tuple[str, int] = ("", -1)
        self._moved = time.monotonic()

    def __call__(self, phase: str, done: int, of: int) -> None:
        named = f"{phase}{bool(of)}"
        if named != self._phase:
            self._stack.close()
            self._phase = named
            label = f"{_LABELS[phase]:14}"
            self._bar = self._stack.enter_context(self._voice.bar(of, label)) if of else _nothing
        self._bar(done)
        now = time.monotonic()
        if (phase, done) != self._last:
            self._last, self._moved = (phase, done), now
        elif now - self._moved > _LONG:
            self._moved = now
            self._voice.warn(
                f"{_LABELS[phase]}: nothing has moved for {_LONG:.0f} s. The server may have other imports"
                " before this one. Ctrl-C is safe: the same command goes on later."
            )


def _nothing(position: int) -> None:
    pass


def _tell(
    voice: Voice, file: Path, target: dict[str, Any], found: dict[str, Any], code: Exit, dry_run: bool
) -> None:
    report, problem = found.get("report") or {}, found.get("problem") or {}
    if code is not Exit.DONE:
        voice.say(f"{file.name} was not brought over: {found['state']}.", fg="red")
        if problem:
            voice.say(f"  {problem.get('detail') or problem.get('type')}")
        if problem.get("type") == "damaged":
            voice.say("  What can still be read can be saved: the same command with --salvage.")
        return
    what = "A rehearsal: nothing was brought over" if dry_run else f"{file.name} is in {target['name']}"
    voice.say(f"{what}. {report.get('dialect', '')}, {report.get('seconds', 0):.1f} s", bold=True)
    rows = [["", "in the file", "brought over", "set aside", "left for later"]]
    for table, numbers in (report.get("tables") or {}).items():
        names = ("rows_in", "migrated", "set_aside", "left_for_later")
        if numbers.get("rows_in"):
            rows.append([table, *(f"{numbers.get(name, 0):,}" for name in names)])
    voice.table(rows, indent=2)
    equal = report.get("source_digest") == report.get("target_digest")
    voice.say(f"  Digests of file and space: {'equal' if equal else 'not equal'}.")
    if issues := report.get("issues"):
        voice.say(f"  {issues:,} rows or cells need a look: see the report on the import's page.")
