"""Every page, wide and narrow, light and dark, by axe: WCAG 2.2 A and AA."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.http import Http404
from django.urls import resolve
from playwright.sync_api import Browser, Page

from tests.logomesh_server.processes import Serving
from tests.screenshots import see_all, seen_as
from tests.test_role_matrix import PAGES, routes

pytestmark = [pytest.mark.browser, pytest.mark.processes, pytest.mark.xdist_group("accessibility")]

AXE = (Path(__file__).parent / "vendor" / "axe-4.14.1.min.js").read_text()
LEVELS = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
LOOKS = {"type": "rule", "values": ["color-contrast", "target-size"]}
"""What the other colours and the other width can change."""
SIGHTS = ((1440, "light", LEVELS), (390, "dark", LEVELS), (1440, "dark", LOOKS), (390, "light", LOOKS))
NO_PAGE = re.compile(r"canvas\.json|\.csv$|/start$|<verb>|^join/")
"""Data, downloads, forms without a page of their own. An invitation is looked at as the first account's page
is: both are the same form."""


DESK = re.compile(r"^admin/(?!auth)\w+/\w+/(many/|<object_id>/change/)?$|^admin/$")
"""The managers' admin: its lists, an entry of each, and the form for many."""


def test_every_page_is_accessible(browser: Browser, served: Serving, tmp_path: Path) -> None:
    found: list[str] = []
    seen: set[str] = set()

    def look(page: Page, name: str) -> None:
        seen.add(_route(page.url))
        for width, scheme, rules in SIGHTS:
            seen_as(page, width, scheme)
            found.extend(f"{name} {width} {scheme}: {problem}" for problem in _problems(page, rules))

    broken = browser.new_page()
    broken.set_content("<p>A page without a title and a language</p><img src='x.png'>")
    assert {problem.split()[0] for problem in _problems(broken, LEVELS)} >= {"document-title", "image-alt"}
    see_all(browser, served, tmp_path, look)
    wanted = {
        route
        for route, rows in PAGES.items()
        if any(row.method == "GET" for row in rows) and not NO_PAGE.search(route)
    } | {route for route in routes() if DESK.search(route)}
    assert not found, "\n".join(found)
    assert wanted <= seen, f"see_all in tests/screenshots.py does not look at: {sorted(wanted - seen)}"


def _problems(page: Page, rules: dict[str, Any]) -> list[str]:
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(AXE)
    result = page.evaluate("rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']})", rules)
    return [
        f"{violation['id']} at {node['target']}: {node['failureSummary'].splitlines()[-1].strip()}"
        for violation in result["violations"]
        for node in violation["nodes"][:4]
    ]


def _route(url: str) -> str:
    """The address as the table of roles names it."""
    try:
        return re.sub(r"<\w+:(\w+)>", r"<\1>", resolve(urlsplit(url).path).route)
    except Http404:
        return url
