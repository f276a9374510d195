"""Where a client stands in a space's feed: an opaque text that only the server reads.

It names the last row examined, the life (`epoch`) of the space, and the moment at which that
row's version was made. The moment is what gives a restored server away: after a restore the
same version number belongs to another change set.
"""

from __future__ import annotations

import hmac
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.conf import settings

_FORMAT: Final = struct.Struct(">B16s16sqq16sq")
_SUM_BYTES: Final = 9
_VERSION: Final = 1
START: Final = b"\0" * 16
END: Final = b"\xff" * 16
"""Stands after every key: the whole version has been examined."""


@dataclass(frozen=True)
class Cursor:
    space_id: UUID
    epoch: UUID
    version: int
    key: bytes
    """The last key examined within `version`."""
    made_at: int
    """When `version` was made, in microseconds since 1970; 0 where nobody looked it up."""
    fresh_until: int
    """The head when the first pull began: tombstones up to it are not sent."""
    filters: bytes = b""
    """The scope that the client asked for (`sync.pull.scope.Wish`), packed; empty for all."""

    @property
    def place(self) -> tuple[int, bytes]:
        return self.version, self.key


class Unreadable(Exception):
    """This server did not write the cursor."""


class FromTheFuture(Exception):
    """A newer server wrote the cursor."""


def encode(cursor: Cursor) -> str:
    body = _FORMAT.pack(
        _VERSION,
        cursor.space_id.bytes,
        cursor.epoch.bytes,
        cursor.version,
        cursor.made_at,
        cursor.key,
        cursor.fresh_until,
    )
    body += cursor.filters
    return urlsafe_b64encode(_sum(body) + body).decode().rstrip("=")


def decode(text: str) -> Cursor:
    """Raises `Unreadable` or `FromTheFuture`."""
    try:
        raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (UnicodeEncodeError, NotBase64):
        raise Unreadable from None
    body = raw[_SUM_BYTES:]
    if not body or not hmac.compare_digest(_sum(body), raw[:_SUM_BYTES]):
        raise Unreadable
    if body[0] > _VERSION:
        raise FromTheFuture
    if len(body) < _FORMAT.size:
        raise Unreadable
    _, space, epoch, version, made_at, key, fresh_until = _FORMAT.unpack_from(body)
    filters = body[_FORMAT.size :]
    return Cursor(UUID(bytes=space), UUID(bytes=epoch), version, key, made_at, fresh_until, filters)


def _sum(body: bytes) -> bytes:
    """A forged cursor would give nobody a right, but could make the server think it was restored."""
    return hmac.digest(settings.SECRET_KEY.encode(), b"logomesh cursor" + body, "sha256")[:_SUM_BYTES]
