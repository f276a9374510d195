"""What every request passes: an id, problems instead of crashes, and headers that protect browsers."""

import logging
from collections.abc import Callable
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from . import rendering
from .logs import choose_request_id, request_id

logger = logging.getLogger(__name__)

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
Next = Callable[[HttpRequest], HttpResponseBase]


class RequestIds:
    """Takes the caller's X-Request-ID, or makes one; every log line, problem and answer bears it.

    What may have changed something gets a line of its own. It names the route and not the address: names and
    mail addresses of people are parts of addresses.
    """

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        identifier = choose_request_id(request.META)
        token = request_id.set(identifier)
        try:
            response = self.get_response(request)
            response["X-Request-ID"] = identifier
            if request.method not in SAFE:
                route = request.resolver_match.route if request.resolver_match else "unknown"
                logger.info("%s %s: %s", request.method, route, response.status_code)
            return response
        finally:
            request_id.reset(token)


class Problems:
    """Answers what a plain view raises; an API never answers HTML, whatever happened."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        return rendering.as_problem(request, response)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase:
        return rendering.answer(request, exception)


class SecurityHeaders:
    """A strict content policy, and nothing of a signed-in person kept in any cache."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        policy = (
            settings.CONTENT_SECURITY_POLICY_ADMIN
            if request.path_info.startswith("/admin/")
            else settings.CONTENT_SECURITY_POLICY
        )
        response.headers.setdefault("Content-Security-Policy", policy)
        response.headers.setdefault(
            "Permissions-Policy", "camera=(), microphone=(), geolocation=(), interest-cohort=()"
        )
        if not request.path_info.startswith(settings.STATIC_URL):
            response.headers.setdefault("Cache-Control", "no-store")
        return response
