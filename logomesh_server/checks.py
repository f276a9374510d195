"""What `manage.py check` says about a configuration that works, but not as one would want."""

from __future__ import annotations

import stat
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register

from . import env
from .database.profile import LOCAL_HOSTS, Profile, keeps_a_password


@register()
def names(**_: Any) -> list[CheckMessage]:
    """Variables that nothing reads."""
    return [
        Warning(
            f"Nothing reads the variable {name}.",
            hint="Check it for typing errors; docs/configuration.md lists all of them.",
            id="logomesh.W001",
        )
        for name in env.unknown_names()
    ]


@register()
def key(**_: Any) -> list[CheckMessage]:
    """Whether others on this machine can read the key that signs sessions and cursors."""
    path = settings.DATA_DIR / "secret-key"
    if env.text("SECRET_KEY") or not path.exists() or not stat.S_IMODE(path.stat().st_mode) & 0o077:
        return []
    hint = f"Run `chmod 600 {path}`."
    return [Warning(f"Others on this machine can read {path}.", hint=hint, id="logomesh.W002")]


@register()
def password(**_: Any) -> list[CheckMessage]:
    """Whether the environment's password goes over the one that was kept for the database."""
    if env.text("DATABASE_URL") or not env.text("DATABASE_PASSWORD"):
        return []
    if not keeps_a_password(settings.DATA_DIR):
        return []
    hint = "Remove DATABASE_PASSWORD, or keep the new password with `manage.py database set`."
    return [
        Warning(
            "DATABASE_PASSWORD is used, and not the password that `database set` has kept.",
            hint=hint,
            id="logomesh.W008",
        )
    ]


@register()
def database(**_: Any) -> list[CheckMessage]:
    """How the way to the database is protected, and settings that do not go together."""
    found: list[CheckMessage] = []
    used: Profile = settings.DATABASE
    if not used.is_local and "service" not in used.options and used.options.get("sslmode") != "verify-full":
        found.append(
            Warning(
                f"Whether {used.address} is the right server is not verified"
                f" (sslmode {used.options.get('sslmode', 'from the environment')}).",
                hint="Use sslmode=verify-full with the department's root certificate.",
                id="logomesh.W003",
            )
        )
    if settings.BEHIND_POOLER and settings.DATABASE_HABITS.prepared:
        found.append(
            Warning(
                "Prepared statements are used behind a pooler (LOGOMESH_DB_PREPARED).",
                hint="PgBouncer knows them from version 1.21 on, with max_prepared_statements above 0;"
                " `manage.py database test` says whether yours does.",
                id="logomesh.W004",
            )
        )
    return found


@register(Tags.security, deploy=True)
def web(**_: Any) -> list[CheckMessage]:
    """Whether people reach the server as it thinks they do."""
    found: list[CheckMessage] = []
    if settings.HTTPS and not settings.PUBLIC_URL.startswith("https://"):
        found.append(
            Warning(
                "LOGOMESH_HTTPS is on, but LOGOMESH_URL does not begin with https://.",
                hint="Links in mails would be wrong: set LOGOMESH_URL as people write it in the browser.",
                id="logomesh.W005",
            )
        )
    alone = env.text("LOGOMESH_HOST", "127.0.0.1") in LOCAL_HOSTS and not settings.HTTPS
    if not settings.HTTPS and not alone:
        found.append(
            Warning(
                "People reach the server without TLS.",
                hint="Put a proxy that ends TLS in front, such as Caddy, and set LOGOMESH_HTTPS=1.",
                id="logomesh.W007",
            )
        )
    if not alone and not env.listing("ALLOWED_HOSTS"):
        found.append(
            Warning(
                "Only this machine's own names are answered.",
                hint="Name the host that people write in the browser: ALLOWED_HOSTS=logomesh.example.org",
                id="logomesh.W006",
            )
        )
    return found
