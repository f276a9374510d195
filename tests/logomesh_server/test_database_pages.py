"""The database's configuration as a page: whose it is, what it does, and that no secret comes back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from logomesh_server.database import moves, pages, profile
from logomesh_server.database.checking import examine
from logomesh_server.database.moving import Progress
from logomesh_server.database.needs import of_this_server
from logomesh_server.database.verdicts import usable
from tests.logomesh_server.servers import PASSWORD, Server, server
from tests.people import People
from workspaces.models import AuditEntry

pytestmark = pytest.mark.xdist_group("database pages")


@pytest.fixture(scope="module")
def department() -> Iterator[Server]:
    with server() as made:
        made.sql(
            f"CREATE ROLE lab LOGIN PASSWORD '{PASSWORD}'",
            "CREATE DATABASE department ENCODING 'UTF8' TEMPLATE template0",
        )
        made.sql("CREATE SCHEMA logomesh AUTHORIZATION lab", database="department")
        yield made


@pytest.fixture
def operator(people: People) -> Client:
    client = Client()
    client.force_login(people.root.person)
    return client


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of its own, for an installation whose environment names no database."""
    monkeypatch.setattr(settings, "DATA_DIR", tmp_path)
    monkeypatch.delenv("DATABASE_URL")
    return tmp_path


def fields(department: Server, **changed: str) -> dict[str, str]:
    return {
        "by": "parts", "host": "127.0.0.1", "port": str(department.port), "database": "department",
        "user": "lab", "schema": "logomesh", "password": PASSWORD, "act": "test", **changed,
    }  # fmt: skip


def posted(client: Client, form: dict[str, str], **headers: str) -> str:
    answer = client.post("/database", form, headers=headers)
    assert answer.status_code == 200, answer.content.decode()[:2000]
    page = unescape(answer.content.decode())
    for secret in {form.get("password", ""), PASSWORD} - {""}:
        assert secret not in page
    return page


def test_to_others_there_is_no_such_page(people: People) -> None:
    for name, member in people.everybody().items():
        client = Client()
        client.force_login(member.person)
        for address in ("/database", "/database/move"):
            expected = 200 if name == "root" else 404
            assert client.get(address, headers={"Accept": "text/html"}).status_code == expected, name
    assert "/database" in _menu(people.root)
    assert "/database" not in _menu(people.ana)


def _menu(member: Any) -> str:
    client = Client()
    client.force_login(member.person)
    return client.get("/admin/").content.decode()


def test_a_test_shows_each_step_and_changes_nothing(operator: Client, department: Server, data: Path) -> None:
    page = posted(operator, fields(department))
    assert "It can be used." in page
    for title in ("Name", "Sign-in", "Rights", "Vectors (pgvector)", "Speed"):
        assert f"<th>{title}</th>" in page
    assert not (data / profile.KEPT).exists()
    assert not AuditEntry.objects.filter(act__startswith="database").exists()


def test_a_failed_test_says_what_to_do_and_keeps_what_was_typed(
    operator: Client, department: Server, data: Path
) -> None:
    page = posted(operator, fields(department, password="zeisig and wren"))
    assert "does not take this password" in page
    assert 'value="department"' in page
    page = posted(operator, fields(department, schema="absent", act="use"))
    assert 'CREATE SCHEMA "absent" AUTHORIZATION "lab";' in page
    assert "Nothing was changed" in page
    assert not (data / profile.KEPT).exists()


def test_for_htmx_the_outcome_alone(operator: Client, department: Server, data: Path) -> None:
    page = posted(operator, fields(department), **{"HX-Request": "true"})
    assert "<html" not in page
    assert "It can be used." in page


def test_using_one_is_what_the_command_does(operator: Client, department: Server, data: Path) -> None:
    page = posted(operator, fields(department, act="use"))
    assert "used from the next start on" in page
    kept = profile.kept(data)
    assert kept is not None
    assert (kept.address, kept.schema) == (f"lab@127.0.0.1:{department.port}/department", ("logomesh",))
    assert kept.password == PASSWORD
    assert (data / profile.KEPT_SECRET).stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in (data / profile.KEPT).read_text()
    page = operator.get("/database").content.decode()
    assert "From the next start on" in page
    assert PASSWORD not in page
    [entry] = AuditEntry.objects.filter(act="database-chosen")
    assert (entry.by, entry.subject) == (operator_person(operator), kept.address)


