"""Every operation of docs/openapi.yaml, asked with whatever its schema allows and some that it does not.

The server never answers 5xx, only with the statuses and content types that the schema names, and with
bodies of the shape that it names. `make fuzz-api` asks more often.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.sync.devices import change

if TYPE_CHECKING:
    from tests.people import People

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
SCHEMA = schemathesis.openapi.from_path(Path(__file__).parents[2] / "docs" / "openapi.yaml")
CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture
def application() -> Iterator[Any]:
    """The WSGI application, asked inside the test's own transaction."""
    from django.core.wsgi import get_wsgi_application

    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield get_wsgi_application()
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.fixture
def known(people: People) -> dict[str, str]:
    """What exists, by the names that addresses give it."""
    from sync.models import Origin
    from sync.push import edit

    def push(*changes: dict[str, Any]) -> Any:
        stored = edit(people.eva.caller, people.space.pk, list(changes), Origin.PUSH)
        return stored.outcome.results[0]

    push(change("thoughts", "t1", set={"title": "First"}), change("tags", "g1", set={"name": "G"}))
    push(change("thoughts", "t1", 1, set={"title": "Second"}))
    disputed = push(change("thoughts", "t1", 1, set={"title": "Third"}))
    return {
        "space": str(people.space.pk),
        "workspace": str(people.workspace.pk),
        "conflict": str(disputed.conflict),
        "device": str(people.eva.device.pk),
        "email": people.ben.email,
        "who": people.ben.email,
        "id": "t1",
        "type": "thoughts",
    }


@SCHEMA.exclude(path="/api/v1/live").parametrize()  # a stream without end
@settings(
    deadline=None,
    suppress_health_check=list(HealthCheck),
    max_examples=settings().max_examples // 10,
)
def test_it_answers_as_the_schema_says(
    case: schemathesis.Case, application: Any, people: People, known: dict[str, str]
) -> None:
    case.operation.schema.app = application
    _aim(case, known)
    with transaction.atomic():
        case.call_and_validate(
            headers={**people.eva.headers, "Accept-Encoding": "identity"}, checks=CHECKS, app=application
        )
        transaction.set_rollback(True)


def _aim(case: schemathesis.Case, known: dict[str, str]) -> None:
    """Let most of the examples name something that exists: the others end at `404`."""
    for parameters in (case.path_parameters, case.query):
        for name, value in (parameters or {}).items():
            if name in known and (not value or ord(str(value)[0]) % 4):
                parameters[name] = known[name]
