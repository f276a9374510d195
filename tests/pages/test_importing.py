"""Files come in: over a bad link, with a server that goes away and comes back; and bit by bit."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from tests.logomesh_files import NEW, OLD, LogoMeshFile
from tests.logomesh_server.processes import Serving
from tests.pages.lab import Lab, add_space, sign_in

pytestmark = [pytest.mark.browser, pytest.mark.processes, pytest.mark.xdist_group("pages")]

PIECE = 4 * 1024**2


def large_file(path: Path) -> Path:
    """Five pieces of an upload, with two orphans."""
    rng = random.Random(3)
    with LogoMeshFile(path, "S2x") as file:
        file.thought("t1", title="Field notes")
        for number in range(300):
            file.segment(f"s{number}", "t1", title=f"Day {number}", content=rng.randbytes(32 * 1024).hex())
        for number in range(2):
            file.segment(f"stray{number}", "gone", title="Left behind")
    assert path.stat().st_size > 4 * PIECE
    return path


def test_an_upload_survives_a_reload_a_pause_and_a_restart(
    browser: Browser, lab: Lab, shared_server: Serving, errors: list[str], tmp_path: Path
) -> None:
    page = sign_in(browser, lab, "Ana", errors)
    space = add_space(page, lab, "Field study", "Shared")
    file = large_file(tmp_path / "field.sqlite3")
    offsets: list[int] = []

    def note(request: Request) -> None:
        if request.method == "PATCH":
            offsets.append(int(request.headers["upload-offset"]))

    def a_piece_is_there() -> None:
        with page.expect_response(lambda a: a.request.method == "PATCH" and a.status == 204, timeout=60_000):
            pass

    page.on("request", note)
    slow = page.context.new_cdp_session(page)
    slow.send("Network.enable")
    slow.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 10, "downloadThroughput": -1, "uploadThroughput": 4 * 1024**2},
    )

    # Slow, and the page is loaded again in the middle
    page.goto(f"{space}/import")
    page.get_by_label("Drop the file here").set_input_files(file)
    expect(page.get_by_text("field.sqlite3 · 19")).to_be_visible()
    page.get_by_role("button", name="Send and read it").click()
    a_piece_is_there()
    page.reload()
    expect(page.get_by_text("Choose the same file again, and it goes on where it stopped.")).to_be_visible()

    # The same file goes on where it stopped; a pause stops it
    offsets.clear()
    page.get_by_label("Drop the file here").set_input_files(file)
    page.get_by_role("button", name="Send and read it").click()
    a_piece_is_there()
    assert offsets[0] >= PIECE
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Paused.")).to_be_visible()
    expect(page.get_by_text("sent", exact=False).first).to_be_visible()
    halted = len(offsets)
    page.get_by_role("button", name="Go on").click()

    # The server is started again meanwhile
    shared_server.end()
    try:
        expect(page.get_by_text("and it goes on by itself")).to_be_visible(timeout=30_000)
    finally:
        shared_server.start_again()
    expect(page.get_by_role("heading", name="What is in it")).to_be_visible(timeout=90_000)
    assert len(offsets) > halted and max(offsets) >= 4 * PIECE
    errors[:] = [error for error in errors if "Failed to load resource" not in error]
    rehearse_import_and_take_back(page)


def rehearse_import_and_take_back(page: Page) -> None:
    expect(page.get_by_text("301 of 303 rows can be migrated.")).to_be_visible()
    page.get_by_label("Only rehearse").check()
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("nothing of it is in the space")).to_be_visible(timeout=60_000)
    page.get_by_label("B. Everything").check()
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("Done and verified")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("link", name="Connect this computer")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="The report as a table").click()
    assert "segments,set_aside,missing-thought,2" in download.value.path().read_text()
    page.locator("summary", has_text="Take it back").click()
    page.get_by_role("button", name="Undo this import").click()
    expect(page.get_by_text("301 records were taken back.")).to_be_visible(timeout=60_000)


def test_a_file_comes_bit_by_bit(browser: Browser, lab: Lab, errors: list[str], tmp_path: Path) -> None:
    with LogoMeshFile(tmp_path / "notes.sqlite3", "S2x") as file:
        for number, (topic, at) in enumerate((("sleep", NEW), ("sleep", OLD), ("attention", NEW))):
            if number != 1:
                file.tag(f"tag_{topic}", name=topic)
            file.thought(f"t{number}", title=f"{topic.capitalize()} {number}", updated_at=at)
            file.segment(f"s{number}", f"t{number}", cluster_id=f"cluster_{topic}")
            file.add("thought_tags", thought_bubble_id=f"t{number}", tag_id=f"tag_{topic}", created_at=NEW)
        file.add(
            "segment_neighbors", source_segment_id="s0", target_segment_id="s2",
            relationship_type="supports", created_at=NEW,
        )  # fmt: skip
    page = sign_in(browser, lab, "Ana", errors)
    space = add_space(page, lab, "Bit by bit", "Private")
    page.goto(f"{space}/import")
    page.get_by_label("Drop the file here").set_input_files(file.path)
    page.get_by_role("button", name="Send and read it").click()

    # What one chooses by is only asked where one comes bit by bit
    expect(page.get_by_role("heading", name="How shall it come in?")).to_be_visible(timeout=60_000)
    chosen = page.get_by_role("group", name="With one of these tags")
    expect(chosen).to_be_hidden()
    page.get_by_label("C. Bit by bit").check()
    chosen.get_by_label("sleep 2").check()
    page.get_by_label("from this day on").fill("2025-09-01")
    page.get_by_role("button", name="Start").click()

    # One thought fits both; the rest waits, without being sent again
    expect(page.get_by_text("Done and verified")).to_be_visible(timeout=60_000)
    page.get_by_role("link", name="Open the space").click()
    expect(page.locator("article.thought h3")).to_have_text("Sleep 0")
    page.go_back()
    page.get_by_role("button", name="Choose the next ones").click()
    page.get_by_label("C. Bit by bit").check()
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("Done and verified")).to_be_visible(timeout=60_000)
    page.get_by_role("link", name="Open the space").click()
    expect(page.locator("article.thought")).to_have_count(3)
    page.get_by_role("link", name="Sleep 0").click()
    expect(page.locator(".links").get_by_role("link", name="Attention 2")).to_be_visible()


def test_a_file_that_is_none_of_logomesh_s_leads_to_another(
    browser: Browser, lab: Lab, errors: list[str], tmp_path: Path
) -> None:
    (tmp_path / "letter.txt").write_text("Dear lab")
    page = sign_in(browser, lab, "Ben", errors)
    page.goto(f"{lab.url}/import")
    page.get_by_label("Drop the file here").set_input_files(tmp_path / "letter.txt")
    page.get_by_role("button", name="Send and read it").click()
    expect(page.get_by_text("The file is not a SQLite database")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("Nothing was written to the space")).to_be_visible()
    page.get_by_role("link", name="Choose another file").click()
    expect(page.get_by_label("Drop the file here")).to_be_visible()
