"""A space and a device of its owner, as the tests of sync have them."""

from tests.sync.conftest import laptop, space

__all__ = ["laptop", "space"]
