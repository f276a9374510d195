"""The beginning of each test in a browser: a lab with its first person and a space."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.logomesh_server.processes import Serving

PASSWORD = "seven quiet herons"


def begin(page: Page, served: Serving, space: str = "Memory study", kind: str = "Shared") -> str:
    """Make Ana's account by the first link, and a space; its address."""
    page.goto(served.said.split("the link works once:\n")[1].split()[0])
    page.get_by_label("Your name").fill("Ana")
    page.get_by_label("E-mail address").fill("ana@lab.example")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Name of your lab").fill("Cognition")
    page.get_by_role("button", name="Make the account").click()
    return add_space(page, served, space, kind)


def add_space(page: Page, served: Serving, name: str, kind: str) -> str:
    page.goto(served.url)
    if not page.get_by_label("Name", exact=True).is_visible():
        page.locator("summary", has_text="A new space").click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label(kind).check()
    page.get_by_role("button", name="Make the space").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    return page.url
