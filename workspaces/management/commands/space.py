"""`manage.py space`: a space, by name."""

from typing import Any

from django.core.management import CommandError, CommandParser

from workspaces import actions
from workspaces.commanding import Act, person_called, workspaces_called
from workspaces.models import Space, SpaceKind


class Command(Act):
    help = "Print the id of a space of this workspace, owner and name; made if there is none."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--workspace", required=True, help="its name or id")
        parser.add_argument("--owner", required=True, metavar="EMAIL")
        parser.add_argument("--kind", required=True, choices=SpaceKind.values)

    def act(self, **options: Any) -> list[str]:
        found = workspaces_called(options["workspace"])
        if not found:
            raise CommandError(
                f"There is no workspace {options['workspace']}: `manage.py account` makes one."
            )
        owner, name, kind = person_called(options["owner"]), options["name"], options["kind"]
        space = Space.objects.filter(
            workspace=found[0], owner=owner, name=name.strip(), kind=kind, archived_at=None
        ).first()
        if space is None:
            space = actions.create_space(found[0].pk, name, kind, owner=owner, by=None)
        return [str(space.pk)]
