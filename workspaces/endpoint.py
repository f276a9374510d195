"""What all API views have in common: who asks, strict JSON in, JSON out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import orjson
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.views import APIView

from workspaces.access import Caller, OpenSpace, granted, open_space
from workspaces.problems import Problem
from workspaces.roles import Act
from workspaces.signing_in import authenticate_at
from workspaces.values import one_of, plain_text


class BadRequest(Problem):
    type = "malformed"
    status = 400
    title = "The request cannot be read"


class MethodNotAllowed(Problem):
    type = "method-not-allowed"
    status = 405
    title = "This address does not take that method"


class Endpoint(APIView):
    """An API view. Handlers get Django's own request and answer with `json_answer`.

    It is an APIView so that the API's schema can be drawn from it; content negotiation,
    parsers and throttles of REST framework cost more than our smallest answers, so a request
    goes straight to its handler. A `Problem` that is raised is rendered by the middleware.
    """

    caller: Caller
    needs_sign_in = True
    _space: OpenSpace | None = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.args, self.kwargs = args, kwargs
        method = request.method or ""
        if method not in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
            raise MethodNotAllowed
        handler = getattr(self, "get" if method == "HEAD" else method.lower(), None)
        if handler is None:
            raise MethodNotAllowed(f"It takes {', '.join(self.allowed_methods)}.")
        if self.needs_sign_in:
            self.caller, self._space = authenticate_at(request, _as_id(kwargs.get("space")))
        answer: HttpResponseBase = handler(request, *args, **kwargs)
        return answer

    def open(self, space_id: str, need: Act) -> OpenSpace:
        """The space of the address as it was when the request came, if the caller may do this with it.

        Raises as `open_space`. A write asks again once it holds the space (`sync.push.accept`).
        """
        if self._space is not None and str(self._space.id) == space_id.lower():
            return granted(self._space, need)
        return open_space(self.caller, space_id, need)


def _as_id(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def json_answer(value: Any, status: int = 200) -> HttpResponse:
    """JSON, from a value or from bytes that are JSON already."""
    body = value if isinstance(value, bytes) else orjson.dumps(value, option=orjson.OPT_UTC_Z)
    return HttpResponse(body, status=status, content_type="application/json")


def json_body(request: HttpRequest) -> dict[str, Any]:
    """The body as an object that every JSON reader understands alike. Raises `BadRequest`."""
    try:
        text = request.body.decode()
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        text.encode()
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeError:
        raise BadRequest("The body is not UTF-8, or holds half of a surrogate pair.") from None
    except RecursionError:
        raise BadRequest("The body is nested too deep.") from None
    except ValueError as error:
        raise BadRequest(f"The body is not JSON: {error}.") from None
    if not isinstance(document, dict):
        raise BadRequest("The body must be a JSON object.")
    return document


def text_in(body: dict[str, Any], name: str, *, most: int = 200, default: str | None = None) -> str:
    """A text member of the body: not empty, without control characters, of bounded length."""
    return plain_text(body.get(name, default), name, most=most)


def choice_in(body: dict[str, Any], name: str, choices: Iterable[str]) -> str:
    return one_of(body.get(name), name, choices)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
