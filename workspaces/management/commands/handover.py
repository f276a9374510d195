"""`manage.py handover`: the private spaces that a leaver left behind get a new owner."""

from typing import Any

from django.core.management import CommandParser

from workspaces import actions
from workspaces.commanding import Act, person_called


class Command(Act):
    help = (
        "Hand over the private spaces of somebody who left the workspace, or whose account is closed, to a"
        " member of it, and print their ids. Each is written into the audit trail."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("leaver", help="e-mail address of the one who left")
        parser.add_argument("--to", required=True, metavar="EMAIL", help="the new owner")
        parser.add_argument("--by", required=True, metavar="EMAIL", help="the superuser who decides it")

    def act(self, **options: Any) -> list[str]:
        by = person_called(options["by"])
        handed = actions.hand_over_private_spaces(options["leaver"], options["to"], by=by)
        return [str(space.pk) for space in handed]
