"""`manage.py reference`: draw the pages of docs/ that come from the code."""

from typing import Any

from django.core.management import BaseCommand

from logomesh_server.reference import pages


class Command(BaseCommand):
    help = "Write the pages of docs/ that are drawn from the code."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        for path, text in pages().items():
            path.write_text(text, encoding="utf-8")
            self.stdout.write(path.name)
