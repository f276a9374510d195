"""`manage.py run web|worker|beat`: one part of the server, where something else does the supervising."""

import os
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError

from logomesh_server import env
from logomesh_server.serving import beat_arguments, environment, web_arguments, worker_arguments


class Command(BaseCommand):
    help = "Run one part of the server. Needs DATABASE_URL and REDIS_URL."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("part", choices=["web", "worker", "beat"])

    def handle(self, *args: Any, part: str, **options: Any) -> None:
        if settings.EMBEDDED_DATABASE or settings.EMBEDDED_REDIS:
            raise CommandError(
                "A part alone needs a PostgreSQL and a Redis that others run: give DATABASE_URL and"
                " REDIS_URL, or start all of it with `make run`."
            )
        if part == "web":
            host = env.text("LOGOMESH_HOST", "127.0.0.1")
            arguments = web_arguments(host, env.number("PORT", 8000, least=1, most=65535))
        else:
            arguments = worker_arguments() if part == "worker" else beat_arguments()
        os.chdir(settings.BASE_DIR)
        os.execve(arguments[0], arguments, environment())  # noqa: S606  (takes this process's place)
