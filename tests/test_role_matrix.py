"""Every address × every method × everybody: each answers as the role table says.

The addresses come from the URL resolver, so a new one cannot be forgotten: without a row in `ROWS` the
suite fails. What is expected comes from the literal in `workspaces.roles`. Where the address names a
space, somebody else's private space must answer exactly as an id that never was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from uuid import UUID

import orjson
import pytest
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from migration import imports, uploads
from migration.models import SetAsideRow
from tests.people import Member, People
from workspaces import actions
from workspaces.ids import uuid7
from workspaces.roles import MAY, MAY_IN_WORKSPACE, Act, Standing, WorkspaceAct

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
ACTORS: Final[Mapping[str, tuple[str, Standing, str]]] = {
    # who they are, how they stand to the shared space, and their role in its workspace
    "stranger": ("dan", Standing.OTHER, ""),
    "viewer": ("cai", Standing.VIEWER, "member"),
    "editor": ("ben", Standing.EDITOR, "member"),
    "owner": ("eva", Standing.OWNER, "member"),
    "manager": ("ana", Standing.MANAGER, "manager"),
    "superuser": ("root", Standing.OTHER, ""),
}
ANONYMOUS: Final = "anonymous"
EVERYBODY: Final = (ANONYMOUS, *ACTORS)

Statuses = frozenset[int]
Expected = Mapping[str, Statuses]
"""For each actor the statuses that may answer."""

FINE: Final = frozenset({200, 201, 202, 204})
NO_SUCH_METHOD: Final = frozenset({405})


# --- the rules ------------------------------------------------------------------------------------------


def in_space(act: Act, fine: Statuses = FINE) -> Expected:
    """As the table says of this act in a shared space."""
    return {ANONYMOUS: frozenset({401})} | {
        actor: fine if standing in MAY[act] else frozenset({403 if standing in MAY[Act.KNOW] else 404})
        for actor, (_, standing, _) in ACTORS.items()
    }


def in_workspace(act: WorkspaceAct, fine: Statuses = FINE) -> Expected:
    """As the table says of this act in a workspace."""
    return {ANONYMOUS: frozenset({401})} | {
        actor: fine if role in MAY_IN_WORKSPACE[act] else frozenset({403 if role else 404})
        for actor, (_, _, role) in ACTORS.items()
    }


def signed_in(fine: Statuses = FINE) -> Expected:
    """Whoever has an account."""
    return {ANONYMOUS: frozenset({401})} | dict.fromkeys(ACTORS, fine)


def only(*actors: str, others: int = 404, fine: Statuses = FINE) -> Expected:
    """Just these; to the others it does not exist."""
    rest: Expected = dict.fromkeys(ACTORS, frozenset({others}))
    return {ANONYMOUS: frozenset({401})} | rest | dict.fromkeys(actors, fine)


def public(fine: Statuses = FINE) -> Expected:
    return dict.fromkeys(EVERYBODY, fine)


def page(rule: Expected) -> Expected:
    """A page under that rule: whoever is not signed in is sent to sign in, and a form leads elsewhere."""
    led = frozenset({302, 303})
    return {
        actor: statuses | led if 401 in statuses or statuses >= FINE else statuses
        for actor, statuses in rule.items()
    }


# --- the rows -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What may be done at an address with one method, and a sound request for it."""

    method: str
    expected: Expected
    body: Any = None
    query: str = ""


def on(method: str, expected: Expected, body: Any = None, query: str = "") -> Row:
    return Row(method, expected, body, query)


THOUGHT: Final = "?type=thoughts&id=t1"
NEW_THOUGHT: Final = {
    "change_id": "01980000-0000-7000-8000-000000000001",
    "type": "thoughts",
    "id": "t2",
    "base": 0,
    "set": {"title": "New"},
}

UPLOADED: Final = {"space": "<space>", "upload": "<upload>"}
ONLY_UPLOADER: Final = {**in_space(Act.WRITE), "owner": frozenset({404})}
"""The upload is the editor's: to the owner of the space there is none."""
GONE: Final = frozenset({410})
REFUSED: Final = frozenset({400})
NOT_NOW: Final = frozenset({409})
WITHOUT_TUS: Final = frozenset({412})
"""The requests of this test do not speak tus; that is only said to who may know of the upload."""

