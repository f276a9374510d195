"""The story: three people, one server, 847 thoughts, two hours in a train, a bad link; nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.client import app
from tests.client.laptop import Laptop, until_equal
from tests.client.link import Faults
from tests.client.serving import Lab
from tests.logomesh_server.processes import ROOT

pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.xdist_group("client")]


class Clock:
    """A laptop's clock, which a test can move."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        self.ahead += timedelta(seconds=9)
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def laptops() -> Iterator[list[Laptop]]:
    started: list[Laptop] = []
    yield started
    for laptop in started:
        laptop.kill()
        laptop.hands.app.close()


def test_a_lab_works_for_two_hours_without_a_network(lab: Lab, tmp_path: Path, laptops: list[Laptop]) -> None:
    shared = lab.space("eva", "Theory of mind", "shared")
    lab.share(shared, "eva", "ben")
    lab.share(shared, "eva", "cai")
    with ExitStack() as stack:
        links = {name: stack.enter_context(lab.link(f"story/{name}")) for name in ("eva", "ben", "cai")}
        eva = _laptop(lab, links["eva"].url, "eva", app.lab(tmp_path / "eva.sqlite3"), "S2x", [shared])
        laptops.append(eva)
        for name, dialect in (("ben", "S2x"), ("cai", "S3")):
            path = app.make(tmp_path / f"{name}.sqlite3", dialect)
            home = lab.space(name)
            laptops.append(_laptop(lab, links[name].url, name, path, dialect, [home, shared]))
        _, ben, cai = laptops

        # The boss's 847 thoughts reach everybody, while all of them work.
        for laptop in laptops:
            laptop.start()
        secrets = [_note(laptop, f"Only for {laptop.name}") for laptop in (ben, cai)]
        until_equal(laptops, lambda space: _digest(lab, laptops, space), 180)
        assert len(eva.hands.app.thoughts()) == 847
        assert len(ben.hands.app.thoughts()) == len(cai.hands.app.thoughts()) == 848

        # Two hours in the train: nobody has a network, two laptops and the boss go on.
        for link in links.values():
            link.down()
        both = eva.hands.app.thought_ids()[7]
        for laptop in (ben, cai):
            for _ in range(40):
                laptop.hands.work()
            secrets.append(_note(laptop, f"Also only for {laptop.name}"))
            laptop.hands.app.update_thought(both, title=f"What {laptop.name} calls it")
        eva.hands.app.update_thought(eva.hands.app.thought_ids()[8], title="Renamed by the boss")
        assert ben.unsent() > 20

        # Back through a link that drops, delays, reorders and cuts, until it has done all of that.
        for link in links.values():
            link.faults = Faults(drop=0.2, cut=0.7, cut_after=4_000, delay=0.02, reorder=0.2)
            link.up()
        until = time.monotonic() + 60
        happened: Counter[str] = Counter()
        while not all(happened[what] for what in ("refused", "cut", "overtaken")):
            assert time.monotonic() < until, happened
            time.sleep(0.2)
            happened = sum((link.happened for link in links.values()), Counter())
        for link in links.values():
            link.faults = Faults()
        digests = until_equal(laptops, lambda space: _digest(lab, laptops, space), 120)
        assert len(digests) == 3
        for laptop in laptops:
            assert laptop.stop() == 0, laptop.said()

    # What could not be merged is in the inbox, both sides of it.
    inbox = lab.ask("ben", "GET", f"/spaces/{shared}/conflicts", params={"state": "open"})["conflicts"]
    [about] = [it for it in inbox if it["record_id"] == both and "title" in it["fields"]]
    sides = {about["fields"]["title"]["server"], about["fields"]["title"]["client"]}
    assert sides == {"What ben calls it", "What cai calls it"}

    # Everybody's last words are somewhere.
    everything = lab.everything()
    for laptop in laptops:
        for key, text in laptop.hands.last_words().items():
            for word in text.replace(".", " ").split():
                assert word in everything, (laptop.name, key, word)

    # What somebody keeps for themselves is in nobody else's file.
    for laptop in laptops:
        held = laptop.bytes()
        for owner, secret in secrets:
            assert (secret.encode() in held) == (owner == laptop.name), (owner, laptop.name)
        assert b"Renamed by the boss" in held


def test_an_app_that_never_pauses_is_not_kept_waiting(
    lab: Lab, tmp_path: Path, laptops: list[Laptop]
) -> None:
    """Its process writes without end while two agents push and pull: nothing is missed, nor blocked."""
    space = lab.space("eva")
    for name in ("one", "two"):
        path = app.make(tmp_path / f"{name}.sqlite3", "S2x")
        laptops.append(_laptop(lab, lab.url, "eva", path, "S2x", [space], name))
        laptops[-1].start()
    journals = [tmp_path / f"{laptop.name}.journal" for laptop in laptops]
    writers = [
        subprocess.Popen(
            [
                sys.executable, "-m", "tests.client.app", str(laptop.path), "S2x", "--seed", laptop.name,
                "--seconds", "6", "--journal", str(journal),
            ],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
        )
        for laptop, journal in zip(laptops, journals, strict=True)
    ]  # fmt: skip
    for writer in writers:
        said, _ = writer.communicate(timeout=120)
        assert writer.returncode == 0, said
        report = json.loads(said)
        assert report["locked"] == 0, report
        assert report["acts"] > 50, report
        assert report["milliseconds"]["p99"] < 500, report  # the machine may be busy with other things
    until_equal(laptops, lambda space: _digest(lab, laptops, space), 120)
    everything = lab.everything()
    aside = "".join(laptop.words_aside() for laptop in laptops)
    for journal in journals:
        hands = app.Hands(laptops[0].hands.app, laptops[0].hands.chance)
        hands.journal = [app.Entry(**json.loads(line)) for line in journal.read_text().splitlines()]
        words = hands.last_words()
        assert len(words) > 10
        for key, text in words.items():
            for word in text.replace(".", " ").split():
                assert word in everything or word in aside, (key, word)


def _laptop(
    lab: Lab, url: str, person: str, path: Path, dialect: str, spaces: list[str], name: str = ""
) -> Laptop:
    laptop = Laptop.at(path, dialect, url, lab.device(person), spaces, name or person, clock=Clock())
    laptop.owner = person
    return laptop


def _note(laptop: Laptop, words: str) -> tuple[str, str]:
    """A thought of one's own: (who, the word by which it can be found)."""
    secret = f"{words.replace(' ', '-')}-{os.urandom(8).hex()}"
    laptop.hands.app.create_thought(secret)
    return laptop.name, secret


def _digest(lab: Lab, laptops: list[Laptop], space: str) -> tuple[int, str]:
    """Asked as somebody who may see the space."""
    owner = next(laptop.owner for laptop in laptops if space in laptop.spaces)
    return lab.digest(owner, space)