def operator_person(client: Client) -> Any:
    from workspaces.models import Person

    return Person.objects.get(pk=client.session["_auth_user_id"])


def test_the_environment_comes_first(operator: Client, department: Server) -> None:
    assert "DATABASE_URL" in operator.get("/database").content.decode()
    assert "comes first" in posted(operator, fields(department, act="use"))


@pytest.mark.parametrize(
    "changed",
    [
        {"by": "url", "url": "postgresql://lab:pass/word@127.0.0.1/department"},
        {"by": "url", "url": "postgresql://lab:p@pass/word@127.0.0.1/department"},
        {"by": "url", "url": "postgresql://lab:12#pass/word@127.0.0.1/department"},
        {"by": "url", "url": "mysql://lab:pass%2Fword@127.0.0.1/department"},
        {"by": "url", "url": "postgresql://lab:pass%2Fword@127.0.0.1/department?sslkeylogfile=keys"},
        {"by": "url", "url": "postgresql://lab:pass%2Fword@127.0.0.1/department?nonsense=1"},
        {"by": "parts", "host": "", "database": "", "url": "postgresql://lab:x@127.0.0.1/department"},
        {"by": "parts", "port": "54 32"},
        {"by": "parts", "host": "a\nb"},
        {"by": "nothing"},
        {"by": "service", "service": ""},
        {"act": "drop"},
        {"keep_password": "/etc/passwd"},
    ],
)
def test_what_cannot_be_meant_is_refused(
    operator: Client,
    department: Server,
    data: Path,
    changed: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(data)
    page = posted(operator, fields(department, **changed))
    assert 'class="note error"' in page
    assert "pass/word" not in page and "pass%2Fword" not in page
    assert not (data / "keys").exists()


def test_the_present_password_goes_to_no_other_server(
    department: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = pages.asked_for(fields(department))
    monkeypatch.setattr(settings, "DATABASE", used)
    monkeypatch.delenv("DATABASE_PASSWORD", raising=False)
    same = pages.asked_for(fields(department, password="", schema="other"))
    assert (same.password, same.schema) == (PASSWORD, ("other",))
    for changed in (
        {"host": "localhost"},
        {"port": "5433"},
        {"user": "dba"},
        {"database": "postgres"},
        {"sslmode": "disable"},
    ):
        assert pages.asked_for(fields(department, password="", **changed)).password == ""
        with monkeypatch.context() as service:
            service.setenv("DATABASE_PASSWORD", PASSWORD)
            assert pages.asked_for(fields(department, password="", **changed)).password == ""


def test_the_password_of_libpq_s_environment_is_for_the_configured_database_alone(
    department: Server, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    found = examine(pages.asked_for(fields(department, password="")), of_this_server())
    [failed] = [verdict for verdict in found if verdict.failed]
    assert "wants a password" in failed.finding
    monkeypatch.setenv("DATABASE_URL", department.url("department", "lab"))
    used = profile.chosen(data)
    assert used is not None
    assert usable(examine(replace(used, schema=("logomesh",)), of_this_server()))


def test_a_move_is_told_as_it_is(operator: Client, data: Path) -> None:
    def page() -> str:
        return unescape(operator.get("/database/move").content.decode())

    assert "Nothing was ever moved" in page()
    with moves.recording(data, "lab@db/department") as record:
        record.progress(Progress("sync_thoughts", 50, 200, 0.25))
        running = page()
        assert "25 % · sync_thoughts: 50 / 200" in running
        assert 'hx-get="/database/move"' in running
        with pytest.raises(moves.AlreadyMoving), moves.recording(data, "elsewhere"):
            pass
    cut_off = page()  # the process ended without a word
    assert "It was cut off" in cut_off
    assert "hx-get" not in cut_off
    with pytest.raises(ImproperlyConfigured), moves.recording(data, "lab@db/department"):
        raise ImproperlyConfigured("There is no room.")
    assert "There is no room." in page()
