"""The managers' admin: who gets in, what they can do there, and that no private space shows anywhere."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from django.test import Client
from django.urls import reverse

CANARY = "Zeisigruf"
LINKS = re.compile(r"""(?:href|action|src|hx-get)=["']([^"'#]+)""")


@pytest.fixture
def people(db: Any) -> Any:
    from tests.people import make_people

    return make_people()


@pytest.fixture
def other_lab(people: Any) -> Any:
    """A workspace of somebody else, with a shared space."""
    from workspaces import actions

    workspace = actions.create_workspace("Other lab", by=people.dan.person)
    space = actions.create_space(workspace.pk, "Foreign study", "shared", by=people.dan.person)
    return workspace, space


def browser(member: Any) -> Client:
    client = Client()
    client.force_login(member.person)
    return client


def listing(model: str) -> str:
    return reverse(f"admin:{model}_changelist")


def page(model: str, pk: Any, verb: str = "change") -> str:
    return reverse(f"admin:{model}_{verb}", args=[pk])


def told(client: Client, path: str, data: dict[str, Any], status: int = 200) -> str:
    """Post a form, follow where it leads, and return the page."""
    answer = client.post(path, data, follow=True)
    assert answer.status_code == status, answer.content.decode()[:2000]
    return unescape(answer.content.decode())


# --- who gets in ----------------------------------------------------------------------------------------


def test_the_admin_is_for_managers_and_superusers(people: Any) -> None:
    index = reverse("admin:index")
    assert Client().get(index).status_code == 302
    for name in ("ben", "cai", "dan", "eva"):
        assert browser(getattr(people, name)).get(index).status_code == 403, name
    assert browser(people.ana).get(index).status_code == 200
    assert browser(people.root).get(index).status_code == 200


def test_a_manager_who_is_one_no_longer_is_out_at_once(people: Any) -> None:
    from workspaces import actions

    client = browser(people.ana)
    assert client.get(reverse("admin:index")).status_code == 200
    actions.set_member_role(people.workspace.pk, people.ben.email, "manager", by=people.ana.person)
    actions.set_member_role(people.workspace.pk, people.ana.email, "member", by=people.ben.person)
    assert client.get(reverse("admin:index")).status_code == 403


def test_django_permissions_open_nothing(people: Any) -> None:
    from django.contrib.auth.models import Permission

    people.ben.person.user_permissions.set(Permission.objects.all())
    assert browser(people.ben).get(listing("workspaces_membership")).status_code == 403


def test_a_manager_sees_only_their_workspaces(people: Any, other_lab: Any) -> None:
    _, space = other_lab
    client = browser(people.ana)
    for model in ("membership", "group", "space", "device", "invitation", "workspace", "auditentry"):
        html = client.get(listing(f"workspaces_{model}")).content.decode()
        assert "Other lab" not in html and "Foreign study" not in html and people.dan.email not in html, model
    assert client.get(page("workspaces_space", space.pk)).status_code == 404
    assert client.get(page("workspaces_device", people.dan.device.pk)).status_code == 404
    assert client.post(page("workspaces_device", people.dan.device.pk, "revoke")).status_code == 404


def test_a_superuser_sees_all_workspaces_and_changes_only_what_they_manage(people: Any) -> None:
    client = browser(people.root)
    html = client.get(listing("workspaces_space")).content.decode()
    assert people.space.name in html
    assert client.get(page("workspaces_space", people.space.pk)).status_code == 200
    answer = client.post(page("workspaces_space", people.space.pk), {"name": "Mine now"})
    assert answer.status_code == 403
    assert client.post(page("workspaces_space", people.space.pk, "share"), {"who": "x"}).status_code == 403


# --- what managers do -----------------------------------------------------------------------------------


def test_members_get_roles_and_leave(people: Any) -> None:
    from workspaces.models import AuditEntry, Membership

    client = browser(people.ana)
    add = reverse("admin:workspaces_membership_add")
    told(client, add, {"workspace": people.workspace.pk, "email": people.dan.email, "role": "guest"})
    member = Membership.objects.get(person=people.dan.person)
    assert member.role == "guest"
    told(client, page("workspaces_membership", member.pk), {"role": "member"})
    member.refresh_from_db()
    assert member.role == "member"
    assert client.get(page("workspaces_membership", member.pk, "delete")).status_code == 403
    told(client, page("workspaces_membership", member.pk, "leave"), {})
    assert not Membership.objects.filter(person=people.dan.person).exists()
    acts = AuditEntry.objects.filter(by=people.ana.person, subject=people.dan.email)
    assert list(acts.order_by("pk").values_list("act", flat=True)) == [
        "member-role-set",
        "member-role-set",
        "member-removed",
        "device-revoked",
    ]


def test_what_an_action_refuses_is_told_and_nothing_changes(people: Any) -> None:
    from workspaces.models import Membership

    client = browser(people.ana)
    mine = Membership.objects.get(person=people.ana.person)
    html = told(client, page("workspaces_membership", mine.pk), {"role": "guest"})
    assert "without a manager" in html
    owner = Membership.objects.get(person=people.eva.person)
    html = told(client, page("workspaces_membership", owner.pk, "leave"), {"heir": people.dan.email})
    assert "Not in this workspace: dan@lab.example" in html
    assert set(Membership.objects.values_list("pk", flat=True)) >= {mine.pk, owner.pk}


def test_an_invitation_shows_its_link_once(people: Any) -> None:
    from workspaces.models import Invitation
    from workspaces.signing_in import hash_of_token

    client = browser(people.ana)
    add = reverse("admin:workspaces_membership_add")
    html = told(client, add, {"workspace": people.workspace.pk, "email": "new@lab.example", "role": "member"})
    link = re.search(r'value="(http://testserver/join/([^"]+))"', html)
    assert link
    invitation = Invitation.objects.get(email="new@lab.example")
    assert bytes(invitation.token_hash) == hash_of_token(link[2])
    assert link[2] not in client.get(page("workspaces_invitation", invitation.pk)).content.decode()
    html = told(client, page("workspaces_invitation", invitation.pk, "renew"), {})
    assert "/join/" in html and link[2] not in html
    invitation = Invitation.objects.get(email="new@lab.example")
    told(client, page("workspaces_invitation", invitation.pk, "withdraw"), {})
    assert not Invitation.objects.filter(email="new@lab.example").exists()


def test_invitations_have_a_form_of_their_own(people: Any) -> None:
    form = reverse("admin:workspaces_invitation_add")
    sent = {"workspace": people.workspace.pk, "email": "a@b.example", "role": "guest"}
    assert "/join/" in told(browser(people.ana), form, sent)


def test_groups_are_made_filled_and_taken_away(people: Any) -> None:
    from workspaces.models import Group

    client = browser(people.ana)
    add = reverse("admin:workspaces_group_add")
    told(client, add, {"workspace": people.workspace.pk, "label": "Readers", "people": [people.cai.id]})
    group = Group.objects.get(label="Readers")
    assert [person.email for person in group.user_set.all()] == [people.cai.email]
    told(client, page("workspaces_group", group.pk), {"people": [people.ben.id, people.cai.id]})
    assert group.user_set.count() == 2
    told(client, page("workspaces_group", group.pk, "delete"), {"post": "yes"})
    assert not Group.objects.filter(label="Readers").exists()


def test_shared_spaces_are_made_renamed_archived_shared_and_handed_over(people: Any) -> None:
    from workspaces.actions import given_roles
    from workspaces.models import Space

    client = browser(people.ana)
    add = reverse("admin:workspaces_space_add")
    told(client, add, {"workspace": people.workspace.pk, "name": "Field notes"})
    space = Space.objects.get(name="Field notes")
    assert (space.kind, space.owner) == ("shared", people.ana.person)
    own = page("workspaces_space", space.pk)
    told(client, own, {"name": "Field diary", "archived": "on"})
    space.refresh_from_db()
    assert space.name == "Field diary" and space.archived_at
    told(client, own, {"name": "Field diary"})
    space.refresh_from_db()
    assert space.archived_at is None
    share = page("workspaces_space", space.pk, "share")
    told(client, share, {"who": people.ben.email, "role": "editor"})
    told(client, share, {"who": "everyone", "role": "viewer"})
    assert {(given.kind, given.role) for given in given_roles(space.pk)} == {
        ("person", "owner"),
        ("person", "editor"),
        ("everyone", "viewer"),
    }
    told(client, page("workspaces_space", space.pk, "unshare"), {"who": "everyone"})
    told(client, page("workspaces_space", space.pk, "transfer"), {"email": people.cai.email})
    roles = {given.email: given.role for given in given_roles(space.pk)}
    assert roles == {people.ben.email: "editor", people.cai.email: "owner"}
    assert "is not an e-mail address" in told(client, share, {"who": "nonsense", "role": "viewer"})
    assert client.get(share).status_code == 405


def test_devices_are_revoked_one_by_one_and_together(people: Any) -> None:
    from django.contrib.admin import helpers

    client = browser(people.ana)
    told(client, page("workspaces_device", people.ben.device.pk, "revoke"), {})
    chosen = [people.cai.device.pk, people.eva.device.pk]
    sent = {"action": "revoke_chosen", helpers.ACTION_CHECKBOX_NAME: chosen}
    told(client, listing("workspaces_device"), sent)
    for member in (people.ben, people.cai, people.eva):
        member.device.refresh_from_db()
        assert member.device.revoked_at
        assert Client().get("/api/v1/spaces", headers=member.headers).status_code == 401


def test_no_space_and_no_person_can_be_deleted(people: Any) -> None:
    client = browser(people.ana)
    assert client.get(page("workspaces_space", people.space.pk, "delete")).status_code == 403
    assert (
        client.post(page("workspaces_space", people.space.pk, "delete"), {"post": "yes"}).status_code == 403
    )
    assert client.get("/admin/workspaces/person/").status_code == 404


def test_a_form_without_the_token_of_its_page_is_refused(people: Any) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(people.ana.person)
    assert client.post(page("workspaces_device", people.ben.device.pk, "revoke")).status_code == 403
    people.ben.device.refresh_from_db()
    assert people.ben.device.revoked_at is None


# --- the audit trail ------------------------------------------------------------------------------------


def test_the_audit_trail_is_filtered_and_taken_along(people: Any) -> None:
    client = browser(people.ana)
    trail = listing("workspaces_auditentry")
    html = client.get(trail, {"act": "role-given"}).content.decode()
    rows = html.partition("<tbody")[2].rpartition("</tbody>")[0]
    assert people.ben.email in rows and "workspace-created" not in rows
    answer = client.get(reverse("admin:workspaces_auditentry_export"), {"act": "role-given"})
    text = b"".join(answer).decode()
    lines = text.splitlines()
    assert lines[0] == "at,workspace,space,by,act,subject,details"
    assert len(lines) == 3 and all("role-given" in line and people.space.name in line for line in lines[1:])
    assert client.get(page("workspaces_space", people.space.pk, "history")).status_code == 302


def test_no_cell_of_the_export_runs_in_a_spreadsheet(people: Any) -> None:
    from workspaces import actions

    actions.create_group(people.workspace.pk, "=HYPERLINK(1)", by=people.ana.person)
    text = b"".join(browser(people.ana).get(reverse("admin:workspaces_auditentry_export"))).decode()
    assert ",'=HYPERLINK(1)," in text


def test_entries_from_when_a_space_was_private_stay_its_owners(people: Any) -> None:
    from workspaces import actions

    actions.rename_space(people.private.pk, "Was private", by=people.eva.person)
    actions.make_shared(people.private.pk, by=people.eva.person)
    trail = listing("workspaces_auditentry")
    html = browser(people.ana).get(trail, {"space": str(people.private.pk)}).content.decode()
    assert "space-made-shared" in html
    assert "space-renamed" not in html.partition("<tbody")[2]


# --- private spaces -------------------------------------------------------------------------------------


@pytest.fixture
def canary(people: Any) -> Any:
    """Eva's private space, with the same telling word in whatever it holds."""
    from migration.models import Import
    from tests.sync.devices import Device, change
    from workspaces import actions

    actions.rename_space(people.private.pk, f"{CANARY} notebook", by=people.eva.person)
    once = actions.create_space(people.workspace.pk, f"{CANARY} once shared", "shared", by=people.eva.person)
    actions.rename_space(once.pk, f"{CANARY} twice", by=people.eva.person)
    actions.make_private(once.pk, by=people.eva.person)
    laptop = Device(people.eva.caller, people.private.pk)
    laptop.push(change("thoughts", "t1", set={"title": f"{CANARY} idea", "description": f"{CANARY}!"}))
    Import.objects.create(
        space=people.private,
        person=people.eva.person,
        file_name=f"{CANARY}.db",
        path=f"/tmp/{CANARY}.db",
        size=1,
        sha256=b"\0" * 32,
        state="done",
        report={"state": "done", "tables": {CANARY: {"rows_in": 1}}},
    )
    return [str(people.private.pk), str(once.pk), CANARY]


def crawl(client: Client, starts: list[str]) -> dict[str, str]:
    """Every page of the admin that can be reached by links, with its text.

    One choice at a time (a filter, a search): how it is sorted, and all choices together, show no other rows.
    """
    seen: dict[str, str] = {}
    waiting = list(starts)
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        answer = client.get(path)
        body = b"".join(answer) if answer.streaming else answer.content
        headers = "\n".join(f"{name}: {value}" for name, value in answer.items())
        seen[path] = f"{answer.status_code}\n{headers}\n{unescape(body.decode())}"
        assert answer.status_code < 500, path
        if "location" in answer:
            waiting.append(urljoin(path, answer["location"]))
        for link in LINKS.findall(body.decode()):
            target = urlsplit(urljoin(path, unescape(link)))
            if (
                target.path.startswith("/admin/")
                and target.query.count("=") <= 1
                and not target.query.startswith("o=")
            ):
                waiting.append(target.path + (f"?{target.query}" if target.query else ""))
    return seen


@pytest.mark.parametrize("who", ["ana", "root"])
def test_no_page_of_the_admin_shows_anything_of_a_private_space(
    people: Any, canary: list[str], who: str
) -> None:
    from tests.addresses import admin_addresses
    from workspaces.admin import site

    starts = ["/admin/"]
    for model in site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        starts.append(reverse(f"{name}_changelist"))
        for word in (CANARY, canary[0]):
            starts.append(f"{reverse(f'{name}_changelist')}?q={word}")
        for verb in ("change", "delete", "history"):
            rows = model._default_manager.all()  # whatever there is, also what is not to be seen
            starts += [reverse(f"{name}_{verb}", args=[row.pk]) for row in rows]
    starts += [address for address in admin_addresses() if "<" not in address]
    pages = crawl(browser(getattr(people, who)), starts)
    assert len(pages) > 60
    for path, text in pages.items():
        asked = path + "\n" + text.partition("\n\n")[0]
        for word in canary:
            if word in asked and word in path:
                text = text.replace(word, "") if _echoes(path, word) else text
            assert word not in text, f"{word} stands on {path}"


def _echoes(path: str, word: str) -> bool:
    """A search box, and the links that lead back to it, show again what was typed into it."""
    return f"q={word}" in unquote(path)


def test_a_private_space_answers_as_one_that_never_was(people: Any, canary: list[str]) -> None:
    from workspaces.ids import uuid7

    client = browser(people.ana)
    for verb in ("change", "delete", "history", "share", "unshare", "transfer"):
        for method in (client.get, client.post):
            answers = []
            for space in (people.private.pk, uuid7()):
                answer = method(page("workspaces_space", space, verb), headers={"X-Request-ID": "same"})
                answers.append((answer.status_code, answer.content.replace(str(space).encode(), b"")))
            assert answers[0] == answers[1], verb


def test_members_show_how_many_private_spaces_they_have_and_no_more(people: Any, canary: list[str]) -> None:
    from workspaces.models import Membership

    eva = Membership.objects.get(person=people.eva.person)
    html = browser(people.ana).get(page("workspaces_membership", eva.pk)).content.decode()
    shown = re.search(r">Private spaces</label>.*?>\s*(\d+)\s*<", html, re.DOTALL)
    assert shown and shown[1] == "2"


def test_the_overview_counts_shared_spaces_only(people: Any, canary: list[str]) -> None:
    from tests.sync.devices import Device, change

    Device(people.ben.caller, people.space.pk).push(change("thoughts", "t9", set={"title": "seen"}))
    html = browser(people.ana).get("/admin/").content.decode()
    assert "1 in all, 1 on the busiest day" in html
    assert "0 done, 0 failed" in html


# --- leaving --------------------------------------------------------------------------------------------


def test_a_leaver_loses_everything_in_one_act_and_the_page_says_what_happens(people: Any) -> None:
    from workspaces import actions
    from workspaces.models import Device, Membership, Space

    eva = Membership.objects.get(person=people.eva.person)
    client = browser(people.ana)
    html = unescape(client.get(page("workspaces_membership", eva.pk)).content.decode())
    assert "1 device is revoked" in html and "1 private space stays" in html and "Memory study" in html
    assert people.private.name not in html
    leave = page("workspaces_membership", eva.pk, "leave")
    assert "Name a member" in told(client, leave, {})
    assert Membership.objects.filter(pk=eva.pk).exists()
    html = told(client, leave, {"heir": people.ben.email})
    assert "ben@lab.example owns now: Memory study" in html and "Devices revoked: 1" in html
    given = {role.email: role.role for role in actions.given_roles(people.space.pk)}
    assert given == {people.ben.email: "owner", people.cai.email: "viewer"}
    assert Device.objects.get(pk=people.eva.device.pk).revoked_at is not None
    assert Space.objects.get(pk=people.private.pk).owner == people.eva.person
    answer = client.get("/api/v1/spaces", headers=people.eva.headers)
    assert answer.status_code == 401


def test_a_leaver_who_is_elsewhere_keeps_their_devices(people: Any, other_lab: Any) -> None:
    from workspaces import actions
    from workspaces.models import Device, Membership

    actions.set_member_role(other_lab[0].pk, people.ben.email, "member", by=people.dan.person)
    ben = Membership.objects.get(person=people.ben.person, workspace=people.workspace)
    html = told(browser(people.ana), page("workspaces_membership", ben.pk, "leave"), {})
    assert "Their devices go on" in html
    assert Device.objects.get(pk=people.ben.device.pk).revoked_at is None
    assert not Membership.objects.filter(pk=ben.pk).exists()


# --- many at once ---------------------------------------------------------------------------------------


def test_a_list_of_people_is_shown_line_by_line_and_then_done(people: Any) -> None:
    from workspaces.models import Invitation, Membership

    client, many = browser(people.ana), reverse("admin:workspaces_invitation_many")
    lines = ("email;role", "fay@lab.example;member", "nobody;guest", "dan@lab.example;guest")
    text = "\n".join((*lines, "ben@lab.example;boss", "fay@lab.example;guest"))
    shown = told(client, many, {"list": text})
    for words in (
        "Gets a link to join",
        "This is no e-mail address",
        "joins at once",
        "must be one of",
        "above already",
    ):
        assert words in shown
    assert "2 of 5 lines" in shown and not Invitation.objects.exists()
    shown = told(client, many, {"list": text, "invite": "1"})
    assert shown.count("/join/") == 1
    assert Invitation.objects.get().email == "fay@lab.example"
    assert Membership.objects.get(person=people.dan.person, workspace=people.workspace).role == "guest"
    assert Membership.objects.get(person=people.ben.person).role == "member"
    assert "The list is empty" in told(client, many, {"list": "  "})


def test_nobody_invites_into_a_workspace_of_others(people: Any, other_lab: Any) -> None:
    many = reverse("admin:workspaces_invitation_many")
    sent = {"list": "fay@lab.example", "workspace": str(other_lab[0].pk), "invite": "1"}
    assert browser(people.ana).post(many, sent).status_code == 404
