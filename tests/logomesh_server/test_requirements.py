"""requirements.txt alone is enough to run the server: what only development installs must not be needed."""

import subprocess
import sys
from pathlib import Path

from tests.logomesh_server import clean_machine


def test_the_server_loads_with_what_it_pins_alone() -> None:
    hidden = clean_machine.hidden()
    assert {"pytest", "hypothesis", "mypy"} <= hidden
    assert {"django", "celery", "packaging"}.isdisjoint(hidden)
    done = subprocess.run(
        [sys.executable, "-m", "tests.logomesh_server.clean_machine"], cwd=Path(__file__).parents[2],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.endswith("complete\n"), done.stderr
