"""What the pages of imports show to whom, without a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client

from tests.logomesh_files import full
from tests.migration.importing import migrate
from tests.people import People
from workspaces import actions

pytestmark = pytest.mark.django_db(transaction=True)


def test_who_lost_access_sees_no_name_of_the_space(people: People, client: Client, tmp_path: Path) -> None:
    """The import stays theirs to look at; what the space is called by now is not."""
    imported = migrate(people.ben.caller, people.space.pk, full(tmp_path / "a.sqlite3", "S2x"))
    client.force_login(people.ben.person)
    addresses = ("/imports", f"/imports/{imported.pk}")
    assert all("Memory study" in client.get(address).content.decode() for address in addresses)
    actions.unshare_with_person(people.space.pk, people.ben.email, by=people.eva.person)
    actions.rename_space(people.space.pk, "Letters to the dean", by=people.eva.person)
    for address in addresses:
        answer = client.get(address)
        assert answer.status_code == 200
        shown = answer.content.decode()
        assert "Memory study" not in shown and "Letters to the dean" not in shown
        assert f"/spaces/{people.space.pk}" not in shown
