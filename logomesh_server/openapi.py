"""What all operations of the API have in common, added to the schema that is drawn from the views."""

from __future__ import annotations

from copy import deepcopy
from inspect import cleandoc
from typing import Any, Final

from workspaces.endpoint import Endpoint

from .rendering import PROBLEM_JSON

PROBLEM: Final = "#/components/schemas/Problem"
OPEN_TO_ALL: Final = {"about"}
WITH_PASSWORD: Final = {"create_device"}
SIGNING_IN: Final = {
    "token": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`Token …`: the one that was shown when the device was added.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "sessionid",
        "description": "The browser's; what changes something also needs the header `X-CSRFToken`.",
    },
    "password": {"type": "http", "scheme": "basic", "description": "E-mail address and password."},
}

LIVE: Final = {
    "get": {
        "operationId": "live",
        "summary": "Live: what happens in your spaces, as server-sent events",
        "description": "`event: head` with `{space, version}` after a commit; `event: access` with `{space,"
        " role}` when a role changes; a comment line every 15 s. It says only that there is something:"
        " then pull.",
        "tags": ["live"],
        "responses": {
            "200": {
                "description": "A stream without end.",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            }
        },
    }
}
"""Served beside Django (`logomesh_server.asgi`), so no view tells of it."""


def complete(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Say how to sign in, what every operation may answer, and in which form problems come."""
    result["components"]["securitySchemes"] = SIGNING_IN
    result["paths"] = dict(sorted({**result["paths"], "/api/v1/live": deepcopy(LIVE)}.items()))
    for path in result["paths"].values():
        for operation in path.values():
            _complete(operation)
    return result


def _complete(operation: dict[str, Any]) -> None:
    if operation.get("description") == cleandoc(Endpoint.__doc__ or ""):
        del operation["description"]  # it is about the code
    responses = operation["responses"]
    if operation["operationId"] not in OPEN_TO_ALL:
        responses["401"] = _problem("Nobody is signed in, or the token has ended or was revoked.")
        operation["security"] = [{name: []} for name in ("token", "session")]
    if operation["operationId"] in WITH_PASSWORD:
        operation["security"].append({"password": []})
    if "requestBody" in operation:
        responses["413"] = _problem("The body is larger than this address takes.")
    for response in responses.values():
        content = response.get("content", {})
        if content.get("application/json", {}).get("schema", {}).get("$ref") == PROBLEM:
            response["content"] = {PROBLEM_JSON: content["application/json"]}
    operation["responses"] = dict(sorted(responses.items()))


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {PROBLEM_JSON: {"schema": {"$ref": PROBLEM}}}}
