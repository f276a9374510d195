"""A short run of the client's fuzzer; `make fuzz-client` runs longer ones."""

import pytest

from tests.client.fuzz import run
from tests.client.serving import Lab


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.xdist_group("client")
def test_clients_converge_whatever_happens(lab: Lab) -> None:
    counts = run(lab, 3, 12)
    assert counts["words found again"] > 20
    assert counts["steps sync"] + counts["steps struck"] > 0
