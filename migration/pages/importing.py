"""Importing a file, step by step. Views decode, call `migration.imports` and render."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from migration import imports, uploads
from migration.choosing import read_choices
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
    "missing-owner": gettext_lazy("what they belong to is not in the file"),
    "no-id": gettext_lazy("they have no id"),
    "duplicate-id": gettext_lazy("their id occurs twice; the first was taken"),
    "id-too-long": gettext_lazy("their id is too long"),
    "id-with-nul": gettext_lazy("their id holds a NUL character"),
    "id-is-a-blob": gettext_lazy("their id is no text"),
    "id-is-not-utf8": gettext_lazy("their id is no readable text"),
    "row-too-large": gettext_lazy("they are larger than a record can be once it is converted"),
    "differs-from-existing": gettext_lazy("the space has another version of them, which was kept"),
    "unknown-table": gettext_lazy("it is no table of LogoMesh; it is kept whole with the import"),
    "deleted-in-space": gettext_lazy("they were deleted in the space"),
    "hangs-on-deleted": gettext_lazy("what they hang on was deleted in the space"),
}
"""Why rows are set aside, in plain words."""
ODD = {
    "missing-thought": "orphans",
    "missing-tag": "missing_tags",
    **dict.fromkeys(("no-id", "id-too-long", "id-with-nul", "id-is-a-blob", "id-is-not-utf8"), "ids"),
}
"""Reasons for which a person may choose otherwise -> the name of that choice."""
TABLES = {
    "thoughts": gettext_lazy("Thoughts"),
    "segments": gettext_lazy("Segments"),
    "tags": gettext_lazy("Tags"),
    "thought_tags": gettext_lazy("Tags on thoughts"),
    "segment_tags": gettext_lazy("Tags on segments"),
    "segment_fields": gettext_lazy("Fields"),
    "segment_neighbors": gettext_lazy("Links"),
    "segment_related_context": gettext_lazy("Related context"),
    "segment_llm_history": gettext_lazy("LLM history"),
    "embeddings": gettext_lazy("Embeddings"),
}
"""LogoMesh's tables, as people call what is in them."""
_HEADLINES = ("thoughts", "segments", "tags", "segment_neighbors")
STATES = {
    State.UPLOADED: gettext_lazy("waiting to be read"),
    State.ASSESSING: gettext_lazy("being read"),
    State.READY: gettext_lazy("waiting for you"),
    State.COPYING: gettext_lazy("copying"),
    State.VERIFYING: gettext_lazy("verifying"),
    State.DONE: gettext_lazy("done"),
    State.PAUSED: gettext_lazy("paused"),
    State.FAILED: gettext_lazy("failed"),
    State.CANCELLED: gettext_lazy("cancelled"),
    State.UNDONE: gettext_lazy("taken back"),
}
_STEPS = {State.UPLOADED: 2, State.ASSESSING: 2, State.READY: 3, State.DONE: 5, State.UNDONE: 5}
_KEPT = {
    "changed-since": gettext_lazy("somebody has changed them since"),
    "something-hangs-on-it": gettext_lazy("something that stays hangs on them"),
    "what-it-hung-on-is-gone": gettext_lazy("what they hung on before is gone"),
}
_ACTS = {
    "pause": imports.pause,
    "resume": imports.resume,
    "cancel": imports.cancel,
    "undo": imports.undo,
    "salvage": imports.salvage,
    "again": imports.create_import_again,
}


@member_page("GET")
def imports_page(request: HttpRequest, caller: Caller) -> HttpResponse:
    mine = imports.imports_of(caller)
    names = {space.id: space.name for space in visible_spaces(caller)}
    context = {
        "imports": [(each, STATES[State(each.state)], names.get(each.space_id, "")) for each in mine],
    }
    return render(request, "migration/imports.html", context)


@member_page("GET", "POST")
def import_into(request: HttpRequest, caller: Caller, space: str) -> HttpResponse:
    """Choose a file, with what lies beside it while LogoMesh runs; or take what was uploaded in pieces."""
    opened = open_space(caller, space, Act.WRITE)
    if request.method == "POST":
        with telling(request):
            if upload := request.POST.get("upload"):
                made = imports.create_import_of_upload(caller, opened.id, upload)
                return redirect("import_page", made.pk)
            sent = request.FILES.getlist("files")
            parts, name = _parts(sent)
            made = imports.create_import(caller, opened.id, name, {k: f.chunks() for k, f in parts.items()})
            return redirect("import_page", made.pk)
        return redirect("import_into", opened.id)
    context = {"space": opened, "waiting": uploads.waiting_of(caller)}
    return render(request, "migration/choose_file.html", context)


@member_page("POST")
def forget_upload(request: HttpRequest, caller: Caller, space: str, upload: str) -> HttpResponse:
    """Throw away what was sent of a file."""
    opened = open_space(caller, space, Act.WRITE)
    uploads.remove(uploads.find(caller, upload))
    told(request, _("What was sent of it is removed."))
    return redirect("import_into", opened.id)


