"""The command `logomesh` on odd days: names, damaged files, modes, accounts, stops, an agent that goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import pytest

from logomesh_client.migrating import Migration
from logomesh_client.wire import Interrupted, Server
from tests.client.machine import AT, PASSWORD, Machine, space, titles, write
from tests.logomesh_server.processes import Serving

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("logomesh command")]


def token_of(machine: Machine) -> str:
    kept = json.loads(next((machine.home / "config").rglob("secrets.json")).read_bytes())
    return str(next(kept[name] for name in kept if name.startswith("profile:")))


@contextmanager
def api(machine: Machine) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Token {token_of(machine)}"}
    with httpx.Client(base_url=f"{machine.url}/api/v1", headers=headers) as http:
        yield http


# Names and terminals


@pytest.mark.parametrize(
    "name", [b"two\nlines.sqlite3", b"no \xff text.sqlite3", b"a 'b' \"c\" %d $HOME.sqlite3"]
)
def test_a_file_may_be_called_anything(name: bytes, machine: Any) -> None:
    one = machine("desk")
    home = space(one, "Odd names")
    path = one.home / os.fsdecode(name)
    shutil.move(one.file("plain.sqlite3", "Kept"), path)
    one.run("attach", path, "--home", home)
    one.run("sync")
    [file] = json.loads(one.run("status", "--json"))["files"]
    assert os.fsencode(file["file"]).endswith(name)
    assert file["spaces"][0]["proved"]
    one.run("status")
    one.run("doctor")
    one.run("rescue")
    one.run("detach", path)
    assert one.json("migrate", path, "--to", home)["import"]["state"] == "done"
    assert one.run("sync", exits=6) == ""


def test_what_others_wrote_is_no_order_to_the_terminal(machine: Any) -> None:
    desk, laptop = machine("desk"), machine("laptop")
    home = space(desk, "Orders")
    ours, theirs = desk.file("a.sqlite3", "Dose"), laptop.file("b.sqlite3")
    for one, path in ((desk, ours), (laptop, theirs)):
        one.run("attach", path, "--home", home)
    write(ours, "\x1b]0;owned\x07Dose: 10", "thought_dose")
    write(theirs, "\x9b31mDose: 15", "thought_dose")
    desk.run("sync")
    laptop.run("sync", exits=1)
    shown = laptop.run("conflicts", exits=1) + laptop.run(
        "conflicts", laptop.json("conflicts", exits=1)[0]["id"]
    )
    shown += laptop.run("history", "thought_dose")
    assert "Dose: 10" in shown
    assert not {"\x1b", "\x9b", "\x07"} & set(shown)


@pytest.mark.parametrize("width", [40, 80])
def test_side_by_side_on_a_narrow_terminal(width: int, machine: Any) -> None:
    desk, laptop = machine("desk"), machine("laptop")
    home = space(desk, f"Narrow {width}")
    ours, theirs = desk.file("a.sqlite3", "Dose"), laptop.file("b.sqlite3")
    for one, path in ((desk, ours), (laptop, theirs)):
        one.run("attach", path, "--home", home)
    write(ours, "Ours " * 30, "thought_dose")
    write(theirs, "Theirs " * 30, "thought_dose")
    desk.run("sync")
    laptop.run("sync", exits=1)
    id_ = laptop.json("conflicts", exits=1)[0]["id"]
    with patch("logomesh_client.cli.saying.Voice.width", width):
        shown = laptop.run("conflicts", id_)
    compared = [line for line in shown.splitlines() if "│" in line]
    assert len(compared) > 5
    assert max(map(len, compared)) <= width


def test_a_terminal_that_has_few_signs(machine: Any) -> None:
    one = machine("desk")
    space(one, "Größe ✓")
    environment = {**one.environment, "PYTHONIOENCODING": "ascii", "LANG": "C"}
    for arguments in (["test"], ["spaces"], ["spaces", "--json"], ["--help"]):
        done = subprocess.run(
            [sys.executable, "-m", "logomesh_client", *arguments],
            env=environment,
            capture_output=True,
            cwd=one.home,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        if "--json" in arguments:
            assert "Größe ✓" in [space_["name"] for space_ in json.loads(done.stdout)]


def test_a_reader_that_goes_away(machine: Any) -> None:
    one = machine("desk")
    space(one, "Piped")
    command = f"{sys.executable} -m logomesh_client spaces --json | true"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], env=one.environment, capture_output=True, cwd=one.home
    )
    assert b"Traceback" not in done.stderr
    assert b"mistake" not in done.stderr


# Signing in


def test_signing_in_again_changes_only_what_is_said(machine: Any, serving: Serving) -> None:
    one = machine("desk")
    one.run("profiles", "--mode", "local-only", "--rule", "a=b")
    login = ("login", serving.url, "--email", "ana@lab.example", "--password-stdin")
    one.run(*login, given=PASSWORD + "\n")
    [profile] = one.json("profiles")
    assert (profile["sync_mode"], profile["rules"], profile["name"]) == ("local-only", {"a": "b"}, "lab")
    one.run(*login, "--mode", "hybrid", given=PASSWORD + "\n")
    assert one.json("profiles")[0]["sync_mode"] == "hybrid"


def test_a_name_is_not_taken_from_another_server(machine: Any, serving: Serving) -> None:
    one = machine("desk")
    other = f"http://localhost:{serving.port}"
    login = ("login", other, "--email", "ana@lab.example", "--password-stdin")
    assert "is for" in one.json(*login, "--name", "lab", exits=2)["words"]
    one.run(*login, given=PASSWORD + "\n")
    assert [profile["url"] for profile in (p["connection"] for p in one.json("profiles"))] == [
        serving.url,
        other,
    ]


def test_there_is_nobody_to_ask_for_a_password(tmp_path: Path, serving: Serving) -> None:
    one = Machine(tmp_path, serving.url)
    for arguments in ([], ["--email", "ana@lab.example"], ["--password-stdin"]):
        one.run("login", serving.url, *arguments, given=PASSWORD + "\n", exits=2)
        assert "--password-stdin" in one.said


def test_two_accounts_on_one_server(machine: Any, serving: Serving) -> None:
    one = machine("desk")
    login = ("login", serving.url, "--email", "ben@lab.example", "--password-stdin", "--name", "ben's")
    one.run(*login, given=PASSWORD + "\n")
    assert len(one.json("profiles")) == 2
    home = space(one, "Of ben", "--profile", "ben's")
    path = one.file("bens.sqlite3", "Ben's")
    one.run("attach", path, "--home", home, "--profile", "ben's")
    write(path, "Another")
    one.run("sync")
    assert one.json("status")["files"][0]["spaces"][0]["behind"] == 0
    one.run(*login, given=PASSWORD + "\n")  # the file gets a new token: of ben, not of the default profile
    one.run("sync")
    assert next(s for s in one.json("spaces", "--profile", "ben's") if s["id"] == home)["thoughts"] == 2
    one.run("login", serving.url, "--email", "ana@lab.example", "--password-stdin", "--name", "lab",
            given=PASSWORD + "\n")  # fmt: skip
    one.run("sync")


@pytest.mark.parametrize("token", ["lm_secret\x01", "lm_secret secret", "lm_sécret"])
def test_a_token_that_cannot_be_one(token: str, machine: Any) -> None:
    one = machine("desk")
    for command in ("spaces", "test", "doctor"):
        one.run(command, exits=1 if command == "doctor" else 4, LOGOMESH_TOKEN=token)
        assert "secret" not in one.said.replace("secrets", "")


# Modes


def test_local_only_asks_the_server_for_nothing(machine: Any) -> None:
    one = machine("desk")
    home = space(one, "Left alone")
    path = one.file("mine.sqlite3", "Mine")
    one.run("attach", path, "--home", home)
    one.run("profiles", "--mode", "local-only")
    write(path, "Later")
    with patch("httpx.Client.send", side_effect=AssertionError("asked")):
        assert one.json("sync")["files"][0]["resting"] == [home]
        assert "local-only" in one.run("sync")
        [found] = one.json("status")["files"][0]["spaces"]
        assert (found["unsent"], found["head"], found["sync_mode"]) == (1, None, "local-only")
        one.run("doctor")
        for command in (
            ("spaces",),
            ("export", home),
            ("share", "Mine", "--space", home),
            ("history", "Mine"),
            ("migrate", path, "--to", home),
            ("attach", path, "--home", home),
            ("sync", "--watch"),
        ):
            assert "local-only" in str(one.json(*command, exits=2)) + one.said, command
    one.run("profiles", "--mode", "hybrid")
    one.run("sync")
    assert has(one, home, 2)()


def test_remote_only_keeps_no_file(machine: Any) -> None:
    one = machine("desk")
    home = space(one, "Only there")
    path = one.file("mine.sqlite3", "Mine")
    one.run("profiles", "--mode", "remote-only")
    one.run("attach", path, "--home", home, exits=2)
    one.run("migrate", path, "--to", home, "--strategy", "hybrid", exits=2)
    assert one.json("migrate", path, "--to", home)["import"]["state"] == "done"
    one.run("export", home, "-o", one.home / "out.sqlite3")
    assert titles(one.home / "out.sqlite3") == ["Mine"]


# Files


def test_one_file_that_cannot_be_used_keeps_nobody_from_the_others(machine: Any) -> None:
    one = machine("desk")
    home = space(one, "Several")
    broken, restored, fine = (one.file(f"{n}.sqlite3", n) for n in ("broken", "earlier", "fine"))
    before = restored.read_bytes()
    for path in (broken, restored, fine):
        one.run("attach", path, "--home", home)
    broken.write_bytes(b"no database " * 1000)
    restored.write_bytes(before)  # LogoMesh's own backup, from before it was attached
    write(fine, "Later")
    files = {Path(file["file"]).name: file for file in one.json("sync", exits=6)["files"]}
    assert files["fine.sqlite3"]["spaces"][0]["equal"]
    assert files["earlier.sqlite3"]["exit"] == files["broken.sqlite3"]["exit"] == 6
    assert len(one.json("status", exits=6)["files"]) == 3
    one.run("rescue", exits=6)
    one.run("conflicts", exits=6)
    one.run("doctor", exits=1)
    assert "fine.sqlite3" in one.run("sync", exits=6)


def test_a_filter_that_the_server_cannot_read_is_refused_at_once(machine: Any) -> None:
    one = machine("desk")
    home = space(one, "Filtered")
    path = one.file("mine.sqlite3", "Mine")
    assert (
        "2025-06-08" in one.json("attach", path, "--home", home, "--after", "last tuesday", exits=2)["remedy"]
    )
    with closing(sqlite3.connect(path)) as db:
        assert not db.execute("SELECT 1 FROM sqlite_master WHERE name GLOB 'logomesh_sync*'").fetchall()
    one.run("attach", path, "--home", home, "--after", "2025-06-08T09:30:00Z")


def test_a_file_that_may_not_be_written(machine: Any) -> None:
    one = machine("desk")
    home = space(one, "Read only")
    path = one.file("mine.sqlite3", "Mine")
    with patch(
        "logomesh_client.cli.attaching.LogoMeshFile.attach",
        side_effect=sqlite3.OperationalError("attempt to write a readonly database"),
    ):
        assert one.json("attach", path, "--home", home, exits=6)["error"] == "file-not-writable"
    with patch(
        "logomesh_client.cli.attaching.LogoMeshFile.attach",
        side_effect=sqlite3.OperationalError("database or disk is full"),
    ):
        assert one.json("attach", path, "--home", home, exits=6)["error"] == "disk-full"


def test_what_went_wrong_in_us_is_written_where_nobody_else_reads(machine: Any) -> None:
    one = machine("desk")
    with (
        patch("logomesh_client.cli.desk.Desk.files", side_effect=ValueError("somebody's thoughts")),
        pytest.raises(AssertionError),  # it says that it was a mistake
    ):
        one.run("status", exits=70)
    log = next(one.home.rglob("mistakes.log"))
    assert log.stat().st_mode & 0o777 == 0o600


# Migrating


@contextmanager
def uploads_counted() -> Iterator[list[str]]:
    begun: list[str] = []
    begin = Server.begin_upload

    def counted(server: Server, name: str, *more: Any) -> Any:
        begun.append(name)
        return begin(server, name, *more)

    with patch.object(Server, "begin_upload", counted):
        yield begun


def test_a_rehearsal_of_last_week_is_not_what_is_migrated(machine: Any) -> None:
    one = machine("desk")
    home = space(one, "Rehearsed last week")
    path = one.file("old.sqlite3", "One")
    one.run("migrate", path, "--to", home, "--dry-run")
    write(path, "Written since")
    done = one.json("migrate", path, "--to", home)["import"]
    assert done["report"]["tables"]["thoughts"]["migrated"] == 2


def test_bit_by_bit_nothing_is_uploaded_twice(machine: Any) -> None:
    one = machine("desk")
    home = space(one, "Bit by bit")
    path = one.file("old.sqlite3", "One", "Two", "Three")
    with closing(sqlite3.connect(path)) as app, app:
        app.execute("INSERT INTO tags (tag_id, name, created_at) VALUES ('tag_a', 'a', ?)", (AT,))
        app.execute("INSERT INTO thought_tags VALUES ('thought_one', 'tag_a', ?)", (AT,))
    with uploads_counted() as begun:
        first = one.json("migrate", path, "--to", home, "--tag", "a")["import"]["report"]
        assert first["tables"]["thoughts"]["migrated"] == 1
        path.touch()  # a look with SQLite's own tool may do as much
        rest = one.json("migrate", path, "--to", home, "--strategy", "gradual")["import"]["report"]
        assert rest["tables"]["thoughts"]["already_there"] == 1
        assert len(begun) == 1
        write(path, "Four")
        one.run("migrate", path, "--to", home, "--strategy", "gradual")
        assert len(begun) == 2
    assert next(s for s in one.json("spaces") if s["id"] == home)["thoughts"] == 4


def test_an_answer_that_is_lost_costs_no_second_upload(machine: Any) -> None:
    one = machine("desk")
    home = space(one, "Lost answer")
    path = one.file("old.sqlite3", "One")
    create = Server.create_import

    def lost(server: Server, *what: str) -> Any:
        create(server, *what)
        raise Interrupted("The connection broke.")

    with uploads_counted() as begun:
        with patch.object(Server, "create_import", lost):
            one.run("migrate", path, "--to", home, exits=3)
        assert one.json("migrate", path, "--to", home)["import"]["state"] == "done"
        assert len(begun) == 1


@pytest.mark.parametrize(
    "step", ["_snapshot", "_copy", "_upload", "begin_upload", "send_upload", "create_import", "start_import"]
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_stopped_at_any_step_it_goes_on(step: str, when: str, machine: Any) -> None:
    class Killed(BaseException):
        pass

    one = machine("desk")
    home = space(one, f"Stopped {when} {step}")
    path = one.file("old.sqlite3", "One", "Two")
    owner: Any = Migration if step.startswith("_") else Server
    act: Callable[..., Any] = getattr(owner, step)

    def struck(*what: Any, **options: Any) -> Any:
        if when == "after":
            act(*what, **options)
        raise Killed

    with patch.object(owner, step, struck), pytest.raises(Killed):
        one.run("migrate", path, "--to", home)
    with uploads_counted() as begun:
        done = one.json("migrate", path, "--to", home)["import"]
    assert (done["state"], done["report"]["tables"]["thoughts"]["migrated"]) == ("done", 2)
    if (step, when) in (("send_upload", "after"), ("create_import", "after"), ("start_import", "after")):
        assert begun == []


def test_what_lies_beside_a_file_belongs_to_it_also_after_a_stop(machine: Any) -> None:
    one = machine("desk")
    home = space(one, "Beside")
    path = one.file("old.sqlite3", "One")
    with closing(sqlite3.connect(path)) as app:
        app.execute("PRAGMA journal_mode = WAL")
        app.execute("UPDATE thoughts SET title = 'From the log'")
        app.commit()
        copy = one.home / "copy.sqlite3"
        for ending in ("", "-wal"):
            shutil.copyfile(f"{path}{ending}", f"{copy}{ending}")
    send = Server.send_upload
    sent: list[str] = []

    def once(server: Server, upload: Any, part: Path, *more: Any) -> Any:
        sent.append(part.name)
        if len(sent) == 2:
            raise Interrupted("The line broke.")
        return send(server, upload, part, *more)

    damaged = sqlite3.DatabaseError("database disk image is malformed")
    with patch.object(Migration, "_copy", side_effect=damaged):
        with patch.object(Server, "send_upload", once):
            one.run("migrate", copy, "--to", home, exits=3)
        done = one.json("migrate", copy, "--to", home)["import"]
    assert done["state"] == "done"
    out = one.home / "out.sqlite3"
    one.run("export", home, "-o", out)
    assert titles(out) == ["From the log"]


def test_only_one_migrates_a_file_at_a_time(machine: Any) -> None:
    one = machine("desk")
    home = space(one, "One at a time")
    path = one.file("old.sqlite3", "One")
    snapshot = Migration._snapshot

    def meanwhile(migration: Migration) -> Any:
        assert "just now" in one.json("migrate", path, "--to", home, exits=2)["words"]
        return snapshot(migration)

    with patch.object(Migration, "_snapshot", meanwhile):
        one.run("migrate", path, "--to", home)


# The agent


def until(seconds: float, true: Callable[[], bool], agent: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert agent.poll() is None, agent.communicate()
        if time.monotonic() > deadline:
            agent.send_signal(signal.SIGTERM)
            raise AssertionError(agent.communicate(timeout=30))
        time.sleep(0.1)


@contextmanager
def watching(one: Machine) -> Iterator[subprocess.Popen[str]]:
    agent = one.start("sync", "--watch")
    try:
        yield agent
        agent.send_signal(signal.SIGTERM)
        said = agent.communicate(timeout=40)
        assert agent.returncode == 0, said
        assert "Traceback" not in said[1]
    finally:
        if agent.poll() is None:
            agent.kill()
            agent.communicate()


def has(one: Machine, id_: str, number: int) -> Callable[[], bool]:
    return lambda: next(s for s in one.json("spaces") if s["id"] == id_)["thoughts"] == number


def test_the_agent_takes_notice_of_what_is_attached_and_detached(machine: Any) -> None:
    one = machine("desk")
    home = space(one, "Taken notice of")
    first = one.file("first.sqlite3", "One")
    one.run("attach", first, "--home", home)
    with watching(one) as agent:
        second = one.file("second.sqlite3")
        one.run("attach", second, "--home", home)
        write(second, "Two")
        until(60, has(one, home, 2), agent)
        until(60, lambda: titles(first) == ["One", "Two"], agent)
        one.run("detach", first)
        write(second, "Three")
        until(60, has(one, home, 3), agent)


def test_the_agent_goes_on_with_the_others(machine: Any) -> None:
    one = machine("desk")
    home = space(one, "Going on")
    fine, broken = one.file("fine.sqlite3"), one.file("broken.sqlite3")
    for path in (fine, broken):
        one.run("attach", path, "--home", home)
    with watching(one) as agent:
        write(fine, "One")
        until(60, has(one, home, 1), agent)
        broken.unlink()
        broken.write_bytes(b"no database " * 1000)
        time.sleep(2)
        write(fine, "Two")
        until(60, has(one, home, 2), agent)


def test_the_agent_follows_the_mode_and_the_token(machine: Any, serving: Serving) -> None:
    one = machine("desk")
    home = space(one, "Followed")
    path = one.file("mine.sqlite3")
    one.run("attach", path, "--home", home)

    def state() -> str:
        return str(one.json("status", "--offline", exits=None)["files"][0]["spaces"][0]["state"])

    with watching(one) as agent:
        write(path, "One")
        until(60, has(one, home, 1), agent)
        with api(one) as http:
            for device in http.get("/devices").json()["devices"]:
                if device["name"].endswith("mine.sqlite3"):
                    assert http.delete(f"/devices/{device['id']}").is_success
        write(path, "Two")
        until(60, lambda: state() == "attention", agent)
        one.run("login", serving.url, "--email", "ana@lab.example", "--password-stdin", given=PASSWORD + "\n")
        until(90, has(one, home, 2), agent)
        one.run("profiles", "--mode", "local-only")
        time.sleep(3)
        write(path, "Three")
        time.sleep(2)
        one.run("profiles", "--mode", "remote-only")
        assert next(s for s in one.json("spaces") if s["id"] == home)["thoughts"] == 2
        one.run("profiles", "--mode", "hybrid")
        until(60, has(one, home, 3), agent)


# Installing


def test_the_units_file_says_what_the_environment_says(machine: Any) -> None:
    one = machine("desk")
    proxy = 'http://ana:p$w%20"\\@proxy.example:1'
    done = one.json(
        "sync", "--install", https_proxy=proxy, ALL_PROXY="socks5://a:1", LOGOMESH_CLIENT_LOG_DIR="/a b"
    )
    unit = Path(done["file"])
    assert unit.stat().st_mode & 0o077 == 0  # the proxy's password is in it
    lines = unit.read_text().splitlines()
    assert 'Environment="https_proxy=http://ana:p$w%%20\\"\\\\@proxy.example:1"' in lines
    assert 'Environment="LOGOMESH_CLIENT_LOG_DIR=/a b"' in lines
    assert 'Environment="ALL_PROXY=socks5://a:1"' in lines
    one.run("sync", "--install", "--watch", exits=2)
    one.run("sync", "--install", one.file(), exits=2)
    one.run("sync", "--uninstall")


# Tokens that end


def devices(one: Machine) -> set[str]:
    with api(one) as http:
        found = http.get("/devices").json()["devices"]
    return {device["name"] for device in found if not (device["current"] or device["revoked"])}


def test_a_token_that_was_revoked_asks_to_sign_in(machine: Any, serving: Serving) -> None:
    one = machine("desk")
    home = space(one, "Revoked")
    path = one.file("revoked.sqlite3", "One")
    one.run("attach", path, "--home", home)
    with api(one) as http:
        for device in http.get("/devices").json()["devices"]:
            if device["name"].endswith("revoked.sqlite3"):
                assert http.delete(f"/devices/{device['id']}").is_success
    write(path, "Two")
    assert "logomesh login" in one.run("sync", exits=4)
    assert one.json("sync", exits=4)["files"][0]["spaces"][0]["sign_in"]
    one.run("login", serving.url, "--email", "ana@lab.example", "--password-stdin", given=PASSWORD + "\n")
    one.run("sync")
    assert has(one, home, 2)()


def test_no_token_is_left_behind(machine: Any, serving: Serving) -> None:
    one = machine("tidy")
    home = space(one, "Tidy")
    path = one.file("tidy.sqlite3", "One")
    one.run("attach", path, "--home", home)
    assert any(name.endswith("tidy.sqlite3") for name in devices(one))
    one.run("detach", path)
    assert not any(name.endswith("tidy.sqlite3") for name in devices(one))
    login = ("login", serving.url, "--email", "ana@lab.example", "--password-stdin", "--device", "tidier")
    before = token_of(one)
    one.run(*login, given=PASSWORD + "\n")
    assert "tidy" not in devices(one)
    assert (
        httpx.get(f"{one.url}/api/v1/spaces", headers={"Authorization": f"Token {before}"}).status_code == 401
    )
    one.run("attach", path, "--home", home)
    with patch("httpx.Client.send", side_effect=httpx.ConnectError("no network")):
        one.run("detach", path)  # a person on a train may detach
    assert "Revoke it" in one.said


def test_nobody_is_signed_in(machine: Any) -> None:
    one = machine("desk")
    home = space(one, "Left")
    path = one.file("left.sqlite3", "One")
    one.run("attach", path, "--home", home)
    one.run("logout")
    assert "logomesh login" in one.run("status")
    one.run("sync", exits=4)


def test_a_thought_that_is_not_there_is_not_shared(machine: Any) -> None:
    one = machine("desk")
    home = space(one, "Sharing")
    path = one.file("mine.sqlite3", "One")
    one.run("attach", path, "--home", home)
    assert "Nope" in one.json("share", "Nope", "--space", home, exits=2)["words"]
    assert "no folder" in one.json("export", home, "-o", one.home / "nowhere" / "x", exits=6)["words"]


# Attaching again


def test_a_server_that_moves_to_another_address(machine: Any, serving: Serving) -> None:
    one = machine("desk")
    home = space(one, "Moving house")
    path = one.file("mine.sqlite3", "One")
    one.run("attach", path, "--home", home)
    new = f"http://localhost:{serving.port}"
    one.run("login", new, "--name", "new", "--email", "ana@lab.example", "--password-stdin", "--default",
            given=PASSWORD + "\n")  # fmt: skip
    one.run("logout", "lab")
    one.run("attach", path, "--home", home)
    write(path, "Two")
    one.run("sync")
    [found] = one.json("status")["files"][0]["spaces"]
    assert (found["server"], found["unsent"], found["behind"], found["conflicts"]) == (new, 0, 0, 0)
    assert has(one, home, 2)()


def test_a_filter_names_a_tag_as_people_know_it(machine: Any) -> None:
    desk, laptop = machine("desk"), machine("laptop")
    home = space(desk, "By tag")
    path = desk.file("all.sqlite3", "Tagged", "Not tagged")
    with closing(sqlite3.connect(path)) as app, app:
        app.execute("INSERT INTO tags (tag_id, name, created_at) VALUES ('tag_x', 'C++ & Größe', ?)", (AT,))
        app.execute("INSERT INTO thought_tags VALUES ('thought_tagged', 'tag_x', ?)", (AT,))
    desk.run("attach", path, "--home", home)
    some = laptop.file("some.sqlite3")
    laptop.run("attach", some, "--home", home, "--tag", "no such tag", exits=2)
    assert titles(some) == []
    laptop.run("attach", some, "--home", home, "--tag", "C++ & Größe")
    assert titles(some) == ["Tagged"]
    laptop.run("attach", some, "--home", home, "--tag", "tag_x")
    assert titles(some) == ["Tagged"]
    laptop.run("attach", some, "--home", home)
    assert titles(some) == ["Not tagged", "Tagged"]


def test_rules_are_shown(machine: Any) -> None:
    one = machine("desk")
    assert "what is tagged project goes to Shared" in one.run("profiles", "--rule", "project=Shared")


def test_a_resolver_that_says_nothing_holds_nobody_up(machine: Any) -> None:
    one = machine("desk")
    home = space(one, "No answer")
    path = one.file("mine.sqlite3", "One")
    one.run("attach", path, "--home", home)
    found, ended = threading.Event(), []

    def searching(*what: Any, **options: Any) -> Any:
        found.wait(50)
        ended.append(what)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    with patch("socket.getaddrinfo", searching):
        [shown] = one.json("status")["files"][0]["spaces"]
        assert ended == []
        found.set()
    assert (shown["head"], shown["behind"], shown["state"]) == (None, None, "online")
