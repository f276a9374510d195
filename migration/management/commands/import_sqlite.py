"""`manage.py import_sqlite`: the whole migration of a file on the server's own disk."""

import json
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError

from migration import imports, jobs
from migration.choosing import EXISTING, IDS, MISSING_TAGS, ORPHANS, STRATEGIES, read_choices
from migration.models import WORKING, Import, State
from workspaces.access import Caller
from workspaces.commanding import person_called
from workspaces.problems import Problem

_LOOK_AGAIN = 0.2  # seconds, while another worker has the job


class Command(BaseCommand):
    help = "Migrate a LogoMesh file into a space, and print the report. Exit 0 only if done and verified."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="with its -wal or -journal beside it, if there is one")
        parser.add_argument("--space", required=True, metavar="ID")
        parser.add_argument("--as", required=True, dest="email", metavar="EMAIL", help="who imports it")
        parser.add_argument("--strategy", choices=STRATEGIES, default="full")
        parser.add_argument("--tag", action="append", default=[], help="gradual: thoughts with it")
        parser.add_argument("--cluster", action="append", default=[], help="gradual: thoughts in it")
        parser.add_argument("--after", metavar="TIME", help="gradual: thoughts changed after a time or day")
        parser.add_argument("--before", metavar="TIME", help="gradual: thoughts changed before it")
        parser.add_argument("--existing", choices=EXISTING, help="records that the space has already")
        parser.add_argument("--orphans", choices=ORPHANS, default="set-aside", help="stray segments")
        parser.add_argument("--missing-tags", choices=MISSING_TAGS, default="set-aside")
        parser.add_argument("--ids", choices=IDS, default="keep", help="rows whose id cannot be used")
        parser.add_argument("--dry-run", action="store_true", help="do all of it, and keep nothing")
        parser.add_argument("--salvage", action="store_true", help="take what a damaged file still has")
        parser.add_argument("--json", action="store_true", help="print the report as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        person = person_called(options["email"])
        caller = Caller(person.pk, person.email, None, person.is_superuser)
        file: Path = options["file"]
        if not file.is_file():
            raise CommandError(f"There is no file {file}.")
        try:
            choices = read_choices(_chosen(options))
            made = imports.create_import_of(caller, options["space"], file)
            found = self._finish(made)
            if options["salvage"] and (found.problem or {}).get("type") == "damaged":
                found = self._finish(imports.salvage(caller, made.pk))
            if found.state == State.READY:
                found = self._finish(imports.start(caller, made.pk, choices))
        except Problem as problem:
            raise CommandError(f"{problem.title}. {problem.detail}") from problem
        self._print(found, as_json=options["json"])
        if found.state != State.DONE and not (options["dry_run"] and found.state == State.READY):
            sys.exit(1)

    def _finish(self, made: Import) -> Import:
        """Work until nothing is left to do, or look on while another worker does."""
        while (found := Import.objects.get(pk=made.pk)).state in WORKING:
            if not jobs.run(made.pk):
                time.sleep(_LOOK_AGAIN)
        return found

    def _print(self, found: Import, *, as_json: bool) -> None:
        report: dict[str, Any] = {"state": found.state, **(found.report or {})}
        if found.problem:
            report["problem"] = found.problem
        if as_json:
            self.stdout.write(json.dumps(report, ensure_ascii=False))
            return
        if "salvaged" in report:
            self.stdout.write("Salvaged from a damaged file: some of its rows may be missing.")
        for name, table in report.get("tables", {}).items():
            counts = f"{table['rows_in']:>9} rows, {table['migrated']:>9} migrated"
            left = f", {table['left_for_later']:>7} left for later" if table.get("left_for_later") else ""
            self.stdout.write(f"{name:<26} {counts}, {table['set_aside']:>7} set aside{left}")
        if found.problem:
            self.stdout.write(found.problem["detail"])
        for side in ("source", "target"):
            if report.get(f"{side}_digest"):
                self.stdout.write(f"{side} digest {report[f'{side}_digest']}")
        self.stdout.write(found.state)


def _chosen(options: dict[str, Any]) -> dict[str, Any]:
    """The options of the command as the API takes them."""
    filters = {
        "tags": options["tag"],
        "clusters": options["cluster"],
        "after": options["after"],
        "before": options["before"],
    }
    names = ("strategy", "dry_run", "existing", "orphans", "missing_tags", "ids")
    return {name: options[name] for name in names} | {"filters": filters}
