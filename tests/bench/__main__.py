"""`make bench`: all figures of one run. ARGS="--small" for a quick look, ARGS="sync migration" for a part.

A part is a module of this package with `run(small: bool) -> None`.
"""

from __future__ import annotations

import argparse
import platform
import signal
import sys
from importlib import import_module
from importlib.util import find_spec

import psutil

PARTS = ("sync", "migration", "client", "database")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of: {', '.join(PARTS)}")
    parser.add_argument("--small", action="store_true", help="small sizes: does it run, not how fast")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the servers end with us
    if unknown := set(chosen.parts) - set(PARTS):
        parser.error(f"there is no part {min(unknown)}; choose from {', '.join(PARTS)}")
    memory = psutil.virtual_memory().total // 1024**3
    print(f"{platform.processor() or platform.machine()}, {psutil.cpu_count()} cores, {memory} GiB")
    for part in chosen.parts or [name for name in PARTS if find_spec(f"tests.bench.{name}")]:
        import_module(f"tests.bench.{part}").run(chosen.small)


if __name__ == "__main__":
    main()
