"""Turns whatever went wrong into an answer: application/problem+json, or a friendly page for a browser.

One table says which exception is which problem. It serves plain Django views (through the middleware), REST
views (as the exception handler of Django REST framework) and Django's own error handlers.
"""

import errno
import logging
from collections.abc import Mapping
from typing import Any

import psycopg
import redis
from django.core.exceptions import BadRequest as DjangoBadRequest
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.handlers.wsgi import WSGIRequest
from django.db import DataError, InterfaceError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.template.loader import render_to_string
from rest_framework import exceptions as rest

from workspaces.endpoint import BadRequest, MethodNotAllowed
from workspaces.problems import NotFound, Problem, Unauthenticated

from . import problems
from .database.backend.base import CommitUnanswered, broke_off
from .logs import choose_request_id, request_id

logger = logging.getLogger(__name__)

RETRY_SECONDS = 2
PROBLEM_JSON = "application/problem+json"


def problem_of(exception: Exception) -> Problem:
    """The problem that an exception stands for. What nobody expected is logged and told without details."""
    if isinstance(exception, Problem):
        return exception
    if isinstance(exception, rest.APIException):
        return _rest_problem(exception)
    if isinstance(exception, Http404):
        return NotFound("Nothing is found at this address. Check it for typing errors.")
    if isinstance(exception, PermissionDenied):
        return problems.Forbidden(str(exception) or "You may not do this with the role that you have.")
    if isinstance(exception, RequestDataTooBig):
        return problems.BodyTooLarge("The request is larger than this address takes.")
    if isinstance(
        exception,
        SuspiciousOperation | DjangoBadRequest | MultiPartParserError | UnreadablePostError | UnicodeError,
    ):
        return BadRequest(_why_unreadable(exception))
    if isinstance(exception, _AWAY) or _state(exception) in _READ_ONLY or broke_off(exception):
        return _database_problem(exception)
    if isinstance(exception, DataError | psycopg.DataError):
        logger.warning("The database refused a value", exc_info=exception)
        return BadRequest("A value in the request cannot be stored, for instance a NUL character.")
    if isinstance(exception, redis.exceptions.ConnectionError | redis.exceptions.TimeoutError):
        logger.error("Redis is away", exc_info=exception)
        return problems.Unavailable(
            "The server's message service does not answer. Try again in a moment.", retry_after=RETRY_SECONDS
        )
    if isinstance(exception, OSError) and exception.errno in {errno.ENOSPC, errno.EDQUOT}:
        logger.error("A disk is full", exc_info=exception)
        return problems.StorageFull("There is no room left on the server's disk. Tell the people who run it.")
    logger.error("Unexpected exception", exc_info=exception)
    return problems.OurMistake(
        "The server met a mistake of its own; nothing of this request was kept. Tell the people who run it"
        " the request id."
    )


# The hot paths use psycopg's own cursors, so its exceptions come without Django's around them.
_AWAY = (InterfaceError, psycopg.InterfaceError)
_READ_ONLY = {"25006"}  # a standby that was or will be the primary


def _state(exception: Exception) -> str | None:
    """PostgreSQL's code for what went wrong, if it said one."""
    for error in (exception, exception.__cause__):
        if isinstance(state := getattr(error, "sqlstate", None), str):
            return state
    return None


def _database_problem(exception: Exception) -> Problem:
    state = _state(exception)
    logger.error("The database does not answer as it should", exc_info=exception)
    if state == "53100":
        return problems.StorageFull("There is no room left for the database. Tell the people who run it.")
    answers = (
        "can only be read at the moment: it is being moved, or this is not the one that is written to"
        if state in _READ_ONLY
        else "does not answer at the moment"
    )
    kept = (
        "It is not known whether this request was kept: changes can be sent again as they are, and are made"
        " once; look before you repeat anything else."
        if isinstance(exception, CommitUnanswered)
        else "Nothing of this request was kept; try again shortly."
    )
    return problems.Unavailable(f"The database {answers}. {kept}", retry_after=RETRY_SECONDS)


def _why_unreadable(exception: Exception) -> str:
    if type(exception).__name__ == "DisallowedHost":
        return (
            "The server does not go by the name in the Host header; its operator can add it to ALLOWED_HOSTS."
        )
    if isinstance(exception, UnreadablePostError):
        return "The request broke off before all of it had arrived."
    if isinstance(exception, UnicodeError):
        return "A part of the request is not UTF-8."
    return "The request is not one that this server can read."


_REST_PROBLEMS: tuple[tuple[type[rest.APIException], type[Problem]], ...] = (
    (rest.NotAuthenticated, Unauthenticated),
    (rest.AuthenticationFailed, Unauthenticated),
    (rest.PermissionDenied, problems.Forbidden),
    (rest.NotFound, NotFound),
    (rest.MethodNotAllowed, MethodNotAllowed),
    (rest.NotAcceptable, problems.NotAcceptable),
    (rest.UnsupportedMediaType, problems.UnsupportedMediaType),
    (rest.Throttled, problems.TooManyRequests),
)


