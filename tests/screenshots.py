"""`make screenshots`: pictures of every page, wide and narrow, light and dark, for people to judge.

They lie in docs/screenshots. The lab in them is made here and has nobody's data.
"""

from __future__ import annotations

import math
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import CHROMIUM
from tests.logomesh_files import NEW, LogoMeshFile
from tests.logomesh_server.processes import Serving, manage
from tests.pages.test_first_day import PASSWORD, push_conflicting_title

FOLDER = Path(__file__).parents[1] / "docs" / "screenshots"
LAB = "Cognitive Lab"
TOPICS = {
    "Spacing effect": "#3b82f6", "Retrieval practice": "#10b981", "Schema theory": "#f97316",
    "Attention": "#a855f7", "Working memory": "#e11d48",
}  # fmt: skip


def lab_file(path: Path) -> Path:
    """A file with five clusters of thoughts, placed and linked as somebody would."""
    rng = random.Random(7)
    with LogoMeshFile(path, "S2x") as file:
        for number, (topic, color) in enumerate(TOPICS.items()):
            file.tag(f"tag_{topic.lower().replace(' ', '_')}", name=topic, color=color)
            angle = 2 * math.pi * number / len(TOPICS)
            middle = (900 * math.cos(angle), 650 * math.sin(angle))
            for n in range(12):
                id_ = f"thought_{number}_{n}"
                file.thought(
                    id_,
                    title=topic if n == 0 else f"{topic}: note {n}",
                    description=f"What the pilot says about {topic.lower()}, and what to ask next.",
                    color=color,
                    position_x=middle[0] + rng.gauss(0, 170),
                    position_y=middle[1] + rng.gauss(0, 130),
                )
                for s in range(2):
                    file.segment(f"{id_}_s{s}", id_, title=("Finding", "Open question")[s], content=(
                        "Recall after a week was better when the two sessions lay three days apart.",
                        "Does the effect hold for material that is learnt with pictures?",
                    )[s])  # fmt: skip
                file.add(
                    "thought_tags", thought_bubble_id=id_, tag_id=f"tag_{topic.lower().replace(' ', '_')}",
                    created_at=NEW,
                )  # fmt: skip
                if n:
                    file.add(
                        "segment_neighbors", source_segment_id=f"{id_}_s0",
                        target_segment_id=f"thought_{number}_{rng.randrange(n)}_s0",
                        relationship_type=rng.choice(["related", "supports", "contradicts"]), created_at=NEW,
                    )  # fmt: skip
        file.segment("stray", "thought_that_was_deleted", title="Left behind")
    return path


@contextmanager
def served(folder: Path) -> Iterator[Serving]:
    serving = Serving(folder / "data").until_ready()
    try:
        yield serving
    finally:
        serving.end()


def main() -> None:
    if CHROMIUM is None:
        raise SystemExit("No Chromium was found: apt-get install chromium")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    work = Path(tempfile.mkdtemp(prefix="logomesh-screenshots-"))
    with served(work) as serving, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        see_all(browser, serving, work, take)
        browser.close()
    shutil.rmtree(work, ignore_errors=True)


