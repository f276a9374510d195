"""The API of imports. Views decode, call `migration.imports` and render."""

from __future__ import annotations

from collections.abc import Callable

import orjson
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema

from migration import imports, shapes
from migration.choosing import read_choices
from migration.models import Import
from workspaces.access import Caller
from workspaces.api import PROBLEM
from workspaces.endpoint import BadRequest, Endpoint, json_answer, json_body, text_in
from workspaces.spreadsheets import csv_answer


class Imports(Endpoint):
    @extend_schema(
        operation_id="imports", summary="Your imports, newest first", responses={200: shapes.Imports}
    )
    def get(self, request: HttpRequest) -> HttpResponse:
        return json_answer({"imports": [imports.described(each) for each in imports.imports_of(self.caller)]})

    @extend_schema(
        operation_id="create_import",
        summary="Upload a LogoMesh file for a space; it is assessed at once",
        request={"multipart/form-data": shapes.NewImport, "application/json": shapes.UploadedImport},
        responses={201: shapes.Import, 400: PROBLEM, 403: PROBLEM, 404: PROBLEM, 507: PROBLEM},
    )
    def post(self, request: HttpRequest) -> HttpResponse:
        if request.content_type == "application/json":
            body = json_body(request)
            space, upload = text_in(body, "space"), text_in(body, "upload")
            return _answer(imports.create_import_of_upload(self.caller, space, upload), 201)
        space = request.POST.get("space", "")
        uploaded = {
            name: file
            for name, file in request.FILES.items()
            if name in ("file", "wal", "journal") and isinstance(file, UploadedFile)
        }
        if unknown := request.FILES.keys() - uploaded.keys():
            raise BadRequest(f"A part named {min(unknown)[:60]} is not expected; send file, wal, journal.")
        name = (uploaded["file"].name if "file" in uploaded else "") or ""
        parts = {role: file.chunks() for role, file in uploaded.items()}
        return _answer(imports.create_import(self.caller, space, name, parts), 201)


class OneImport(Endpoint):
    @extend_schema(
        operation_id="import",
        summary="One import: its state, progress, assessment and report",
        responses={200: shapes.Import, 404: PROBLEM},
    )
    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        return _answer(imports.find_import(self.caller, id))


class Start(Endpoint):
    @extend_schema(
        operation_id="start_import",
        summary="Begin to copy an assessed file",
        request=shapes.Choices,
        responses={200: shapes.Import, 400: PROBLEM, 403: PROBLEM, 404: PROBLEM, 409: PROBLEM},
    )
    def post(self, request: HttpRequest, id: str) -> HttpResponse:
        imports.find_import(self.caller, id)
        choices = read_choices(json_body(request) if request.body else {})
        return _answer(imports.start(self.caller, id, choices))


class _Act(Endpoint):
    """Something that is done to an import and takes no body."""

    act: Callable[[Caller, str], Import]

    def post(self, request: HttpRequest, id: str) -> HttpResponse:
        return _answer(type(self).act(self.caller, id))


def _schema(name: str, summary: str) -> Callable[[type[_Act]], type[_Act]]:
    answers = {200: shapes.Import, 403: PROBLEM, 404: PROBLEM, 409: PROBLEM}
    operation = extend_schema(operation_id=f"{name}_import", summary=summary, request=None, responses=answers)

    def described(view: type[_Act]) -> type[_Act]:
        def post(self: _Act, request: HttpRequest, id: str) -> HttpResponse:
            return _Act.post(self, request, id)

        view.post = operation(post)  # type: ignore[method-assign]
        return view

    return described


@_schema("pause", "Stop after the chunk under way")
class Pause(_Act):
    act = staticmethod(imports.pause)


@_schema("resume", "Go on where it was paused")
class Resume(_Act):
    act = staticmethod(imports.resume)


@_schema("cancel", "End it; what it has brought stays")
class Cancel(_Act):
    act = staticmethod(imports.cancel)


@_schema("undo", "Take back what it brought and nobody has changed since")
class Undo(_Act):
    act = staticmethod(imports.undo)


class Again(Endpoint):
    @extend_schema(
        operation_id="import_again",
        summary="A new import of the same file, which the server still has: nothing is uploaded twice",
        request=None,
        responses={201: shapes.Import, 403: PROBLEM, 404: PROBLEM, 409: PROBLEM, 507: PROBLEM},
    )
    def post(self, request: HttpRequest, id: str) -> HttpResponse:
        return _answer(imports.create_import_again(self.caller, id), 201)