# A line an address. Methods that are not named must answer 405.
API: Final[Mapping[str, list[Row]]] = {
    "livez": [on("GET", public())],
    "readyz": [on("GET", public())],
    "metrics": [on("GET", public())],
    "api/v1/about": [on("GET", public())],
    # workspaces
    "api/v1/workspaces": [on("GET", signed_in()), on("POST", signed_in(), {"name": "Another lab"})],
    "api/v1/workspaces/<workspace>/members": [on("GET", in_workspace(WorkspaceAct.MEET))],
    "api/v1/workspaces/<workspace>/members/<email>": [
        on("PUT", in_workspace(WorkspaceAct.MANAGE), {"role": "guest"}),
        on("DELETE", in_workspace(WorkspaceAct.MANAGE)),
    ],
    "api/v1/workspaces/<workspace>/groups": [
        on("GET", in_workspace(WorkspaceAct.MEET)),
        on("POST", in_workspace(WorkspaceAct.MANAGE), {"name": "New", "members": []}),
    ],
    "api/v1/workspaces/<workspace>/groups/<group>": [
        on("PUT", in_workspace(WorkspaceAct.MANAGE), {"members": []}),
        on("DELETE", in_workspace(WorkspaceAct.MANAGE)),
    ],
    "api/v1/spaces/<space>/export": [on("GET", in_space(Act.READ), query="?format=json")],
    "api/v1/spaces/<space>/roles": [on("GET", in_space(Act.KNOW))],
    "api/v1/spaces/<space>/roles/<who>": [
        on("PUT", in_space(Act.SHARE), {"role": "editor"}),
        on("DELETE", in_space(Act.SHARE)),
    ],
    "api/v1/devices": [on("GET", signed_in()), on("POST", signed_in(), {"name": "Phone"})],
    "api/v1/devices/<device>": [on("DELETE", only("viewer", "manager"))],  # it is the viewer's
    # sync
    "api/v1/spaces": [
        on("GET", signed_in()),
        on(
            "POST",
            in_workspace(WorkspaceAct.CREATE),
            {"workspace": "<workspace>", "name": "New", "kind": "shared"},
        ),
    ],
    "api/v1/spaces/<space>": [
        on("GET", in_space(Act.KNOW)),
        on("PATCH", in_space(Act.SHARE), {"name": "Renamed"}),
        on("DELETE", in_space(Act.SHARE)),
    ],
    "api/v1/spaces/<space>/changes": [
        on("GET", in_space(Act.READ)),
        on("POST", in_space(Act.WRITE), {"seen": 0, "changes": [NEW_THOUGHT]}),
    ],
    "api/v1/spaces/<space>/changes/fetch": [on("POST", in_space(Act.READ), {"ids": [["thoughts", "t1"]]})],
    "api/v1/spaces/<space>/digest": [on("GET", in_space(Act.READ))],
    "api/v1/spaces/<space>/record": [on("GET", in_space(Act.READ), query=THOUGHT)],
    "api/v1/spaces/<space>/history": [on("GET", in_space(Act.READ), query=THOUGHT)],
    "api/v1/spaces/<space>/restore": [
        on("POST", in_space(Act.WRITE), {"type": "thoughts", "id": "t1", "version": 1})
    ],
    "api/v1/spaces/<space>/move": [  # nobody here may write in two spaces that are not private
        on(
            "POST",
            in_space(Act.WRITE, frozenset({404})),
            {"thoughts": ["t1"], "to": "01980000-0000-7000-8000-000000000404"},
        )
    ],
    "api/v1/spaces/<space>/conflicts": [on("GET", in_space(Act.READ))],
    "api/v1/search": [
        on("GET", signed_in(), query="?q=first"),
    ],
    "api/v1/conflicts/<conflict>/resolve": [on("POST", in_space(Act.WRITE), {"take": "server"})],
    # migration: an import is the editor's own, who alone knows of it
    "api/v1/imports": [on("GET", signed_in()), on("POST", ONLY_UPLOADER, UPLOADED)],
    "api/v1/imports/<id>": [on("GET", only("editor"))],
    "api/v1/imports/<id>/start": [on("POST", only("editor", fine=NOT_NOW), {})],
    "api/v1/imports/<id>/pause": [on("POST", only("editor", fine=NOT_NOW))],
    "api/v1/imports/<id>/resume": [on("POST", only("editor", fine=NOT_NOW))],
    "api/v1/imports/<id>/cancel": [on("POST", only("editor"))],
    "api/v1/imports/<id>/again": [on("POST", only("editor"))],
    "api/v1/imports/<id>/undo": [on("POST", only("editor", fine=NOT_NOW))],
    "api/v1/imports/<id>/report": [on("GET", only("editor", fine=NOT_NOW), query="?format=csv")],
    "api/v1/imports/<id>/set-aside": [on("GET", only("editor"))],
    "api/v1/imports/<id>/deviations": [on("GET", only("editor"))],
    "api/v1/imports/<id>/salvage": [on("POST", only("editor", fine=NOT_NOW))],
    "api/v1/imports/<id>/attachments/<table>": [on("GET", only("editor"))],
    "api/v1/uploads": [on("POST", signed_in(WITHOUT_TUS))],
    "api/v1/uploads/<upload>": [
        on("GET", only("editor")),
        on("PATCH", only("editor", fine=WITHOUT_TUS)),
        on("DELETE", only("editor", fine=WITHOUT_TUS)),
    ],
}

