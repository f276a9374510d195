"""Child processes that never outlive us: started in groups of their own, ended group by group."""

import contextlib
import ctypes
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def end_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """Have this process sent `number` when its parent ends, however that comes about. Only Linux can."""
    if _libc is not None:
        _libc.prctl(1, int(number))  # 1: PR_SET_PDEATHSIG


def start_child(
    arguments: Sequence[str | Path],
    *,
    end_with: signal.Signals,
    user: str | None = None,
    environment: dict[str, str] | None = None,
    log: Path | None = None,
    folder: Path | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a program in a process group of its own, which Linux ends (`end_with`) if we are killed."""
    parent = os.getpid()

    def before_exec() -> None:
        end_with_parent(end_with)
        if os.getppid() != parent:
            os._exit(1)

    output = log.open("ab") if log is not None else None
    try:
        return subprocess.Popen(
            [str(argument) for argument in arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            start_new_session=True,
            preexec_fn=before_exec,
            user=user,
            group=pwd.getpwnam(user).pw_gid if user else None,
            extra_groups=[] if user else None,
            env=environment,
            cwd=folder or "/",
        )
    finally:
        if output is not None:
            output.close()


def end_group(pid: int, first: signal.Signals, seconds: float) -> None:
    """Ask a process group to end, and kill what is left of it after `seconds`."""
    deadline = time.monotonic() + seconds
    _signal_leader(pid, first)
    while time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError, OSError):
            os.waitpid(pid, os.WNOHANG)
        if not _group_alive(pid):
            return
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _signal_leader(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)


def _group_alive(pgid: int) -> bool:
    for process in psutil.process_iter(["pid", "status"]):
        if process.info["status"] == psutil.STATUS_ZOMBIE:
            continue
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(process.info["pid"]) == pgid:
                return True
    return False
