"""Whatever goes wrong, an API client gets a problem and a browser a page; nobody gets details of ours."""

import errno
from typing import Any

import psycopg
import pytest
import redis
from django.core.exceptions import DisallowedHost, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import DataError, OperationalError, connection
from django.http import Http404, HttpResponse, HttpResponseNotAllowed
from django.test import Client, RequestFactory
from rest_framework import exceptions as rest

from logomesh_server import rendering
from logomesh_server.logs import request_id
from tests.people import People
from workspaces.problems import Problem


class Teapot(Problem):
    type = "teapot"
    status = 418
    title = "I am a teapot"


@pytest.mark.parametrize(
    ("raised", "status", "word"),
    [
        (Teapot("short and stout", retry_after=3), 418, "teapot"),
        (Http404("secret"), 404, "not-found"),
        (PermissionDenied(), 403, "forbidden"),
        (SuspiciousOperation("secret"), 400, "malformed"),
        (DisallowedHost("secret"), 400, "malformed"),
        (RequestDataTooBig("secret"), 413, "body-too-large"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "secret"), 400, "malformed"),
        (OperationalError("secret"), 503, "unavailable"),
        (psycopg.DatabaseError("server closed the connection: secret"), 503, "unavailable"),
        (DataError("secret"), 400, "malformed"),
        (redis.exceptions.ConnectionError("secret"), 503, "unavailable"),
        (OSError(errno.ENOSPC, "secret"), 507, "storage-full"),
        (RuntimeError("secret"), 500, "internal-error"),
        (rest.ParseError("no JSON"), 400, "malformed"),
        (rest.NotAuthenticated(), 401, "unauthenticated"),
        (rest.MethodNotAllowed("PUT"), 405, "method-not-allowed"),
        (rest.UnsupportedMediaType("text/x"), 415, "unsupported-media-type"),
        (rest.Throttled(wait=7), 429, "too-many-requests"),
        (rest.ValidationError({"name": [{}, {"first": ["is missing"]}]}), 400, "malformed"),
    ],
)
def test_every_exception_is_a_problem(
    raised: Exception, status: int, word: str, rf: RequestFactory, caplog: pytest.LogCaptureFixture
) -> None:
    answer = rendering.answer(rf.get("/api/v1/anything"), raised)
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.headers.get("Retry-After") == {503: "2", 429: "8", 418: "3"}.get(status)
    body = __import__("json").loads(answer.content)
    assert body["type"].rsplit("/")[-1] == word
    assert body["status"] == status
    assert {"title", "detail", "request_id"} <= body.keys()
    assert "secret" not in answer.content.decode()


def test_a_database_that_only_lets_itself_be_read_is_called_that(rf: RequestFactory) -> None:
    answer = rendering.answer(rf.post("/api/v1/anything"), psycopg.errors.ReadOnlySqlTransaction("secret"))
    assert (answer.status_code, answer["Retry-After"]) == (503, "2")
    assert "can only be read" in answer.content.decode()


def test_a_validation_error_points_at_its_place() -> None:
    problem = rendering.problem_of(rest.ValidationError({"members": [{}, {"email": ["is missing"]}]}))
    assert problem.pointer == "/members/1/email"
    assert problem.detail == "is missing"


def test_a_browser_gets_a_page(rf: RequestFactory) -> None:
    token = request_id.set("abc-123")
    answer = rendering.answer(rf.get("/anything", HTTP_ACCEPT="text/html"), Http404())
    request_id.reset(token)
    assert answer.status_code == 404
    assert answer["Content-Type"].startswith("text/html")
    assert "abc-123" in answer.text


def test_what_django_answered_becomes_a_problem_on_api_paths(rf: RequestFactory) -> None:
    plain = HttpResponseNotAllowed(["GET", "HEAD"])
    answer = rendering.as_problem(rf.put("/api/v1/about"), plain)
    assert answer.status_code == 405
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["Allow"] == "GET, HEAD"
    page = HttpResponse(status=404)
    assert rendering.as_problem(rf.get("/somewhere"), page) is page


def test_unknown_addresses_and_methods_of_the_api(client: Client) -> None:
    unknown = client.get("/api/v1/no-such-thing")
    assert (unknown.status_code, unknown["Content-Type"]) == (404, "application/problem+json")
    wrong = client.delete("/api/v1/about")
    assert (wrong.status_code, wrong["Content-Type"]) == (405, "application/problem+json")
    assert "GET" in wrong["Allow"]


def test_an_unknown_host(client: Client) -> None:
    answer = client.get("/api/v1/about", HTTP_HOST="evil.example")
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    assert "ALLOWED_HOSTS" in answer.json()["detail"]


def test_request_ids(client: Client) -> None:
    assert client.get("/livez", HTTP_X_REQUEST_ID="from-me.1")["X-Request-ID"] == "from-me.1"
    made = client.get("/livez", HTTP_X_REQUEST_ID="bad\tid")["X-Request-ID"]
    assert len(made) == 32
    problem = client.get("/api/v1/no-such-thing", HTTP_X_REQUEST_ID="mine")
    assert problem.json()["request_id"] == "mine"


def test_headers_that_protect_browsers(client: Client) -> None:
    answer = client.get("/livez")
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert "unsafe" not in answer["Content-Security-Policy"]
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cache-Control"] == "no-store"
    assert answer["Referrer-Policy"] == "same-origin"


@pytest.mark.django_db(transaction=True)
def test_a_database_that_goes_away_at_the_commit_leaves_it_unknown(client: Client, people: People) -> None:
    """The last question may have been heard though its answer was not."""
    cut = """
        CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON sync_changeset DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION cut()"""
    change = {"change_id": "01980000-0000-7000-8000-000000000001", "type": "thoughts", "id": "t1", "base": 0}
    address = f"/api/v1/spaces/{people.space.pk}/changes"
    body = {"changes": [{**change, "set": {"title": "One"}}]}

    def push() -> Any:
        return client.post(address, body, content_type="application/json", headers=people.eva.headers)

    with connection.cursor() as cursor:
        cursor.execute(cut)
    try:
        lost = push()
    finally:
        connection.close()
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION cut CASCADE")
    assert (lost.status_code, lost["Retry-After"]) == (503, "2")
    assert "not known whether" in lost.json()["detail"]
    assert "Nothing of this request was kept" not in lost.content.decode()
    assert push().json()["results"][0]["status"] in {"applied", "duplicate"}
