"""What the pages about people show to whom, without a browser."""

from __future__ import annotations

import pytest
from django.contrib.sessions.models import Session
from django.test import Client

from tests.people import PASSWORD, People

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


# --- what was typed when the session had ended ---


def test_what_was_typed_after_the_session_ended_is_kept_until_it_can_be_saved(
    people: People, client: Client
) -> None:
    form = {"name": 'My "new" space\nand more', "kind": "private", "workspace": str(people.workspace.pk)}
    asked = client.post("/spaces", form)
    assert asked.status_code == 401
    shown = asked.content.decode()
    assert "My &quot;new&quot; space" in shown and 'name="kept.kind" value="private"' in shown
    signing = {
        "email": people.ben.email,
        "password": "wrong",
        "next": "/spaces",
        **{f"kept.{name}": value for name, value in form.items()},
    }
    assert "My &quot;new&quot; space" in client.post("/sign-in", signing).content.decode()
    again = client.post("/sign-in", {**signing, "password": PASSWORD})
    shown = again.content.decode()
    assert again.status_code == 200 and 'action="/spaces"' in shown
    assert "My &quot;new&quot; space" in shown and 'name="kind" value="private"' in shown
    assert client.post("/spaces", form).status_code == 302
    assert all("new" not in str(session.get_decoded()) for session in Session.objects.all())


def test_kept_words_are_sent_to_no_other_server_and_passwords_are_not_kept(
    people: People, client: Client
) -> None:
    asked = client.post("/spaces", {"name": "x", "password": "seven quiet herons"}).content.decode()
    assert "seven quiet herons" not in asked
    signing = {
        "email": people.ben.email,
        "password": PASSWORD,
        "next": "https://evil.example/",
        "kept.name": "x",
    }
    assert "evil.example" not in client.post("/sign-in", signing).content.decode()


def test_a_form_without_words_leads_back_to_the_page_it_stood_on(client: Client) -> None:
    here = {"HTTP_REFERER": "http://testserver/conflicts?kind=edit"}
    assert client.post("/conflicts", {"take": "server"}, **here)["Location"] == (
        "/sign-in?next=%2Fconflicts%3Fkind%3Dedit"
    )
    there = {"HTTP_REFERER": "https://evil.example/conflicts"}
    assert client.post("/conflicts", {"take": "server"}, **there)["Location"] == "/sign-in?next=%2F"


def test_words_of_a_page_from_before_another_sign_in_are_given_back(people: People) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(people.ben.person)
    own = {"Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
    asked = client.post("/spaces", {"name": "Typed long ago"}, headers=own)
    shown = asked.content.decode()
    assert asked.status_code == 403 and "Typed long ago" in shown and 'action="/spaces"' in shown
    foreign = client.post(
        "/spaces", {"name": "Typed elsewhere"}, headers={**own, "Sec-Fetch-Site": "cross-site"}
    )
    assert foreign.status_code == 403 and "Typed elsewhere" not in foreign.content.decode()
