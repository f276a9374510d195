"""What people do with imports. API, pages and the command line call these; nobody else changes one.

Nobody but the person who began an import sees it, or that there is one.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import orjson
from django.db import transaction
from django.utils import timezone

from migration import files, uploads
from migration.choosing import Choices, require_known_names
from migration.families import previous
from migration.jobs import wake_after_commit
from migration.models import Deviation, Import, SetAsideRow, State
from migration.problems import NotNow
from migration.sandbox.frames import UNKNOWN_TABLE
from sync.models import SpaceHead
from workspaces.access import Caller, open_space
from workspaces.ids import uuid7
from workspaces.problems import InvalidValue, NotFound, Problem
from workspaces.roles import Act

_OVER: Final = frozenset({State.DONE, State.FAILED, State.CANCELLED, State.UNDONE})
_UNDOABLE: Final = frozenset({State.DONE, State.FAILED, State.CANCELLED})
_PAUSABLE: Final = frozenset({State.COPYING, State.VERIFYING})
_PAGE: Final = 100
_PAGE_BYTES: Final = 8 * 1024**2
"""A page ends early once it holds this much."""


def create_import(
    caller: Caller, space_id: str | UUID, name: str, parts: Mapping[str, Iterable[bytes]]
) -> Import:
    """Take in a file (parts: `file`, and `wal` or `journal` beside it) for a space; it is assessed at once.

    Raises what `open_space` raises, `InvalidValue` without a file, `DiskFull`.
    """
    space = open_space(caller, space_id, Act.WRITE)
    if "file" not in parts:
        raise InvalidValue("There is no part named file.", pointer="/file")
    id_ = uuid7()
    folder = files.folder_of(id_)
    try:
        written = {role: files.write(folder / files.PARTS[role], chunks) for role, chunks in parts.items()}
        return _create(caller, space.id, id_, name, folder / files.FILE, written["file"])
    except BaseException:
        files.remove(id_)
        raise


def create_import_of(caller: Caller, space_id: str | UUID, path: Path) -> Import:
    """The same for a file on the server's own disk: it is copied, with what lies beside it."""
    beside = {"wal": Path(f"{path}-wal"), "journal": Path(f"{path}-journal")}
    found = {"file": path} | {role: part for role, part in beside.items() if part.exists()}
    return _create_of(caller, space_id, path.name, found)


def create_import_of_upload(caller: Caller, space_id: str | UUID, upload_id: str | UUID) -> Import:
    """The same for a complete upload, with what was uploaded beside it in one set."""
    space = open_space(caller, space_id, Act.WRITE)
    id_ = uuid7()
    folder = files.folder_of(id_)
    try:
        with transaction.atomic():
            complete = uploads.complete_set(caller, upload_id)
            uploads.hand_over(complete, folder)
            file = folder / files.FILE
            return _create(caller, space.id, id_, complete[0].file_name, file, files.checksum(file))
    except Problem:
        files.remove(id_)
        raise


def create_import_again(caller: Caller, id_: str | UUID) -> Import:
    """A new import of the file of an old one, which the server has kept with what lay beside it: nothing is
    uploaded twice.

    Raises `NotNow` where the file is not kept any longer.
    """
    found = find_import(caller, id_)
    folder = Path(found.path).parent
    kept = {role: folder / name for role, name in files.PARTS.items() if (folder / name).exists()}
    if "file" not in kept:
        raise NotNow("The file is no longer kept here. Upload it again.")
    return _create_of(caller, found.space_id, found.file_name, kept)


def find_import(caller: Caller, id_: str | UUID) -> Import:
    """An import that the caller began. Raises `NotFound` for all others."""
    try:
        found = Import.objects.filter(id=UUID(str(id_)), person_id=caller.person_id).first()
    except ValueError:
        raise NotFound from None
    if found is None:
        raise NotFound
    return found


def imports_of(caller: Caller) -> list[Import]:
    """The caller's imports, newest first."""
    return list(Import.objects.filter(person_id=caller.person_id).order_by("-created_at")[:200])


def start(caller: Caller, id_: str | UUID, choices: Choices) -> Import:
    """Begin to copy an assessed file. Raises `NotNow`, `InvalidValue` for filters that choose nothing."""
    with transaction.atomic():
        found = _locked(caller, id_)
        if found.state != State.READY:
            raise NotNow(f"It can be started when it is ready; it is {found.state}.")
        open_space(caller, found.space_id, Act.WRITE)
        require_known_names(choices.filters, found.assessment or {})
        found.strategy, found.dry_run = choices.strategy, choices.dry_run
        existing = choices.existing or ("merge" if previous(found) else "keep")
        found.filters, found.options = dict(choices.filters), choices.options() | {"existing": existing}
        found.began_at = SpaceHead.objects.get(space_id=found.space_id).head
        found.report = None
        found.started_at = timezone.now()
        return _go_on(found, State.COPYING)


