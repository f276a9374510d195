"""The HTTP face of exports: one address."""

from __future__ import annotations

from django.http import FileResponse, HttpRequest
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema

from migration.export.files import FORMATS, exported
from sync.api import PROBLEM, SCOPE, scope_in
from sync.problems import InvalidParameter
from sync.pull.scope import ALL
from workspaces.endpoint import Endpoint
from workspaces.roles import Act


class Export(Endpoint):
    @extend_schema(
        operation_id="export",
        summary="Export: a space, or what a scope chooses of it, as a file of LogoMesh's own",
        parameters=[OpenApiParameter("format", str, required=True, enum=[*FORMATS]), *SCOPE],
        responses={
            (200, "application/vnd.sqlite3"): OpenApiTypes.BINARY,
            (200, "application/json"): OpenApiResponse(
                OpenApiTypes.OBJECT, description="LogoMesh's JSON export."
            ),
            **dict.fromkeys([400, 401, 403, 404, 507], PROBLEM),
        },
    )
    def get(self, request: HttpRequest, space: str) -> FileResponse:
        opened = self.open(space, Act.READ)
        format_ = request.GET.get("format", "")
        if format_ not in FORMATS:
            raise InvalidParameter(f"format must be one of: {', '.join(FORMATS)}.")
        file, name = exported(opened.id, scope_in(request) or ALL, format_)
        return FileResponse(
            file, as_attachment=True, filename=name, content_type=FORMATS[format_].content_type
        )
