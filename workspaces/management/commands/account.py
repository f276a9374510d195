"""`manage.py account`: somebody's account, their password, their role in a workspace."""

import sys
from typing import Any

from django.core.management import CommandError, CommandParser

from workspaces import actions
from workspaces.commanding import Act, workspaces_called
from workspaces.models import Membership, Person, WorkspaceRole
from workspaces.problems import InvalidValue
from workspaces.values import email_address, good_password


class Command(Act):
    help = "Make an account, or change it: password, role in a workspace (made if there is none), superuser."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--name", default="", help="as others see it")
        parser.add_argument(
            "--password-stdin", action="store_true", help="read the password from standard input"
        )
        parser.add_argument("--workspace", help="its name or id")
        parser.add_argument("--role", choices=WorkspaceRole.values, help="in the workspace; else member")
        parser.add_argument(
            "--superuser", action="store_true", help="may hand over what leavers left; sees no space for it"
        )

    def act(self, **options: Any) -> list[str]:
        if options["role"] and not options["workspace"]:
            raise CommandError("--role needs --workspace.")
        email = email_address(options["email"])
        password = self._password(email) if options["password_stdin"] else None
        person = Person.objects.filter(email=email).first()
        if person is None:
            person = actions.register(email, password, options["name"], any_password=True)
        elif password is not None and not person.check_password(password):
            actions.set_password(email, password, by=None, any_password=True)
        if options["superuser"]:
            actions.make_superuser(email, by=None)
        if options["workspace"]:
            self._join(person, options["workspace"], options["role"])
        return [email]

    def _password(self, email: str) -> str:
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise CommandError("There is no password on standard input.")
        try:
            good_password(password, Person(email=email))
        except InvalidValue as problem:  # who is at this command line may do as they like
            self.stderr.write(f"This is a weak password, but taken: {problem.detail}")
        return password

    def _join(self, person: Person, name: str, role: str | None) -> None:
        found = workspaces_called(name)
        workspace = found[0] if found else actions.create_workspace(name, by=None)
        is_member = Membership.objects.filter(workspace=workspace, person=person).exists()
        if role or not is_member:
            actions.set_member_role(workspace.pk, person.email, role or WorkspaceRole.MEMBER, by=None)