class Report(Endpoint):
    @extend_schema(
        operation_id="import_report",
        summary="The report of an import, to keep",
        parameters=[OpenApiParameter("format", str, enum=["json", "csv"])],
        responses={
            (200, "application/json"): OpenApiTypes.OBJECT,
            (200, "text/csv"): OpenApiTypes.STR,
            **dict.fromkeys([400, 404, 409], PROBLEM),
        },
    )
    def get(self, request: HttpRequest, id: str) -> HttpResponseBase:
        found = imports.find_import(self.caller, id)
        form = request.GET.get("format", "json")
        if form not in ("json", "csv"):
            raise BadRequest("format must be json or csv.")
        if form == "csv":
            return csv_answer(imports.report_table(found), f"import-{found.pk}.csv")
        answer = json_answer(imports.report_of(found))
        answer["Content-Disposition"] = f'attachment; filename="import-{found.pk}.json"'
        return answer


class SetAside(Endpoint):
    @extend_schema(
        operation_id="set_aside",
        summary="The rows that could not become records, byte by byte",
        parameters=[OpenApiParameter("cursor", str)],
        responses={200: shapes.SetAside, 400: PROBLEM, 404: PROBLEM},
    )
    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        found = imports.find_import(self.caller, id)
        rows, cursor = imports.set_aside_page(found, request.GET.get("cursor", ""))
        answer = {"rows": [orjson.Fragment(row) for row in rows], "cursor": cursor or None}
        return json_answer(orjson.dumps(answer))


class Deviations(Endpoint):
    @extend_schema(
        operation_id="deviations",
        summary="The cells that are not in the record as the file had them; the originals stand in `extra`",
        parameters=[
            OpenApiParameter("cursor", str),
            OpenApiParameter("limit", int, description="Cells a page, at most 10,000."),
            OpenApiParameter(
                "format", str, enum=["json", "jsonl", "csv"], description="jsonl, csv: all of it"
            ),
        ],
        responses={
            (200, "application/json"): shapes.Deviations,
            (200, "application/x-ndjson"): OpenApiTypes.STR,
            (200, "text/csv"): OpenApiTypes.STR,
            **dict.fromkeys([400, 404], PROBLEM),
        },
    )
    def get(self, request: HttpRequest, id: str) -> HttpResponseBase:
        found = imports.find_import(self.caller, id)
        form, limit = request.GET.get("format", "json"), request.GET.get("limit", "1000")
        if form not in ("json", "jsonl", "csv"):
            raise BadRequest("format must be json, jsonl or csv.")
        if form == "csv":
            return csv_answer(imports.deviations(found), f"import-{found.pk}-deviations.csv")
        if form == "jsonl":
            lines = imports.deviations_as_lines(found)
            answer = StreamingHttpResponse(lines, content_type="application/x-ndjson")
            answer["Content-Disposition"] = f'attachment; filename="import-{found.pk}-deviations.jsonl"'
            return answer
        if not limit.isascii() or not limit.isdigit() or not int(limit[:9]) >= 1:
            raise BadRequest("limit must be a number above 0.")
        size = min(int(limit[:9]), 10_000)
        cells, cursor = imports.deviations_page(found, request.GET.get("cursor", ""), size)
        return json_answer({"deviations": cells, "cursor": cursor or None})


class Salvage(Endpoint):
    @extend_schema(
        operation_id="salvage_import",
        summary="Assess a damaged file again, and take of it what can still be read",
        request=None,
        responses={200: shapes.Import, 403: PROBLEM, 404: PROBLEM, 409: PROBLEM},
    )
    def post(self, request: HttpRequest, id: str) -> HttpResponse:
        return _answer(imports.salvage(self.caller, id))


class Attachment(Endpoint):
    @extend_schema(
        operation_id="attachment",
        summary="A table that LogoMesh does not know, a row a line, byte by byte",
        responses={(200, "application/x-ndjson"): OpenApiTypes.STR, 404: PROBLEM},
    )
    def get(self, request: HttpRequest, id: str, table: str) -> StreamingHttpResponse:
        lines = imports.attachment(imports.find_import(self.caller, id), table)
        answer = StreamingHttpResponse(lines, content_type="application/x-ndjson")
        answer["Content-Disposition"] = 'attachment; filename="table.jsonl"'
        return answer


def _answer(found: Import, status: int = 200) -> HttpResponse:
    return json_answer(imports.described(found), status)