def pause(caller: Caller, id_: str | UUID) -> Import:
    """Stop after the chunk under way; `resume` goes on there."""
    with transaction.atomic():
        found = _locked(caller, id_)
        if found.state not in _PAUSABLE:
            raise NotNow(f"Only copying and verifying can be paused; it is {found.state}.")
        found.paused_in, found.state = found.state, State.PAUSED
        found.save(update_fields=["paused_in", "state"])
        return found


def resume(caller: Caller, id_: str | UUID) -> Import:
    """Go on with a paused import, or try a failed one again from its checkpoint."""
    with transaction.atomic():
        found = _locked(caller, id_)
        interrupted = found.state == State.FAILED and found.started_at is not None and found.report is None
        if found.state != State.PAUSED and not interrupted:
            raise NotNow(f"Only one that is paused or was interrupted can go on; it is {found.state}.")
        open_space(caller, found.space_id, Act.WRITE)
        found.problem = found.finished_at = None
        return _go_on(found, State.COPYING if interrupted else State(found.paused_in))


def cancel(caller: Caller, id_: str | UUID) -> Import:
    """End an import for good. What it has already brought stays until it is undone."""
    with transaction.atomic():
        found = _locked(caller, id_)
        if found.state in _OVER:
            raise NotNow(f"It is over already: {found.state}.")
        found.state, found.finished_at = State.CANCELLED, timezone.now()
        found.save(update_fields=["state", "finished_at"])
        return found


def undo(caller: Caller, id_: str | UUID) -> Import:
    """Take back what an import brought and nobody has changed since; the report lists what stays."""
    with transaction.atomic():
        found = _locked(caller, id_)
        if found.state not in _UNDOABLE or found.undoing or found.dry_run:
            raise NotNow(f"Only an import that is over and not undone can be undone; it is {found.state}.")
        open_space(caller, found.space_id, Act.WRITE)
        found.undoing = True
        return _go_on(found, State(found.state))


def salvage(caller: Caller, id_: str | UUID) -> Import:
    """Assess a damaged file again, and take of it every row that can still be read."""
    with transaction.atomic():
        found = _locked(caller, id_)
        if found.state != State.FAILED or (found.problem or {}).get("type") != "damaged":
            raise NotNow("Only an import that failed because its file is damaged can be salvaged.")
        open_space(caller, found.space_id, Act.WRITE)
        found.salvage, found.problem, found.finished_at = True, None, None
        return _go_on(found, State.UPLOADED)


def set_aside_page(found: Import, cursor: str = "", limit: int = _PAGE) -> tuple[list[bytes], str]:
    """Rows not taken, each as JSON, and the cursor of the next page ("" after the last)."""
    rows = SetAsideRow.objects.filter(imported_by=found).order_by("table", "position")
    if cursor:
        table, position = _place(cursor, str, int)
        rows = rows.extra(where=['("table", "position") > (%s, %s)'], params=[table, position])
    page: list[SetAsideRow] = []
    size, more = 0, False
    for row in rows[: limit + 1].iterator(chunk_size=10):
        more = len(page) == limit or size > _PAGE_BYTES
        if more:
            break
        page.append(row)
        size += len(row.columns)
    spelled = [
        orjson.dumps(
            {
                "table": row.table,
                "rowid": row.position,
                "reason": row.reason,
                "missing": row.missing or None,
                "columns": orjson.Fragment(bytes(row.columns)),
            }
        )
        for row in page
    ]
    return spelled, _cursor(page[-1].table, page[-1].position) if more else ""


def report_table(found: Import) -> list[list[str]]:
    """The report as a table: for each table its counts, reasons and deviations. Raises `NotNow`."""
    lines = [["table", "what", "detail", "rows"]]
    for table, counts in report_of(found).get("tables", {}).items():
        for what in ("rows_in", "migrated", "set_aside", "left_for_later", "already_there", "embeddings"):
            lines.append([table, what, "", str(counts.get(what, 0))])
        for what, kinds in (("set_aside", "reasons"), ("deviation", "deviations")):
            lines += [[table, what, detail, str(rows)] for detail, rows in counts.get(kinds, {}).items()]
    return lines


def deviations(found: Import) -> Iterator[list[str]]:
    """The cells that are not in the record as the file had them, as a table, in the file's order."""
    yield ["table", "rowid", "id", "column", "what"]
    rows = Deviation.objects.filter(imported_by=found).order_by("table", "position", "column", "kind")
    for row in rows.iterator(1000):
        yield [row.table, str(row.position), row.record_id, row.column, row.kind]


def deviations_as_lines(found: Import) -> Iterator[bytes]:
    """The same, each cell as a line of JSON."""
    rows = deviations(found)
    names = ["table", "rowid", "id", "column", "what"]
    next(rows)
    for row in rows:
        cell: dict[str, Any] = dict(zip(names, row, strict=True))
        yield orjson.dumps(cell | {"rowid": int(cell["rowid"])}) + b"\n"