PAGES: Final[Mapping[str, list[Row]]] = {
    "": [on("GET", signed_in())],
    "welcome/<token>": [on("GET", public(GONE)), on("POST", public(GONE))],
    "join/<token>": [on("GET", public(GONE)), on("POST", public(GONE))],
    "sign-in": [on("GET", public()), on("POST", public(REFUSED))],
    "sign-out": [on("POST", public())],
    "workspaces": [on("POST", signed_in())],
    "workspaces/<workspace>": [on("GET", in_workspace(WorkspaceAct.MEET))],
    "workspaces/<workspace>/invite": [on("POST", in_workspace(WorkspaceAct.MANAGE))],
    "workspaces/<workspace>/members": [on("POST", in_workspace(WorkspaceAct.MANAGE))],
    "workspaces/<workspace>/groups": [on("POST", in_workspace(WorkspaceAct.MANAGE))],
    "devices": [on("GET", signed_in()), on("POST", signed_in())],
    "devices/<device>/rename": [on("POST", only("viewer"))],
    "devices/<device>/revoke": [on("POST", only("viewer", "manager"))],
    "spaces": [on("POST", signed_in({404}))],  # the form names no lab
    "spaces/<space>": [on("GET", in_space(Act.READ)), on("POST", in_space(Act.WRITE))],
    "spaces/<space>/canvas": [on("GET", in_space(Act.READ))],
    "spaces/<space>/canvas.json": [on("GET", in_space(Act.READ))],
    "spaces/<space>/thought": [
        on("GET", in_space(Act.READ), query=THOUGHT),
        on("POST", in_space(Act.WRITE, frozenset({404})), query=THOUGHT),  # the form names no record
    ],
    "spaces/<space>/history": [
        on("GET", in_space(Act.READ), query=THOUGHT),
        on("POST", in_space(Act.WRITE, frozenset({404})), query=THOUGHT),  # the form names no version
    ],
    "spaces/<space>/timeline": [on("GET", in_space(Act.READ))],
    "spaces/<space>/deleted": [
        on("GET", in_space(Act.READ)),
        on("POST", in_space(Act.WRITE, frozenset({404}))),  # the form names no record
    ],
    "spaces/<space>/sharing": [on("GET", in_space(Act.KNOW)), on("POST", in_space(Act.SHARE))],
    "spaces/<space>/settings": [on("POST", in_space(Act.SHARE))],
    "spaces/<space>/import": [on("GET", in_space(Act.WRITE)), on("POST", in_space(Act.WRITE))],
    "spaces/<space>/uploads/<upload>/forget": [on("POST", ONLY_UPLOADER)],
    "conflicts": [on("GET", signed_in()), on("POST", signed_in({404}))],  # the form names no side
    "conflicts/<conflict>": [on("POST", in_space(Act.WRITE, frozenset({404})))],  # neither does this one
    "imports": [on("GET", signed_in())],
    "imports/<id>": [on("GET", only("editor"))],
    "imports/<id>/start": [on("POST", only("editor"))],
    "imports/<id>/<verb>": [on("POST", only("editor"))],
    "database": [on("GET", only("superuser")), on("POST", only("superuser"))],
    "database/move": [on("GET", only("superuser"))],
}
ROWS = API | {
    route: [Row(row.method, page(row.expected), row.body, row.query) for row in rows]
    for route, rows in PAGES.items()
}

