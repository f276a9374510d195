"""`python -m tests.fuzz --seed 7 --steps 300` runs one seed; `--minutes 30` one after another until then."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.fuzz.run import run
from tests.fuzz.world import Broken


def main() -> int:
    parser = argparse.ArgumentParser(description="Let simulated devices sync against a server that breaks.")
    parser.add_argument("--seed", type=int, help="the only one to run; else one after another, from the time")
    parser.add_argument("--steps", type=int, default=0, help="how many; 1000 unless said")
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    if options.seed is not None:
        seeds = [options.seed]
        until = None
    else:
        first = int(time.time())
        seeds = list(range(first, first + 100_000))
        until = time.monotonic() + options.minutes * 60
    total: Counter[str] = Counter()
    for number, seed in enumerate(seeds):
        if until is not None and time.monotonic() > until:
            break
        try:
            total.update(run(seed, options.steps or 1000, until=until))
        except Broken as broken:
            print(broken)
            return 1
        print(f"seed {seed} holds ({number + 1} so far)", flush=True)
    for what, times in sorted(total.items()):
        print(f"{times:>9,} {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
