"""`manage.py restore FOLDER`: a backup into an empty database, verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from logomesh_server.backup import BackupFailed, restore


class Command(BaseCommand):
    help = "Restore a backup into the configured database, which must be empty. End the server first."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="what `manage.py backup` printed")

    def handle(self, *args: Any, folder: Path, **options: Any) -> None:
        try:
            listed = restore(folder)
        except BackupFailed as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{len(listed['spaces'])} spaces restored, as they were on {listed['made']}.")
