"""Whatever a file does, its reader gives a clear verdict: no crash, no hang, nothing opened but the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.migration.hostile.corpus import CORPUS, TAKEN
from tests.migration.hostile.mutations import bases, mutated
from tests.migration.hostile.reader import HostileReader, complaints

MUTATIONS = 150


@pytest.fixture(scope="module")
def reader() -> Iterator[HostileReader]:
    reader = HostileReader()
    yield reader
    reader.close()


@pytest.mark.parametrize("name", CORPUS)
def test_a_file_made_to_do_harm(name: str, reader: HostileReader, tmp_path: Path) -> None:
    make, expected = CORPUS[name]
    path = tmp_path / "file.sqlite3"
    make(path)
    verdict = reader.read(path)
    assert complaints(verdict) == []
    assert (verdict["refused"] or TAKEN) == expected, verdict


@pytest.mark.parametrize("number", range(MUTATIONS))
def test_a_file_that_was_damaged(
    number: int, reader: HostileReader, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "sound"
    if not folder.exists():
        folder.mkdir()
        bases(folder)
    work = tmp_path_factory.mktemp("work")
    path, what = mutated(number, sorted(folder.glob("*.base")), work)
    assert complaints(reader.read(path)) == [], what
