"""Real clients on real files against a real server, over links and through deaths of every kind.

    make fuzz-client SEED=7 STEPS=40     one run
    make fuzz-client MINUTES=30          one after another

The oracle: when all is quiet again, every copy proves equal to the server's, nothing is unsent, the rows of
each file are what the server has, and every word that somebody wrote last in a place is in a record, a
conflict, the history, or in what `rescue` gives.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from logomesh_client.file import LogoMeshFile, State
from tests.client import app
from tests.client.laptop import POINTS, Laptop
from tests.client.link import NONE, Faults, Link
from tests.client.serving import Lab, lab
from tests.fuzz.faults import POINTS as SERVER_POINTS

REST_ROUNDS: Final = 12
"""After so many quiet rounds of each client all must be equal."""
ROUND_SECONDS: Final = 60.0
_WORD: Final = re.compile(r"[a-z]+[0-9a-f]{8}")
"""What `prose.token` writes: each is written once in the world."""


class Broken(Exception):
    """Something that must hold does not."""


@dataclass
class World:
    lab: Lab
    folder: Path
    stack: ExitStack
    seed: str
    shared: str
    gone: set[str] = field(default_factory=set)
    """Who has lost their role in the shared space."""
    laptops: list[Laptop] = field(default_factory=list)
    links: dict[str, Link] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def make(cls, lab: Lab, folder: Path, stack: ExitStack, seed: str, chance: Random) -> World:
        shared = lab.space("eva", kind="shared")
        world = cls(lab, folder, stack, seed, shared)
        people = ["eva", "ben", "cai"][: chance.choice((2, 2, 3))]
        for person in people:
            if person != "eva":
                lab.share(shared, "eva", person)
            home = shared if chance.random() < 0.4 else lab.space(person)
            world.add(person, chance, [home] if home == shared else [home, shared])
        return world

    def add(self, person: str, chance: Random, spaces: list[str]) -> None:
        name = f"{person}-{len(self.laptops)}"
        dialect = chance.choice(("S2x", "S2x", "S2x", "S2", "S3", "S1", "S4"))
        path = app.make(self.folder / f"{name}.sqlite3", dialect)
        self.put(person, path, dialect, self.lab.device(person), spaces, attach=True)

    def put(
        self, person: str, path: Path, dialect: str, token: str, spaces: list[str], *, attach: bool
    ) -> Laptop:
        name = path.stem
        seed = f"{self.seed}/{name}"
        link = self.links[name] = self.stack.enter_context(self.lab.link(seed))
        hands = app.Hands(app.App.of(path, dialect, seed), Random(f"hands/{seed}"))
        laptop = Laptop(name, path, dialect, link.url, token, spaces, hands, person)
        if attach:
            laptop.attach()
        self.laptops.append(laptop)
        self.stack.callback(laptop.kill)
        return laptop

    def round(self, laptop: Laptop, chance: Random, *, strike: str = "", kill_after: float = 0) -> None:
        """One round of a client's process, its person at work meanwhile, or dead in the middle."""
        token = laptop.path.with_suffix(".token")
        if token.exists():
            laptop.token = token.read_text()
        laptop.start(once=True, strike=strike, idle=3)
        until = time.monotonic() + (kill_after or ROUND_SECONDS)
        while laptop.wait(0.05) is None:
            if kill_after and time.monotonic() > until:
                laptop.kill()
                self.counts["clients killed"] += 1
                return
            if time.monotonic() > until:
                raise Broken(f"A round of {laptop.name} does not end:\n{laptop.said()}")
            if chance.random() < 0.3:
                self.counts[f"acts beside a round: {laptop.hands.work()}"] += 1
        ended = laptop.wait(0)
        laptop.kill()
        if ended == -9 and strike:
            self.counts[f"struck at {strike.split(':')[0]}"] += 1
        elif ended != 0:
            raise Broken(f"The client of {laptop.name} ended with {ended}:\n{laptop.said()}")


# Steps


def _work(world: World, chance: Random) -> None:
    laptop = chance.choice(world.laptops)
    for _ in range(chance.choice((1, 3, 8, 20))):
        world.counts[f"acts {laptop.hands.work()}"] += 1


def _sync(world: World, chance: Random) -> None:
    world.round(chance.choice(world.laptops), chance)


def _struck(world: World, chance: Random) -> None:
    laptop = chance.choice(world.laptops)
    for _ in range(chance.choice((0, 3))):
        laptop.hands.work()
    if chance.random() < 0.5:
        strike = f"{chance.choice(POINTS)}:{chance.choice((1, 1, 2, 5))}"
    else:
        strike = f"call:{int(10 ** chance.uniform(1.5, 4.5))}"
    world.round(laptop, chance, strike=strike)


