"""What managers see of devices and of storage: the errors, the lag and the bytes of shared spaces only."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from sync.models import DeviceTrouble, SpaceSize
from sync.tasks import weigh_spaces
from tests.sync.devices import Device, change
from workspaces import actions


def _text(html: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html)))


def _list(people: Any, model: str, who: str = "ana", **query: str) -> str:
    client = Client()
    client.force_login(getattr(people, who).person)
    answer = client.get(reverse(f"admin:{model}_changelist"), query)
    assert answer.status_code == 200
    return _text(answer.content.decode().partition("<tbody")[2])


def _push(member: Any, space: Any, *changes: dict[str, Any]) -> Any:
    return Client().post(
        f"/api/v1/spaces/{space.pk}/changes",
        {"seen": 0, "changes": list(changes)},
        content_type="application/json",
        headers=member.headers,
    )


# --- what devices were refused --------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_that_a_refusal_cannot_be_noted_changes_no_answer(people: Any) -> None:
    with connection.cursor() as db:
        db.execute("ALTER TABLE sync_devicetrouble RENAME TO away")
    try:
        assert _push(people.cai, people.space).status_code == 403
        sent = (change("thoughts", "t1", set={"title": "x"}), change("nonsense", "t2", set={}))
        answer = _push(people.ben, people.space, *sent)
        assert (answer.status_code, [one["status"] for one in answer.json()["results"]]) == (
            200,
            ["applied", "rejected"],
        )
    finally:
        with connection.cursor() as db:
            db.execute("ALTER TABLE away RENAME TO sync_devicetrouble")


def test_what_a_device_is_refused_stands_at_it(people: Any) -> None:
    assert _push(people.cai, people.space, change("thoughts", "t1", set={"title": "x"})).status_code == 403
    assert _push(people.cai, people.space).status_code == 403
    trouble = DeviceTrouble.objects.get(device=people.cai.device)
    assert (trouble.space, trouble.kind, trouble.times) == (people.space, "read-only", 2)
    assert "read-only (2 times" in _list(people, "workspaces_device", q="cai@")
    assert "read-only" not in _list(people, "workspaces_device", q="ben@")
    assert "Cai's laptop" in _list(people, "workspaces_device", health="errors")
    assert "Ben's laptop" not in _list(people, "workspaces_device", health="errors")


def test_changes_that_cannot_be_taken_count_one_by_one(people: Any) -> None:
    bad = change("thoughts", "t1", set={"position_x": "left"})
    answer = _push(people.ben, people.space, bad, change("nonsense", "t2"), change("thoughts", "t3", set={}))
    assert [result["status"] for result in answer.json()["results"]][:2] == ["rejected", "rejected"]
    trouble = DeviceTrouble.objects.get(device=people.ben.device)
    assert trouble.times == 2 and trouble.kind == answer.json()["results"][0]["error"]["type"]


def test_trouble_in_a_private_space_is_nobodys_business(people: Any) -> None:
    actions.archive_space(people.private.pk, by=people.eva.person)
    assert _push(people.eva, people.private, change("thoughts", "t1", set={})).status_code == 409
    for who in ("ana", "root"):
        assert "space-archived" not in _list(people, "workspaces_device", who)
        assert "Eva's laptop" not in _list(people, "workspaces_device", who, health="errors")


def test_lists_ask_as_often_for_many_as_for_few(people: Any, django_assert_max_num_queries: Any) -> None:
    for n in range(30):
        space = actions.create_space(people.workspace.pk, f"Study {n}", "shared", by=people.ben.person)
        actions.share_with_everyone(space.pk, "viewer", by=people.ben.person)
    lists = ("workspaces_space", "workspaces_membership", "workspaces_device", "workspaces_workspace")
    for model in (*lists, "workspaces_auditentry", "workspaces_invitation", "workspaces_group"):
        with django_assert_max_num_queries(26):
            _list(people, model)
    assert _list(people, "workspaces_space", q="Study 17").count("ben@lab.example") == 1


def test_a_guess_leaves_no_trace(people: Any) -> None:
    assert _push(people.dan, people.space).status_code == 404
    assert _push(people.ben, people.private).status_code == 404
    assert not DeviceTrouble.objects.exists()


def test_devices_are_found_by_their_client(people: Any) -> None:
    type(people.ben.device).objects.filter(pk=people.ben.device.pk).update(client="logomesh-client/0.9")
    type(people.dan.device).objects.filter(pk=people.dan.device.pk).update(client="logomesh-client/0.1")
    found = _list(people, "workspaces_device", client="logomesh-client/0.9")
    assert "Ben's laptop" in found and "Cai's laptop" not in found
    client = Client()
    client.force_login(people.ana.person)
    html = client.get(reverse("admin:workspaces_device_changelist")).content.decode()
    assert "logomesh-client/0.9" in html and "logomesh-client/0.1" not in html


# --- how much room is taken -----------------------------------------------------------------------------


@pytest.fixture
def weighed(people: Any) -> None:
    text = "word " * 2000
    Device(people.eva.caller, people.space.pk).push(change("thoughts", "t1", set={"description": text}))
    Device(people.eva.caller, people.private.pk).push(change("thoughts", "t1", set={"description": text}))
    weigh_spaces()


def test_shared_spaces_are_weighed_and_private_ones_are_not(people: Any, weighed: None) -> None:
    (size,) = SpaceSize.objects.all()
    assert size.space == people.space and size.version == 1 and size.bytes > 100


def test_a_space_is_weighed_again_only_after_changes(people: Any, weighed: None) -> None:
    before = SpaceSize.objects.get()
    weigh_spaces()
    assert SpaceSize.objects.get().at == before.at
    Device(people.eva.caller, people.space.pk).push(change("thoughts", "t2", set={"description": "more"}))
    weigh_spaces()
    after = SpaceSize.objects.get()
    assert after.version == 2 and after.bytes > before.bytes


def test_storage_is_shown_by_space_and_by_person(people: Any, weighed: None) -> None:
    from django.template.defaultfilters import filesizeformat

    size = _text(filesizeformat(SpaceSize.objects.get().bytes))
    assert size in _list(people, "workspaces_space")
    assert size in _list(people, "workspaces_membership", q="eva@")
    assert size not in _list(people, "workspaces_membership", q="ben@")


def test_a_space_that_became_private_has_no_size_any_more(people: Any, weighed: None) -> None:
    for email in (people.ben.email, people.cai.email):
        actions.unshare_with_person(people.space.pk, email, by=people.eva.person)
    actions.make_private(people.space.pk, by=people.eva.person)
    for who in ("ana", "root"):
        assert "bytes" not in _list(people, "workspaces_membership", who, q="eva@")


# --- private spaces are one number ----------------------------------------------------------------------


def test_private_spaces_are_one_number_for_the_lab(people: Any) -> None:
    actions.create_space(people.workspace.pk, "Ben's notes", "private", by=people.ben.person)
    workspace = actions.create_workspace("Other lab", by=people.dan.person)
    actions.create_space(workspace.pk, "Dan's notes", "private", by=people.dan.person)
    client = Client()
    client.force_login(people.ana.person)
    for address in (reverse("admin:index"), reverse("admin:workspaces_space_changelist")):
        text = _text(client.get(address).content.decode())
        assert "2 private" in text and "notes" not in text
