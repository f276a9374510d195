"""Sending a file piece by piece (tus 1.0), so that a broken line costs one piece and not the file."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from logomesh_client.wire.errors import Interrupted, Problem, TimedOut
from logomesh_client.wire.pacing import Pace
from logomesh_client.wire.transport import Transport

_PIECE: Final = "application/offset+octet-stream"
_VERSION: Final = {"Tus-Resumable": "1.0.0"}
LARGEST_PIECE: Final = 4 * 1024**2
SMALLEST_PIECE: Final = 1024
_GO_ON: Final = frozenset({"wrong-offset", "checksum-mismatch", "upload-locked"})


@dataclass(frozen=True)
class Upload:
    """A file on its way to the server, or there."""

    id: str
    offset: int
    """Bytes that the server has."""
    length: int


def begin(transport: Transport, name: str, length: int, role: str = "file", set_: str = "") -> Upload:
    """Announce a file. `role`: file, wal or journal; what belongs together has the same `set_`."""
    metadata = {"filename": name, "role": role, **({"set": set_} if set_ else {})}
    words = ",".join(f"{key} {b64encode(value.encode()).decode()}" for key, value in metadata.items())
    headers = {**_VERSION, "Upload-Length": str(length), "Upload-Metadata": words}
    answer = transport.patiently(lambda: transport.send("POST", "uploads", headers=headers), repeatable=False)
    return Upload(answer.headers["Location"].rpartition("/")[2], 0, length)


def find(transport: Transport, id_: str) -> Upload:
    """How far an upload is. Raises `Problem` (`not-found`) for one that was forgotten."""
    found = transport.ask("GET", f"uploads/{id_}")
    return Upload(found["id"], found["offset"], found["length"])


def send(
    transport: Transport, upload: Upload, path: Path, sent: Callable[[int], object] = lambda offset: None
) -> Upload:
    """Send what is missing; tells the offset after each piece. May be called again after any failure."""
    pace = Pace(LARGEST_PIECE, SMALLEST_PIECE)
    with path.open("rb") as file:
        for state in _pieces(transport, upload, file, pace):
            upload = state
            sent(state.offset)
    return upload


def _pieces(transport: Transport, upload: Upload, file: BinaryIO, pace: Pace) -> Iterator[Upload]:
    sure = False  # whether the offset is the server's own
    while True:
        if not sure:
            upload, sure = find(transport, upload.id), True
            yield upload
        if upload.offset >= upload.length:
            return
        file.seek(upload.offset)
        piece = file.read(min(pace.size, upload.length - upload.offset))
        if not piece:
            raise EOFError("The file became shorter while it was sent.")
        try:
            offset = _send_piece(transport, upload, piece)
        except (TimedOut, Interrupted):
            pace.failed()
            sure = False
            if pace.size == SMALLEST_PIECE:
                raise
        except Problem as problem:
            if problem.type not in _GO_ON:
                raise
            pace.failed()
            sure = False
            if pace.size == SMALLEST_PIECE:
                raise
        else:
            pace.worked()
            upload = Upload(upload.id, offset, upload.length)
            yield upload


def _send_piece(transport: Transport, upload: Upload, piece: bytes) -> int:
    checksum = b64encode(hashlib.sha256(piece).digest()).decode()
    headers = {
        **_VERSION,
        "Content-Type": _PIECE,
        "Upload-Offset": str(upload.offset),
        "Upload-Checksum": f"sha256 {checksum}",
    }
    answer = transport.send("PATCH", f"uploads/{upload.id}", headers=headers, content=piece)
    return int(answer.headers["Upload-Offset"])
