"""The product's version, as `GET /api/v1/about` and the data folder name it."""

from typing import Final

NAME: Final = "LogoMesh Server"
VERSION: Final = "0.1.0"
PROTOCOL_VERSIONS: Final = (1,)
