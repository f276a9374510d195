"""The command `logomesh`, as people and scripts run it, against a served server with its worker."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.client.link import Link
from tests.client.machine import AT, PASSWORD, Machine, schema, space, titles, write
from tests.logomesh_files import LogoMeshFile as NewFile
from tests.logomesh_server.processes import Serving, free_port

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("logomesh command")]


def test_signing_in_keeps_secrets_from_view(serving: Serving, tmp_path: Path) -> None:
    one = Machine(tmp_path, serving.url)
    login = ("login", serving.url, "--email", "ana@lab.example", "--password-stdin")
    assert "wrong" in json.loads(one.run(*login, "--json", given="not it\n", exits=4))["words"]
    one.run("profiles")
    one.run("test", exits=2)
    out = one.run(*login, given=PASSWORD + "\n")
    secrets = next(tmp_path.rglob("secrets.json"))
    assert secrets.stat().st_mode & 0o777 == 0o600
    (token,) = json.loads(secrets.read_bytes()).values()
    assert "keep it out of backups" in one.said
    [profile] = one.json("profiles")
    assert (profile["type"], profile["is_default"], profile["sync_mode"]) == (
        "logomesh-server",
        True,
        "hybrid",
    )
    assert token not in out + one.said
    others = [path for path in tmp_path.rglob("*") if path.is_file() and path != secrets]
    assert not any(token in path.read_text() or PASSWORD in path.read_text() for path in others)
    verdict = one.json("test")
    assert verdict["ok"], verdict
    assert one.json("logout")["revoked"]
    assert one.json("test", serving.url, exits=4, LOGOMESH_TOKEN=token)["ok"] is False


def test_two_laptops_and_a_day_without_network(machine: Any, serving: Serving) -> None:
    desk = machine("desk")
    home = space(desk, "Two laptops")
    path = desk.file("notes.sqlite3", "First", "Second")
    before = schema(path)
    report = desk.json("attach", path, "--home", "Two laptops")
    assert report["sync"]["spaces"][0]["sent"] == 2
    with Link("127.0.0.1", serving.port) as link:
        laptop = machine("laptop")
        laptop.run("login", link.url, "--name", "by link", "--email", "ana@lab.example", "--password-stdin",
                   "--default", given=PASSWORD + "\n")  # fmt: skip
        copy = laptop.file("notes.sqlite3")
        laptop.run("attach", copy, "--home", home)
        assert titles(copy) == ["First", "Second"]
        link.down()
        write(copy, "Third")
        assert laptop.json("sync", exits=3)["files"][0]["state"] == "offline"
        [file] = laptop.json("status")["files"]
        [found] = file["spaces"]
        assert (found["unsent"], found["state"], found["behind"]) == (1, "offline", None)
        assert found["proved"]
        link.up()
        laptop.run("sync")
    desk.run("sync")
    assert titles(path) == ["First", "Second", "Third"]
    [file] = desk.json("status")["files"]
    [found] = file["spaces"]
    assert (found["unsent"], found["behind"], found["conflicts"], found["home"]) == (0, 0, 0, True)
    assert "proved equal" in desk.run("status", NO_COLOR="1")
    desk.run("detach", path)
    assert schema(path) == before
    desk.run("status", exits=6)


def test_a_conflict_is_decided_offline(machine: Any) -> None:
    desk, laptop = machine("desk"), machine("laptop")
    space(desk, "Conflicts")
    ours, theirs = desk.file("a.sqlite3", "Dose"), laptop.file("b.sqlite3")
    for one, path in ((desk, ours), (laptop, theirs)):
        one.run("attach", path, "--home", "Conflicts")
    write(ours, "Dose: 10 mg", "thought_dose")
    write(theirs, "Dose: 15 mg", "thought_dose")
    desk.run("sync")
    laptop.run("sync", exits=1)
    [conflict] = laptop.json("conflicts", exits=1)
    assert conflict["fields"]["title"]["server"] == "Dose: 10 mg"
    short = conflict["id"][-8:]
    shown = laptop.run("conflicts", short)
    line = next(line for line in shown.splitlines() if "10 mg" in line and "│" in line)
    assert "15 mg" in line  # side by side
    laptop.run("conflicts", short, "--set", "nothing=1", exits=2)
    laptop.run("conflicts", short, "--set", "title=Dose: 12 mg", HTTP_PROXY="http://127.0.0.1:9")
    assert laptop.json("conflicts") == []
    laptop.run("sync")
    desk.run("sync")
    assert titles(ours) == titles(theirs) == ["Dose: 12 mg"]
    acts = [entry["act"] for entry in desk.json("history", "Dose: 12 mg")]
    assert acts[-1] == "create"
    first = desk.json("history", "thought_dose")[-1]["version"]
    desk.run("history", "thought_dose", "--restore", first)
    assert titles(ours) == ["Dose"]


def test_sharing_moves_a_thought_to_another_space(machine: Any) -> None:
    ana, ben = machine("ana"), machine("ben", "ben")
    private, shared = space(ana, "Ana's own"), space(ana, "For both", "--shared")
    path = ana.file("mine.sqlite3", "Secret", "Known")
    ana.run("attach", path, "--home", private, "--with", "For both")
    ben.run("share", "Known", "--space", "For both", exits=6)
    moved = ana.json("share", "Known", "--space", "For both")
    assert moved["moved"] == {"thoughts": 1}
    assert titles(path) == ["Known", "Secret"]
    assert [one["name"] for one in ben.json("spaces")] == []
    out = ana.home / "shared.json"
    ana.run("export", shared, "--format", "json", "-o", out)
    assert b"Known" in out.read_bytes()
    assert b"Secret" not in out.read_bytes()
    ana.run("export", shared, "-o", out, exits=6)
    ana.run("export", shared, "-o", ana.home / "shared.sqlite3")
    assert titles(ana.home / "shared.sqlite3") == ["Known"]


def test_a_copied_file_becomes_a_device_of_its_own(machine: Any) -> None:
    one = machine("desk")
    space(one, "Copied")
    path = one.file("first.sqlite3", "Before")
    one.run("attach", path, "--home", "Copied")
    copy = path.with_name("second.sqlite3")
    copy.write_bytes(path.read_bytes())
    for number in range(3):
        write(path, f"Here {number}")
        write(copy, f"There {number}")
        one.run("sync", path)
        one.run("sync", copy)
    one.run("sync", path)
    assert titles(path) == titles(copy)
    assert len(titles(path)) == 7
    assert one.json("status", path, copy)["files"][1]["spaces"][0]["proved"]


def test_access_that_is_taken_away(machine: Any) -> None:
    ana, ben = machine("ana"), machine("ben", "ben")
    shared = space(ana, "Taken away", "--shared")
    own = space(ben, "Ben's own")
    secrets = json.loads(next((ana.home / "config").rglob("secrets.json")).read_bytes())
    headers = {"Authorization": f"Token {next(iter(secrets.values()))}"}
    with httpx.Client(base_url=f"{ana.url}/api/v1", headers=headers) as http:
        role = f"/spaces/{shared}/roles/ben@lab.example"
        assert http.put(role, json={"role": "editor"}).is_success
        path = ana.file("ana.sqlite3", "Common")
        ana.run("attach", path, "--home", shared)
        theirs = ben.file("ben.sqlite3", "Private")
        ben.run("attach", theirs, "--home", own, "--with", shared)
        assert titles(theirs) == ["Common", "Private"]
        write(theirs, "Common, but better", "thought_common")
        assert http.delete(role).is_success
    ben.run("sync", exits=5)
    assert titles(theirs) == ["Private"]
    rescued = ben.json("rescue")["files"][0]
    assert rescued["pieces"] == 1
    assert "Common, but better" in Path(rescued["rescued"]).read_text()
    assert ben.json("status", exits=1)["files"][0]["spaces"][1]["state"] == "access-lost"
    ben.run("detach", theirs, exits=1)
    ben.run("detach", theirs, "--force")
    assert titles(theirs) == ["Private"]


def test_a_rule_names_a_space_by_a_tag(machine: Any) -> None:
    one = machine("desk")
    space(one, "Mine")
    shared = space(one, "The project", "--shared")
    path = one.file("mine.sqlite3", "Kept", "Shown")
    one.run("attach", path, "--home", "Mine", "--with", shared)
    one.run("profiles", "--rule", "project=The project", "--rule", "elsewhere=No such space")
    one.run("profiles", "--rule", "nonsense", exits=2)
    with closing(sqlite3.connect(path)) as app, app:
        app.execute("INSERT INTO tags (tag_id, name, created_at) VALUES ('tag_project', 'project', ?)", (AT,))
        app.execute("INSERT INTO thought_tags VALUES ('thought_shown', 'tag_project', ?)", (AT,))
    one.run("sync")
    counts = {found["name"]: found["thoughts"] for found in one.json("spaces")}
    assert (counts["Mine"], counts["The project"]) == (1, 1)
    assert titles(path) == ["Kept", "Shown"]


def test_migrating(machine: Any) -> None:
    one = machine("desk")
    space(one, "Rehearsed")
    path = one.file("old.sqlite3", "One", "Two", "Three")
    rehearsed = one.json("migrate", path, "--to", "Rehearsed", "--dry-run")
    assert rehearsed["import"]["report"]["tables"]["thoughts"]["migrated"] == 3
    assert next(s for s in one.json("spaces") if s["name"] == "Rehearsed")["thoughts"] == 0
    done = one.json("migrate", path, "--to", "Rehearsed", "--strategy", "hybrid")
    assert done["import"]["state"] == "done"
    [synced] = done["sync"]["spaces"]
    assert (synced["sent"], synced["equal"]) == (0, True)  # nothing is uploaded twice
    write(path, "Four")
    one.run("sync")
    assert next(s for s in one.json("spaces") if s["name"] == "Rehearsed")["thoughts"] == 4
    assert not list((one.home / "data").rglob("snapshot*"))
    # An attached file migrates as if it were not: what is ours is nobody's thought.
    space(one, "Again")
    again = one.json("migrate", path, "--to", "Again")["import"]["report"]
    assert not any(table.startswith("logomesh_sync") for table in again["tables"])
    one.run("migrate", path, "--to", "Again", "--strategy", "full", "--tag", "x", exits=2)
    with NewFile(other := one.home / "orphans.sqlite3") as file:
        file.segment("alone", thought="thought_lost")
    found = one.json("migrate", other, "--to", "Again", "--orphans", "recover")["import"]["report"]
    assert found["tables"]["segments"]["migrated"] == 1


def test_a_damaged_file_is_saved_as_far_as_it_can_be_read(machine: Any) -> None:
    one = machine("desk")
    space(one, "Saved")
    path = one.file("damaged.sqlite3")
    with closing(sqlite3.connect(path)) as app, app:
        app.executemany(
            "INSERT INTO thoughts (thought_bubble_id, title, created_at, updated_at) VALUES (?, ?, ?, ?)",
            ((f"t{n}", "A title " * 20, AT, AT) for n in range(2000)),
        )
    content = bytearray(path.read_bytes())
    content[40 * 4096 : 42 * 4096] = b"\xff" * 8192
    path.write_bytes(content)
    failed = one.json("migrate", path, "--to", "Saved", exits=7)["import"]
    assert failed["problem"]["type"] == "damaged"
    saved = one.json("migrate", path, "--to", "Saved", "--salvage")["import"]
    assert 1500 < saved["report"]["tables"]["thoughts"]["migrated"] < 2000


def test_a_migration_that_is_killed_goes_on(machine: Any, serving: Serving) -> None:
    one = machine("desk")
    target = space(one, "Goes on")
    path = one.file("big.sqlite3")
    with closing(sqlite3.connect(path)) as app, app:
        app.executemany(
            "INSERT INTO thoughts (thought_bubble_id, title, created_at, updated_at) VALUES (?, ?, ?, ?)",
            ((f"t{n}", os.urandom(400).hex(), AT, AT) for n in range(15_000)),
        )
    for _ in range(3):
        running = one.start("migrate", path, "--to", target)
        deadline = time.monotonic() + 60
        while not list((one.home / "data").rglob("journal.json")) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)
        running.send_signal(signal.SIGKILL)
        running.communicate()
    done = one.json("migrate", path, "--to", target)
    assert done["import"]["report"]["tables"]["thoughts"]["migrated"] == 15_000


def test_the_agent_brings_a_change_over(machine: Any) -> None:
    desk, laptop = machine("desk"), machine("laptop")
    space(desk, "Watched")
    ours, theirs = desk.file("a.sqlite3"), laptop.file("b.sqlite3")
    for one, path in ((desk, ours), (laptop, theirs)):
        one.run("attach", path, "--home", "Watched")
    agents = [one.start("sync", "--watch") for one in (desk, laptop)]
    try:
        write(ours, "Fresh")
        deadline = time.monotonic() + 60
        while titles(theirs) != ["Fresh"]:
            assert time.monotonic() < deadline
            assert [agent.poll() for agent in agents] == [None, None]
            time.sleep(0.05)
    finally:
        for agent in agents:
            agent.send_signal(signal.SIGTERM)
        said = [agent.communicate(timeout=30) for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], said
    assert "online" in said[1][0]


def test_what_a_round_met_is_found_in_the_server_s_log(machine: Any, serving: Serving) -> None:
    one = machine("met")
    file = one.file("met.sqlite3", "Before")
    one.run("attach", file, "--home", space(one, "Met"))
    unknown = "lm_" + "x" * 43

    def logged(id_: str) -> list[str]:
        lines = [json.loads(line) for line in serving.said.splitlines() if line.startswith("{")]
        return [line["message"] for line in lines if line.get("request_id") == id_]

    for method in ("GET", "POST"):  # nothing to send, then something
        [found] = one.json("sync", file, exits=4, LOGOMESH_TOKEN=unknown)["files"][0]["spaces"]
        assert found["state"] == "attention"
        [line] = logged(found["request_id"])
        assert line.startswith(f"{method} api/v1/") and line.endswith(": 401")
        assert "(request " in one.run("sync", file, exits=4, LOGOMESH_TOKEN=unknown)
        write(file, "After")
    assert unknown not in serving.said + one.said
    [found] = one.json("sync", file)["files"][0]["spaces"]
    assert (found["state"], found["request_id"]) == ("online", "")


def test_installing_the_agent(machine: Any) -> None:
    one = machine("desk")
    done = one.json("sync", "--install", LOGOMESH_TOKEN="lm_secret", HTTPS_PROXY='http://a"b%c:1')
    unit = Path(done["file"])
    assert unit == one.home / "config" / "systemd" / "user" / "logomesh.service"
    text = unit.read_text()
    assert 'Environment="HTTPS_PROXY=http://a\\"b%%c:1"' in text
    assert "lm_secret" not in text
    assert "sync" in text
    assert one.json("sync", "--uninstall")["installed"] is False
    assert not unit.exists()


def test_rescue_and_doctor(machine: Any) -> None:
    one = machine("desk")
    space(one, "Looked at")
    path = one.file("fine.sqlite3", "Fine")
    one.run("attach", path, "--home", "Looked at")
    found = one.json("doctor")
    assert found["ok"], found
    assert one.json("rescue")["files"][0]["pieces"] == 0
    broken = one.home / "broken.sqlite3"
    content = bytearray(path.read_bytes())
    content[4096:12288] = os.urandom(8192)
    broken.write_bytes(content)
    assert not one.json("doctor", broken, exits=1)["ok"]


@pytest.mark.parametrize(
    ("arguments", "exits"),
    [
        (["nonsense"], 2),
        (["attach", "missing.sqlite3", "--home", "x"], 2),
        (["attach", "text.txt", "--home", "x"], 7),
        (["sync", "text.txt"], 6),
        (["status", "empty.sqlite3"], 6),
        (["sync", "plain.sqlite3"], 6),
        (["detach", "plain.sqlite3"], 0),
        (["conflicts", "no-such-id"], 6),
        (["login", "ftp://lab"], 2),
        (["login", "http://127.0.0.1:{free}", "--email", "a", "--password-stdin"], 3),
        (["test", "http://127.0.0.1:{free}"], 3),
        (["spaces"], 2),
        (["--profile", "none", "spaces"], 2),
        (["export", "x"], 2),
        (["migrate", "plain.sqlite3", "--to", "x"], 2),
    ],
)
def test_each_failure_says_what_and_what_to_do(arguments: list[str], exits: int, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("no database")
    (tmp_path / "empty.sqlite3").touch()
    one = Machine(tmp_path, "")
    one.file("plain.sqlite3")
    words = [word.format(free=free_port()) for word in arguments]
    if exits == 7:
        exits = 2  # there is no profile, which is found first
    out = one.run(*words, given="x\n", exits=exits)
    if exits:
        assert (one.said or out).strip()
        told = json.loads(one.run(*words, "--json", given="x\n", exits=exits))
        if "error" in told:
            assert told["exit"] == exits
            assert told["words"]
