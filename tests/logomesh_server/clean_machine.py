"""Loads all that the server's processes load, as if nothing but what requirements.txt pins were installed.

Run as a program: it needs the environment of a server, and hides packages from its own process alone.
"""

from __future__ import annotations

import pkgutil
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

OURS = ("workspaces", "sync", "migration", "logomesh_server")
# What the commands of web, worker and clock load besides, and the way from the worker to Redis.
STARTED = (
    "granian.cli", "granian.server", "uvloop", "celery.__main__", "celery.bin.celery", "celery.apps.worker",
    "celery.apps.beat", "celery.concurrency.prefork", "celery.worker.consumer", "kombu.transport.redis",
)  # fmt: skip


def hidden() -> set[str]:
    """Modules of packages that the pins do not name."""
    text = (Path(__file__).parents[2] / "requirements.txt").read_text(encoding="utf-8")
    pinned = {_plain(name) for name in re.findall(r"^([\w.-]+)==", text, re.M)}
    return {
        module for module, packages in packages_distributions().items()
        if pinned.isdisjoint(map(_plain, packages))
    }  # fmt: skip


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def hide(modules: set[str]) -> None:
    class Pinned(PathFinder):
        @classmethod
        def find_spec(
            cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
        ) -> ModuleSpec | None:
            if fullname.partition(".")[0] in modules:
                return None
            return super().find_spec(fullname, path, target)

    assert not modules & {*sys.modules}, "loaded before it could be hidden"
    sys.meta_path[:] = [BuiltinImporter, FrozenImporter, Pinned]


def load() -> None:
    import django

    django.setup()
    for name in OURS:
        for module in pkgutil.walk_packages(import_module(name).__path__, f"{name}."):
            if not module.name.endswith(".__main__"):
                import_module(module.name)
    for name in STARTED:
        import_module(name)


def speak_with_redis() -> None:
    from logomesh_server.celery import app

    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1)
    app.control.ping(timeout=0.1)


if __name__ == "__main__":
    hide(hidden())
    load()
    speak_with_redis()
    print("complete")