def _killed(world: World, chance: Random) -> None:
    laptop = chance.choice(world.laptops)
    laptop.hands.work()
    world.round(laptop, chance, kill_after=chance.uniform(0.3, 2.0))


def _weather(world: World, chance: Random) -> None:
    """A link becomes bad, worse, or good again."""
    link = world.links[chance.choice(world.laptops).name]
    link.up()
    kind = chance.choice(("good", "lossy", "cutting", "slow", "tunnel", "down"))
    world.counts[f"links {kind}"] += 1
    link.faults = {
        "lossy": Faults(drop=0.4, reorder=0.2),
        "cutting": Faults(cut=0.6, cut_after=chance.choice((500, 5_000, 50_000))),
        "slow": Faults(delay=0.15),
        "tunnel": Faults(swallow_over=1_400),
    }.get(kind, NONE)
    if kind == "down":
        link.down()


def _strike_server(world: World, chance: Random) -> None:
    world.lab.server.arm(chance.choice(SERVER_POINTS), chance.choice(("web", "database")))
    laptop = chance.choice(world.laptops)
    laptop.hands.work()
    world.round(laptop, chance)
    if world.lab.server.disarm():
        world.counts["server struck"] += 1
    world.lab.server.until_ready()


def _copy(world: World, chance: Random) -> None:
    """Somebody copies the file, with all that the client keeps in it, to a second machine."""
    if len(world.laptops) > 4:
        return
    source = chance.choice(world.laptops)
    path = world.folder / f"{source.owner}-{len(world.laptops)}.sqlite3"
    with closing(sqlite3.connect(source.path)) as there, closing(sqlite3.connect(path)) as here:
        there.backup(here)
    twin = world.put(source.owner, path, source.dialect, source.token, source.spaces, attach=False)
    twin.hands.journal.extend(source.hands.journal)
    world.counts["copies of a file"] += 1


def _back_up(world: World, chance: Random) -> None:
    """An older copy of the file comes back: what was written since is only what the server has."""
    laptop = chance.choice(world.laptops)
    kept = laptop.path.with_suffix(".backup")
    if kept.exists() and chance.random() < 0.7:
        old = len(kept.with_suffix(".count").read_text())
        laptop.hands.app.close()
        shutil.copy(kept, laptop.path)
        laptop.hands.app = app.App.of(
            laptop.path, laptop.dialect, f"{world.seed}/{laptop.name}/{old}/{time.time_ns()}"
        )
        del laptop.hands.journal[old:]
        world.counts["files restored"] += 1
    else:
        shutil.copy(laptop.path, kept)
        kept.with_suffix(".count").write_text("." * len(laptop.hands.journal))


def _take_away(world: World, chance: Random) -> None:
    """Somebody loses their role in the shared space, with whatever they had not sent yet."""
    fit = [it for it in world.laptops if it.owner != "eva" and it.spaces[0] != world.shared]
    if not fit or world.gone:
        return
    laptop = chance.choice(fit)
    for _ in range(chance.choice((0, 5))):
        laptop.hands.work()
    world.lab.share(world.shared, "eva", laptop.owner, None)
    world.gone.add(laptop.owner)
    world.counts["roles taken away"] += 1


STEPS: Final[dict[str, tuple[float, Callable[[World, Random], None]]]] = {
    "work": (40, _work),
    "sync": (25, _sync),
    "struck": (14, _struck),
    "killed": (6, _killed),
    "weather": (10, _weather),
    "strike the server": (3, _strike_server),
    "copy": (1.5, _copy),
    "back up": (3, _back_up),
    "take away": (0.7, _take_away),
}
"""Step -> weight, and what happens."""


def run(lab: Lab, seed: int, steps: int, until: float | None = None) -> Counter[str]:
    """Raises `Broken`, with the command that replays the run. Returns what happened, counted."""
    first = Random(f"{seed}")
    folder = Path(tempfile.mkdtemp(prefix="logomesh-fuzz-client-"))
    step = 0
    with ExitStack() as stack:
        try:
            world = World.make(lab, folder, stack, str(seed), first)
            for step in range(steps):
                chance = Random(f"{seed}/{step}")
                [name] = chance.choices(list(STEPS), [weight for weight, _ in STEPS.values()])
                world.counts[f"steps {name}"] += 1
                STEPS[name][1](world, chance)
                if until is not None and time.monotonic() > until:
                    break
            come_to_rest(world, Random(f"{seed}/rest"))
            check(world)
        except Exception as broken:
            raise Broken(
                f"Seed {seed} broke at step {step}; the files are in {folder}. Replay it with:\n\n"
                f"    make fuzz-client SEED={seed} STEPS={step + 1}\n\n{type(broken).__name__}: {broken}"
            ) from broken
    shutil.rmtree(folder)
    return world.counts


