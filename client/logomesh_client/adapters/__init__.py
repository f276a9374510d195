"""Thoughts for programs: in a file, in a space of a server, or in a file that a server keeps in step."""

from logomesh_client.adapters.contract import (
    AlreadyThere,
    CannotHold,
    Health,
    InvalidValue,
    NewSegment,
    NewThought,
    NoSuchThought,
    NotOpen,
    Segment,
    StorageAdapter,
    Tag,
    Thought,
)
from logomesh_client.adapters.hybrid import HybridStorageAdapter
from logomesh_client.adapters.remote import Rejected, RemoteStorageAdapter
from logomesh_client.adapters.sqlite import SQLiteStorageAdapter

__all__ = [
    "AlreadyThere",
    "CannotHold",
    "Health",
    "HybridStorageAdapter",
    "InvalidValue",
    "NewSegment",
    "NewThought",
    "NoSuchThought",
    "NotOpen",
    "Rejected",
    "RemoteStorageAdapter",
    "SQLiteStorageAdapter",
    "Segment",
    "StorageAdapter",
    "Tag",
    "Thought",
]
