"""`manage.py doctor`: everything that the server needs, checked, each with its remedy."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management import BaseCommand, CommandParser

from logomesh_server.database import verdicts
from logomesh_server.database.verdicts import Status
from logomesh_server.doctor import look


class Command(BaseCommand):
    help = "Check everything that the server needs. Exit 0: all well; 1: notes; 2: something fails."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="for monitoring")

    def handle(self, *args: Any, **options: Any) -> None:
        found = []
        for verdict in look():
            found.append(verdict)
            if not options["json"]:
                for line in verdicts.as_lines(verdict):
                    self.stdout.write(line)
        status = 2 if any(verdict.failed for verdict in found) else 0
        if not status and any(verdict.status is Status.NOTE for verdict in found):
            status = 1
        if options["json"]:
            said = {"status": ("ok", "notes", "failed")[status], "checks": verdicts.as_json(found)}
            self.stdout.write(json.dumps(said, indent=1, ensure_ascii=False))
        sys.exit(status)
