"""HTTP to a LogoMesh server: what it says as values, what goes wrong as exceptions."""

from logomesh_client.wire.addresses import Address, BadAddress
from logomesh_client.wire.errors import (
    BadToken,
    CutOff,
    DnsFailed,
    Interrupted,
    NotLogoMesh,
    Problem,
    ProxyFailed,
    Redirected,
    Refused,
    TimedOut,
    TlsFailed,
    Unreachable,
    WireError,
)
from logomesh_client.wire.feed import Pull, PushAnswer, Scope
from logomesh_client.wire.live import Event, Live
from logomesh_client.wire.pacing import Backoff, Pace
from logomesh_client.wire.server import NewDevice, Server
from logomesh_client.wire.transport import Timeouts, Transport
from logomesh_client.wire.uploading import Upload

__all__ = [
    "Address",
    "Backoff",
    "BadAddress",
    "BadToken",
    "CutOff",
    "DnsFailed",
    "Event",
    "Interrupted",
    "Live",
    "NewDevice",
    "NotLogoMesh",
    "Pace",
    "Problem",
    "ProxyFailed",
    "Pull",
    "PushAnswer",
    "Redirected",
    "Refused",
    "Scope",
    "Server",
    "TimedOut",
    "Timeouts",
    "TlsFailed",
    "Transport",
    "Unreachable",
    "Upload",
    "WireError",
]
