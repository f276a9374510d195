"""What goes wrong while somebody writes: nothing typed is lost, nothing is sent twice, the focus stays."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.pages.lab import PASSWORD, Lab, new, sign_in

pytestmark = [pytest.mark.browser, pytest.mark.processes, pytest.mark.xdist_group("pages")]

LONG = "Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz" * 3
ARABIC = "كيف تتذكر الأدمغة الكلمات"


def edit(page: Page, lab: Lab, id_: str, description: str) -> None:
    page.goto(f"{lab.url}/thought?id={id_}")
    page.locator("#thought").get_by_role("link", name="Edit").click()
    page.locator("#thought").get_by_label("Description").fill(description)


def sign_in_here(page: Page, lab: Lab, name: str) -> None:
    page.get_by_label("E-mail address").fill(lab.email(name))
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def test_a_session_that_ends_while_one_writes_costs_no_word(
    browser: Browser, lab: Lab, errors: list[str]
) -> None:
    lab.push("Ana", new("thoughts", "ends", title="Ends"))
    page = sign_in(browser, lab, "Ana", errors)
    edit(page, lab, "ends", "Half an hour of\nthinking.")
    page.context.clear_cookies(name="sessionid")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("You were signed out meanwhile.")).to_be_visible()
    expect(page.get_by_label("Description")).to_have_value("Half an hour of\nthinking.")
    sign_in_here(page, lab, "Ana")
    expect(page.get_by_label("Description")).to_have_value("Half an hour of\nthinking.")
    page.get_by_role("button", name="Save it now").click()
    expect(page.get_by_text("Half an hour of\nthinking.")).to_be_visible()
    expect(page.get_by_text("Saved.")).to_be_visible()
    errors[:] = [error for error in errors if "401" not in error]


def test_a_tab_from_before_another_sign_in_costs_no_word(
    browser: Browser, lab: Lab, errors: list[str]
) -> None:
    lab.push("Ana", new("thoughts", "tabs", title="Tabs"))
    page = sign_in(browser, lab, "Ana", errors)
    edit(page, lab, "tabs", "Written in the first tab.")
    other = page.context.new_page()
    other.goto(lab.server)
    other.get_by_role("button", name="Sign out").click()
    sign_in_here(other, lab, "Ana")
    expect(other.get_by_role("heading", name="Your spaces")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_label("Description")).to_have_value("Written in the first tab.")
    page.get_by_role("button", name="Save it now").click()
    expect(page.locator("#thought").get_by_text("Written in the first tab.")).to_be_visible()
    errors[:] = [error for error in errors if "403" not in error]


def test_a_form_is_sent_once_and_what_was_written_is_not_left_by_accident(
    browser: Browser, lab: Lab, errors: list[str]
) -> None:
    page = sign_in(browser, lab, "Ana", errors)
    posts: list[str] = []
    page.on("request", lambda asked: posts.append(asked.url) if asked.method == "POST" else None)
    page.goto(lab.url)
    page.get_by_label("Title").fill("Clicked twice")
    page.get_by_role("button", name="Write it").evaluate("button => { button.click(); button.click(); }")
    expect(page.get_by_role("heading", name="Clicked twice")).to_be_visible()
    assert len(posts) == 1

    # The browser asks before it leaves a page on which somebody wrote
    page.locator("#thought").get_by_role("link", name="Edit").click()
    page.locator("#thought").get_by_label("Description").press_sequentially("Not sent")
    asked: list[str] = []

    def stay(dialog: object) -> None:
        asked.append(dialog.type)  # type: ignore[attr-defined]
        dialog.dismiss()  # type: ignore[attr-defined]

    page.on("dialog", stay)
    page.get_by_role("link", name="Conflicts").first.click()
    expect(page.locator("#thought").get_by_label("Description")).to_have_value("Not sent")
    assert asked == ["beforeunload"]
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    assert asked == ["beforeunload"]


def test_the_keyboard_goes_on_where_it_was(browser: Browser, lab: Lab, errors: list[str]) -> None:
    lab.push(
        "Ana",
        new("thoughts", "keys", title="Keys"),
        new("segments", "keys_s", thought_id="keys", title="One", content="Text."),
    )
    page = sign_in(browser, lab, "Ana", errors)
    page.goto(f"{lab.url}/thought?id=keys")
    for part in (page.locator("#thought"), page.locator("article.segment")):
        part.get_by_role("link", name="Edit").focus()
        page.keyboard.press("Enter")
        expect(part.get_by_label("Title")).to_be_focused()
        page.keyboard.press("Escape")
        expect(part.get_by_role("link", name="Edit")).to_be_focused()

    # The home is exchanged under somebody who reads it
    page.goto(lab.server)
    page.get_by_role("link", name="people").focus()
    lab.push("Ben", new("thoughts", "keys2", title="Meanwhile"))
    expect(page.locator(".lately").get_by_role("link", name="Meanwhile")).to_be_visible()
    expect(page.get_by_role("link", name="people")).to_be_focused()


def test_a_search_says_what_it_found_and_the_way_back_is_one_step(
    browser: Browser, lab: Lab, errors: list[str]
) -> None:
    lab.push("Ana", *(new("thoughts", f"find{n}", title=f"Needle {n}") for n in range(2)))
    page = sign_in(browser, lab, "Ana", errors)
    page.get_by_role("link", name="Sleep study").first.click()
    page.get_by_label("Search").fill("Needle")
    expect(page.locator("#said")).to_have_text("2 thoughts")
    page.get_by_label("Search").fill("Needle nowhere")
    expect(page.locator("#said")).to_have_text("No thought matches.")
    page.get_by_label("Search").fill("Needle 1")
    expect(page.locator("#said")).to_have_text("1 thought")
    page.get_by_role("link", name="Needle 1").click()
    expect(page.get_by_role("heading", name="Needle 1", level=1)).to_be_visible()
    page.go_back()
    expect(page.locator("article.thought")).to_have_count(1)
    expect(page.get_by_label("Search")).to_have_value("Needle 1")
    page.go_back()
    expect(page.get_by_role("heading", name="Your spaces")).to_be_visible()
    assert page.evaluate("sessionStorage.getItem('htmx-history-cache')") is None


def test_a_server_that_is_away_is_told_and_the_words_stay(
    browser: Browser, lab: Lab, errors: list[str]
) -> None:
    lab.push("Ana", new("thoughts", "away", title="Away"), new("segments", "away_s", thought_id="away"))
    page = sign_in(browser, lab, "Ana", errors)
    edit(page, lab, "away", "Half a sentence")
    page.context.set_offline(True)
    page.locator("article.segment").get_by_role("link", name="Edit").click()
    expect(page.get_by_role("alert").filter(has_text="The server does not answer.")).to_be_visible()
    expect(page.locator("#thought").get_by_label("Description")).to_have_value("Half a sentence")
    page.context.set_offline(False)
    page.locator("article.segment").get_by_role("link", name="Edit").click()
    expect(page.locator("article.segment").get_by_label("Title")).to_be_visible()
    expect(page.get_by_text("The server does not answer.")).to_be_hidden()

    # Nor is it sent to nobody
    page.context.set_offline(True)
    page.locator("#thought").get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert").filter(has_text="The server does not answer.")).to_be_visible()
    expect(page.locator("#thought").get_by_label("Description")).to_have_value("Half a sentence")
    page.context.set_offline(False)
    page.locator("#thought").get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    errors[:] = [error for error in errors if "INTERNET_DISCONNECTED" not in error and "htmx:" not in error]


@pytest.mark.parametrize("width", (1440, 390, 320))
def test_words_of_any_length_and_script_fit(
    browser: Browser, lab: Lab, errors: list[str], width: int
) -> None:
    """320 pixels are also what 200 % and 400 % of a narrow and a wide window leave (WCAG 1.4.10)."""
    lab.push(
        "Ana",
        new("thoughts", "odd", title=LONG, description=LONG),
        new("thoughts", "rtl", title=ARABIC, description=ARABIC),
        new("segments", "odd_s", thought_id="odd", title=LONG, content=LONG, cluster_id=LONG),
        new("segments", "rtl_s", thought_id="rtl", title=ARABIC, content=ARABIC),
        new("tags", "tag_odd", name=LONG),
        new("thought_tags", "odd/tag_odd"),
        new("segment_tags", "odd_s/tag_odd"),
        new("segment_neighbors", f"rtl_s/odd_s/{quote(LONG[:90])}"),
    )
    page = sign_in(browser, lab, "Ana", errors, viewport={"width": width, "height": 800})
    for path in (
        "", "/canvas", "/timeline", "/deleted", "/sharing", "/import", "/thought?id=odd", "/thought?id=rtl",
        "/thought?id=odd&do=edit&segment=odd_s", "/thought?id=odd&do=link&segment=odd_s&words=Text",
        "/history?type=thoughts&id=odd",
    ):  # fmt: skip
        page.goto(f"{lab.url}{path}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{path} is too wide"
    for path in ("", "/conflicts", "/imports", "/devices"):
        page.goto(f"{lab.server}{path}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{path} is too wide"
    page.goto(f"{lab.url}/thought?id=rtl")
    text = page.locator("article.segment .text").bounding_box()
    words = page.evaluate(
        "() => { const range = document.createRange();"
        " range.selectNodeContents(document.querySelector('article.segment .text'));"
        " return range.getBoundingClientRect().right }"
    )
    assert text is not None and abs(text["x"] + text["width"] - words) < 3, "Arabic begins at the right"


def test_a_first_page_is_light(browser: Browser, lab: Lab, errors: list[str]) -> None:
    """At most 100 KB on the way, with all that it loads; but for the canvas, whose library is larger."""
    lab.push("Ana", *(new("thoughts", f"w{n}", title=LONG, description=LONG) for n in range(50)))
    state = sign_in(browser, lab, "Ana", errors).context.storage_state()
    for address in (lab.server, lab.url, f"{lab.url}/thought?id=w1", f"{lab.server}/conflicts"):
        page = browser.new_context(storage_state=state).new_page()
        page.goto(address, wait_until="load")
        sizes = page.evaluate(
            "['resource', 'navigation'].flatMap(kind => performance.getEntriesByType(kind))"
            ".filter(entry => !entry.name.endsWith('/live')).map(entry => entry.transferSize)"
        )
        assert len(sizes) > 3 and 0 < sum(sizes) <= 100_000, address
