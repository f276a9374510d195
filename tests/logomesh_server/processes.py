"""Runs `manage.py serve` as a person would, and looks at what it leaves behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).parents[2]
START_SECONDS = 90
END_SECONDS = 45


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(data: Path, port: int, **more: str) -> dict[str, str]:
    """A fresh user's environment: nothing of the test run's own services is in it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "LOGOMESH_DATA_DIR": str(data), "PORT": str(port), "PYTHONUNBUFFERED": "1", **more}


class Serving:
    """A running `serve`, its output in a file."""

    root = ROOT
    """Whose `manage.py` it is."""

    def __init__(self, data: Path, port: int | None = None, **variables: str) -> None:
        self.data = data
        self.port = port or free_port()
        self.log = data.parent / f"{data.name}.log"
        self.variables = variables
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "manage.py", "serve"], cwd=self.root,
                env=environment(self.data, self.port, **self.variables),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def start_again(self) -> None:
        """After `end`: the same data at the same address."""
        times = len(re.findall(r"^Ready at", self.said, re.M))
        self.process = self._started()
        self.until_ready(times + 1)

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def until_ready(self, times: int = 1) -> "Serving":
        deadline = time.monotonic() + START_SECONDS
        while len(re.findall(r"^Ready at", self.said, re.M)) < times:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.05)
        return self

    def until_answering(self, seconds: float = 40) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                answer = httpx.get(f"{self.url}/readyz", timeout=10)
                if answer.status_code == 200 and answer.json()["redis"] == "ok":
                    return
            except httpx.HTTPError:
                pass
            assert time.monotonic() < deadline, self.said
            time.sleep(0.1)

    def end(self, with_signal: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(with_signal)
        return self.process.wait(END_SECONDS)

    def children(self, part: str) -> list[psutil.Process]:
        """The processes of this tree whose command line has `part` in it."""
        found = []
        for process in processes_of(self.data):
            with suppress(psutil.Error):  # it ends just now
                if part in " ".join(process.cmdline()):
                    found.append(process)
        return found


def processes_of(data: Path) -> list[psutil.Process]:
    """Every living process that works for a data folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            by_line = any(str(data) in part for part in process.cmdline())
            if by_line or process.environ().get("LOGOMESH_DATA_DIR") == str(data):
                found.append(process)
        except psutil.Error:
            continue
    return found


def none_left(data: Path, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while processes_of(data):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def manage(
    data: Path, *arguments: str, given: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """A management command in the environment of a server."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env=environment(data, 1, **variables),
        input=given, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
