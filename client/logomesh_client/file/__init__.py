"""A LogoMesh file and what keeps it in step: which dialect it is, its rows as records, what changed in it."""

from logomesh_client.file.attached import LogoMeshFile, NotAttached
from logomesh_client.file.dialects import Dialect, NotLogoMesh, recognise
from logomesh_client.file.links import Digest, Link, Push, SpaceLink, State, Waiting

__all__ = [
    "Dialect",
    "Digest",
    "Link",
    "LogoMeshFile",
    "NotAttached",
    "NotLogoMesh",
    "Push",
    "SpaceLink",
    "State",
    "Waiting",
    "recognise",
]
