"""Where this client keeps its own things on each platform, and how it writes them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import platformdirs


def config_folder() -> Path:
    """Profiles; and secrets where there is no keychain. `LOGOMESH_CONFIG_DIR` moves it."""
    return Path(os.environ.get("LOGOMESH_CONFIG_DIR") or platformdirs.user_config_path("logomesh"))


def data_folder() -> Path:
    """What must last but is nobody's setting: migrations under way, work that was rescued."""
    return Path(os.environ.get("LOGOMESH_CLIENT_DATA_DIR") or platformdirs.user_data_path("logomesh-client"))


def log_folder() -> Path:
    return Path(os.environ.get("LOGOMESH_CLIENT_LOG_DIR") or platformdirs.user_log_path("logomesh-client"))


def write_atomically(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Put a file in place whole, or not at all, also when the machine stops in between."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)  # noqa: PTH101
        os.replace(name, path)  # noqa: PTH105
    except BaseException:
        os.unlink(name)  # noqa: PTH108
        raise
