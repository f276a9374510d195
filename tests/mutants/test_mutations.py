"""Every planted bug can still be planted. `make mutants` then shows that the tests catch each."""

import ast
import shutil
from pathlib import Path

import pytest

from tests.mutants.__main__ import ROOT, plant
from tests.mutants.mutations import MUTATIONS, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[mutation.name for mutation in MUTATIONS])
def test_it_can_be_planted(mutation: Mutation, tmp_path: Path) -> None:
    file = tmp_path / mutation.file
    file.parent.mkdir(parents=True)
    shutil.copy(ROOT / mutation.file, file)
    plant(mutation, tmp_path)
    ast.parse(file.read_text())
    assert all((ROOT / test).exists() for test in mutation.tests)


def test_their_names_differ() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)
