"""What every request passes: an id, problems instead of crashes, headers that protect browsers; and what only
browsers need."""

import logging
from collections.abc import Callable
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponseBase
from django.middleware.locale import LocaleMiddleware
from django.utils import translation
from django.utils.deprecation import MiddlewareMixin

from . import rendering
from .logs import choose_request_id, request_id

logger = logging.getLogger(__name__)

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
Next = Callable[[HttpRequest], HttpResponseBase]


def _of_the_api(request: HttpRequest) -> bool:
    return request.path_info.startswith("/api/")


class RequestIds:
    """Takes the caller's X-Request-ID, or makes one; every log line, problem and answer bears it.

    What may have changed something gets a line of its own, and so does what a client was refused, for it
    tells people the id. The line names the route and not the address: names and mail addresses of people are
    parts of addresses.
    """

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        identifier = choose_request_id(request.META)
        token = request_id.set(identifier)
        try:
            response = self.get_response(request)
            response["X-Request-ID"] = identifier
            if request.method not in SAFE or (response.status_code >= 400 and _of_the_api(request)):
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


def _has_token(request: HttpRequest) -> bool:
    """Whether a program asks: it brings its token to the API, and has no session, language or page."""
    return "HTTP_AUTHORIZATION" in request.META and request.path_info.startswith("/api/")


class _ForBrowsers(MiddlewareMixin):
    """Passes requests of programs on. Together these steps cost as much as a third of an empty pull."""

    def __call__(self, request: HttpRequest) -> Any:
        return self.get_response(request) if _has_token(request) else super().__call__(request)


class Sessions(_ForBrowsers, SessionMiddleware):
    pass


class SignedIn(_ForBrowsers, AuthenticationMiddleware):
    pass


class Messages(_ForBrowsers, MessageMiddleware):
    pass


class Languages(LocaleMiddleware):
    """A program is answered in the language of the protocol, whatever the thread spoke before."""

    def __call__(self, request: HttpRequest) -> Any:
        if _has_token(request):
            translation.activate(settings.LANGUAGE_CODE)
            return self.get_response(request)
        return super().__call__(request)
