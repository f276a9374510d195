"""Keeps a LogoMesh file in step with the spaces of a LogoMesh server."""

from typing import Final

VERSION: Final = "0.1.0"
PROTOCOL_VERSION: Final = 1
