"""How a command ends: its exit code, and what a failure is called. Never a traceback."""

from __future__ import annotations

import os
import sqlite3
import traceback
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from logomesh_client.file import NotAttached, NotLogoMesh
from logomesh_client.places import log_folder
from logomesh_client.profiles import BadProfile
from logomesh_client.secrets import BadSecrets, NoKeychain
from logomesh_client.wire import BadAddress, BadToken, CutOff, Problem, TlsFailed, Unreachable


class Exit(IntEnum):
    """The exit codes of `logomesh`, for scripts."""

    DONE = 0
    ATTENTION = 1  # it worked, but a person must look: conflicts, refused changes, a failed check
    USAGE = 2  # the command line, a profile or an address cannot be used
    OFFLINE = 3  # the server was not reached; nothing is lost, try later
    SIGN_IN = 4  # no token, or one that does not count any more
    NOT_ALLOWED = 5  # access or role is missing
    FILE = 6  # the file cannot be used
    REFUSED = 7  # the server refused for another reason
    OURS = 70  # a mistake of this program
    INTERRUPTED = 130


class Failure(Exception):
    """A command cannot go on: what happened, and what to do."""

    def __init__(self, code: Exit, words: str, remedy: str = "") -> None:
        super().__init__(words)
        self.code, self.words, self.remedy = code, words, remedy


@dataclass(frozen=True)
class Ending:
    code: Exit
    kind: str
    words: str
    remedy: str = ""
    request_id: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "error": self.kind,
            "exit": int(self.code),
            "words": self.words,
            "remedy": self.remedy,
            "request_id": self.request_id,
        }


def ending(error: Exception) -> Ending:
    """What an exception means for whoever typed the command."""
    match error:
        case Failure():
            return Ending(error.code, error.code.name.lower().replace("_", "-"), error.words, error.remedy)
        case Problem():
            return _of_problem(error)
        case TlsFailed() | Unreachable():
            return Ending(Exit.OFFLINE, type(error).__name__, str(error), error.remedy, error.request_id)
        case CutOff():
            remedy = "Nothing of it counts; try again."
            return Ending(Exit.OFFLINE, "cut-off", str(error), remedy, error.request_id)
        case NotLogoMesh():
            return Ending(Exit.FILE, error.kind, error.found, error.advice)
        case NotAttached():
            remedy = "Attach it: logomesh attach FILE --home SPACE"
            return Ending(Exit.FILE, "not-attached", str(error), remedy)
        case sqlite3.OperationalError() if "locked" in str(error) or "busy" in str(error):
            remedy = "Another program holds it for long. Close it, or try again."
            return Ending(Exit.FILE, "file-busy", "The file is busy.", remedy)
        case sqlite3.OperationalError() if "readonly" in str(error) or "unable to open" in str(error):
            remedy = "Check the permissions of the file and of its folder: SQLite writes beside it, too."
            return Ending(Exit.FILE, "file-not-writable", f"The file cannot be written: {error}.", remedy)
        case sqlite3.OperationalError() if "full" in str(error):
            return Ending(Exit.FILE, "disk-full", "The disk is full.", "Make room, then try again.")
        case sqlite3.DatabaseError():
            remedy = (
                "It may be damaged, or no SQLite file. Keep a copy of it as it is; `logomesh doctor FILE`"
                " looks at it, and the server can save what is readable: logomesh migrate FILE"
            )
            return Ending(Exit.FILE, "file-unreadable", f"The file cannot be used: {error}.", remedy)
        case BadProfile() | BadAddress():
            return Ending(Exit.USAGE, "usage", str(error))
        case BadToken():
            remedy = "Look at LOGOMESH_TOKEN if it is set, or sign in again: logomesh login"
            return Ending(Exit.SIGN_IN, "sign-in", str(error), remedy)
        case BadSecrets():
            remedy = "Move it away and sign in again with `logomesh login`; attached files lose nothing."
            return Ending(Exit.USAGE, "secrets", str(error), remedy)
        case NoKeychain():
            remedy = "Unlock it; or set LOGOMESH_SECRETS to `file` and sign in again."
            return Ending(Exit.USAGE, "no-keychain", f"The keychain cannot be used: {error}.", remedy)
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            words = f"{where}{error.strerror or error}."
            return Ending(Exit.FILE, "file", words, "Check the path and its permissions.")
        case _:
            return _of_mistake(error)


def _of_problem(problem: Problem) -> Ending:
    code, remedy = Exit.REFUSED, ""
    if problem.status == 401:
        code, remedy = Exit.SIGN_IN, "Sign in again: logomesh login. What is in your files stays."
    elif problem.status in (403, 404):
        code = Exit.NOT_ALLOWED
    elif problem.is_passing:
        code, remedy = Exit.OFFLINE, "Try again in a while."
    return Ending(code, problem.type, str(problem), remedy, problem.request_id)


def _of_mistake(error: Exception) -> Ending:
    path = log_folder() / "mistakes.log"
    remedy = "Please report it."
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8", errors="replace", opener=_private) as log:
            traceback.print_exception(error, file=log)
        remedy = f"Please report it; {path} says where it happened."
    except OSError:
        pass
    return Ending(Exit.OURS, "mistake", f"This program made a mistake ({type(error).__name__}).", remedy)


def _private(path: str, flags: int) -> int:
    """What an exception says may be somebody's thoughts."""
    return os.open(path, flags, 0o600)
