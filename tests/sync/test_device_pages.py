"""What the page of devices says of them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from uuid import uuid4

import pytest
from django.test import Client

from sync.following import followed
from tests.people import People
from tests.sync import devices as sync_device
from workspaces import actions

pytestmark = pytest.mark.django_db


def test_a_device_is_behind_in_step_renamed_and_known_by_its_version(people: People, client: Client) -> None:
    device = {**people.ben.headers, "User-Agent": "logomesh-client/1.2.3 (Linux)"}
    space = f"/api/v1/spaces/{people.space.pk}/changes"
    asked = client.get(space, headers=device).content
    cursor = json.loads(asked.splitlines()[-1])["cursor"]

    def push(base: int) -> None:
        change = {
            "change_id": str(uuid4()),
            "type": "thoughts",
            "id": f"t{base}",
            "base": 0,
            "set": {"title": "T"},
        }
        body = json.dumps({"seen": base, "changes": [change]})
        client.post(space, body, content_type="application/json", headers=people.eva.headers)

    def shown() -> str:
        browser = Client()
        browser.force_login(people.ben.person)
        return str(browser.get("/devices").content.decode())

    client.get(space, {"cursor": cursor}, headers=device)
    push(0)
    assert "logomesh-client/1.2.3" in shown() and "1 change behind" in shown()
    asked = client.get(space, {"cursor": cursor}, headers=device).content
    client.get(space, {"cursor": json.loads(asked.splitlines()[-1])["cursor"]}, headers=device)
    assert "in step" in shown()

    browser = Client()
    browser.force_login(people.ben.person)
    renaming = f"/devices/{people.ben.device.pk}/rename"
    browser.post(renaming, {"name": "Field laptop"})
    assert "Field laptop" in shown()
    browser.force_login(people.ana.person)
    assert browser.post(renaming, {"name": "Mine"}).status_code == 404


def test_a_manager_learns_nothing_of_shared_spaces_of_other_labs(people: People) -> None:
    """Ben follows a space of a lab that Ana does not manage, and is behind there."""
    other = actions.create_workspace("Other lab", by=people.ben.person)
    space = actions.create_space(other.pk, "Elsewhere", "shared", by=people.ben.person)
    laptop, desk = people.ben.device, actions.issue_device(people.ben.person, "desk")[0]
    following = sync_device.Device(people.ben.caller, space.pk)
    following.pull()
    following.pull()
    pushing = sync_device.Device(replace(people.ben.caller, device_id=desk.pk), space.pk)
    pushing.push(sync_device.change("thoughts", "t", set={"title": "T"}))
    assert followed([laptop.pk])[laptop.pk].behind == 1
    browser = Client()
    browser.force_login(people.ana.person)
    url = f"/admin/workspaces/device/{laptop.pk}/change/"
    assert laptop.name not in unescape(browser.get(url).content.decode())
    overview = browser.get("/admin/").content.decode()
    assert "0 devices follow shared spaces" in " ".join(re.sub(r"<[^>]+>", " ", overview).split())

    here = sync_device.Device(people.ben.caller, people.space.pk)
    here.pull()
    here.pull()
    page = browser.get(url).content.decode()
    assert laptop.name in unescape(page)
    assert re.search(r"(?i)changes behind\W*0\b", " ".join(re.sub(r"<[^>]+>", " ", page).split()))
