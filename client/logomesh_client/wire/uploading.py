"""Sending a file piece by piece (tus 1.0), so that a broken line costs one piece and not the file."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from logomesh_client.wire.errors import Problem, Unreachable, WireError
from logomesh_client.wire.pacing import Pace
from logomesh_client.wire.transport import Answer, Transport

_PIECE: Final = "application/offset+octet-stream"
_VERSION: Final = {"Tus-Resumable": "1.0.0"}
LARGEST_PIECE: Final = 4 * 1024**2
SMALLEST_PIECE: Final = 1024
_GO_ON: Final = frozenset({"wrong-offset", "checksum-mismatch", "upload-locked"})
_MOST_FAILURES: Final = 6


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
    words = ",".join(
        f"{key} {b64encode(value.encode(errors='replace')).decode()}" for key, value in metadata.items()
    )
    headers = {**_VERSION, "Upload-Length": str(length), "Upload-Metadata": words}
    answer = transport.patiently(lambda: transport.send("POST", "uploads", headers=headers), repeatable=False)
    return Upload(answer.header("Location").rpartition("/")[2], 0, length)


def find(transport: Transport, id_: str) -> Upload:
    """How far an upload is. Raises `Problem` (`not-found`) for one that was forgotten."""
    found = transport.ask("GET", f"uploads/{id_}", members={"id": str, "offset": int, "length": int})
    return Upload(found["id"], found["offset"], found["length"])


def send(
    transport: Transport, upload: Upload, path: Path, sent: Callable[[int], object] = lambda offset: None
) -> Upload:
    """Send what is missing; tells the offset after each piece. May be called again after any failure.

    The transport's patience is for each piece anew: a long upload may see many breaks.
    """
    pace = Pace(LARGEST_PIECE, SMALLEST_PIECE)
    with path.open("rb") as file:
        for state in _pieces(transport, upload, file, pace):
            upload = state
            sent(state.offset)
    return upload


def _pieces(transport: Transport, upload: Upload, file: BinaryIO, pace: Pace) -> Iterator[Upload]:
    sure, failures = False, 0  # whether the offset is the server's own; how many pieces failed in a row
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
            offset = transport.patiently(partial(_send_piece, transport, upload, piece), repeatable=False)
        except WireError as error:
            failures += 1
            if failures > _MOST_FAILURES or not _goes_on(error):
                raise
            if not isinstance(error, Problem) or error.type == "checksum-mismatch":
                pace.failed()
            sure = False
        else:
            pace.worked()
            failures = 0
            upload = Upload(upload.id, offset, upload.length)
            yield upload


def _goes_on(error: WireError) -> bool:
    """Whether it is worth asking how far the upload is, and sending from there."""
    if isinstance(error, Problem):
        return error.type in _GO_ON
    return isinstance(error, Unreachable) and error.is_passing


def _send_piece(transport: Transport, upload: Upload, piece: bytes) -> int:
    checksum = b64encode(hashlib.sha256(piece).digest()).decode()
    headers = {
        **_VERSION,
        "Content-Type": _PIECE,
        "Upload-Offset": str(upload.offset),
        "Upload-Checksum": f"sha256 {checksum}",
    }
    answer = transport.send("PATCH", f"uploads/{upload.id}", headers=headers, content=piece)
    return _number(answer, "Upload-Offset")


def _number(answer: Answer, name: str) -> int:
    text = answer.header(name)
    if not (text.isascii() and text.isdigit()):
        raise answer.stranger()
    return int(text)
