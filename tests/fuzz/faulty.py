"""The server's web application, which can be struck down at a named point of a change set.

Granian loads it in place of `logomesh_server.asgi`. A point strikes when the file `strike` in the data folder
names it: the process that meets it first takes the file away and kills itself, or its database session.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "logomesh_server.settings")

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402

from sync import writing  # noqa: E402


def pass_by(point: str) -> None:
    strike = settings.DATA_DIR / "strike"
    taken = strike.with_name(f"strike.{os.getpid()}")
    try:
        if strike.read_text().split(" ")[0] != point:
            return
        strike.rename(taken)
    except FileNotFoundError:
        return
    victim = taken.read_text().split(" ")[1]
    if victim == "database":
        connection.ensure_connection()
        os.kill(connection.connection.info.backend_pid, signal.SIGKILL)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


_change_set, _close, _announce = writing.change_set, writing._close, writing.announce_head


@contextmanager
def change_set(*args: Any, **kwargs: Any) -> Iterator[Any]:
    pass_by("before-lock")
    with _change_set(*args, **kwargs) as changes:
        pass_by("after-lock")
        yield changes
    pass_by("before-answer")


def close(changes: Any) -> None:
    _close(changes)
    pass_by("after-write")


def announce_head(*args: Any) -> None:
    pass_by("before-announce")
    _announce(*args)


for module in [found for name, found in sys.modules.items() if name.startswith("sync.")]:
    for name, ours in (("change_set", change_set), ("_close", close), ("announce_head", announce_head)):
        if getattr(module, name, None) is getattr(writing, name) and module is not writing:
            setattr(module, name, ours)  # it was imported before us
writing.change_set, writing._close, writing.announce_head = change_set, close, announce_head

from logomesh_server.asgi import application  # noqa: E402, F401
