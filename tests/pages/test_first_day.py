"""A new lab's first day in a real browser, on a server as `make run` starts it."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.logomesh_files import full
from tests.logomesh_server.processes import Serving

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("first day")]

PASSWORD = "seven quiet herons"


def test_a_lab_begins(page: Page, browser: Browser, served: Serving, first_link: str, tmp_path: Path) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "response",
        lambda answer: errors.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None,
    )
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)

    # The first account and its lab
    page.goto(first_link)
    page.get_by_label("Your name").fill("Ana")
    page.get_by_label("E-mail address").fill("ana@lab.example")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Name of your lab").fill("Cognition")
    page.get_by_role("button", name="Make the account").click()
    expect(page.get_by_role("heading", name="Your spaces")).to_be_visible()

    # A private and a shared space
    for name, kind in (("Notebook", "Private"), ("Memory study", "Shared")):
        page.goto(served.url)
        if not page.get_by_label("Name", exact=True).is_visible():
            page.locator("summary", has_text="A new space").click()
        page.get_by_label("Name", exact=True).fill(name)
        page.get_by_label(kind).check()
        page.get_by_role("button", name="Make the space").click()
        expect(page.get_by_role("heading", name=name)).to_be_visible()
    shared = page.url

    # A second person, by a link, with a role
    page.goto(served.url)
    page.get_by_role("link", name="people").click()
    page.get_by_label("Invite somebody").fill("ben@lab.example")
    page.get_by_role("button", name="Make a link").click()
    link = page.locator("#invitation-link").inner_text()
    page.goto(f"{shared}/sharing")
    page.get_by_label("Share with a person").fill("everyone")
    page.get_by_label("As", exact=True).select_option("viewer")
    page.get_by_role("button", name="Share").click()
    expect(page.get_by_role("strong").filter(has_text="Everybody in the lab")).to_be_visible()
    bens = browser.new_context().new_page()
    bens.goto(link)
    bens.get_by_label("Your name").fill("Ben")
    bens.get_by_label("A password").fill(PASSWORD)
    bens.get_by_role("button", name="Join").click()
    expect(bens.get_by_role("link", name="Memory study")).to_be_visible()
    expect(bens.get_by_text("Notebook")).to_have_count(0)

    # A file comes in: read, started, reported
    page.goto(shared)
    page.get_by_role("link", name="Import", exact=True).click()
    page.get_by_label("Drop the file here").set_input_files(full(tmp_path / "lab.sqlite3", "S2x"))
    page.get_by_role("button", name="Send and read it").click()
    expect(page.get_by_role("heading", name="How shall it come in?")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("their thought is not in the file").first).to_be_visible()
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("Done and verified")).to_be_visible(timeout=60_000)
    page.get_by_role("link", name="Open the space").click()

    # The thoughts: list, search, canvas, one with its segments
    expect(page.get_by_role("link", name="Thought 4 ünï")).to_be_visible()
    page.get_by_label("Search").fill("Content 2.1")
    expect(page.get_by_role("link", name="Thought 4 ünï")).to_have_count(0)
    page.get_by_role("link", name="Thought 2 ünï").click()
    expect(page.locator("div.text", has_text="Content 2.1")).to_be_visible()
    page.goto(f"{shared}/canvas")
    expect(page.locator("#map[data-ready='5']")).to_be_visible()

    # An edit in place, seen by the other
    page.goto(f"{shared}/thought?id=t1")
    page.locator("#thought").get_by_role("link", name="Edit").click()
    page.locator("#thought").get_by_label("Title").fill("A better title")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="A better title")).to_be_visible()
    bens.goto(f"{shared}/thought?id=t1")
    expect(bens.get_by_role("heading", name="A better title")).to_be_visible()
    expect(bens.get_by_role("button", name="Save")).to_have_count(0)

    # A device token, shown once, that works; a conflict from there, decided here
    page.goto(f"{served.url}/devices")
    page.get_by_label("A name for the device").fill("Laptop")
    page.get_by_role("button", name="Make a token").click()
    token = page.locator("#token").inner_text()
    pushed = push_conflicting_title(served.url, shared.rpartition("/")[2], token, "t1", "From the train")
    assert pushed == "conflict"
    page.goto(f"{served.url}/conflicts")
    page.get_by_role("button", name="Take the other").click()
    expect(page.get_by_text("Nothing waits for you.")).to_be_visible()
    page.goto(f"{shared}/thought?id=t1")
    expect(page.get_by_role("heading", name="From the train")).to_be_visible()

    # The managers' desk
    page.goto(f"{served.url}/admin/")
    page.get_by_role("link", name="Shared spaces 1").click()
    expect(page.get_by_role("link", name="Memory study")).to_be_visible()
    expect(page.get_by_text("Notebook")).to_have_count(0)
    assert errors == []


def push_conflicting_title(url: str, space: str, token: str, thought: str, title: str) -> str:
    """A title written on what was imported, by a device that never saw the edit on the page."""
    with httpx.Client(base_url=f"{url}/api/v1", headers={"Authorization": f"Token {token}"}) as client:
        history = client.get(f"/spaces/{space}/history", params={"type": "thoughts", "id": thought}).json()
        before = min(entry["version"] for entry in history["entries"]) - 1
        base = before or 1
        change = {
            "change_id": str(uuid4()), "type": "thoughts", "id": thought, "base": base,
            "set": {"title": title},
        }  # fmt: skip
        answer = client.post(
            f"/spaces/{space}/changes", content=json.dumps({"seen": base, "changes": [change]})
        )
        status: str = answer.json()["results"][0]["status"]
        return status