def see_all(browser: Browser, serving: Serving, work: Path, look: Callable[[Page, str], None]) -> None:
    """Bring a new server to life and show `look` each of its pages, with a name."""
    page = browser.new_context().new_page()
    link = serving.said.split("the link works once:\n")[1].split()[0]
    page.goto(link)
    look(page, "welcome")
    page.get_by_label("Your name").fill("Ana Ortiz")
    page.get_by_label("E-mail address").fill("ana@lab.example")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Name of your lab").fill(LAB)
    page.get_by_role("button", name="Make the account").click()
    notebook, space = _space(serving, "My notebook", "private"), _space(serving, "Memory study", "shared")
    token = _said(serving, "token", "ana@lab.example", "--device", "Ana's laptop")
    _said(serving, "account", "ben@lab.example", "--workspace", LAB, "--role", "member")
    url = f"{serving.url}/spaces/{space}"
    page.goto(f"{url}/import")
    look(page, "import-choose")
    page.get_by_label("Drop the file here").set_input_files(lab_file(work / "logomesh.sqlite3"))
    page.get_by_role("button", name="Send and read it").click()
    page.get_by_role("heading", name="How shall it come in?").wait_for()
    look(page, "import-assessed")
    page.get_by_role("button", name="Start").click()
    page.get_by_text("Done and verified").wait_for()
    look(page, "import-report")
    thought = f"{url}/thought?id=thought_0_0"
    page.goto(thought)
    page.locator("#thought").get_by_role("link", name="Edit").click()
    page.locator("#thought").get_by_label("Title").fill("The spacing effect")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("heading", name="The spacing effect").wait_for()
    push_conflicting_title(serving.url, space, token, "thought_0_0", "Spacing effect, second pilot")
    for name, address in (
        ("home", serving.url), ("space", url), ("space-empty", f"{serving.url}/spaces/{notebook}"),
        ("thought", thought), ("sharing", f"{url}/sharing"),
        ("conflicts", f"{serving.url}/conflicts"), ("devices", f"{serving.url}/devices"),
        ("imports", f"{serving.url}/imports"), ("history", f"{url}/history?type=thoughts&id=thought_0_0"),
        ("timeline", f"{url}/timeline"), ("deleted", f"{url}/deleted"),
        ("database", f"{serving.url}/database"), ("database-move", f"{serving.url}/database/move"),
        ("admin", f"{serving.url}/admin/"), ("database", f"{serving.url}/database"),
    ):  # fmt: skip
        page.goto(address)
        look(page, name)
    see_the_desk(page, f"{serving.url}/admin", look)
    page.goto(serving.url)
    page.get_by_role("link", name="people").click()
    look(page, "people")
    page.goto(f"{url}/canvas")
    page.locator("#map[data-ready]").wait_for()
    look(page, "canvas")
    page.goto(f"{serving.url}/nowhere")
    look(page, "problem")
    page.goto(thought)
    page.locator("#thought").get_by_role("link", name="Edit").click()
    page.locator("#thought").get_by_label("Description").fill(
        "Half an hour of thinking.\n\nAnd a second paragraph."
    )
    page.context.clear_cookies(name="sessionid")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("You were signed out meanwhile.").wait_for()
    look(page, "session-ended")
    page.get_by_label("E-mail address").fill("ana@lab.example")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Save it now").wait_for()
    look(page, "kept")
    page.get_by_role("button", name="Save it now").click()
    page.get_by_text("And a second paragraph.").wait_for()
    with page.expect_navigation():
        page.get_by_role("button", name="Sign out").click()
    look(page, "sign-in")


DESK = ("membership", "group", "invitation", "device", "space", "auditentry", "workspace", "import")


def see_the_desk(page: Page, admin: str, look: Callable[[Page, str], None]) -> None:
    """The managers' admin: each list, an entry of it, and each form."""
    page.goto(f"{admin}/workspaces/invitation/many/")
    look(page, "desk-invite-many")
    page.get_by_label("A line for each person").fill(
        "cai@lab.example, member\nfay@lab.example, guest\nben@lab.example, member\nnobody, member"
    )
    with page.expect_navigation():
        page.get_by_role("button", name="Show what will happen").click()
    look(page, "desk-invite-many-shown")
    with page.expect_navigation():
        page.get_by_role("button", name="Invite them").click()
    look(page, "desk-invite-many-done")
    page.goto(f"{admin}/workspaces/group/add/")
    page.locator("[name=label]").fill("Readers")
    page.get_by_label("ben@lab.example").check()
    look(page, "desk-group-add")
    with page.expect_navigation():
        page.get_by_role("button", name="Save", exact=True).click()
    for model in DESK:
        app = "migration" if model == "import" else "workspaces"
        page.goto(f"{admin}/{app}/{model}/")
        look(page, f"desk-{model}-list")
        if model == "membership":
            page.goto(f"{admin}/{app}/{model}/?q=ben")
        with page.expect_navigation():
            page.locator("#result_list tbody a, #result_list tbody th a").first.click()
        look(page, f"desk-{model}")
        if model == "group":
            page.goto(page.url.replace("/change/", "/delete/"))
            look(page, f"desk-{model}-delete")
        if model in ("membership", "invitation", "space"):
            page.goto(f"{admin}/{app}/{model}/add/")
            look(page, f"desk-{model}-add")
    for app in ("workspaces", "migration"):
        page.goto(f"{admin}/{app}/")
        look(page, f"desk-{app}")


def take(page: Page, name: str) -> None:
    """Wide and light, narrow and dark."""
    for width, scheme in ((1440, "light"), (390, "dark")):
        seen_as(page, width, scheme)
        page.wait_for_timeout(250)
        page.screenshot(path=FOLDER / f"{name}-{width}.png")


def seen_as(page: Page, width: int, scheme: str) -> None:
    """As wide as that, in the light or in the dark; the admin's theme asks only as it loads."""
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    if "/admin/" in page.url:
        page.evaluate("dark => document.documentElement.classList.toggle('dark', dark)", scheme == "dark")


def _space(serving: Serving, name: str, kind: str) -> str:
    return _said(serving, "space", name, "--workspace", LAB, "--owner", "ana@lab.example", "--kind", kind)


def _said(serving: Serving, *arguments: str) -> str:
    done = manage(serving.data, *arguments)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout.strip()


if __name__ == "__main__":
    main()