# Django's admin makes many addresses, all behind one gate (`ManagersSite.admin_view`); what each shows to
# those who pass is crawled in tests/workspaces/test_admin.py.
GATES: Final[Mapping[str, Expected]] = {
    "admin/": {
        ANONYMOUS: frozenset({302}),
        **{
            actor: frozenset({200, 302, 403, 404, 405})
            if actor in ("manager", "superuser")
            else frozenset({403})
            for actor in ACTORS
        },
    },
}
WITHOUT_GATE: Final = {"admin/login/", "admin/logout/"}
"""They lead to signing in and out."""


# --- the world in which all this is asked -----------------------------------------------------------------


@dataclass(frozen=True)
class World:
    people: People
    values: Mapping[str, str]
    """What stands for each `<name>` in an address."""

    def address(self, route: str, **instead: str) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name not in self.values:
                raise LookupError(f"No value for <{name}> of {route}: add one in the fixture `world`.")
            return instead.get(name, self.values[name])

        return "/" + re.sub(r"<(\w+)>", value, route)

    def body(self, body: Any) -> bytes:
        text = orjson.dumps(body).decode()
        return re.sub(r"<(\w+)>", lambda match: self.values[match[1]], text).encode()


@pytest.fixture
def world(people: People) -> World:
    """The five people with something of each kind: a group, a spare device, a thought, a conflict."""
    actions.create_group(people.workspace.pk, "Readers", [people.ben.email], by=people.ana.person)
    spare, _ = actions.issue_device(people.cai.person, "Old laptop")
    _push(people.eva, people.space.pk, 0, 0, {"title": "First"})
    _push(people.eva, people.space.pk, 1, 1, {"title": "Hers"})
    conflict = _push(people.ben, people.space.pk, 1, 1, {"title": "His"})["conflict"]
    return World(
        people,
        {
            "space": str(people.space.pk),
            "workspace": str(people.workspace.pk),
            "email": people.cai.email,
            "who": people.cai.email,
            "group": "Readers",
            "device": str(spare.pk),
            "conflict": conflict,
            "object_id": str(people.space.pk),
            "id": _imported(people.ben, people.space.pk),
            "upload": _uploaded(people.ben),
            "token": "nobody-made-this",
            "verb": "cancel",
            "app_label": "workspaces",
            "table": "notes",
            "url": "nowhere",
        },
    )


def _imported(by: Member, space: UUID) -> str:
    made = imports.create_import(by.caller, space, "empty.sqlite3", {"file": [b""]})
    SetAsideRow.objects.create(
        imported_by=made, table="notes", position=1, reason="unknown-table", columns=b"{}"
    )
    return str(made.pk)


def _uploaded(by: Member) -> str:
    return str(uploads.create(by.caller, 0, {}).pk)


def _push(by: Member, space: UUID, base: int, seen: int, values: dict[str, Any]) -> Any:
    change = {"change_id": str(uuid7()), "type": "thoughts", "id": "t1", "base": base, "set": values}
    answer = Client().post(
        f"/api/v1/spaces/{space}/changes",
        orjson.dumps({"seen": seen, "changes": [change]}),
        content_type="application/json",
        headers=by.headers,
    )
    return answer.json()["results"][0]


def ask(
    world: World, actor: str, method: str, address: str, body: Any = None, *, in_browser: bool = False
) -> HttpResponse:
    """The answer, with nothing of it kept."""
    client = Client(raise_request_exception=False)
    headers = {"Accept": "text/html" if in_browser else "application/json"}
    if actor != ANONYMOUS:
        member: Member = getattr(world.people, ACTORS[actor][0])
        if in_browser:
            client.force_login(member.person)
        else:
            headers |= member.headers
    data = b"" if body is None else world.body(body)
    with transaction.atomic():
        answer = client.generic(method, address, data, content_type="application/json", headers=headers)
        if answer.streaming:
            b"".join(answer.streaming_content)  # type: ignore[attr-defined]
        transaction.set_rollback(True)
    return answer  # type: ignore[return-value]


