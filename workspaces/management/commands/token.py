"""`manage.py token`: a device token, for scripts and for clients that are set up without a browser."""

from typing import Any

from django.core.management import CommandParser
from django.utils.timezone import now

from workspaces import actions
from workspaces.commanding import Act, person_called
from workspaces.ids import uuid7
from workspaces.models import Device
from workspaces.signing_in import hash_of_token, lasting_token


class Command(Act):
    help = "Print the token of somebody's device of this name; made if there is none that still counts."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--device", required=True, metavar="NAME")

    def act(self, **options: Any) -> list[str]:
        person, name = person_called(options["email"]), options["device"]
        devices = Device.objects.filter(
            person=person, name=name.strip(), made_by=None, revoked_at=None, expires_at__gt=now()
        )
        for device in devices:
            token = lasting_token(device.pk)
            if hash_of_token(token) == bytes(device.token_hash):
                return [token]
        device_id = uuid7()
        _, token = actions.issue_device(
            person, name, by=None, device_id=device_id, token=lasting_token(device_id)
        )
        return [token]