def come_to_rest(world: World, chance: Random) -> None:
    """No more faults, nobody writes: after some rounds of each, all copies are equal."""
    for link in world.links.values():
        link.faults = NONE
        link.up()
    world.lab.server.until_ready()
    still = Random(0)
    still.random = lambda: 1.0  # type: ignore[method-assign]
    for number in range(REST_ROUNDS):
        for laptop in world.laptops:
            world.round(laptop, still)
        if number and not unequal(world):
            world.counts["rounds to rest"] = number + 1
            return
    said = "\n".join(f"{laptop.name}: {laptop.said()[-1500:]}" for laptop in world.laptops)
    raise Broken(f"Not equal after {REST_ROUNDS} quiet rounds: {unequal(world)}\n{said}")


def unequal(world: World) -> list[Any]:
    """What is still unsent, or not as the server has it."""
    found: list[Any] = []
    for laptop in world.laptops:
        if count := laptop.unsent():
            found.append((laptop.name, "unsent", count))
        for space, mine in laptop.digests().items():
            if mine != (theirs := world.lab.digest(laptop.owner, space)):
                found.append((laptop.name, space, mine, theirs))
    return found


# The oracle


def check(world: World) -> None:
    everything = set(_WORD.findall(world.lab.everything()))
    aside = {word for laptop in world.laptops for word in _WORD.findall(laptop.words_aside())}
    for laptop in world.laptops:
        _check_states(world, laptop)
        _check_rows(world, laptop)
        for key, text in laptop.hands.last_words().items():
            for word in _WORD.findall(text):
                if word not in everything and word not in aside:
                    raise Broken(f"{laptop.name} wrote {word!r} into {key}, and it is nowhere")
                world.counts["words found again"] += 1


def _check_states(world: World, laptop: Laptop) -> None:
    with LogoMeshFile.open(laptop.path) as file:
        for link in file.links():
            lost = link.space == world.shared and laptop.owner in world.gone
            wanted = State.ACCESS_LOST if lost else State.ONLINE
            if link.state is not wanted:
                raise Broken(f"{laptop.name} says {link.state} of {link.space}: {link.reason}")
            if link.proof is None and not lost:
                raise Broken(f"{laptop.name} never proved {link.space}")


def _check_rows(world: World, laptop: Laptop) -> None:
    """What the app shows is what the server has: read from the rows, by nothing of the client's own."""
    records: dict[tuple[str, str], dict[str, Any]] = {}
    for space in laptop.spaces:
        if space != world.shared or laptop.owner not in world.gone:
            records |= world.lab.records(laptop.owner, space)
    reading = laptop.hands.app
    seen = {"thoughts": set(reading.thought_ids()), "segments": set(reading.segment_ids())}
    for (type_, id_), record in records.items():
        if type_ not in seen:
            continue
        if id_ not in seen[type_]:
            raise Broken(f"{laptop.name} does not show {type_} {id_}")
        seen[type_].discard(id_)
        columns = ("title", "description") if type_ == "thoughts" else ("content",)
        for column in columns:
            if (shown := reading.value(type_, id_, column)) != record[column]:
                raise Broken(
                    f"{laptop.name} shows {type_} {id_} {column} as {shown!r}, not {record[column]!r}"
                )
    if any(seen.values()):
        raise Broken(f"{laptop.name} shows what the server does not have: {seen}")
    reading.thoughts()  # the app's own reader survives all that was written


def main() -> int:
    parser = argparse.ArgumentParser(description="Let real clients sync real files while everything breaks.")
    parser.add_argument("--seed", type=int, help="the only one to run; else one after another, from the time")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    first = int(time.time()) if options.seed is None else options.seed
    seeds = range(first, first + (100_000 if options.seed is None else 1))
    until = None if options.seed is not None else time.monotonic() + options.minutes * 60
    total: Counter[str] = Counter()
    with lab() as served:
        for number, seed in enumerate(seeds):
            if until is not None and time.monotonic() > until:
                break
            try:
                total.update(run(served, seed, options.steps, until))
            except Broken as broken:
                print(broken)
                return 1
            print(f"seed {seed} holds ({number + 1} so far)", flush=True)
    for what, times in sorted(total.items()):
        print(f"{times:>9,} {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
