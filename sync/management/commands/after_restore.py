"""`manage.py after_restore`: tell every device that this server was restored from a backup."""

from typing import Any

from django.core.management import BaseCommand

from sync.models import SpaceHead
from workspaces.ids import uuid7


class Command(BaseCommand):
    help = (
        "Give every space a new epoch and print how many there are. Every device then compares digests before"
        " it goes on, and keeps what it has not pushed. The server notices a restore by itself when a device"
        " that had seen more pulls; this command makes it certain for all of them at once."
    )
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        heads = SpaceHead.objects.order_by("space_id").values_list("space_id", flat=True)
        for space in heads:
            SpaceHead.objects.filter(space=space).update(epoch=uuid7())
        self.stdout.write(str(len(heads)))
