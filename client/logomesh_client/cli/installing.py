"""Has the agent start by itself, for one user: a systemd user unit, or a launchd agent."""

from __future__ import annotations

import os
import plistlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from logomesh_client.cli.endings import Exit, Failure
from logomesh_client.places import log_folder, write_atomically

LABEL = "org.logomesh.agent"
UNIT = "logomesh.service"
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
_KEPT = (
    "LOGOMESH_CONFIG_DIR",
    "LOGOMESH_CLIENT_DATA_DIR",
    "LOGOMESH_CLIENT_LOG_DIR",
    "LOGOMESH_SECRETS",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
    "XDG_CACHE_HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    *_PROXIES,
    *map(str.lower, _PROXIES),
)
"""What of today's environment the agent needs tomorrow; never a token."""


@dataclass(frozen=True)
class Done:
    file: Path
    words: list[str]


def install() -> Done:
    """Write the unit's file and start it where the system lets us."""
    file = _file()
    content = _launchd() if sys.platform == "darwin" else _systemd().encode()
    write_atomically(file, content, mode=0o600)  # a proxy's address may hold a password
    words = [f"Written: {file}"]
    if sys.platform == "darwin":
        domain = f"gui/{os.getuid()}"
        _call("launchctl", "bootout", f"{domain}/{LABEL}")
        started = _call("launchctl", "bootstrap", domain, str(file))
        by_hand = f"launchctl bootstrap {domain} {file}"
    else:
        _call("systemctl", "--user", "daemon-reload")
        started = _call("systemctl", "--user", "enable", "--now", UNIT)
        by_hand = f"systemctl --user enable --now {UNIT}"
    if started:
        words.append("It runs, and starts whenever you sign in to this machine.")
    else:
        words.append(f"It could not be started from here. Start it yourself: {by_hand}")
    return Done(file, words)


def uninstall() -> Done:
    file = _file()
    if sys.platform == "darwin":
        _call("launchctl", "bootout", f"gui/{os.getuid()}/{LABEL}")
    else:
        _call("systemctl", "--user", "disable", "--now", UNIT)
    existed = file.exists()
    file.unlink(missing_ok=True)
    return Done(file, [f"Removed: {file}" if existed else "It was not installed."])


def _file() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "LaunchAgents" / f"{LABEL}.plist"
    if sys.platform == "win32":
        raise Failure(
            Exit.USAGE,
            "Installing is not there for Windows yet.",
            "Let the task scheduler start this at log-on: logomesh sync --watch",
        )
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "systemd" / "user" / UNIT


def _systemd() -> str:
    environment = "".join(f"Environment={_quoted(f'{name}={value}')}\n" for name, value in _kept().items())
    command = " ".join(_quoted(part).replace("$", "$$") for part in _command())
    return (
        "[Unit]\n"
        "Description=Keeps LogoMesh files in step with their spaces\n"
        "After=network.target\n"
        "StartLimitIntervalSec=0\n"
        "\n"
        "[Service]\n"
        f"ExecStart={command}\n"
        f"{environment}"
        "Restart=on-failure\n"
        "RestartSec=30\n"
        "Nice=10\n"
        "NoNewPrivileges=yes\n"
        "\n"
        "[Install]\n"
        "WantedBy=default.target\n"
    )


def _launchd() -> bytes:
    log = str(log_folder() / "agent.log")
    log_folder().mkdir(parents=True, exist_ok=True)
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": _command(),
            "EnvironmentVariables": _kept(),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 30,
            "ProcessType": "Background",
            "StandardOutPath": log,
            "StandardErrorPath": log,
        }
    )


def _command() -> list[str]:
    return [sys.executable, "-m", "logomesh_client", "sync", "--watch"]


def _kept() -> dict[str, str]:
    return {name: value for name in _KEPT if (value := os.environ.get(name))}


def _quoted(text: str) -> str:
    """A word as systemd reads it: % begins a specifier. Only in a command line does $ begin a variable."""
    for sign, spelled in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("\n", "\\n")):
        text = text.replace(sign, spelled)
    return f'"{text}"'


def _call(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    try:
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
