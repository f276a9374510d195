"""People, sharing and devices in a browser: who may do what is said, given, taken and felt at once."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.pages.lab import PASSWORD, Lab, add_space, sign_in

pytestmark = [pytest.mark.browser, pytest.mark.processes, pytest.mark.xdist_group("pages")]


def test_a_space_is_shared_taken_back_and_a_computer_connected(
    browser: Browser, lab: Lab, errors: list[str]
) -> None:
    page = sign_in(browser, lab, "Ana", errors)
    space = add_space(page, lab, "Notebook", "Private")

    # Private says so; shared, it is given to somebody who has no account yet
    page.goto(f"{space}/sharing")
    expect(page.get_by_text("Only you see this space, or that it exists.")).to_be_visible()
    page.get_by_role("button", name="Make it a shared space").click()
    page.get_by_label("Share with a person").fill("fay@lab.example")
    page.get_by_label("As", exact=True).select_option("viewer")
    page.get_by_role("button", name="Share", exact=True).click()
    link = page.locator("#invitation-link").inner_text()
    page.goto(f"{space}/sharing")
    expect(page.get_by_text("fay@lab.example", exact=True)).to_be_visible()
    expect(page.get_by_text("/join/")).to_have_count(0)

    # The link is shown once, and lets Fay in as a guest who reads
    fays = browser.new_context().new_page()
    fays.goto(link)
    fays.get_by_label("Your name").fill("Fay")
    fays.get_by_label("A password").fill(PASSWORD)
    fays.get_by_role("button", name="Join").click()
    fays.get_by_role("link", name="Notebook").click()
    expect(fays.get_by_role("heading", name="Notebook")).to_be_visible()

    # Another role, then none: her next click finds nothing
    page.goto(f"{space}/sharing")
    page.get_by_label("Role of Fay").select_option("editor")
    page.get_by_role("listitem").filter(has_text="fay@lab.example").get_by_role("button").click()
    expect(page.get_by_label("Role of Fay")).to_have_value("editor")
    page.get_by_label("Role of Fay").select_option("")
    page.get_by_role("listitem").filter(has_text="fay@lab.example").get_by_role("button").click()
    expect(page.get_by_label("Role of Fay")).to_have_count(0)
    fays.reload()
    expect(fays.get_by_role("heading", name="Notebook")).to_have_count(0)

    # The commands for a system; a token shown once; a device renamed and revoked
    page.goto(f"{lab.server}/devices")
    page.get_by_label("It runs").select_option("windows")
    page.get_by_label("Its new thoughts go to").select_option(space.rpartition("/")[2])
    page.get_by_role("button", name="Show the commands").click()
    expect(page.get_by_text(r"py -m pip install .\client")).to_be_visible()
    expect(page.get_by_text(f"--home {space.rpartition('/')[2]}")).to_be_visible()
    page.get_by_label("A name for the device").fill("Laptop")
    page.get_by_role("button", name="Make a token").click()
    token = page.locator("#token").inner_text()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator(".copyable", has=page.locator("#token")).get_by_role("button", name="Copy").click()
    expect(page.locator("#said")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == token
    page.goto(f"{lab.server}/devices")
    expect(page.get_by_text(token)).to_have_count(0)
    newest = page.locator(".rows > li").first
    newest.locator("summary", has_text="Rename").click()
    newest.get_by_label("New name").fill("Field laptop")
    newest.get_by_role("button", name="Rename").click()
    page.get_by_role("button", name="Revoke Field laptop").click()
    expect(page.get_by_text("its next request is refused").first).to_be_visible()
    answer = page.request.get(f"{lab.server}/api/v1/spaces", headers={"Authorization": f"Token {token}"})
    assert answer.status == 401


def test_a_manager_invites_a_list_and_lets_somebody_leave(
    browser: Browser, lab: Lab, errors: list[str]
) -> None:
    page = sign_in(browser, lab, "Ana", errors)
    page.goto(f"{lab.server}/admin/workspaces/invitation/many/")
    page.get_by_label("A line for each person").fill(
        f"cai@lab.example, member\nnobody, member\n{lab.email('Ben')}, member"
    )
    page.get_by_role("button", name="Show what will happen").click()
    expect(page.get_by_text("This is no e-mail address.")).to_be_visible()
    expect(page.get_by_text("2 of 3 lines can be done.")).to_be_visible()
    page.get_by_role("button", name="Invite them").click()
    expect(page.get_by_label("The links, to copy and send")).to_contain_text("cai@lab.example http")
    page.goto(f"{lab.server}/admin/workspaces/membership/?q=ben")
    page.get_by_role("link", name="Ben").first.click()
    page.get_by_label("I have read this").check()
    page.get_by_role("button", name="Let them leave").click()
    expect(page.get_by_text("Ben has left: all their roles here ended.")).to_be_visible()
