"""Imports a file from beginning to end, as the command line does, and says what the space then holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from migration import imports, jobs
from migration.choosing import Choices
from migration.models import Import
from sync.digest import as_hex, digest
from sync.sql import cursor
from sync.tables import TABLES
from workspaces.access import Caller


def assess(caller: Caller, space_id: UUID, path: Path) -> Import:
    """Take in a file and have it assessed: then it is `ready`, or `failed` with its problem."""
    imported = imports.create_import_of(caller, space_id, path)
    jobs.run(imported.pk)
    imported.refresh_from_db()
    return imported


def migrate(caller: Caller, space_id: UUID, path: Path) -> Import:
    """The whole workflow. Fails where the file is not migrated and verified."""
    imported = assess(caller, space_id, path)
    assert imported.state == "ready", imported.problem
    imports.start(caller, imported.pk, Choices())
    jobs.run(imported.pk)
    imported.refresh_from_db()
    assert imported.state == "done", (imported.problem, imported.report)
    return imported


def digest_of(space_id: UUID) -> tuple[str, int]:
    """The digest of a space, and how many records it has."""
    found = digest(space_id)
    return as_hex(found.whole), found.records


def records_of(space_id: UUID, type_: str) -> dict[str, dict[str, Any]]:
    """Id -> record of all live records of a type."""
    table = TABLES[type_]
    rows = cursor().execute(
        f"SELECT t.id, {table.record_json} FROM {table.name} t WHERE t.space_id = %b AND NOT t.deleted",
        (space_id,),
    )
    return {id_: orjson.loads(text) for id_, text in rows}


def differences(first: UUID, second: UUID) -> list[Any]:
    """(type, id, record there, record here) where two spaces differ; embeddings are outside the digest."""
    found: list[Any] = []
    for type_ in set(TABLES) - {"embeddings"}:
        one, other = records_of(first, type_), records_of(second, type_)
        for id_ in one.keys() | other.keys():
            there, here = ({**each.get(id_, {})} for each in (one, other))
            there.pop("version", None)
            here.pop("version", None)
            if there != here:
                found.append((type_, id_, there, here))
    return found
