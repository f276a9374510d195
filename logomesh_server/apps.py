"""What is set up once, when Django has loaded everything."""

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.db import connections
from django.db.models.signals import pre_migrate


class Wiring(AppConfig):
    name = "logomesh_server"

    def ready(self) -> None:
        from . import checks  # noqa: F401  (they register themselves)

        pre_migrate.connect(_take_time, sender=self)


def _take_time(using: str, **_: Any) -> None:
    """Building an index on millions of records takes longer than any request may."""
    if settings.BEHIND_POOLER:  # the session is not ours alone, and would keep it
        return
    with connections[using].cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
