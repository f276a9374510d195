"""What the pages about people show to whom, without a browser."""

from __future__ import annotations

import pytest
from django.contrib.sessions.models import Session
from django.test import Client

from tests.people import People

pytestmark = pytest.mark.django_db


def test_an_invitation_link_is_in_the_answer_and_kept_nowhere(people: People, client: Client) -> None:
    client.force_login(people.ana.person)
    page = f"/workspaces/{people.workspace.pk}"
    shown = client.post(f"{page}/invite", {"email": "fay@lab.example", "role": "member"}).content.decode()
    token = shown.split("/join/")[1].split("<")[0].split('"')[0]
    client.force_login(people.eva.person)
    sharing = f"/spaces/{people.space.pk}/sharing"
    shared = client.post(sharing, {"who": "gil@lab.example", "role": "viewer"}).content.decode()
    other = shared.split("/join/")[1].split("<")[0].split('"')[0]
    assert len(token) > 30 and len(other) > 30
    assert "/join/" not in client.get(page).content.decode() + client.get(sharing).content.decode()
    assert all("invitation" not in str(session.get_decoded()) for session in Session.objects.all())
    assert client.get(f"/join/{token}").status_code == client.get(f"/join/{other}").status_code == 200
