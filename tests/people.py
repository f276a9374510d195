"""The same five people in every test, what they share, and how they ask.

ana manages the lab and has no role in its space; eva owns the space, ben edits it, cai reads it;
dan is a stranger with an account; root is a superuser, who is no member anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workspaces import actions
from workspaces.access import Caller
from workspaces.models import Device, Person, Space, Workspace

PASSWORD = "seven quiet herons"


@dataclass(frozen=True)
class Member:
    """Somebody with an account, a device and its token."""

    person: Person
    device: Device
    token: str

    @property
    def id(self) -> Any:
        return self.person.pk

    @property
    def email(self) -> str:
        return self.person.email

    @property
    def caller(self) -> Caller:
        return Caller(self.person.pk, self.person.email, self.device.pk, self.person.is_superuser)

    @property
    def headers(self) -> dict[str, str]:
        """For Django's test client and for httpx: `client.get(url, headers=ben.headers)`."""
        return {"Authorization": f"Token {self.token}"}


@dataclass(frozen=True)
class People:
    ana: Member
    ben: Member
    cai: Member
    dan: Member
    eva: Member
    root: Member
    workspace: Workspace
    space: Space
    """Shared, owned by eva."""
    private: Space
    """Eva's own."""

    def everybody(self) -> dict[str, Member]:
        return {name: getattr(self, name) for name in ("ana", "ben", "cai", "dan", "eva", "root")}


def make_member(name: str, **values: Any) -> Member:
    person = actions.register(f"{name.lower()}@lab.example", PASSWORD, name, **values)
    return Member(person, *actions.issue_device(person, f"{name}'s laptop"))


def make_people() -> People:
    ana, ben, cai, dan, eva = (make_member(name) for name in ("Ana", "Ben", "Cai", "Dan", "Eva"))
    root = make_member("Root", is_superuser=True)
    workspace = actions.create_workspace("Cognition", by=ana.person)
    for member in (ben, cai, eva):
        actions.set_member_role(workspace.pk, member.email, "member", by=ana.person)
    space = actions.create_space(workspace.pk, "Memory study", "shared", by=eva.person)
    actions.share_with_person(space.pk, ben.email, "editor", by=eva.person)
    actions.share_with_person(space.pk, cai.email, "viewer", by=eva.person)
    private = actions.create_space(workspace.pk, "Eva's notebook", "private", by=eva.person)
    return People(ana, ben, cai, dan, eva, root, workspace, space, private)