@member_page("GET")
def import_page(request: HttpRequest, caller: Caller, id: str) -> HttpResponse:
    """Where an import stands; while it works, the page asks again by itself."""
    found = imports.find_import(caller, id)
    part = "migration/import_state.html" if request.headers.get("HX-Request") else "migration/import.html"
    return render(request, part, _shown(caller, found))


@member_page("POST")
def start(request: HttpRequest, caller: Caller, id: str) -> HttpResponse:
    with telling(request):
        imports.start(caller, id, read_choices(_chosen(request.POST)))
    return redirect("import_page", id)


@member_page("POST")
def act(request: HttpRequest, caller: Caller, id: str, verb: str) -> HttpResponse:
    if verb not in _ACTS:
        raise NotFound
    with telling(request):
        return redirect("import_page", _ACTS[verb](caller, id).pk)
    return redirect("import_page", id)


def _chosen(form: QueryDict) -> dict[str, Any]:
    """What the form says, as the API takes it. What was filled in for another strategy does not count."""
    chosen: dict[str, Any] = {
        "strategy": form.get("strategy", "full"),
        "dry_run": "dry_run" in form,
        "filters": {},
    }
    for name in ("existing", "orphans", "missing_tags", "ids"):
        if form.get(name):
            chosen[name] = form[name]
    if chosen["strategy"] == "gradual":
        names = {kind: form.getlist(kind) for kind in ("tags", "clusters")}
        days = {kind: form.get(kind) for kind in ("after", "before")}
        chosen["filters"] = {kind: value for kind, value in {**names, **days}.items() if value}
    return chosen


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
    tables, reported = _tables(assessment), _tables(report)
    state = State(found.state)
    left = found.progress.get("seconds_left")
    return {
        "found": found,
        "space": next(
            (each for each in visible_spaces(caller) if each.id == found.space_id and each.role), None
        ),
        "state": STATES[state],
        "step": 4 if found.undoing else _STEPS.get(state, 4 if found.started_at else 2),
        "working": found.state in WORKING or found.undoing,
        "assessment": assessment,
        "report": report,
        "percent": found.progress.get("percent", _percent(found.progress)),
        "left": None if left is None or found.undoing else spoken(left),
        "takes": spoken(assessment.get("estimated_seconds", 0)),
        "headlines": [table for table in tables if table["key"] in _HEADLINES and table["rows"]],
        "tables": tables,
        "totals": _totals(tables, "rows", "to_migrate", "to_set_aside"),
        "odd": {ODD[reason] for table in tables for reason in table.get("reasons", ()) if reason in ODD},
        "reported": reported,
        "sums": _totals(reported, "rows_in", "migrated", "set_aside", "already_there", "left_for_later"),
        "is_ready": state == State.READY,
        "is_damaged": state == State.FAILED and (found.problem or {}).get("type") == "damaged",
        "agrees": bool(report) and report.get("source_digest") == report.get("target_digest"),
        "kept": _kept(report.get("undo") or {}),
    }


def spoken(seconds: float) -> str:
    """A time span as one would say it: nobody waits 217 seconds."""
    if seconds < 10:
        return _("a few seconds")
    if seconds < 90:
        return _("about %(n)d seconds") % {"n": 10 * round(seconds / 10)}
    if seconds < 5400:
        minutes = round(seconds / 60)
        return ngettext("about %(n)d minute", "about %(n)d minutes", minutes) % {"n": minutes}
    return _("about %(n).1f hours") % {"n": seconds / 3600}


def _percent(progress: dict[str, Any]) -> int:
    of = progress.get("of") or 0
    return round(100 * progress.get("rows", 0) / of) if of else 0


def _tables(account: dict[str, Any]) -> list[dict[str, Any]]:
    """The tables of an assessment or a report that have rows, in LogoMesh's order, unknown ones last."""
    known = list(TABLES)
    tables = [_table(key, table) for key, table in account.get("tables", {}).items()]
    filled = [table for table in tables if table.get("rows") or table.get("rows_in")]
    return sorted(filled, key=lambda table: known.index(table["key"]) if table["key"] in TABLES else 99)


def _table(key: str, table: dict[str, Any]) -> dict[str, Any]:
    """A table's counts and, in words, why rows of it are set aside."""
    reasons = [
        ngettext("%(n)d row: %(why)s", "%(n)d rows: %(why)s", n)
        % {"n": n, "why": REASONS.get(reason, reason)}
        for reason, n in table.get("reasons", {}).items()
    ]
    adjusted = sum(
        n for deviation, n in table.get("deviations", {}).items() if deviation.split("/")[0] not in COUNTED
    )
    return {"key": key, "name": TABLES.get(key, key), **table, "why": reasons, "adjusted": adjusted}


def _totals(tables: list[dict[str, Any]], *names: str) -> dict[str, int]:
    return {name: sum(table.get(name, 0) for table in tables) for name in names}


def _kept(undo: dict[str, Any]) -> list[str]:
    """What an undo left in the space, and why."""
    why = Counter(each.get("reason", "") for each in undo.get("listed", []))
    return [
        ngettext("%(n)d record: %(why)s", "%(n)d records: %(why)s", n)
        % {"n": n, "why": _KEPT.get(reason, reason)}
        for reason, n in why.items()
    ]
