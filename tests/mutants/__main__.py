"""`python -m tests.mutants [word …]`: plant each bug (whose name has the words) and see who catches it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.mutants.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "node_modules")
PATIENCE = 600


def main(words: list[str]) -> int:
    chosen = [mutation for mutation in MUTATIONS if all(word in mutation.name for word in words)]
    survived = 0
    for mutation in chosen:
        started = time.monotonic()
        said = _caught_by(mutation)
        survived += said is None
        verdict = f"caught by {said}" if said else "SURVIVED"
        print(f"{mutation.name:<50} {time.monotonic() - started:>4.0f} s  {verdict}", flush=True)
    print(f"\n{len(chosen) - survived} of {len(chosen)} caught.")
    return 1 if survived else 0


def _caught_by(mutation: Mutation) -> str | None:
    """The test that failed; None if all passed."""
    with tempfile.TemporaryDirectory(prefix="logomesh-mutant-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
        plant(mutation, tree)
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *mutation.tests],
                cwd=tree, capture_output=True, text=True, timeout=PATIENCE,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return "a test that does not end"
    if done.returncode == 0:
        return None
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if done.returncode != 1 or not lines:
        raise SystemExit(
            f"{mutation.name}: the tests could not run:\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}"
        )
    return lines[0].split(" - ")[0].split("::")[-1].split("[")[0]


def plant(mutation: Mutation, tree: Path) -> None:
    """Raises ValueError where the text to change does not stand there exactly once."""
    file = tree / mutation.file
    text = file.read_text()
    if text.count(mutation.old) != 1:
        raise ValueError(
            f"{mutation.name}: its text stands {text.count(mutation.old)} times in {mutation.file}."
            " Choose another one in tests/mutants/mutations.py that plants the same bug."
        )
    file.write_text(text.replace(mutation.old, mutation.new))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
