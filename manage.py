#!/usr/bin/env python
"""Runs the server's commands. Those that need a database find one running, or start their own meanwhile."""

import os
import sys

# They work without a database, or start what they need themselves.
WITHOUT_SERVICES = {
    "serve", "run", "database", "doctor", "help", "check", "spectacular", "collectstatic",
    "makemessages", "compilemessages", "reference", "startapp", "makemigrations", "diffsettings",
    "version", "--version", "--help", "-h",
}  # fmt: skip


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "logomesh_server.settings")
    import django
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import call_command, execute_from_command_line

    from logomesh_server.embedded import services_for_a_command
    from logomesh_server.folder import CannotStart

    command = sys.argv[1] if len(sys.argv) > 1 else "help"
    try:
        if command in WITHOUT_SERVICES or {"-h", "--help"} & set(sys.argv):
            execute_from_command_line(sys.argv)
        else:
            with services_for_a_command() as ours:
                if ours and command not in {"migrate", "restore", "showmigrations", "sqlmigrate"}:
                    django.setup()
                    call_command("migrate", verbosity=0, interactive=False)
                execute_from_command_line(sys.argv)
    except (ImproperlyConfigured, CannotStart) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