def _rest_problem(exception: rest.APIException) -> Problem:
    if isinstance(exception, rest.ValidationError):
        pointer, detail = _first_error(exception.detail)
        return BadRequest(detail, pointer=pointer)
    wait = getattr(exception, "wait", None)
    for kind, problem in _REST_PROBLEMS:
        if isinstance(exception, kind):
            return problem(str(exception.detail), retry_after=int(wait) + 1 if wait is not None else None)
    if exception.status_code >= 500:
        return problems.Unavailable(str(exception.detail), retry_after=RETRY_SECONDS)
    return BadRequest(str(exception.detail))


def _first_error(detail: Any, pointer: str = "") -> tuple[str, str]:
    """The JSON pointer and text of the first of DRF's nested validation errors."""
    if isinstance(detail, Mapping) and detail:
        name, inner = next(iter(detail.items()))
        return _first_error(inner, pointer if name == "non_field_errors" else f"{pointer}/{name}")
    if isinstance(detail, list) and detail:
        if all(isinstance(entry, Mapping) for entry in detail):
            index = next((index for index, entry in enumerate(detail) if entry), 0)
            return _first_error(detail[index], f"{pointer}/{index}")
        return _first_error(detail[0], pointer)
    return pointer, str(detail)


# --- answers -------------------------------------------------------------------------------------------


def answer(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The answer to a request that ended in an exception."""
    return render(request, problem_of(exception))


def render(request: HttpRequest, problem: Problem) -> HttpResponse:
    """The problem as a page for a browser that asks for one, and else as JSON."""
    response = _page(problem) if _wants_a_page(request) else _json(problem)
    if problem.retry_after is not None:
        response["Retry-After"] = str(problem.retry_after)
    if problem.status == 401 and not _wants_a_page(request):
        response["WWW-Authenticate"] = 'Token realm="LogoMesh"'
    return response


def _wants_a_page(request: HttpRequest) -> bool:
    if request.path_info.startswith("/api/"):
        return False
    accepted = request.META.get("HTTP_ACCEPT", "")
    return "text/html" in accepted or "json" not in accepted


def _json(problem: Problem) -> HttpResponse:
    import orjson

    return HttpResponse(
        orjson.dumps(problem.body(request_id.get())), content_type=PROBLEM_JSON, status=problem.status
    )


def _page(problem: Problem) -> HttpResponse:
    context = {"problem": problem, "request_id": request_id.get()}
    return HttpResponse(render_to_string("problem.html", context), status=problem.status)


def answer_early(
    environ: dict[str, Any], exception: Exception
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body for a request that never reached Django (see intake.py)."""
    request = WSGIRequest(environ)
    token = request_id.set(choose_request_id(environ))
    try:
        response = answer(request, exception)
        headers = [(name.lower().encode(), value.encode()) for name, value in response.items()]
        headers.append((b"x-request-id", request_id.get().encode()))
        return response.status_code, headers, response.content
    finally:
        request_id.reset(token)


def answer_exception(exception: Exception, context: dict[str, Any]) -> HttpResponse:
    """Django REST framework's EXCEPTION_HANDLER."""
    from rest_framework.views import set_rollback

    set_rollback()
    request = context["request"]
    response = answer(getattr(request, "_request", request), exception)
    if isinstance(exception, rest.MethodNotAllowed):
        response["Allow"] = ", ".join(context["view"].allowed_methods)
    return response


_BY_STATUS: dict[int, Problem] = {
    400: BadRequest("The request is not one that this server can read."),
    403: problems.Forbidden("The request was refused; if it comes from a page, load that page again."),
    404: NotFound("Nothing is found at this address. Check it for typing errors."),
    405: MethodNotAllowed("See the Allow header for the methods that this address takes."),
    413: problems.BodyTooLarge("The request is larger than this address takes."),
}


def as_problem(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """An error that Django itself has answered, as a problem, where the caller is an API client."""
    if (
        response.status_code < 400
        or not request.path_info.startswith("/api/")
        or response.get("Content-Type", "").startswith(PROBLEM_JSON)
    ):
        return response
    known = _BY_STATUS.get(response.status_code)
    if known is None:
        return response
    problem = _json(known)
    for name in ("Allow", "Retry-After"):
        if name in response:
            problem[name] = response[name]
    return problem


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400."""
    return answer(request, exception)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler403."""
    return answer(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler404."""
    return answer(request, exception if isinstance(exception, Problem) else Http404())


def unexpected(request: HttpRequest) -> HttpResponse:
    """Django's handler500: an exception outside of any view, say in a middleware."""
    import sys

    exception = sys.exc_info()[1]
    return answer(request, exception if isinstance(exception, Exception) else RuntimeError("no exception"))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's CSRF_FAILURE_VIEW."""
    from workspaces.pages import keeping

    logger.info("CSRF check failed: %s", reason)
    # A page from before somebody signed in again, in another tab: its words must not be lost.
    if keeping.is_own_form(request) and _wants_a_page(request) and (form := keeping.sent(request)).has_words:
        return keeping.send_again(request, form, 403)
    return render(request, _BY_STATUS[403])