def deviations_page(found: Import, cursor: str = "", limit: int = 1_000) -> tuple[list[dict[str, Any]], str]:
    """The same page by page: cells, and the cursor of the next page ("" after the last)."""
    names = ("table", "position", "column", "kind")
    rows = Deviation.objects.filter(imported_by=found).order_by(*names)
    if cursor:
        after = _place(cursor, str, int, str, str)
        rows = rows.extra(where=['("table", "position", "column", "kind") > (%s, %s, %s, %s)'], params=after)
    page = list(rows[: limit + 1])
    last = page[limit - 1] if len(page) > limit else None
    cells = [
        {
            "table": row.table,
            "rowid": row.position,
            "id": row.record_id,
            "column": row.column,
            "what": row.kind,
        }
        for row in page[:limit]
    ]
    return cells, _cursor(*(getattr(last, name) for name in names)) if last else ""


def report_of(found: Import) -> dict[str, Any]:
    """The report of an import. Raises `NotNow` while there is none."""
    if found.report is None:
        raise NotNow(f"There is no report yet; the import is {found.state}.")
    report: dict[str, Any] = found.report
    return report


def attachment(found: Import, table: str) -> Iterator[bytes]:
    """A table of the file that LogoMesh does not know, row by row, each as a line of JSON.

    Raises `NotFound` where the import kept no such table.
    """
    rows = SetAsideRow.objects.filter(imported_by=found, table=table, reason=UNKNOWN_TABLE)
    if not rows.exists():
        raise NotFound
    return (
        orjson.dumps({"rowid": row.position, "columns": orjson.Fragment(bytes(row.columns))}) + b"\n"
        for row in rows.order_by("position").iterator(chunk_size=10)
    )


def described(found: Import) -> dict[str, Any]:
    """An import as the API shows it to the one who began it."""
    return {
        "id": str(found.id),
        "space": str(found.space_id),
        "file": found.file_name,
        "size": found.size,
        "sha256": bytes(found.sha256).hex(),
        "state": found.state,
        "strategy": found.strategy,
        "filters": found.filters,
        "options": found.options,
        "dry_run": found.dry_run,
        "undoing": found.undoing,
        "progress": found.progress,
        "assessment": found.assessment,
        "report": found.report,
        "problem": found.problem,
        "sync": _sync(found),
        "created_at": _spelled(found.created_at),
        "started_at": _spelled(found.started_at),
        "finished_at": _spelled(found.finished_at),
    }


def _sync(found: Import) -> dict[str, Any] | None:
    """What a device that has the file needs to go on in step with the space; None before it is verified."""
    report = found.report or {}
    if found.state != State.DONE or "epoch" not in report:
        return None
    return {
        "space": str(found.space_id),
        "epoch": report["epoch"],
        "head": report["head"],
        "file_sha256": bytes(found.sha256).hex(),
        "file_digest": report["source_digest"],
        "family": str(found.family or found.pk),
    }


def _create_of(caller: Caller, space_id: str | UUID, name: str, parts: Mapping[str, Path]) -> Import:
    files.require_room(sum(part.stat().st_size for part in parts.values()))
    return create_import(caller, space_id, name, {role: _chunks(part) for role, part in parts.items()})


def _create(caller: Caller, space_id: UUID, id_: UUID, name: str, path: Path, sha256: bytes) -> Import:
    with transaction.atomic():
        created = Import.objects.create(
            id=id_,
            space_id=space_id,
            person_id=caller.person_id,
            device_id=caller.device_id,
            file_name=_shown(name),
            path=str(path),
            size=path.stat().st_size,
            sha256=sha256,
        )
        wake_after_commit(created.id)
    return created


def _go_on(found: Import, state: State) -> Import:
    found.state, found.attempts = state, 0
    found.save()
    wake_after_commit(found.id)
    return found


def _locked(caller: Caller, id_: str | UUID) -> Import:
    found = find_import(caller, id_)
    return Import.objects.select_for_update().get(id=found.id)


def _chunks(path: Path) -> Iterable[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(1024**2):
            yield chunk


def _shown(name: str) -> str:
    """A file's name as it may be shown: its last part, without control characters."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(letter for letter in last if letter.isprintable())[:200]


def _cursor(*place: str | int) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode()


def _place(cursor: str, *kinds: type) -> list[Any]:
    try:
        place = orjson.loads(base64.urlsafe_b64decode(cursor.encode()))
    except ValueError:
        place = None
    if not isinstance(place, list) or [type(each) for each in place] != list(kinds):
        raise InvalidValue("This cursor is not one of ours.", pointer="/cursor")
    return place


def _spelled(moment: Any) -> str | None:
    return None if moment is None else moment.isoformat()
