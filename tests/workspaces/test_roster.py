"""Lists of people, as spreadsheets and directories write them."""

from __future__ import annotations

import pytest

from workspaces.problems import InvalidValue
from workspaces.roster import MOST, read_roster, text_of

LIST = "Name;E-Mail-Adresse;Rolle\r\nZoë Müller;zoe@lab.example;Guest\r\nBen;BEN@lab.example;\r\n"
READ = [("zoe@lab.example", "guest", ""), ("ben@lab.example", "member", "")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_a_list_is_read_however_a_spreadsheet_saves_it(encoding: str) -> None:
    lines = read_roster(text_of(LIST.encode(encoding)))
    assert [(line.email, line.role, line.problem) for line in lines] == READ
    assert [line.number for line in lines] == [2, 3]


@pytest.mark.parametrize(
    "text",
    [
        "zoe@lab.example,guest\nben@lab.example",
        "\ufeffemail\trole\nzoe@lab.example\tguest\n\nben@lab.example\t\n",
        '"role","email"\n"guest","zoe@lab.example"\n"member","ben@lab.example"',
    ],
)
def test_columns_stand_where_the_first_line_says(text: str) -> None:
    assert [(line.email, line.role, line.problem) for line in read_roster(text)] == READ


def test_a_column_that_is_not_there_has_no_role() -> None:
    (line,) = read_roster("mail;name\nzoe@lab.example;Zoë")
    assert (line.role, line.problem) == ("member", "")


def test_each_line_that_cannot_be_done_says_why() -> None:
    lines = read_roster("a@b.example\nA@B.example\nnobody\nc@d.example,boss\n=cmd|'/c calc'!A1")
    assert [bool(line.problem) for line in lines] == [False, True, True, True, True]


@pytest.mark.parametrize("text", ["", " \n;;\n", "email;role\n", "a@b.example\n" * 10_000, "a" * 140_000])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        read_roster(text)


def test_a_list_may_have_so_many_people() -> None:
    assert len(read_roster("\n".join(f"p{n}@lab.example" for n in range(MOST)))) == MOST
