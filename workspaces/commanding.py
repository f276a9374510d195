"""What the commands have in common: problems told in a line, and workspaces found by name."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.management import BaseCommand, CommandError
from django.db import transaction

from workspaces.models import Person, Workspace
from workspaces.problems import Problem


class Act(BaseCommand):
    """A command that does one act, whole or not at all, and prints its result alone."""

    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with transaction.atomic():
                result = self.act(**options)
        except Problem as problem:
            raise CommandError(problem.detail or problem.title) from problem
        for line in result:
            self.stdout.write(line)

    def act(self, **options: Any) -> list[str]:
        """Returns the lines to print. Raises `Problem` or `CommandError`."""
        raise NotImplementedError


def person_called(email: str) -> Person:
    person = Person.objects.filter(email=email.strip().lower()).first()
    if person is None:
        raise CommandError(f"There is no account {email}: make it with `manage.py account {email}`.")
    return person


def workspaces_called(name: str) -> list[Workspace]:
    """The workspaces of this name, or the one with this id. Raises `CommandError` where there are several."""
    try:
        return list(Workspace.objects.filter(pk=UUID(name)))
    except ValueError:
        found = list(Workspace.objects.filter(name=name.strip()))
    if len(found) > 1:
        ids = ", ".join(str(workspace.pk) for workspace in found)
        raise CommandError(f"Several workspaces are called {name}: give one of the ids {ids}.")
    return found
