"""The bodies of answers, piece by piece: however tightly something was packed, no piece is large.

The HTTP library unpacks a part as a whole, so a few kilobytes of a hostile server, or of somebody in between,
could become gigabytes. Here a reader may stop at any time.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import IO, Final, cast

import httpx
import zstandard

PACKINGS: Final = "zstd, gzip"
"""What may be asked for, the best first."""
LARGEST: Final = 2**30
"""No answer that must be held in memory is larger."""
LONGEST_LINE: Final = 300 * 2**20
"""A record, which is a line, may have 256 MiB."""
_PIECE: Final = 64 * 1024
_LARGEST_WINDOW: Final = 2**27


class TooLarge(httpx.DecodingError):
    """More came than anybody can have meant."""


def parts_of(answer: httpx.Response) -> Iterator[bytes]:
    """The body of an open answer, as it comes. Raises `httpx.HTTPError`."""
    packing = answer.headers.get("Content-Encoding", "").strip().lower()
    match packing:
        case "" | "identity":
            return answer.iter_raw()
        case "zstd":
            return _zstd(answer)
        case "gzip":
            return _gzip(answer)
    raise httpx.DecodingError(f"It is packed as {packing[:20]}, which nobody asked for")


def whole(answer: httpx.Response, most: int = LARGEST) -> bytes:
    """The whole body. Raises `TooLarge`, or what else `parts_of` raises."""
    found, size = [], 0
    for part in parts_of(answer):
        found.append(part)
        size += len(part)
        if size > most:
            raise TooLarge(f"It is larger than {most:,} bytes")
    return b"".join(found)


def lines_of(answer: httpx.Response, most: int = LONGEST_LINE) -> Iterator[bytes]:
    """The lines of the body, without what stands after the last one's end. Raises as `whole` does.

    Only a line feed ends one: a text may hold U+2028 and the like.
    """
    for lines in groups_of_lines(answer, most):
        yield from lines


def groups_of_lines(answer: httpx.Response, most: int = LONGEST_LINE) -> Iterator[list[bytes]]:
    """The same, as many at once as came at once."""
    begun: list[bytes] = []
    size = 0
    for part in parts_of(answer):
        first, *others = part.split(b"\n")
        begun.append(first)
        size += len(first)
        if others:
            yield [b"".join(begun), *others[:-1]]
            begun, size = [others[-1]], len(others[-1])
        if size > most:
            raise TooLarge(f"A line is larger than {most:,} bytes")


def _gzip(answer: httpx.Response) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        for part in answer.iter_raw():
            while part:
                if piece := unpacker.decompress(part, _PIECE):
                    yield piece
                part = unpacker.unconsumed_tail
    except zlib.error as error:
        raise httpx.DecodingError(f"It cannot be unpacked: {error}") from error
    if not unpacker.eof:
        raise httpx.DecodingError("It ends too early")


def _zstd(answer: httpx.Response) -> Iterator[bytes]:
    unpacker = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
    source = cast(IO[bytes], _Source(answer))
    with unpacker.stream_reader(source, read_across_frames=True, closefd=False) as reader:
        try:
            while piece := reader.read1(_PIECE):
                yield piece
        except zstandard.ZstdError as error:
            raise httpx.DecodingError(f"It cannot be unpacked: {error}") from error


class _Source:
    """What zstd reads from: the parts as they come from the network."""

    def __init__(self, answer: httpx.Response) -> None:
        self._parts = answer.iter_raw()

    def read(self, size: int) -> bytes:
        return next(self._parts, b"")
