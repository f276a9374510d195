import time
from uuid import RFC_4122

from hypothesis import given
from hypothesis import strategies as st

from workspaces.ids import uuid7


def test_many_ids_are_different_and_in_order_of_time():
    made = []
    for _ in range(50):
        made.append(uuid7())
        time.sleep(0.0011)
    assert made == sorted(made)
    assert len({uuid7() for _ in range(20_000)}) == 20_000


@given(st.integers(0, 2))
def test_they_are_uuids_of_version_7_and_hold_the_time(_: int):
    before = time.time_ns() // 1_000_000
    made = uuid7()
    after = time.time_ns() // 1_000_000
    assert (made.version, made.variant) == (7, RFC_4122)
    assert before <= made.int >> 80 <= after
