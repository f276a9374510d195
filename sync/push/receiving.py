"""First stage of a push: bytes to a checked envelope."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import zstandard

from sync.core import changes
from sync.core.limits import MAX_CHANGES, MAX_INTEGER, MAX_PUSH_BYTES, MAX_RECORD_BYTES
from sync.problems import Malformed, PushTooLarge, UnsupportedEncoding

_STEP = 64 * 1024


@dataclass(frozen=True)
class Received:
    """What a client sent, not looked at change by change yet."""

    epoch: UUID | None
    seen: int
    changes: list[Any]


def receive(body: bytes, encoding: str = "") -> Received:
    """Unpack and decode a push. Raises `Malformed`, `PushTooLarge` or `UnsupportedEncoding`."""
    unpacked = unpack(body, encoding)
    if len(unpacked) > MAX_PUSH_BYTES and unpacked.count(b'"change_id"') > 1:
        # Asked before it is parsed, which takes many times the memory. Inside a text the quotes are escaped.
        raise _too_large_for_several(len(unpacked))
    document = decode(unpacked)
    if not isinstance(document, dict) or not isinstance(document.get("changes"), list):
        raise Malformed("A push is an object with a list named changes.", pointer="/changes")
    raw = document["changes"]
    if len(raw) > MAX_CHANGES:
        raise PushTooLarge(f"A push may hold {MAX_CHANGES:,} changes; this one has {len(raw):,}. Send fewer.")
    if len(unpacked) > MAX_PUSH_BYTES and len(raw) > 1:
        raise _too_large_for_several(len(unpacked))
    return Received(_epoch(document.get("epoch")), _seen(document.get("seen", 0)), raw)


def decode(body: bytes) -> Any:
    """Strict JSON (see `sync.core.changes.parse`) or the problem `malformed`."""
    try:
        return changes.parse(body)
    except changes.Malformed as error:
        raise Malformed(str(error)) from None


def unpack(body: bytes, encoding: str) -> bytes:
    """The body without its Content-Encoding, refused at the limit while it is being unpacked."""
    match encoding.strip().lower():
        case "" | "identity":
            if len(body) > MAX_RECORD_BYTES:
                raise _too_large()
            return body
        case "gzip":
            return _gunzip(body)
        case "zstd":
            return _unzstd(body)
        case _:
            raise UnsupportedEncoding("Send the body as it is, or with Content-Encoding zstd or gzip.")


def _gunzip(body: bytes) -> bytes:
    out = bytearray()
    try:
        while body:
            unpacker = zlib.decompressobj(wbits=31)
            while not unpacker.eof:
                if not body:
                    raise Malformed("The gzip body is cut off.")
                out += unpacker.decompress(body, _STEP)
                body = unpacker.unconsumed_tail
                _check_size(out)
                if not body and not unpacker.eof:
                    out += unpacker.decompress(b"", _STEP)
                    if not unpacker.eof:
                        raise Malformed("The gzip body is cut off.")
            body = unpacker.unused_data
    except zlib.error:
        raise Malformed("The body says that it is gzip, but it cannot be unpacked.") from None
    return bytes(out)


def _unzstd(body: bytes) -> bytes:
    out = bytearray()
    try:
        # A frame may ask for a window of gigabytes; 2^27 is what `zstd -19 --long=27` writes.
        unpacker = zstandard.ZstdDecompressor(max_window_size=2**27)
        with unpacker.stream_reader(body, read_across_frames=True) as reader:
            while block := reader.read(_STEP):
                out += block
                _check_size(out)
    except zstandard.ZstdError:
        raise Malformed("The body says that it is zstd, but it cannot be unpacked.") from None
    return bytes(out)


def _check_size(out: bytearray) -> None:
    if len(out) > MAX_RECORD_BYTES:
        raise _too_large()


def _too_large() -> PushTooLarge:
    return PushTooLarge(f"A push may have at most {MAX_RECORD_BYTES:,} bytes, unpacked.")


def _too_large_for_several(size: int) -> PushTooLarge:
    return PushTooLarge(
        f"A push of several changes may have {MAX_PUSH_BYTES:,} bytes; this one has {size:,}."
        " Send fewer changes at once."
    )


def _epoch(value: Any) -> UUID | None:
    if value is None:
        return None
    if isinstance(value, str) and len(value) == 36:
        try:
            return UUID(value)
        except ValueError:
            pass
    raise Malformed("epoch is the text that the last pull gave.", pointer="/epoch")


def _seen(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER:
        return value
    raise Malformed("seen is the version up to which the client has pulled.", pointer="/seen")
