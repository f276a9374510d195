"""Who may send a large body: asked before it is read, so that strangers cannot fill the disk."""

from importlib import import_module
from io import BytesIO
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.core.handlers.wsgi import WSGIRequest
from django.db import connection

from workspaces.problems import Unauthenticated
from workspaces.signing_in import authenticate


def admit(environ: dict[str, Any]) -> None:
    """Raises Unauthenticated or DeviceRevoked. What the caller may do, the view decides later."""
    request = WSGIRequest({**environ, "wsgi.input": BytesIO()})
    try:
        if "HTTP_AUTHORIZATION" in environ:
            authenticate(request)
            return
        sessions = import_module(settings.SESSION_ENGINE)
        key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
        if key is None or SESSION_KEY not in sessions.SessionStore(key):
            raise Unauthenticated
    finally:
        connection.close()  # back to the pool
