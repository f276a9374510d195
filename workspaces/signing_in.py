"""Who asks: by device token, or by the browser's session."""

from __future__ import annotations

import logging
import re
from base64 import b64decode, urlsafe_b64encode
from hashlib import sha256
from secrets import token_urlsafe
from typing import Any, Final
from uuid import UUID

import psycopg
from django.contrib import auth
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.crypto import salted_hmac

from workspaces.access import SPACE_OF_CALLER, Caller, OpenSpace, known
from workspaces.models import Person
from workspaces.problems import DeviceRevoked, NotAllowed, Unauthenticated
from workspaces.throttling import address_of, count_try, forget_tries
from workspaces.values import is_sound

logger = logging.getLogger(__name__)

TOKEN_PREFIX: Final = "lm_"  # noqa: S105
"""Makes tokens easy to find for scanners that look for leaked secrets."""

# The token of a clone ends with the one that asked for it. The time of the last visit is
# written once a minute at most: otherwise each pull would be a write. The space of the address comes along,
# for a statement of its own costs the web process a fifth of what an empty pull does.
_CALLER: Final = f"""
    WITH found AS (
        SELECT d.id, d.person_id, p.email, p.is_superuser,
               p.is_active AND d.revoked_at IS NULL AND coalesce(d.expires_at > now(), true)
               AND NOT EXISTS (
                   WITH RECURSIVE above AS (
                       SELECT a.* FROM workspaces_device a WHERE a.id = d.made_by_id
                       UNION SELECT a.* FROM workspaces_device a JOIN above b ON a.id = b.made_by_id)
                   SELECT FROM above WHERE revoked_at IS NOT NULL OR expires_at <= now()
               ) AS valid,
               d.last_seen_at
        FROM workspaces_device d JOIN workspaces_person p ON p.id = d.person_id
        WHERE d.token_hash = %(hash)b
    ), seen AS (
        UPDATE workspaces_device d SET last_seen_at = now(), client = %(client)b FROM found
        WHERE d.id = found.id AND found.valid
          AND (found.last_seen_at IS NULL OR found.last_seen_at < now() - interval '1 minute')
    )
    SELECT found.id, person_id, email, is_superuser, valid, space.*
    FROM found LEFT JOIN LATERAL ({SPACE_OF_CALLER}) space ON true"""  # noqa: S608


_PRODUCT: Final = re.compile(r"[A-Za-z0-9._+-]{1,50}/[A-Za-z0-9._+-]{1,29}")


class ForeignForm(NotAllowed):
    type = "csrf-failed"
    title = "The form came from another site or is too old"
    default_detail = "Load the page again and repeat what you did."


class PasswordBackend(ModelBackend):
    """Signs in with e-mail address and password, wherever Django asks: pages, admin, API.

    Every try counts before the password is looked at, so tries at the same moment gain nothing.
    The work is the same whether the account exists or not. Raises `TooManyTries`.
    """

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> Person | None:
        email = (username or kwargs.get("email") or "").strip().lower()
        if password is None or len(email + password) > 2000 or not is_sound(email + password):
            return None
        address = address_of(request) if request else None
        count_try(email, address)
        person: Person | None = super().authenticate(request, username=email, password=password)
        if person is not None:
            forget_tries(email, address)
        return person


def new_token() -> str:
    return TOKEN_PREFIX + token_urlsafe(32)


def lasting_token(device_id: UUID) -> str:
    """The token of a device made at the command line, which can be printed there again.

    It is derived from the server's secret key: who holds that key can sign in as anybody anyway.
    """
    secret = salted_hmac("workspaces.device", device_id.hex, algorithm="sha256").digest()
    return TOKEN_PREFIX + urlsafe_b64encode(secret).decode().rstrip("=")


def hash_of_token(token: str) -> bytes:
    return sha256(token.encode()).digest()


def read_session(request: HttpRequest) -> None:
    """Give a request that passed no middleware the person of its browser session, as it stands now."""
    for middleware in (SessionMiddleware, AuthenticationMiddleware):
        middleware(lambda _: HttpResponse()).process_request(request)


def authenticate(request: HttpRequest) -> Caller:
    """Raises `Unauthenticated`, `DeviceRevoked`, or `ForeignForm` for a page of another site."""
    return authenticate_at(request, None)[0]


def authenticate_at(request: HttpRequest, space_id: UUID | None) -> tuple[Caller, OpenSpace | None]:
    """Who asks, and the space that they ask about if it was found on the way. Raises as `authenticate`."""
    header = request.META.get("HTTP_AUTHORIZATION", "")
    if header:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "token":
            raise Unauthenticated
        return _device_caller(token.strip(), _product(request), space_id)
    person = getattr(request, "user", None)
    if person is None or not person.is_authenticated:
        raise Unauthenticated
    _check_csrf(request)
    return Caller(person.pk, person.email, None, person.is_superuser), None


def authenticate_with_password_too(request: HttpRequest) -> Caller:
    """As `authenticate`, but HTTP Basic with e-mail address and password counts as well.

    Raises `TooManyTries` besides. Only where a device is made: a password is no key for every day.
    """
    scheme, _, secret = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() != "basic":
        return authenticate(request)
    try:
        email, colon, password = b64decode(secret.strip(), validate=True).decode().partition(":")
    except ValueError:
        colon = ""
    if not colon:
        raise Unauthenticated("The Authorization header is not Base64 of e-mail:password, in UTF-8.")
    person = check_password(request, email, password)
    return Caller(person.pk, person.email, None, person.is_superuser)


def check_password(request: HttpRequest, email: str, password: str) -> Person:
    """The person with this e-mail address and password.

    Raises `Unauthenticated`, in the same words and time whether there is such an account or not,
    or `TooManyTries`.
    """
    person = auth.authenticate(request, username=email, password=password)
    if not isinstance(person, Person):
        logger.warning("a sign-in from %s failed", address_of(request))
        raise Unauthenticated("The e-mail address or the password is wrong.")
    return person


def sign_in(request: HttpRequest, email: str, password: str) -> Person:
    """Open a browser session. Raises as `check_password`."""
    person = check_password(request, email, password)
    auth.login(request, person)
    return person


def _device_caller(token: str, client: str, space_id: UUID | None) -> tuple[Caller, OpenSpace | None]:
    if not token.isascii():
        raise Unauthenticated
    connection.ensure_connection()
    cursor: psycopg.Cursor[Any] = psycopg.Cursor(connection.connection)
    asked = {"hash": hash_of_token(token), "client": client, "space": space_id}
    row = cursor.execute(_CALLER, asked, prepare=True).fetchone()
    if row is None:
        raise Unauthenticated("This token is unknown.")
    device, person, email, is_superuser, valid, *space = row
    if not valid:
        raise DeviceRevoked
    return Caller(person, email, device, is_superuser), known(tuple(space)) if space[0] else None


def _product(request: HttpRequest) -> str:
    """What the request says sent it: the first product of its User-Agent, such as logomesh-client/1.2."""
    found = _PRODUCT.match(request.headers.get("User-Agent", ""))
    return found[0] if found else ""


class _CsrfCheck(CsrfViewMiddleware):
    def _reject(self, request: HttpRequest, reason: str) -> HttpResponse:
        raise ForeignForm


def _check_csrf(request: HttpRequest) -> None:
    """API views are exempt from Django's own check, since tokens need none; sessions do."""
    check = _CsrfCheck(lambda _: HttpResponse())
    check.process_request(request)
    check.process_view(request, lambda _: HttpResponse(), (), {})
