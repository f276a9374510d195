"""What docs/deploy has for systemd and Caddy: sound, of a piece with the server, and run where it can be."""

from __future__ import annotations

import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from logomesh_server.processes import end_group, start_child
from tests.logomesh_server.department import line_of, new_thought, redis
from tests.logomesh_server.processes import ROOT, Serving, environment, free_port, manage

DEPLOY = ROOT / "docs" / "deploy"
UNITS = sorted(path.name for path in DEPLOY.glob("*.service"))
CADDY = shutil.which("caddy")
needs_caddy = pytest.mark.skipif(CADDY is None, reason="needs Caddy (apt-get install caddy)")


def unit(name: str) -> ConfigParser:
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(DEPLOY / name)
    return parser


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (systemd)")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    for path in [*DEPLOY.glob("*.service"), *DEPLOY.glob("*.target"), *DEPLOY.glob("*.timer")]:
        # That the programs are there is part of what is verified; here they lie elsewhere.
        text = path.read_text().replace("/srv/logomesh/.venv/bin/python", sys.executable)
        (tmp_path / path.name).write_text(text.replace("/srv/logomesh", str(ROOT)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *sorted(map(str, tmp_path.iterdir()))],
        capture_output=True, text=True, env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "logomesh" in line]
    assert not ours, done.stderr
    assert done.returncode == 0, done.stderr


def test_the_target_wants_every_part() -> None:
    wanted = unit("logomesh.target")["Unit"]["Wants"].split()
    assert wanted == ["logomesh-web.service", "logomesh-worker.service", "logomesh-beat.service"]
    for name in wanted:
        part = re.fullmatch(r"logomesh-(\w+)\.service", name)
        assert part
        assert unit(name)["Service"]["ExecStart"].endswith(f"manage.py run {part[1]}")
        assert unit(name)["Unit"]["Requires"] == "logomesh-migrate.service"


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_can_do_little(name: str) -> None:
    service = unit(name)["Service"]
    assert service["User"] == "logomesh"
    assert service["ProtectSystem"] == "strict"
    assert service["NoNewPrivileges"] == "yes"
    assert service["CapabilityBoundingSet"] == ""
    assert "SECRET_KEY_FILE=%d/secret-key" in service["Environment"]


@pytest.mark.parametrize("name", ["migrate", "backup"])
def test_what_wants_a_session_of_its_own_can_be_given_another_address(name: str) -> None:
    """Behind a PgBouncer by transaction: a file that is read last, where there is one."""
    lines = (DEPLOY / f"logomesh-{name}.service").read_text().splitlines()
    files = [line.partition("=")[2] for line in lines if line.startswith("EnvironmentFile=")]
    assert files == ["/etc/logomesh/logomesh.env", f"-/etc/logomesh/{name}.env"]


def variables() -> dict[str, str]:
    lines = (DEPLOY / "logomesh.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_with_these_variables_there_is_nothing_to_complain_of(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("k" * 30 + "9-Zx_7bQ/mJ2+vT4wY6nR8pL1sD3fG5h")
    given = {**variables(), "LOGOMESH_DATA_DIR": str(tmp_path / "data"), "SECRET_KEY_FILE": str(secret)}
    done = manage(tmp_path / "data", "check", "--deploy", "--fail-level", "WARNING", **given)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no issues" in done.stdout
    assert not {name for name in given if "PASSWORD" in name}


@needs_caddy
def test_caddy_understands_its_file(tmp_path: Path) -> None:
    file = tmp_path / "Caddyfile"
    file.write_text((DEPLOY / "Caddyfile").read_text().replace("/var/log/caddy", str(tmp_path)))
    done = subprocess.run(
        [str(CADDY), "validate", "--adapter", "caddyfile", "--config", str(file)],
        capture_output=True, text=True, env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@contextmanager
def caddy(folder: Path, port: int, behind: int) -> Iterator[Path]:
    """Caddy with our file, for localhost and with a certificate of its own; yields the root to trust."""
    folder.mkdir()
    text = (DEPLOY / "Caddyfile").read_text()
    text = text.replace("logomesh.example.org {", f"https://localhost:{port} {{\n\ttls internal", 1)
    text = text.replace("127.0.0.1:8000", f"127.0.0.1:{behind}").replace("/var/log/caddy", str(folder))
    head = "{\n\tadmin off\n\tskip_install_trust\n\tauto_https disable_redirects\n}\n"
    (folder / "Caddyfile").write_text(head + text)
    surroundings = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder / "data")}
    process = start_child(
        [str(CADDY), "run", "--adapter", "caddyfile", "--config", folder / "Caddyfile"],
        end_with=signal.SIGTERM, environment=surroundings, log=folder / "log",
    )  # fmt: skip
    root = folder / "data" / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    try:
        deadline = time.monotonic() + 30
        while not (root.exists() and "serving initial configuration" in (folder / "log").read_text()):
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield root
    finally:
        end_group(process.pid, signal.SIGTERM, 10)
        process.wait()


