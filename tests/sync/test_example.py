"""The example client of the documentation, run as a reader would: two of them, on one served space."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.logomesh_server.processes import Serving, manage

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("first day")]
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "sync_a_space.py"


def test_one_writes_and_the_other_sees_it(tmp_path: Path) -> None:
    serving = Serving(tmp_path / "data").until_ready()
    try:
        _said(serving, "account", "ana@lab.example", "--workspace", "Lab", "--role", "manager")
        space = _said(
            serving, "space", "Notes", "--workspace", "Lab", "--owner", "ana@lab.example", "--kind", "private"
        )
        laptop, desk = (_said(serving, "token", "ana@lab.example", "--device", name) for name in ("a", "b"))
        assert _run(serving, laptop, space, "t1", "From the laptop") == "applied\n"
        assert _run(serving, desk, space) == "t1\tFrom the laptop\n"
        assert _run(serving, desk, space, "t1", "From the desk").endswith("applied\n")
        assert _run(serving, laptop, space) == "t1\tFrom the desk\n"
    finally:
        serving.end()


def _said(serving: Serving, *arguments: str) -> str:
    done = manage(serving.data, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _run(serving: Serving, token: str, *arguments: str) -> str:
    environment = {**os.environ, "SERVER": serving.url, "TOKEN": token}
    done = subprocess.run(
        [sys.executable, EXAMPLE, *arguments], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
