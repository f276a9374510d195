"""A list of people as somebody writes or exports it: e-mail address and role, a line each. Pure."""

from __future__ import annotations

import codecs
import csv
from dataclasses import dataclass
from typing import Final

from django.utils.translation import gettext as _

from workspaces.models import WorkspaceRole
from workspaces.problems import InvalidValue
from workspaces.values import email_address

MOST: Final = 500
_ROLE_HEADINGS: Final = ("role", "rolle")


@dataclass(frozen=True, slots=True)
class Line:
    """One person of the list, or what is wrong with the line."""

    number: int
    email: str
    role: str
    problem: str = ""


def text_of(data: bytes) -> str:
    """A list as spreadsheets save it: UTF-8, UTF-16 with a mark, or the code page of Western Windows."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def read_roster(text: str) -> list[Line]:
    """The people of a list, separated by comma, semicolon or tab; without a role they become members.

    A first line without any address names the columns. Raises `InvalidValue` for a list that is empty, too
    long, or no list at all.
    """
    text = text.lstrip("\ufeff")
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(",;\t", key=first.count)
    rows = csv.reader(text.splitlines(), delimiter=separator)
    columns, lines, known = (0, 1), list[Line](), set[str]()
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if not lines and (named := _named_columns(cells)):
                columns = named
                continue
            email, role = (cells[column] if 0 <= column < len(cells) else "" for column in columns)
            lines.append(_line(rows.line_num, email, role.lower(), known))
            known.add(lines[-1].email)
            if len(lines) > MOST:
                raise InvalidValue(
                    _("The list has more than %(most)d people: send it in parts.") % {"most": MOST}
                )
    except csv.Error:
        raise InvalidValue(_("Line %(n)d cannot be read.") % {"n": rows.line_num}) from None
    if not lines:
        raise InvalidValue(_("The list is empty. Write a line for each person: e-mail address, role."))
    return lines


def _named_columns(cells: list[str]) -> tuple[int, int] | None:
    """Where the address and the role stand, if this line names the columns; -1: there is no role."""
    if any("@" in cell for cell in cells):
        return None
    names = [cell.lower() for cell in cells]
    mails = [place for place, name in enumerate(names) if "mail" in name or name == "address"]
    roles = [place for place, name in enumerate(names) if name in _ROLE_HEADINGS]
    return (mails[0], roles[0] if roles else -1) if mails else None


def _line(number: int, cell: str, role: str, known: set[str]) -> Line:
    role = role or WorkspaceRole.MEMBER.value
    try:
        email = email_address(cell)
    except InvalidValue:
        return Line(number, cell[:254], role[:20], _("This is no e-mail address."))
    if role not in WorkspaceRole.values:
        roles = ", ".join(WorkspaceRole.values)
        return Line(number, email, role[:20], _("The role must be one of: %(roles)s.") % {"roles": roles})
    if email in known:
        return Line(number, email, role, _("This address stands above already."))
    return Line(number, email, role)
