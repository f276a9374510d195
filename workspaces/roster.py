"""A list of people as somebody writes or exports it: e-mail address and role, a line each. Pure."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import Final

from django.utils.translation import gettext as _

from workspaces.models import WorkspaceRole
from workspaces.problems import InvalidValue
from workspaces.values import email_address

MOST: Final = 500
_HEADINGS: Final = ("email", "e-mail", "mail", "address")


@dataclass(frozen=True, slots=True)
class Line:
    """One person of the list, or what is wrong with the line."""

    number: int
    email: str
    role: str
    problem: str = ""


def read_roster(text: str) -> list[Line]:
    """The people of a list, separated by comma, semicolon or tab; without a role they become members.

    Raises `InvalidValue` for a list that is empty or too long.
    """
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(",;\t", key=first.count)
    rows = csv.reader(text.lstrip("\ufeff").splitlines(), delimiter=separator)
    lines: list[Line] = []
    for number, row in enumerate(rows, 1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or (not lines and cells[0].lower() in _HEADINGS):
            continue
        lines.append(_line(number, cells, {line.email for line in lines}))
        if len(lines) > MOST:
            raise InvalidValue(
                _("The list has more than %(most)d people: send it in parts.") % {"most": MOST}
            )
    if not lines:
        raise InvalidValue(_("The list is empty. Write a line for each person: e-mail address, role."))
    return lines


def _line(number: int, cells: list[str], known: set[str]) -> Line:
    role = (cells[1] if len(cells) > 1 else "").lower() or WorkspaceRole.MEMBER.value
    try:
        email = email_address(cells[0])
    except InvalidValue:
        return Line(number, cells[0][:254], role[:20], _("This is no e-mail address."))
    if role not in WorkspaceRole.values:
        roles = ", ".join(WorkspaceRole.values)
        return Line(number, email, role[:20], _("The role must be one of: %(roles)s.") % {"roles": roles})
    if email in known:
        return Line(number, email, role, _("This address stands above already."))
    return Line(number, email, role)
