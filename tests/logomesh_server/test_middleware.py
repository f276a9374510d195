"""What only browsers need is spared programs, and nobody else."""

import pytest
from django.test import Client
from django.utils import translation

from tests.people import PASSWORD, People

pytestmark = pytest.mark.django_db
GERMAN = {"Accept-Language": "de"}


def test_a_program_is_answered_in_the_protocols_language_after_a_browser_of_another(
    client: Client, people: People
) -> None:
    client.get("/sign-in", headers=GERMAN)
    with translation.override("de"):
        answer = client.get(f"/api/v1/spaces/{people.space.pk}/changes", headers=people.ben.headers | GERMAN)
        assert translation.get_language() == "en"
    assert answer.status_code == 200 and "Set-Cookie" not in answer


def test_an_odd_header_makes_no_page_fail(client: Client, people: People) -> None:
    client.login(username=people.ben.email, password=PASSWORD)
    for header in ("Token nothing", "Basic !", "Bearer x", " "):
        page = client.get(f"/spaces/{people.space.pk}", headers={"Authorization": header})
        assert page.status_code == 200, header
        assert client.get("/api/v1/spaces", headers={"Authorization": header}).status_code == 401


def test_a_session_asks_the_api_without_a_token(client: Client, people: People) -> None:
    client.login(username=people.ben.email, password=PASSWORD)
    assert client.get(f"/api/v1/spaces/{people.space.pk}/changes").status_code == 200
