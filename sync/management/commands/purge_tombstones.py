"""`manage.py purge_tombstones`: forget deletions that every device had time to hear of."""

from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError, CommandParser

from sync.purging import purge_tombstones


class Command(BaseCommand):
    help = (
        "Remove the tombstones of records that were deleted long ago, with their history, and print how many"
        " there were in each space. A device that was away for longer then compares with the digest."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--days", type=int, default=settings.TOMBSTONE_DAYS, help="keep those younger (%(default)s)"
        )
        parser.add_argument("--dry-run", action="store_true", help="count only, remove nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["days"] < 1:
            raise CommandError("--days must be 1 or more.")
        for found in purge_tombstones(options["days"], dry_run=options["dry_run"]):
            self.stdout.write(f"{found.space_id} {found.tombstones}")
