"""The HTTP face of uploads: tus 1.0.0 with creation, checksum, expiration and termination.

https://tus.io/protocols/resumable-upload
"""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import http_date
from drf_spectacular.utils import OpenApiParameter, extend_schema

from migration import shapes, uploads
from migration.models import Upload
from migration.problems import UnsupportedMediaType, UnsupportedTusVersion
from workspaces.api import PROBLEM
from workspaces.endpoint import Endpoint, json_answer
from workspaces.problems import InvalidValue

VERSION: Final = "1.0.0"
_PIECE: Final = "application/offset+octet-stream"
RESUMABLE = OpenApiParameter("Tus-Resumable", str, OpenApiParameter.HEADER, required=True, enum=[VERSION])


class _Tus(Endpoint):
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        answer = _abilities() if request.method == "OPTIONS" else super().dispatch(request, *args, **kwargs)
        answer["Tus-Resumable"] = VERSION
        return answer


class Uploads(_Tus):
    @extend_schema(
        operation_id="create_upload",
        summary="Begin a resumable upload (tus)",
        parameters=[
            RESUMABLE,
            OpenApiParameter("Upload-Length", int, OpenApiParameter.HEADER, required=True),
            OpenApiParameter(
                "Upload-Metadata",
                str,
                OpenApiParameter.HEADER,
                description="filename, role (file, wal, journal), set",
            ),
        ],
        request=None,
        responses={201: None, 400: PROBLEM, 412: PROBLEM, 413: PROBLEM, 507: PROBLEM},
    )
    def post(self, request: HttpRequest) -> HttpResponse:
        _require_version(request)
        length = _number(request, "Upload-Length")
        metadata = uploads.parsed_metadata(request.headers.get("Upload-Metadata", ""))
        made = uploads.create(self.caller, length, metadata)
        answer = HttpResponse(status=201, headers={"Location": f"/api/v1/uploads/{made.id}"})
        return _marked(answer, made)


class OneUpload(_Tus):
    @extend_schema(
        operation_id="upload",
        summary="How far an upload of yours is",
        responses={200: shapes.Upload, 404: PROBLEM},
    )
    def get(self, request: HttpRequest, upload: str) -> HttpResponse:
        found = uploads.find(self.caller, upload)
        return _marked(json_answer({"id": found.id, "offset": found.offset, "length": found.length}), found)

    @extend_schema(
        operation_id="continue_upload",
        summary="Send the next piece of an upload (tus)",
        parameters=[
            RESUMABLE,
            OpenApiParameter("Upload-Offset", int, OpenApiParameter.HEADER, required=True),
            OpenApiParameter("Upload-Checksum", str, OpenApiParameter.HEADER),
        ],
        request={_PIECE: bytes},
        responses={
            204: None,
            404: PROBLEM,
            409: PROBLEM,
            412: PROBLEM,
            413: PROBLEM,
            415: PROBLEM,
            423: PROBLEM,
        },
    )
    def patch(self, request: HttpRequest, upload: str) -> HttpResponse:
        found = uploads.find(self.caller, upload)
        _require_version(request)
        if request.content_type != _PIECE:
            raise UnsupportedMediaType(f"Send the piece with Content-Type: {_PIECE}.")
        checksum = uploads.parsed_checksum(request.headers.get("Upload-Checksum", ""))
        uploads.append(found, _number(request, "Upload-Offset"), request, checksum)  # type: ignore[arg-type]
        return _marked(HttpResponse(status=204), found)

    @extend_schema(
        operation_id="end_upload",
        summary="Forget an upload (tus)",
        parameters=[RESUMABLE],
        responses={204: None, 404: PROBLEM, 412: PROBLEM},
    )
    def delete(self, request: HttpRequest, upload: str) -> HttpResponse:
        found = uploads.find(self.caller, upload)
        _require_version(request)
        uploads.remove(found)
        return HttpResponse(status=204)


def _abilities() -> HttpResponse:
    headers = {
        "Tus-Version": VERSION,
        "Tus-Extension": "creation,checksum,expiration,termination",
        "Tus-Max-Size": str(settings.MAX_UPLOAD_BYTES),
        "Tus-Checksum-Algorithm": ",".join(uploads.CHECKSUMS),
    }
    return HttpResponse(status=204, headers=headers)


def _marked(answer: HttpResponse, upload: Upload) -> HttpResponse:
    answer["Upload-Offset"] = str(upload.offset)
    answer["Upload-Length"] = str(upload.length)
    answer["Upload-Expires"] = http_date(upload.expires_at.timestamp())
    answer["Cache-Control"] = "no-store"
    return answer


def _require_version(request: HttpRequest) -> None:
    if request.headers.get("Tus-Resumable") != VERSION:
        raise UnsupportedTusVersion


def _number(request: HttpRequest, name: str) -> int:
    text = request.headers.get(name, "")
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise InvalidValue(f"The header {name} must be a whole number.")
    return int(text)
