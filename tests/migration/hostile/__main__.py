"""`make hostile`: thousands of damaged files, each read as the sandbox reads it. Ends with 1 where one is not clear."""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.migration.hostile.mutations import bases, mutated
from tests.migration.hostile.reader import HostileReader, complaints


def main(files: int, first: int = 0) -> int:
    began, verdicts, wrong = time.monotonic(), Counter[str](), 0
    slowest, largest = 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        sound, work = Path(folder) / "sound", Path(folder) / "work"
        sound.mkdir()
        work.mkdir()
        originals = bases(sound)
        reader = HostileReader()
        for number in range(first, first + files):
            path, what = mutated(number, originals, work)
            verdict = reader.read(path)
            if bad := complaints(verdict):
                wrong += 1
                print(f"{what}\n    {'; '.join(bad)}", flush=True)
            verdicts[verdict["refused"] or verdict["signal"] or f"taken as {verdict['found']}"] += 1
            slowest, largest = max(slowest, verdict["seconds"]), max(largest, verdict["megabytes"])
        reader.close()
    for verdict_, count in verdicts.most_common():
        print(f"{count:7,}  {verdict_}")
    print(
        f"{files:,} files in {time.monotonic() - began:.0f} s; slowest {slowest} s, largest {largest} MB;"
        f" {wrong} not clear"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])) if len(sys.argv) > 1 else main(10_000))
