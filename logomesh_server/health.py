"""How the server is: for process supervisors, load balancers, monitoring and curious clients."""

import hmac
import logging
import shutil
import time
from typing import Any, Final

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sync.core import limits
from workspaces.problems import NotFound

from . import counting
from .folder import LEAST_FREE_BYTES
from .version import NAME, PROTOCOL_VERSIONS, VERSION

logger = logging.getLogger(__name__)

STARTED: Final = time.time()
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", ""})  # "": a unix socket


@require_safe
def alive(request: HttpRequest) -> HttpResponse:
    """This process answers. Says nothing about the database."""
    return HttpResponse("ok\n", content_type="text/plain")


_migrated = False


@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """Requests can be served: the database answers and is migrated, and the disk has room.

    Redis being away is told but no reason for a 503: sync works without it, only live events pause.
    """
    parts = {"database": _database(), "disk": _disk(), "redis": _redis()}
    usable = parts["database"] == "ok" and parts["disk"] == "ok"
    return JsonResponse({"ready": usable, **parts}, status=200 if usable else 503)


def _database() -> str:
    global _migrated
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        if not _migrated:
            executor = MigrationExecutor(connection)
            _migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return "away"
    return "ok" if _migrated else "not migrated"


def _disk() -> str:
    return "ok" if shutil.disk_usage(settings.DATA_DIR).free >= LEAST_FREE_BYTES else "full"


def _redis() -> str:
    from django.core.cache import cache

    try:
        cache.get("readyz")
    except redis.exceptions.RedisError:
        return "away"
    return "ok"


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Figures in Prometheus's text format, for this machine or whoever has LOGOMESH_METRICS_TOKEN."""
    if not _may_see_metrics(request):
        raise NotFound("Nothing is found at this address. Check it for typing errors.")
    return HttpResponse(counting.text(), content_type="text/plain; version=0.0.4; charset=utf-8")


def _may_see_metrics(request: HttpRequest) -> bool:
    if settings.METRICS_TOKEN:
        given = request.META.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        return hmac.compare_digest(given.encode(errors="replace"), settings.METRICS_TOKEN.encode())
    through_a_proxy = settings.HTTPS or "HTTP_X_FORWARDED_FOR" in request.META
    return not through_a_proxy and request.META.get("REMOTE_ADDR", "") in LOOPBACK


def _limits() -> dict[str, Any]:
    return {
        "max_changes": limits.MAX_CHANGES,
        "max_push_bytes": limits.MAX_PUSH_BYTES,
        "max_record_bytes": limits.MAX_RECORD_BYTES,
        "max_id_characters": limits.MAX_ID_CHARACTERS,
        "default_page": limits.DEFAULT_PAGE,
        "max_page": limits.MAX_PAGE,
    }


class About(APIView):
    """What this server is and what it takes."""

    @extend_schema(
        operation_id="about",
        auth=[],
        responses=inline_serializer(
            "About",
            {
                "name": serializers.CharField(),
                "version": serializers.CharField(),
                "protocol_versions": serializers.ListField(child=serializers.IntegerField()),
                "limits": inline_serializer(
                    "Limits", {name: serializers.IntegerField() for name in _limits()}
                ),
            },
        ),
    )
    def get(self, request: Request) -> Response:
        """Name, version, protocol versions and limits. Needs no sign-in."""
        return Response(
            {
                "name": NAME,
                "version": VERSION,
                "protocol_versions": list(PROTOCOL_VERSIONS),
                "limits": _limits(),
            }
        )
