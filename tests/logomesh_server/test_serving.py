"""`manage.py serve` as a real process tree: started, used, misused, killed and ended."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from logomesh_server.folder import Places

from .processes import Serving, environment, free_port, manage, none_left, processes_of

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("serving")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    data = tmp_path_factory.mktemp("serving") / "data"
    serving = Serving(data).until_ready()
    yield serving
    serving.end()
    shutil.rmtree(Places.of(data).run, ignore_errors=True)
    assert none_left(data), processes_of(data)


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    data = tmp_path / "data"
    yield data
    for process in processes_of(data):
        process.kill()
    shutil.rmtree(Places.of(data).run, ignore_errors=True)


def test_it_serves_and_shows_the_first_link(server: Serving) -> None:
    assert httpx.get(f"{server.url}/readyz").json()["ready"] is True
    assert server.said.count("the link works once") == 1
    link = server.said.split("the link works once:\n")[1].split()[0]
    assert link.startswith(server.url)
    assert httpx.get(link, follow_redirects=True).status_code == 200


def test_a_second_serve_on_the_same_folder_is_refused(server: Serving) -> None:
    second = manage(server.data, "serve")
    assert second.returncode == 1
    assert "A server already runs on the data folder" in second.stderr
    assert len(second.stderr.strip().splitlines()) == 1
    assert httpx.get(f"{server.url}/readyz").status_code == 200


def test_commands_use_the_running_services(server: Serving) -> None:
    before = {process.pid for process in server.children("postgres -D")}
    done = manage(server.data, "migrate", "--check")
    assert done.returncode == 0, done.stderr
    assert {process.pid for process in server.children("postgres -D")} == before


def test_a_busy_port(server: Serving, data: Path) -> None:
    serving = Serving(data, server.port)
    assert serving.process.wait(60) == 1
    assert f"Port {server.port} on 127.0.0.1 cannot be used" in serving.said
    assert "Traceback" not in serving.said
    assert none_left(data)
    assert not (data / "postgres").exists()


def raw(server: Serving, request: bytes, *, wait: float = 5) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=wait) as connection:
        with contextlib.suppress(OSError):  # refused while we were still sending
            connection.sendall(request)
        parts = []
        with contextlib.suppress(OSError):
            while part := connection.recv(65536):
                parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /api/v1/about HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", b"400"),
        (
            b"GET /api/v1/spaces HTTP/1.1\r\nHost: localhost\r\nAuthorization: Token \xff\xfe\r\n"
            b"Connection: close\r\n\r\n",
            b"401",
        ),
        (b"GET /api/v1/%ff%fe/%00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"404"),
        (b"GET /api/v1/about?q=%ff%00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"200"),
        (b"BREW /api/v1/about HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"405"),
        (b"GET /api/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"404"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: nine\r\n\r\n", b"400"),
        (
            b"POST /api/v1/about HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999999999\r\n\r\nx",
            b"413",
        ),
        (
            b"POST /api/v1/devices HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 20,
            b"413",
        ),
    ],
)
def test_odd_requests_are_answered_in_kind(server: Serving, request_: bytes, status: bytes) -> None:
    answer = raw(server, request_)
    assert answer.split(b" ", 2)[1] == status, answer[:500]
    assert b"<html" not in answer.lower() or b"/api/" not in request_
    assert b"Traceback" not in answer


def test_slow_bodies_do_not_stop_others_and_are_cut_off(server: Serving) -> None:
    head = b"POST /api/v1/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nx"
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(300)]
    begun = time.monotonic()
    for connection in slow:
        connection.sendall(head)
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(0.5):
            for connection in slow:
                try:
                    connection.send(b"x")
                except OSError:
                    continue

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        waits = []
        with httpx.Client(base_url=server.url, timeout=5) as client:
            for _ in range(30):
                asked = time.monotonic()
                assert client.get("/readyz").status_code == 200
                waits.append(time.monotonic() - asked)
        assert sorted(waits)[len(waits) // 2] < 0.5
        slow[0].settimeout(30)
        assert b" 408 " in slow[0].recv(200)
        assert time.monotonic() - begun < 30
    finally:
        stop.set()
        dripping.join()
        for connection in slow:
            connection.close()


def test_one_interrupt_ends_all_and_the_data_stay(data: Path) -> None:
    first = Serving(data).until_ready()
    link = first.said.split("the link works once:\n")[1].split()[0]
    asked = time.monotonic()
    assert first.end(signal.SIGINT) == 0
    assert time.monotonic() - asked < 20
    assert none_left(data), processes_of(data)
    assert "Traceback" not in first.said

    asked = time.monotonic()
    second = Serving(data, first.port).until_ready(times=2)
    assert time.monotonic() - asked < 30
    assert httpx.get(f"{second.url}/readyz").status_code == 200
    assert httpx.get(link, follow_redirects=True).status_code in {200, 410}
    assert second.end(signal.SIGTERM) == 0
    assert none_left(data), processes_of(data)


@pytest.mark.slow
def test_any_killed_child_is_started_again(data: Path) -> None:
    serving = Serving(data).until_ready()
    for part in ("postgres -D", "redis-server", "granian", "celery --quiet -A logomesh_server.celery beat"):
        for process in serving.children(part)[:1]:
            process.kill()
        time.sleep(0.5)
        serving.until_answering()
    workers = serving.children("celery --quiet -A logomesh_server.celery worker")
    workers[0].kill()
    deadline = time.monotonic() + 30
    while len(serving.children("celery --quiet -A logomesh_server.celery worker")) < len(workers):
        assert time.monotonic() < deadline, serving.said
        time.sleep(0.1)
    assert serving.process.poll() is None
    assert serving.end() == 0
    assert none_left(data), processes_of(data)


def test_after_a_killed_supervisor_the_next_serve_works(data: Path) -> None:
    first = Serving(data).until_ready()
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait()
    second = Serving(data, first.port).until_ready(times=2)
    assert httpx.get(f"{second.url}/readyz").status_code == 200
    supervisors = second.children("manage.py serve")
    assert [process.pid for process in supervisors] == [second.process.pid]
    assert len(second.children("postgres -D")) == 1
    assert second.end() == 0
    assert none_left(data), processes_of(data)


def test_commands_start_and_end_services_of_their_own(data: Path) -> None:
    done = manage(data, "migrate", "--verbosity", "0")
    assert done.returncode == 0, done.stderr
    assert none_left(data)
    assert manage(data, "migrate", "--check").returncode == 0
    assert none_left(data)


def test_a_folder_of_another_version(data: Path) -> None:
    (data / "postgres").mkdir(parents=True)
    (data / "postgres" / "PG_VERSION").write_text("13\n")
    done = manage(data, "serve")
    assert done.returncode == 1
    assert "PostgreSQL 13" in done.stderr
    assert "Traceback" not in done.stderr


def test_variables_that_make_no_sense(data: Path) -> None:
    for name, value in (("PORT", "eighty"), ("DATABASE_URL", "mysql://here"), ("DEBUG", "perhaps")):
        done = subprocess.run(
            [sys.executable, "manage.py", "serve"], env={**environment(data, free_port()), name: value},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 1, name
        assert name in done.stderr
        assert "Traceback" not in done.stderr, done.stderr
