"""A lab of two people with a shared space, and what they do in it by their devices and browsers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
from playwright.sync_api import Browser, Page, expect

from tests.logomesh_server.processes import Serving, manage

PASSWORD = "seven quiet herons"
_MADE = """
import json
from workspaces import actions
ana, ben = (actions.register(f"{n.lower()}@%(lab)s.example", "%(password)s", n) for n in ("Ana", "Ben"))
lab = actions.create_workspace("Lab of %(lab)s", by=ana)
actions.set_member_role(lab.pk, ben.email, "member", by=ana)
space = actions.create_space(lab.pk, "Sleep study", "shared", by=ana)
actions.share_with_person(space.pk, ben.email, "editor", by=ana)
tokens = {p.name: actions.issue_device(p, f"{p.name}'s laptop")[1] for p in (ana, ben)}
print("MADE" + json.dumps({"space": str(space.pk), "tokens": tokens}))
"""


@dataclass
class Lab:
    """A shared space in which Ana and Ben may write. Ana manages the lab."""

    name: str
    server: str
    space: str
    tokens: dict[str, str]

    @property
    def url(self) -> str:
        return f"{self.server}/spaces/{self.space}"

    def email(self, who: str) -> str:
        return f"{who.lower()}@{self.name}.example"

    def push(self, who: str, *changes: dict[str, Any], seen: int = 0) -> list[dict[str, Any]]:
        answer = httpx.post(
            f"{self.server}/api/v1/spaces/{self.space}/changes",
            headers={"Authorization": f"Token {self.tokens[who]}"},
            content=json.dumps({"seen": seen, "changes": changes}),
            timeout=60,
        )
        results: list[dict[str, Any]] = answer.json()["results"]
        return results

    def collide(self, id_: str, title: str) -> None:
        """Ben and Ana give a new thought another title each, neither having seen the other's."""
        base = self.push("Ana", new("thoughts", id_, title=title))[0]["version"]
        assert self.push("Ben", new("thoughts", id_, base, title=f"{title} by Ben"))[0]["status"] == "applied"
        assert (
            self.push("Ana", new("thoughts", id_, base, title=f"{title} by Ana"))[0]["status"] == "conflict"
        )


def make_lab(served: Serving, name: str) -> Lab:
    said = manage(served.data, "shell", "-c", _MADE % {"lab": name, "password": PASSWORD})
    made = json.loads(said.stdout.partition("MADE")[2])
    return Lab(name, served.url, made["space"], made["tokens"])


def new(type_: str, id_: str, base: int = 0, **fields: Any) -> dict[str, Any]:
    return {"change_id": str(uuid4()), "type": type_, "id": id_, "base": base, "set": fields}


def sign_in(browser: Browser, lab: Lab, name: str, errors: list[str], **context: Any) -> Page:
    """Somebody of the lab at a browser of their own, at home."""
    page = browser.new_context(**context).new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.goto(f"{lab.server}/sign-in")
    page.get_by_label("E-mail address").fill(lab.email(name))
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Your spaces")).to_be_visible()
    return page


def add_space(page: Page, lab: Lab, name: str, kind: str) -> str:
    """A new space of the person at the browser; its address."""
    page.goto(lab.server)
    if not page.get_by_label("Name", exact=True).is_visible():
        page.locator("summary", has_text="A new space").click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label(kind).check()
    page.get_by_role("button", name="Make the space").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    return page.url