@needs_caddy
@pytest.mark.department
@pytest.mark.processes
def test_people_and_devices_come_through_tls(tmp_path: Path) -> None:
    data, port = tmp_path / "data", free_port()
    public = {"LOGOMESH_HTTPS": "1", "LOGOMESH_URL": f"https://localhost:{port}", **redis()}
    public["CSRF_TRUSTED_ORIGINS"] = public["LOGOMESH_URL"]
    serving = Serving(data, **public).until_ready()
    email = "eva@lab.example"
    try:
        where = ["--workspace", "Lab"]
        line_of(
            manage(data, "account", email, *where, "--role", "manager", "--password-stdin",
                   given="seven quiet herons\n", **public)
        )  # fmt: skip
        space = line_of(
            manage(data, "space", "Notes", *where, "--owner", email, "--kind", "private", **public)
        )
        token = line_of(manage(data, "token", email, "--device", "laptop", **public))
        with caddy(tmp_path / "caddy", port, serving.port) as root:
            trust = ssl.create_default_context(cafile=str(root))
            with httpx.Client(base_url=public["LOGOMESH_URL"], verify=trust, timeout=30) as client:
                signed = {"Authorization": f"Token {token}"}
                pushed = client.post(
                    f"/api/v1/spaces/{space}/changes", json={"changes": [new_thought("t1")]}, headers=signed
                )
                assert pushed.json()["results"][0]["status"] == "applied", pushed.text
                assert "max-age" in pushed.headers["strict-transport-security"]
                assert client.get("/metrics").status_code == 404
                with client.stream("GET", "/api/v1/live", headers=signed) as live:
                    assert live.status_code == 200
                    client.post(
                        f"/api/v1/spaces/{space}/changes",
                        json={"changes": [new_thought("t2")]},
                        headers=signed,
                    )
                    assert any(space in line for line in live.iter_lines()), "an event is not held back"
                page = client.get("/sign-in")
                cookie = page.headers["set-cookie"]
                assert cookie.startswith("__Host-csrftoken=") and "Secure" in cookie
                field = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
                assert field
                form = {"csrfmiddlewaretoken": field[1], "email": email, "password": "seven quiet herons"}
                entered = client.post("/sign-in", data=form, headers={"Referer": str(page.url)})
                assert entered.status_code in {302, 303}, entered.text
                assert client.get("/").status_code == 200
                for invited in ("/welcome/quiet-heron", "/join/quiet-heron"):
                    client.get(invited, headers={"Referer": f"{public['LOGOMESH_URL']}{invited}"})
            said = (tmp_path / "caddy" / "logomesh.log").read_text()
            assert '"/welcome/…"' in said and '"/join/…"' in said
            assert token not in said and "seven quiet herons" not in said and "quiet-heron" not in said
    finally:
        assert serving.end() == 0


def test_the_environment_of_a_part_is_complete() -> None:
    """`run` needs what the units give; without a database it says so instead of starting another one."""
    given = {name: value for name, value in variables().items() if name != "DATABASE_URL"}
    done = subprocess.run(
        [sys.executable, "manage.py", "run", "beat"], cwd=ROOT, capture_output=True, text=True,
        env=environment(Path(given["LOGOMESH_DATA_DIR"]), 1, **given, SECRET_KEY="x"),
    )  # fmt: skip
    assert (done.returncode, "DATABASE_URL" in done.stderr) == (1, True)