@cache
def routes() -> tuple[str, ...]:
    """All addresses of the server, written without converters: `api/v1/spaces/<space>`."""
    return tuple(sorted({_plain(route) for route in _routes(get_resolver().url_patterns, "")}))


def _plain(route: str) -> str:
    route = re.sub(r"\(\?P(<\w+>)[^)]*\)", r"\1", route)  # of the admin's regular expressions
    return re.sub(r"<\w+:", "<", route).replace("^", "").replace("$", "")


def _routes(patterns: Iterable[Any], before: str) -> Iterable[str]:
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _routes(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            yield route


def gate_of(route: str) -> Expected | None:
    return next((rule for prefix, rule in GATES.items() if route.startswith(prefix)), None)


def wrong_cells(
    world: World,
    address: str,
    expected_of: Callable[[str, str], Statuses],
    row_of: Mapping[str, Row],
    **how: bool,
) -> list[str]:
    wrong = []
    for method in METHODS:
        row = row_of.get(method)
        for actor in EVERYBODY:
            expected = expected_of(method, actor)
            body = row.body if row else ({} if method != "GET" else None)
            answer = ask(world, actor, method, address + (row.query if row else ""), body, **how)
            if answer.status_code not in expected:
                wrong.append(f"{method} by {actor}: {answer.status_code}, expected {sorted(expected)}")
    return wrong


# --- the tests ------------------------------------------------------------------------------------------


def test_every_address_has_a_row() -> None:
    forgotten = [route for route in routes() if route not in ROWS and gate_of(route) is None]
    assert not forgotten, (
        "Nobody has said who may use these addresses. Add a line for each to ROWS in"
        " tests/test_role_matrix.py, such as:\n"
        + "\n".join(f'    "{route}": [on("GET", in_space(Act.READ))],' for route in forgotten)
    )


def test_no_row_is_about_an_address_that_is_gone() -> None:
    assert not ROWS.keys() - set(routes())


@pytest.mark.parametrize("route", ROWS)
def test_answers_as_the_table_says(world: World, route: str) -> None:
    rows = {row.method: row for row in ROWS[route]}
    in_browser = not route.startswith("api/")
    unnamed = NO_SUCH_METHOD | {302, 303, 403} if in_browser else NO_SUCH_METHOD

    def expected_of(method: str, actor: str) -> Statuses:
        return rows[method].expected[actor] if method in rows else unnamed

    wrong = wrong_cells(world, world.address(route), expected_of, rows, in_browser=in_browser)
    assert not wrong, f"{route} does not answer as the role table says:\n" + "\n".join(wrong)


@pytest.mark.parametrize("route", [route for route in ROWS if "<space>" in route])
def test_a_private_space_answers_as_one_that_never_was(world: World, route: str) -> None:
    in_browser = not route.startswith("api/")
    for row in ROWS[route]:
        for actor in ACTORS:
            if actor == "owner":
                continue
            private, unknown = (
                ask(
                    world,
                    actor,
                    row.method,
                    world.address(route, space=str(space)) + row.query,
                    row.body,
                    in_browser=in_browser,
                )
                for space in (world.people.private.pk, uuid7())
            )
            assert private.status_code == 404, f"{row.method} {route} by {actor}"
            assert _without_request_id(private) == _without_request_id(unknown), (
                f"{row.method} {route} tells {actor} a private space from one that does not exist"
            )


def test_the_gates_hold(world: World) -> None:
    wrong = []
    for route in routes():
        rule = gate_of(route)
        if rule is None or route in WITHOUT_GATE:
            continue
        found = wrong_cells(
            world, world.address(route), lambda _, actor, rule=rule: rule[actor], {}, in_browser=True
        )
        wrong += [f"{route}: {cell}" for cell in found]
    assert not wrong, "\n".join(wrong)


def _without_request_id(answer: HttpResponse) -> tuple[str, dict[str, str]]:
    request_id = answer["X-Request-ID"]
    headers = {name: value for name, value in answer.items() if name != "X-Request-ID"}
    return answer.content.decode().replace(request_id, ""), headers
