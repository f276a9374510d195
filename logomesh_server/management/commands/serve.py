"""`manage.py serve`: the whole server as one process tree that one Ctrl-C ends."""

from typing import Any

from django.core.management import BaseCommand

from logomesh_server import env
from logomesh_server.serving import serve


class Command(BaseCommand):
    help = (
        "Run the whole server: databases (unless DATABASE_URL, REDIS_URL name others), web, background work."
    )
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        port = env.number("PORT", 8000, least=1, most=65535)
        serve(env.text("LOGOMESH_HOST", "127.0.0.1"), port, self._say)

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
