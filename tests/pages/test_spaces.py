"""Thoughts, history, conflicts and the canvas in a real browser, on a server as `make run` starts it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, expect

from tests.pages.lab import Lab, new, sign_in

pytestmark = [pytest.mark.browser, pytest.mark.processes, pytest.mark.xdist_group("pages")]


def test_a_thought_is_written_tagged_deleted_and_brought_back(
    browser: Browser, lab: Lab, errors: list[str]
) -> None:
    page = sign_in(browser, lab, "Ana", errors)
    page.goto(lab.url)
    page.get_by_label("Title").fill("Spindles")
    page.get_by_role("button", name="Write it").click()

    # A segment of Markdown, by keyboard; a tag
    page.locator("summary", has_text="Add a segment").click()
    adding = page.locator("details.adding")
    adding.get_by_label("Title").fill("Plan")
    adding.locator("select").select_option("markdown")
    adding.locator("textarea").fill("Do *this* <script>document.title = 'hurt'</script>")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".prose em", has_text="this")).to_be_visible()
    expect(page.get_by_text("<script>")).to_be_visible()
    page.locator("aside").get_by_label("A tag to add").fill("sleep")
    page.keyboard.press("Enter")
    expect(page.locator("aside .tag", has_text="sleep")).to_be_visible()

    # In place: leaving the form changes nothing, saving does
    segment = page.locator("article.segment")
    segment.get_by_role("link", name="Edit").click()
    segment.locator("textarea").fill("Never")
    page.keyboard.press("Escape")
    expect(segment.get_by_role("link", name="Leave without saving")).to_be_visible()
    page.keyboard.press("Escape")
    expect(segment.locator(".prose")).to_contain_text("Do this")
    segment.get_by_role("link", name="Edit").click()
    segment.locator("textarea").fill("Do **that**")
    segment.get_by_role("button", name="Save").click()
    expect(page.locator(".prose strong", has_text="that")).to_be_visible()

    # An earlier version comes back
    segment.get_by_role("link", name="History").click()
    expect(page.locator("ins", has_text="that")).to_be_visible()
    page.get_by_role("button", name="Restore this version").last.click()
    expect(page.get_by_text("That version is back.")).to_be_visible()
    page.get_by_role("link", name="Thought", exact=True).click()
    expect(page.locator(".prose em", has_text="this")).to_be_visible()

    # Gone, with what hangs on it, and back
    page.locator("summary", has_text="Delete this thought").click()
    expect(page.get_by_text("It goes with its 1 segment")).to_be_visible()
    page.get_by_role("button", name="Delete it").click()
    page.get_by_role("link", name="Bring it back").click()
    page.get_by_role("button", name="Bring it back").click()
    expect(page.locator(".prose em", has_text="this")).to_be_visible()
    expect(page.locator("aside .tag", has_text="sleep")).to_be_visible()
    page.goto(f"{lab.url}/timeline")
    expect(page.locator(".timeline > li").first).to_contain_text("restored")
    expect(page.locator("time").first).not_to_contain_text("UTC")


def test_two_people_meet_at_one_conflict(browser: Browser, lab: Lab, errors: list[str]) -> None:
    for number in range(3):
        lab.collide(f"meeting{number}", f"Meeting {number}")
    ana, ben = (sign_in(browser, lab, name, errors) for name in ("Ana", "Ben"))
    for page in (ana, ben):
        page.goto(f"{lab.server}/conflicts")
        expect(page.locator("article.conflict")).to_have_count(3)
    expect(ana.locator("article.conflict").first.locator("mark", has_text="Ana")).to_be_visible()

    # One key; the other, who was slower, keeps the words that he typed
    ana.keyboard.press("2")
    expect(ana.get_by_text("Decided.")).to_be_visible()
    ben.keyboard.press("e")
    ben.locator("article.conflict textarea").first.fill("Our meeting")
    ben.locator("article.conflict").first.get_by_role("button", name="Save").click()
    expect(ben.get_by_text("This was not saved.")).to_be_visible()
    expect(ben.locator(".note textarea")).to_have_value("Our meeting")
    errors[:] = [error for error in errors if "409" not in error]

    # Undo by a key, and decide anew
    ana.keyboard.press("u")
    expect(ana.get_by_text("It reads as before your decision.")).to_be_visible()
    ana.goto(f"{lab.url}/thought?id=meeting0")
    expect(ana.get_by_role("heading", name="Meeting 0 by Ben")).to_be_visible()

    # The rest alike
    ana.goto(f"{lab.server}/conflicts")
    expect(ana.locator("article.conflict")).to_have_count(2)
    ana.locator("summary", has_text="Decide all 2 alike").click()
    ana.get_by_role("button", name="Take the other, everywhere").click()
    expect(ana.get_by_text("2 conflicts are decided.")).to_be_visible()
    expect(ana.get_by_text("Nothing waits for you.")).to_be_visible()


def test_an_edit_on_a_slow_network_meets_anothers(browser: Browser, lab: Lab, errors: list[str]) -> None:
    base = lab.push("Ana", new("thoughts", "slow", title="Slow", description="First."))[0]["version"]
    page = sign_in(browser, lab, "Ben", errors)
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")
    network.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 400, "downloadThroughput": 25_000, "uploadThroughput": 25_000},
    )
    page.goto(f"{lab.url}/thought?id=slow")
    page.locator("#thought").get_by_role("link", name="Edit").click()
    page.locator("#thought").get_by_label("Description").fill("First. And Ben's.")
    lab.push("Ana", new("thoughts", "slow", base, title="Slower"))
    page.locator("#thought").get_by_role("button", name="Save").click()
    expect(page.get_by_text("put together with what somebody else wrote")).to_be_visible(timeout=30_000)
    expect(page.get_by_role("heading", name="Slower")).to_be_visible()
    expect(page.get_by_text("First. And Ben's.")).to_be_visible()


def test_the_home_follows_by_itself_and_the_canvas_shows_neighbours(
    browser: Browser, lab: Lab, errors: list[str]
) -> None:
    lab.push(
        "Ana",
        new("thoughts", "hub", title="Hub", position_x=0, position_y=0),
        new("segments", "hub_s", thought_id="hub", content="x"),
        new("thoughts", "leaf", title="Leaf", position_x=300, position_y=200),
        new("segments", "leaf_s", thought_id="leaf", content="x"),
        new("segment_neighbors", "leaf_s/hub_s/supports"),
    )
    page = sign_in(browser, lab, "Ben", errors)
    lab.push("Ana", new("thoughts", "fresh", title="Fresh from the train"))
    expect(page.locator(".lately").get_by_role("link", name="Fresh from the train")).to_be_visible()

    page.goto(f"{lab.url}/canvas?near=hub")
    expect(page.locator("#map[data-ready='2']")).to_be_visible()
    expect(page.locator("#chosen h2")).to_have_text("Hub")
    expect(page.locator("#chosen p")).to_have_text("Neighbours: 1")
    expect(page.locator("#legend")).to_contain_text("supports 1")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.locator("#chosen").get_by_role("link", name="Open").click()
    expect(page.get_by_role("heading", name="Hub")).to_be_visible()


def test_words_on_the_canvas_never_cover_each_other(browser: Browser, lab: Lab, errors: list[str]) -> None:
    lab.push(
        "Ana",
        *(
            new(
                "thoughts",
                f"crowd{n}",
                title=f"Crowd {n} " + "x" * n,
                position_x=n % 6 * 40,
                position_y=n * 9,
            )
            for n in range(36)
        ),
    )
    page = sign_in(browser, lab, "Ben", errors)
    page.goto(f"{lab.url}/canvas?q=Crowd")
    expect(page.locator("#map[data-ready='36']")).to_be_visible()
    for nearer in range(2):
        if nearer:
            page.get_by_role("button", name="Nearer").click()
            page.wait_for_timeout(300)  # words come when the canvas is at rest
        boxes = page.evaluate(
            "document.getElementById('map')._cyreg.cy.nodes('.named')"
            ".map(n => n.renderedBoundingBox({includeNodes: false, includeOverlays: false}))"
        )
        assert 1 < len(boxes) < 36
        assert not [
            (a, b)
            for n, a in enumerate(boxes)
            for b in boxes[:n]
            if a["x1"] < b["x2"] and b["x1"] < a["x2"] and a["y1"] < b["y2"] and b["y1"] < a["y2"]
        ]


def test_what_lies_far_out_makes_no_dot_of_all_others(browser: Browser, lab: Lab, errors: list[str]) -> None:
    colours = ("#11223344", "oklch(60% 0.2 30)", "tomato", "no colour", "rgb(1 2 3 / 50%)")
    placed = (
        new("thoughts", f"astray{n}", title=f"Astray {n}", color=colour, position_x=n * 300, position_y=n % 2)
        for n, colour in enumerate(colours)
    )
    far = new("thoughts", "astray9", title="Astray 9", position_x=1.7976931348623157e308, position_y=-1.2e8)
    lab.push("Ana", *placed, far)
    page = sign_in(browser, lab, "Ben", errors)
    page.on("console", lambda said: errors.append(said.text) if said.type == "warning" else None)
    page.goto(f"{lab.url}/canvas?q=Astray")
    expect(page.locator("#map[data-ready='6']")).to_be_visible()
    expect(page.get_by_text("far from all others and are drawn beside them: 1.")).to_be_visible()
    drawn = page.evaluate(
        "document.getElementById('map')._cyreg.cy.nodes()"
        ".map(n => ({ ...n.renderedPosition(), wide: n.renderedWidth() }))"
    )
    assert len({round(node["x"]) for node in drawn}) == 6
    assert all(0 <= node["x"] <= 1440 and 0 <= node["y"] <= 900 and node["wide"] > 5 for node in drawn)


def test_reading_works_without_javascript(browser: Browser, lab: Lab, errors: list[str]) -> None:
    lab.push("Ana", new("thoughts", "plain", title="Plain", created_at="2025-05-04T10:00:00Z"))
    page = sign_in(browser, lab, "Ben", errors, java_script_enabled=False)
    page.goto(f"{lab.url}?q=Plain")
    page.get_by_role("link", name="Plain").click()
    expect(page.get_by_text("4 May 2025")).to_be_visible()
    page.locator("#thought").get_by_role("link", name="Edit").click()
    page.locator("#thought").get_by_label("Title").fill("Plainer")
    page.locator("#thought").get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Plainer")).to_be_visible()
    for path in ("", "/canvas", "/timeline", "/deleted", "/history?type=thoughts&id=plain"):
        page.goto(f"{lab.url}{path}")
        expect(page.locator("main")).to_contain_text(re.compile("Plain|Kept for"))
