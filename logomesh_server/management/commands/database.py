"""`manage.py database`: which PostgreSQL holds the data, whether it can, and how it moves to another one."""

from __future__ import annotations

import contextlib
import getpass
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import BaseCommand, CommandError, CommandParser

from logomesh_server import env
from logomesh_server.database import closing, moves, moving, needs, profile, verdicts
from logomesh_server.database.checking import examine, grants
from logomesh_server.database.naming import TLS, named, use_from_the_next_start
from logomesh_server.database.profile import Profile
from logomesh_server.embedded import put_aside, runs_already, services_for_a_command, start_postgres
from logomesh_server.folder import DATABASE, CannotStart, FolderLock, prepare_folder


class Command(BaseCommand):
    help = "Test, choose or move the database. Secrets are read from the environment, a file or a prompt."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True, metavar="ACT")
        test = acts.add_parser("test", help="test a database step by step; exit 0 if it can be used")
        _address(test)
        test.add_argument("--json", action="store_true", help="the verdicts for a program")
        show = acts.add_parser("show", help="which database is used, without secrets")
        show.add_argument("--json", action="store_true")
        kept = acts.add_parser("set", help="test a database and use it from the next start")
        _address(kept)
        _keeping(kept)
        kept.add_argument("--untested", action="store_true", help="even if the test fails")
        moved = acts.add_parser("move", help="bring everything to another database, and use that one")
        _address(moved)
        _keeping(moved)
        moved.add_argument(
            "--to",
            metavar="URL",
            help="where to: postgresql://user@host:5432/database?sslmode=…, or `embedded` for the way back",
        )
        acts.add_parser("forget", help="use the embedded PostgreSQL again from the next start")
        letter = acts.add_parser("grants", help="SQL for a role that runs the server on another's tables")
        letter.add_argument("--to", required=True, metavar="ROLE", help="who runs the server")
        letter.add_argument("--owner", metavar="ROLE", help="who migrates; else the configured user")
        letter.add_argument("--pooled", action="store_true", help="and its settings, for PgBouncer")

    def handle(self, *args: Any, act: str, **options: Any) -> None:
        try:
            getattr(self, f"_{act}")(**options)
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error

    def _test(self, **options: Any) -> None:
        with self._asked_for(options) as asked:
            found = self._examined(asked, quiet=options["json"])
        if options["json"]:
            said = {
                "usable": verdicts.usable(found),
                "address": asked.address,
                "steps": verdicts.as_json(found),
            }
            self.stdout.write(json.dumps(said, indent=1, ensure_ascii=False))
        if not verdicts.usable(found):
            sys.exit(1)

    def _examined(self, asked: Profile, *, quiet: bool) -> list[verdicts.Verdict]:
        found = []
        for verdict in examine(asked, needs.of_this_server()):
            found.append(verdict)
            if not quiet:
                for line in verdicts.as_lines(verdict):
                    self.stdout.write(line)
        if not quiet:
            able = "can be used" if verdicts.usable(found) else "cannot be used yet"
            self.stdout.write(f"\n{asked.address} {able}.")
        return found

    def _show(self, **options: Any) -> None:
        used: Profile = settings.DATABASE
        source = (
            "DATABASE_URL"
            if env.text("DATABASE_URL")
            else "the embedded PostgreSQL"
            if settings.EMBEDDED_DATABASE
            else str(settings.DATA_DIR / profile.KEPT)
        )
        said = {"from": source, "address": used.address, **used.shown()}
        if options["json"]:
            self.stdout.write(json.dumps(said, indent=1, ensure_ascii=False))
            return
        for name, value in said.items():
            self.stdout.write(f"{name:<9} {value if value not in ('', None, [], {}) else '–'}")

    def _set(self, **options: Any) -> None:
        asked = _given(options)
        if asked is None:
            raise CommandError("Say which database: --url, --service, or --host and --database.")
        found = self._examined(asked, quiet=False)
        if not verdicts.usable(found) and not options["untested"]:
            raise CommandError("Nothing was changed.")
        use_from_the_next_start(asked, options["keep_password"])
        self.stdout.write(
            "It is used from the next start on. What is in the present database stays there:"
            " `manage.py database move` brings it along."
        )

    def _move(self, **options: Any) -> None:
        options["url"] = options["url"] or options["to"]
        back = options["url"] == "embedded"
        if back and settings.EMBEDDED_DATABASE:
            raise CommandError("The data are in the embedded PostgreSQL already.")
        target = None if back else _given(options)
        if target is None and not back:
            raise CommandError("Say where to: --to URL, --service, --host and --database, or --to embedded.")
        if target is not None and not env.text("DATABASE_URL"):
            profile.check_keeping(target, _place(target, options))
        to = "the embedded PostgreSQL" if target is None else target.address
        with moves.recording(settings.DATA_DIR, to) as record, contextlib.ExitStack() as stack:
            if settings.EMBEDDED_DATABASE:
                stack.enter_context(services_for_a_command())
            if target is None:
                target = stack.enter_context(_embedded())
            elif unfit := self._unfit_for_a_move(target):
                raise CommandError(f"{target.address} cannot be used yet. {unfit} Nothing was changed.")

            def tell(progress: moving.Progress) -> None:
                self._tell(progress)
                record.progress(progress)

            try:
                done = moving.move(settings.DATABASE, target, tell)
            except (moving.CannotMove, psycopg.Error) as error:
                raise CommandError(f"{str(error).strip()} Nothing is lost.") from error
            self.stdout.write(
                f"{done.rows} rows in {done.tables} tables, {done.spaces} spaces, every one verified,"
                f" in {done.seconds:.0f} s. The old database is closed and kept as a backup."
            )
            self._use(target, back, options)
            record.done(done)

    def _unfit_for_a_move(self, target: Profile) -> str:
        """What the test finds against it, but for the tables, which an interrupted move may have left."""
        failed = [
            verdict
            for verdict in examine(target, needs.of_this_server())
            if verdict.failed and verdict.step != "tables"
        ]
        for verdict in failed:
            for line in verdicts.as_lines(verdict):
                self.stdout.write(line)
        return " ".join(f"{verdict.finding} {verdict.remedy}" for verdict in failed)

    def _tell(self, progress: moving.Progress) -> None:
        self.stdout.write(f"{progress.share:4.0%}  {progress.table}: {progress.rows} of {progress.of} rows")
        self.stdout.flush()

    def _use(self, target: Profile, back: bool, options: dict[str, Any]) -> None:
        """From the next start on, run on the database that everything was brought to."""
        if env.text("DATABASE_URL"):
            after = "without DATABASE_URL" if back else f"with DATABASE_URL={target.url()}"
            self.stdout.write(f"Now start the server {after}.")
            return
        if back:
            profile.forget(settings.DATA_DIR)
        else:
            profile.keep(settings.DATA_DIR, target, _place(target, options))
        self.stdout.write(f"{target.address} is used from the next start on: restart the server now.")

    def _forget(self, **options: Any) -> None:
        profile.forget(settings.DATA_DIR)
        self.stdout.write("The embedded PostgreSQL is used from the next start on.")

    def _grants(self, **options: Any) -> None:
        used: Profile = settings.DATABASE
        schema = used.schema[0] if used.schema else "public"
        for line in grants(schema, options["to"], options["owner"] or used.user):
            self.stdout.write(line)
        if options["pooled"]:
            for line in profile.role_settings(replace(used, user=options["to"]), settings.DATABASE_HABITS):
                self.stdout.write(line)

    @contextlib.contextmanager
    def _asked_for(self, options: dict[str, Any]) -> Iterator[Profile]:
        """The database that the options name; else the configured one, started if it is ours."""
        given = _given(options)
        if given is not None:
            yield given
        elif settings.EMBEDDED_DATABASE:
            with services_for_a_command():
                yield settings.DATABASE
        else:
            yield settings.DATABASE


