"""Importing a file, step by step. Views decode, call `migration.imports` and render."""

from __future__ import annotations

from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from migration import imports
from migration.choosing import Choices
from migration.mapping import COUNTED
from migration.models import WORKING, Import, State
from workspaces.access import Caller, open_space, visible_spaces
from workspaces.pages.visiting import member_page, telling, told
from workspaces.problems import NotFound
from workspaces.roles import Act

REASONS = {
    "missing-thought": gettext_lazy("their thought is not in the file"),
    "missing-segment": gettext_lazy("their segment is not in the file, or was set aside itself"),
    "missing-tag": gettext_lazy("their tag is not in the file"),
    "no-id": gettext_lazy("they have no id"),
    "duplicate-id": gettext_lazy("their id occurs twice; the first was taken"),
    "id-too-long": gettext_lazy("their id is too long"),
    "id-with-nul": gettext_lazy("their id holds a NUL character"),
    "id-is-a-blob": gettext_lazy("their id is no text"),
    "id-is-not-utf8": gettext_lazy("their id is no readable text"),
    "differs-from-existing": gettext_lazy("the space has another version of them, which was kept"),
    "unknown-table": gettext_lazy("it is no table of LogoMesh; it is kept whole with the import"),
    "deleted-in-space": gettext_lazy("they were deleted in the space"),
}
"""Why rows are set aside, in plain words."""
_ACTS = {
    "pause": imports.pause,
    "resume": imports.resume,
    "cancel": imports.cancel,
    "undo": imports.undo,
}


@member_page("GET")
def imports_page(request: HttpRequest, caller: Caller) -> HttpResponse:
    mine = imports.imports_of(caller)
    names = {space.id: space.name for space in visible_spaces(caller)}
    context = {"imports": [(each, names.get(each.space_id, "")) for each in mine]}
    return render(request, "migration/imports.html", context)


@member_page("GET", "POST")
def import_into(request: HttpRequest, caller: Caller, space: str) -> HttpResponse:
    """Choose a file, with what lies beside it while LogoMesh runs."""
    opened = open_space(caller, space, Act.WRITE)
    if request.method == "POST":
        with telling(request):
            sent = request.FILES.getlist("files")
            parts, name = _parts(sent)
            made = imports.create_import(caller, opened.id, name, {k: f.chunks() for k, f in parts.items()})
            return redirect("import_page", made.pk)
        return redirect("import_into", opened.id)
    return render(request, "migration/choose_file.html", {"space": opened})


@member_page("GET")
def import_page(request: HttpRequest, caller: Caller, id: str) -> HttpResponse:
    """Where an import stands; while it works, the page asks again by itself."""
    found = imports.find_import(caller, id)
    part = "migration/import_state.html" if request.headers.get("HX-Request") else "migration/import.html"
    return render(request, part, _shown(caller, found))


@member_page("POST")
def start(request: HttpRequest, caller: Caller, id: str) -> HttpResponse:
    with telling(request):
        imports.start(caller, id, Choices(dry_run="dry_run" in request.POST))
    return redirect("import_page", id)


@member_page("POST")
def act(request: HttpRequest, caller: Caller, id: str, verb: str) -> HttpResponse:
    if verb not in _ACTS:
        raise NotFound
    with telling(request):
        _ACTS[verb](caller, id)
        told(request, _("Done."))
    return redirect("import_page", id)


def _parts(sent: list[UploadedFile[Any] | Any]) -> tuple[dict[str, UploadedFile[Any]], str]:
    """The database, and its -wal or -journal, told apart by their names."""
    parts, shown = {}, ""
    for file in sent:
        name = file.name or ""
        role = next((ending for ending in ("wal", "journal") if name.endswith(f"-{ending}")), "file")
        parts[role] = file
        if role == "file" or not shown:
            shown = name
    if parts and "file" not in parts:
        parts = {"file": next(iter(parts.values()))}  # the assessment explains what it is
    return parts, shown


def _shown(caller: Caller, found: Import) -> dict[str, Any]:
    assessment, report = found.assessment or {}, found.report or {}
    of = found.progress.get("of") or 0
    space = next((each for each in visible_spaces(caller) if each.id == found.space_id and each.role), None)
    return {
        "found": found,
        "space": space,
        "working": found.state in WORKING or found.undoing,
        "assessment": assessment,
        "report": report,
        "percent": round(100 * found.progress.get("rows", 0) / of) if of else 0,
        "seconds_left": found.progress.get("seconds_left"),
        "tables": [_table(name, table) for name, table in assessment.get("tables", {}).items()],
        "reported": [_table(name, table) for name, table in report.get("tables", {}).items()],
        "is_ready": found.state == State.READY,
        "is_over": found.state in (State.DONE, State.FAILED, State.CANCELLED, State.UNDONE),
        "agrees": bool(report) and report.get("source_digest") == report.get("target_digest"),
    }


def _table(name: str, table: dict[str, Any]) -> dict[str, Any]:
    """A table's counts and, in words, why rows of it are set aside."""
    reasons = [
        ngettext("%(n)d row: %(why)s", "%(n)d rows: %(why)s", n)
        % {"n": n, "why": REASONS.get(reason, reason)}
        for reason, n in table.get("reasons", {}).items()
    ]
    adjusted = sum(
        n for deviation, n in table.get("deviations", {}).items() if deviation.split("/")[0] not in COUNTED
    )
    return {"name": name, **table, "why": reasons, "adjusted": adjusted}
