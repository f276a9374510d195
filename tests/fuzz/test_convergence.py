"""Two short runs of the fuzzer; `make fuzz` runs longer ones."""

import pytest

from tests.fuzz.run import run


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("seed", [9, 10])
def test_devices_converge_whatever_happens(seed: int) -> None:
    counts = run(seed, 110)
    assert counts["words found again"] > 50
    assert counts["changes applied"] > 20