def _keeping(parser: CommandParser) -> None:
    parser.add_argument(
        "--keep-password",
        choices=profile.PLACES_OF_SECRETS,
        default="file",
        help="where the password is kept: a file of mode 0600 in the data folder, the system's keychain,"
        " or nowhere (DATABASE_PASSWORD, a password file or a certificate gives it)",
    )


def _place(target: Profile, options: dict[str, Any]) -> str:
    """Where its password is to be kept."""
    return str(options["keep_password"]) if target.password else "nowhere"


@contextlib.contextmanager
def _embedded() -> Iterator[Profile]:
    """The embedded PostgreSQL, empty, started for the time of a move back into it.

    A server that runs on another database may hold the folder: then this is its guest.
    """
    places = settings.PLACES
    lock = FolderLock(places, "a management command")
    try:
        prepare_folder(places)
        if not lock.take() and (runs_already(places) or not lock.holder_is_ready()):
            raise CommandError("End the server first: it holds the data folder.")
        service = start_postgres(places)
    except CannotStart as error:
        lock.release()
        raise CommandError(str(error)) from error
    try:
        target = profile.from_url(places.database_url)
        if _is_closed(target):  # what was moved away once, or half of an earlier move back
            put_aside(places, f"{DATABASE}_before_{datetime.now(UTC):%Y%m%d_%H%M%S}")
        yield target
    finally:
        service.stop()
        lock.release()


def _is_closed(target: Profile) -> bool:
    with psycopg.connect(**target.libpq(), autocommit=True) as connection:
        mark = closing.closed(connection, "public")
    return mark is not None and mark.why == "moved-to"


def _address(parser: CommandParser) -> None:
    parser.add_argument("--url", help="postgresql://user@host:5432/database?sslmode=…")
    parser.add_argument("--service", help="a name in libpq's service file")
    for name in ("host", "database", "user", *TLS, "passfile"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--port")
    parser.add_argument("--schema", help="ours; further ones, comma-separated, are only read")
    parser.add_argument("--password-file", metavar="FILE", help="holds the password")
    parser.add_argument("--ask-password", action="store_true", help="at the terminal, or from a pipe")


def _given(options: dict[str, Any]) -> Profile | None:
    """The database that the options name; None where they name none. Raises ImproperlyConfigured."""
    asked = options["password_file"] or options["ask_password"]
    return named(options, _password(options), spare="" if asked else profile.password_of_the_environment())


def _password(options: dict[str, Any]) -> str:
    if options["password_file"]:
        try:
            return Path(options["password_file"]).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{options['password_file']} cannot be read: {error}.") from error
    if options["ask_password"]:
        return getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    return ""
