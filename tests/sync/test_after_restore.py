"""After a restore from a backup every device can be made to compare."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import call_command

from sync.problems import CursorExpired
from tests.sync.devices import Device, change


def test_every_device_compares_before_it_goes_on(laptop: Device) -> None:
    laptop.push(change("thoughts", "t", set={}))
    laptop.pull()
    out = StringIO()
    call_command("after_restore", stdout=out)
    assert out.getvalue() == "1\n"
    with pytest.raises(CursorExpired) as expired:
        laptop.pull()
    assert expired.value.extra == {"reason": "rolled-back"}
    with pytest.raises(CursorExpired):
        laptop.push(change("thoughts", "u", set={}))
