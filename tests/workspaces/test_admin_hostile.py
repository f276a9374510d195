"""The managers' admin, asked in ways that its pages do not offer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.urls import reverse

from tests.workspaces.test_admin import browser, listing, page, told

NUL = "\0"


@pytest.fixture
def other_lab(people: Any) -> Any:
    """A workspace of somebody else, in which a member of the first one is a guest."""
    from workspaces import actions

    workspace = actions.create_workspace("Other lab", by=people.dan.person)
    actions.create_space(workspace.pk, "Foreign study", "shared", by=people.dan.person)
    return workspace


# --- questions that would tell hidden values ------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "lookup"),
    [
        ("workspaces_membership", "workspace__spaces__name__startswith"),
        ("workspaces_membership", "workspace__memberships__person__password__startswith"),
        ("workspaces_membership", "role__in"),
        ("workspaces_group", "workspace__spaces__name__startswith"),
        ("workspaces_invitation", "workspace__invitations__email__startswith"),
        ("workspaces_space", "workspace__spaces__name__startswith"),
        ("workspaces_space", "archived__isnull"),
        ("workspaces_auditentry", "workspace__spaces__name__startswith"),
        ("workspaces_auditentry", "act__startswith"),
        ("workspaces_auditentry", "at__lt"),
        ("workspaces_device", "person__memberships__workspace__name"),
        ("workspaces_device", "state__x"),
        ("migration_import", "state__regex"),
        ("migration_import", "space__name"),
        ("workspaces_workspace", "spaces__name__startswith"),
    ],
)
def test_lists_are_filtered_only_by_what_they_offer(people: Any, model: str, lookup: str) -> None:
    assert browser(people.ana).get(listing(model), {lookup: "E"}).status_code == 400


@pytest.mark.parametrize("field", ["pk", "id", "person__password", "workspace", "name"])
def test_no_field_is_read_through_a_popup(people: Any, field: str) -> None:
    client = browser(people.ana)
    for model in ("membership", "space", "device"):
        answer = client.get(listing(f"workspaces_{model}"), {"_popup": "1", "_to_field": field})
        assert answer.status_code in (200, 400)
        assert "password" not in answer.content.decode().lower().replace(field, "")


# --- wrong input ----------------------------------------------------------------------------------------

FORM = "application/x-www-form-urlencoded"
STRANGE = ("-1", "9" * 20, "a " * 2000, NUL, "\ud800")


@pytest.mark.parametrize(
    "model",
    [
        "workspaces_membership",
        "workspaces_group",
        "workspaces_invitation",
        "workspaces_device",
        "workspaces_space",
        "workspaces_auditentry",
        "workspaces_workspace",
        "migration_import",
    ],
)
def test_no_question_to_a_list_is_a_mistake_of_ours(people: Any, model: str) -> None:
    client = browser(people.ana)
    client.raise_request_exception = False
    names = (
        "q", "p", "o", "all", "e", "workspace", "space", "act", "state", "archived", "role__exact",
        "state__exact", "at_from", "at_to", "_facets", "_popup", "_to_field", "_changelist_filters",
    )  # fmt: skip
    wrong = []
    paths = [listing(model)]
    if model == "workspaces_auditentry":
        paths.append(reverse("admin:workspaces_auditentry_export"))
    for path in paths:
        for value in STRANGE:
            for asked in (names, ("q",), ("p",)):
                query = dict.fromkeys(asked, value.encode("utf-8", "surrogatepass"))
                answer = client.get(path, query)
                if answer.status_code >= 500:
                    wrong.append((path, asked, value[:10], answer.status_code))
    assert not wrong


def test_no_form_is_a_mistake_of_ours(people: Any) -> None:
    client = browser(people.ana)
    client.raise_request_exception = False
    from workspaces.models import Membership

    mine = Membership.objects.get(person=people.ben.person)
    forms = {
        reverse("admin:workspaces_membership_add"): ("workspace", "email", "role"),
        page("workspaces_membership", mine.pk): ("role",),
        page("workspaces_membership", mine.pk, "leave"): ("heir",),
        reverse("admin:workspaces_group_add"): ("workspace", "label", "people"),
        reverse("admin:workspaces_invitation_add"): ("workspace", "email", "role"),
        reverse("admin:workspaces_invitation_many"): ("workspace", "list"),
        reverse("admin:workspaces_space_add"): ("workspace", "name"),
        page("workspaces_space", people.space.pk): ("name", "archived"),
        page("workspaces_space", people.space.pk, "share"): ("who", "role"),
        page("workspaces_space", people.space.pk, "unshare"): ("who",),
        page("workspaces_space", people.space.pk, "transfer"): ("email",),
        page("workspaces_workspace", people.workspace.pk): ("name",),
        listing("workspaces_device"): ("action", "_selected_action", "select_across", "index"),
    }
    sound = {
        "workspace": str(people.workspace.pk), "email": "fay@lab.example", "role": "member", "label": "Fine",
        "name": "Fine", "who": people.ben.email, "list": "fay@lab.example", "heir": people.ben.email,
        "action": "revoke_chosen", "_selected_action": str(people.ben.device.pk),
    }  # fmt: skip
    wrong = []
    for path, fields in forms.items():
        for field in fields:
            for value in STRANGE:
                sent = {name: sound.get(name, "") for name in fields} | {field: value}
                body = urlencode(sent, errors="surrogatepass")
                answer = client.post(path, body, FORM, follow=True)
                if answer.status_code >= 500:
                    wrong.append((path, field, value[:10], answer.status_code))
    assert not wrong


@pytest.mark.parametrize(
    "text",
    [
        "a" * 140_000,
        f'"{"a" * 150_000}",member',
        f"fay{NUL}@lab.example, member",
        '"fay@lab.example, member\nben@lab.example, member',
        "fay@lab.example," * 300,
        ",,,,",
        "x\r\ny\rz\n",
    ],
)
@pytest.mark.parametrize("act", [{}, {"invite": "1"}])
def test_no_list_of_people_is_a_mistake_of_ours(people: Any, text: str, act: dict[str, str]) -> None:
    many = reverse("admin:workspaces_invitation_many")
    assert "Invite many people" in told(browser(people.ana), many, {"list": text} | act)


# --- what one may not do --------------------------------------------------------------------------------


def test_nobody_makes_themselves_more_than_they_are(people: Any) -> None:
    from workspaces.models import Membership, Person

    client = browser(people.ana)
    mine = Membership.objects.get(person=people.ana.person)
    more = {
        "role": "manager",
        "is_superuser": "on",
        "person": str(people.eva.id),
        "person__is_superuser": "1",
    }
    told(client, page("workspaces_membership", mine.pk), more)
    assert not Person.objects.get(pk=people.ana.id).is_superuser
    mine.refresh_from_db()
    assert mine.person_id == people.ana.id


def test_the_audit_trail_cannot_be_changed_by_those_who_read_it(people: Any) -> None:
    from workspaces.models import AuditEntry

    client = browser(people.ana)
    entry = AuditEntry.objects.filter(workspace=people.workspace, private=False).latest("at")
    assert client.get(page("workspaces_auditentry", entry.pk)).status_code == 200
    assert client.post(page("workspaces_auditentry", entry.pk), {"act": "nothing"}).status_code == 403
    assert client.post(page("workspaces_auditentry", entry.pk, "delete"), {"post": "yes"}).status_code == 403
    assert client.get(reverse("admin:workspaces_auditentry_add")).status_code == 403
    sent = {"action": "delete_selected", "_selected_action": str(entry.pk), "post": "yes"}
    client.post(listing("workspaces_auditentry"), sent)
    entry.refresh_from_db()
    assert entry.act != "nothing"


def test_a_superuser_revokes_no_device_of_people_whom_they_do_not_manage(people: Any) -> None:
    client = browser(people.root)
    sent = {"action": "revoke_chosen", "_selected_action": [str(people.ben.device.pk)]}
    html = told(client, listing("workspaces_device"), sent)
    people.ben.device.refresh_from_db()
    assert people.ben.device.revoked_at is None
    assert "Revoke the chosen" not in html


def test_what_was_typed_is_still_there_when_an_action_refuses(people: Any) -> None:
    from workspaces import actions

    actions.create_group(people.workspace.pk, "Readers", by=people.ana.person)
    add = reverse("admin:workspaces_group_add")
    sent = {"workspace": str(people.workspace.pk), "label": "readers", "people": [str(people.cai.id)]}
    html = told(browser(people.ana), add, sent)
    assert "There is a group of this name" in html
    assert 'value="readers"' in html
    assert html.partition(f'value="{people.cai.id}"')[2].partition(">")[0].count("checked")
    sent = {"name": "Typed\x07", "workspace": str(people.workspace.pk)}
    html = told(browser(people.ana), reverse("admin:workspaces_space_add"), sent)
    assert "control characters" in html and 'value="Typed' in html


def test_whoever_draws_people_into_a_workspace_learns_nothing_of_them(
    people: Any,
) -> None:
    from workspaces import actions

    trap = actions.create_workspace("Trap", by=people.dan.person)
    actions.set_member_role(trap.pk, people.ben.email, "member", by=people.dan.person)
    stranger = browser(people.dan)
    devices, trail = listing("workspaces_device"), reverse("admin:workspaces_auditentry_export")
    assert f"{people.ben.device.pk}" not in stranger.get(devices).content.decode()
    people.ben.device.last_seen_at = datetime(2001, 9, 9, tzinfo=UTC)
    people.ben.device.save()
    assert "2001" not in stranger.get(listing("workspaces_membership")).content.decode()
    assert "laptop" not in b"".join(stranger.get(trail).streaming_content).decode().replace(
        "Dan's laptop", ""
    )
    assert stranger.get(page("workspaces_device", people.ben.device.pk)).status_code != 200
    revoked = Client().delete(f"/api/v1/devices/{people.ben.device.pk}", headers=people.dan.headers)
    assert revoked.status_code == 404

    # The lab goes on seeing the devices that hold its data, but ends nobody else's account
    url = f"/api/v1/spaces/{people.space.pk}/changes"
    first = Client().get(url, headers=people.ben.headers).json()
    Client().get(url, {"cursor": first["cursor"]}, headers=people.ben.headers)
    manager = browser(people.ana)
    assert f"{people.ben.device.pk}" in manager.get(devices).content.decode()
    assert "Cai's laptop" in b"".join(manager.get(trail).streaming_content).decode()
    assert (
        Client().delete(f"/api/v1/devices/{people.ben.device.pk}", headers=people.ana.headers).status_code
        == 404
    )
    people.ben.device.refresh_from_db()
    assert people.ben.device.revoked_at is None
