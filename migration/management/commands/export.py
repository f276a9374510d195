"""`manage.py export`: a space as a file that LogoMesh opens."""

from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from migration.export.files import FORMATS, write_export
from sync.pull.scope import ALL
from workspaces.access import Caller, open_space
from workspaces.commanding import person_called
from workspaces.problems import Problem
from workspaces.roles import Act


class Command(BaseCommand):
    help = "Write a space into a new file that LogoMesh opens, and print its name."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("space", help="its id")
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--as", dest="email", required=True, metavar="EMAIL", help="who may read the space"
        )
        parser.add_argument("--format", choices=[*FORMATS], default="sqlite")

    def handle(self, *args: Any, **options: Any) -> None:
        person = person_called(options["email"])
        path: Path = options["file"]
        if path.exists():
            raise CommandError(f"{path} exists already: name a new file.")
        try:
            space = open_space(Caller(person.pk, person.email), options["space"], Act.READ)
            part = path.with_name(f"{path.name}.part")
            part.unlink(missing_ok=True)
            write_export(space.id, ALL, options["format"], part)
        except Problem as problem:
            raise CommandError(problem.detail or problem.title) from problem
        part.rename(path)
        self.stdout.write(str(path))
