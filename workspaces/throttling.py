"""Slows down those who guess passwords, by account and by address.

The counts stand in PostgreSQL: one statement counts and answers, so parallel tries cannot slip
through, and Redis being away neither opens the door nor locks anybody out.
"""

from __future__ import annotations

from hashlib import sha256
from ipaddress import ip_address, ip_network
from typing import Final

from django.conf import settings
from django.db import connection
from django.http import HttpRequest

from workspaces.problems import TooManyTries

WINDOW_SECONDS: Final = 15 * 60
TRIES_PER_ACCOUNT: Final = 10
TRIES_PER_ADDRESS: Final = 100
"""More than for an account: a whole department may share one address."""

_COUNT: Final = """
    INSERT INTO workspaces_signintries AS t (key, tries, since) VALUES (%(key)s, 1, now())
    ON CONFLICT (key) DO UPDATE SET
        tries = CASE WHEN t.since < now() - %(window)s * interval '1 second' THEN 1 ELSE t.tries + 1 END,
        since = CASE WHEN t.since < now() - %(window)s * interval '1 second' THEN now() ELSE t.since END
    RETURNING tries, ceil(extract(epoch FROM since + %(window)s * interval '1 second' - now()))"""
_TIDY: Final = "DELETE FROM workspaces_signintries WHERE since < now() - interval '1 day'"


def address_of(request: HttpRequest) -> str:
    """Where the request comes from; an IPv6 network counts as one place.

    Behind a proxy that ends TLS it is what that proxy added last; anything before it the client
    may have made up.
    """
    address: str = request.META.get("REMOTE_ADDR", "")
    if settings.HTTPS:
        address = request.META.get("HTTP_X_FORWARDED_FOR", address).rpartition(",")[2].strip()
    try:
        found = ip_address(address)
    except ValueError:
        return "unknown"
    return str(found if found.version == 4 else ip_network((found, 64), strict=False))


def count_try(email: str, address: str | None) -> None:
    """Count a try to sign in. Raises `TooManyTries`, which says after how many seconds to try again."""
    limits = [(_account_key(email), TRIES_PER_ACCOUNT)]
    if address is not None:
        limits.append((_address_key(address), TRIES_PER_ADDRESS))
    with connection.cursor() as cursor:
        for key, limit in limits:
            cursor.execute(_COUNT, {"key": key, "window": WINDOW_SECONDS})
            tries, seconds = cursor.fetchone()
            if tries == 1:
                cursor.execute(_TIDY)
            if tries > limit:
                raise TooManyTries(retry_after=max(1, int(seconds)))


def forget_tries(email: str, address: str | None) -> None:
    """After signing in: the account begins anew, and this try does not count against the address."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM workspaces_signintries WHERE key = %s", [_account_key(email)])
        if address is not None:
            cursor.execute(
                "UPDATE workspaces_signintries SET tries = tries - 1 WHERE key = %s", [_address_key(address)]
            )


def _account_key(email: str) -> str:
    return "account " + sha256(email.encode(errors="replace")).hexdigest()


def _address_key(address: str) -> str:
    return f"address {address}"
