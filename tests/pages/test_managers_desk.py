"""The managers' desk in a browser: the audit trail is filtered and taken along, a list of people invited."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.pages.lab import Lab, sign_in

pytestmark = [pytest.mark.browser, pytest.mark.processes, pytest.mark.xdist_group("pages")]


def test_the_audit_trail_is_filtered_and_taken_along(browser: Browser, lab: Lab, errors: list[str]) -> None:
    page = sign_in(browser, lab, "Ana", errors)
    page.goto(f"{lab.server}/admin/")
    page.get_by_role("link", name="Audit trail").click()
    rows = page.locator("#result_list tbody")
    expect(rows.get_by_text("device-issued").first).to_be_visible()

    # By the act, then by a word
    page.get_by_role("button", name="Filters").first.press("Enter")
    page.locator("select[name=act]").select_option("role-given", force=True)
    page.get_by_role("button", name="Apply Filters").click()
    expect(rows.get_by_text("role-given").first).to_be_visible()
    expect(rows.get_by_text("device-issued")).to_have_count(0)
    page.get_by_placeholder("Who did it, to whom, or what was done").fill("ben@")
    page.keyboard.press("Enter")
    expect(rows.get_by_text(lab.email("Ben"))).to_have_count(1)

    # What is shown is what the file holds
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    lines = download.value.path().read_text().splitlines()
    assert download.value.suggested_filename.startswith("audit-")
    assert [line.split(",")[4:6] for line in lines] == [["act", "subject"], ["role-given", lab.email("Ben")]]

    # Days without anything say so
    page.goto(f"{lab.server}/admin/workspaces/auditentry/?at_from=2001-01-01&at_to=2001-01-02")
    expect(page.get_by_text("0 results")).to_be_visible()


def test_a_list_is_invited_as_a_spreadsheet_has_saved_it(
    browser: Browser, lab: Lab, errors: list[str], tmp_path: Path
) -> None:
    saved = tmp_path / "people.csv"
    text = (
        "Name;E-Mail;Rolle\r\nZoë;zoe@lab.example;guest\r\nJürgen;JUERGEN@lab.example;\r\nX;nobody;member\r\n"
    )
    saved.write_bytes(text.encode("cp1252"))
    page = sign_in(browser, lab, "Ana", errors)
    page.goto(f"{lab.server}/admin/")
    page.get_by_role("link", name="mail Invitations").click()
    page.get_by_role("link", name="Invite many people").click()
    page.get_by_label("Or a CSV file").set_input_files(saved)
    page.get_by_role("button", name="Show what will happen").click()
    expect(page.get_by_role("listitem").filter(has_text="zoe@lab.example")).to_contain_text("guest")
    expect(page.get_by_text("2 of 3 lines can be done.")).to_be_visible()
    page.get_by_role("button", name="Invite them").click()
    expect(page.get_by_label("The links, to copy and send")).to_contain_text("juergen@lab.example http")
    page.get_by_role("link", name="Done").click()
    page.get_by_role("link", name="mail Invitations").click()
    expect(page.get_by_role("link", name="zoe@lab.example")).to_be_visible()
