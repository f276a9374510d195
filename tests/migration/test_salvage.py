"""A damaged file is refused with what is damaged; whoever asks for it gets every row that can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from migration import imports, jobs
from migration.choosing import Choices
from migration.problems import NotNow
from tests.logomesh_files import LogoMeshFile, full
from tests.migration.importing import assess, migrate, records_of
from tests.sync.devices import Device

pytestmark = pytest.mark.django_db


def damaged(path: Path, page: int) -> Path:
    """A file of 200 thoughts over many pages, one of which holds nonsense."""
    with LogoMeshFile(path, "S2x") as file:
        for n in range(200):
            file.thought(f"t{n:03d}", title="T" * 300)
    data = bytearray(path.read_bytes())
    leaves = [
        at for at in range(4096, len(data), 4096) if data[at] == 13 and b"TTTTT" in data[at : at + 4096]
    ]
    data[leaves[page] : leaves[page] + 4096] = b"\xee" * 4096
    path.write_bytes(data)
    return path


def test_a_damaged_file_is_refused_until_somebody_asks_for_what_is_left(
    space: Any, laptop: Device, tmp_path: Path
) -> None:
    imported = assess(laptop.caller, space.pk, damaged(tmp_path / "file.sqlite3", 3))
    assert (imported.state, imported.problem["type"]) == ("failed", "damaged")
    imports.salvage(laptop.caller, imported.pk)
    jobs.run(imported.pk)
    imported.refresh_from_db()
    assert imported.state == "ready", imported.problem
    imports.start(laptop.caller, imported.pk, Choices())
    jobs.run(imported.pk)
    imported.refresh_from_db()
    assert imported.state == "done", imported.problem
    assert next(iter(imported.report["salvaged"]))
    found = sorted(records_of(space.pk, "thoughts"))
    lost = sorted({f"t{n:03d}" for n in range(200)} - set(found))
    assert 0 < len(lost) < 20, "one page was lost, and no more"
    assert int(lost[-1][1:]) - int(lost[0][1:]) == len(lost) - 1
    assert imported.report["tables"]["thoughts"]["rows_in"] == len(found)


def test_only_what_is_damaged_can_be_salvaged(space: Any, laptop: Device, tmp_path: Path) -> None:
    imported = migrate(laptop.caller, space.pk, full(tmp_path / "file.sqlite3", "S2"))
    with pytest.raises(NotNow):
        imports.salvage(laptop.caller, imported.pk)
