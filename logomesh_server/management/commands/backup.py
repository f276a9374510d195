"""`manage.py backup FOLDER`: the database and the uploaded files, in a folder of their own."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from logomesh_server.backup import BackupFailed, backup


class Command(BaseCommand):
    help = "Back up the database and the uploaded files, while the server runs. Prints the new folder."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="in it, a folder named after the time is made")
        parser.add_argument("--keep", type=int, metavar="N", help="afterwards, remove all but the newest N")

    def handle(self, *args: Any, folder: Path, **options: Any) -> None:
        target = folder / f"logomesh-{datetime.now(UTC):%Y%m%dT%H%M%S_%fZ}"
        try:
            backup(target)
        except BackupFailed as error:
            raise CommandError(str(error)) from error
        if options["keep"]:
            _remove_old(folder, options["keep"])
        self.stdout.write(str(target))


def _remove_old(folder: Path, keep: int) -> None:
    import shutil

    made = sorted(path.parent for path in folder.glob("logomesh-*Z/backup.json"))
    for old in made[:-keep]:
        shutil.rmtree(old)
