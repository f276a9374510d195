"""Where tokens are kept: in the environment, the system's keychain, or a file that only its owner reads.

A secret goes by a name: `profile:ID` for whoever signed in, `file:ID` for one attached file. It is shown
nowhere and stands in no file but the one named here.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

import orjson

from logomesh_client.places import config_folder, write_atomically

TOKEN_VARIABLE: Final = "LOGOMESH_TOKEN"  # noqa: S105 - its name
KEEPER_VARIABLE: Final = "LOGOMESH_SECRETS"
"""`keychain` or `file`; without it the keychain is taken where it works."""
_SERVICE: Final = "logomesh"


class NoKeychain(Exception):
    """The system's keychain cannot be used. Its words say why, and never hold a secret."""


class Secrets:
    def __init__(self, folder: Path | None = None) -> None:
        self.file = (folder or config_folder()) / "secrets.json"
        self._chosen = os.environ.get(KEEPER_VARIABLE, "")

    def get(self, name: str) -> str | None:
        """The secret: of the environment before all others."""
        if token := os.environ.get(TOKEN_VARIABLE):
            return token
        if self._chosen != "file":
            try:
                if (found := _from_keychain(name)) is not None:
                    return found
            except NoKeychain:
                if self._chosen == "keychain":
                    raise
        return self._read().get(name)

    def keep(self, name: str, secret: str) -> str:
        """Keep it, in the keychain or else in the file. Returns a warning for its owner, or ""."""
        if self._chosen != "file":
            try:
                _into_keychain(name, secret)
                self._write({key: value for key, value in self._read().items() if key != name})
                return ""
            except NoKeychain as error:
                if self._chosen == "keychain":
                    raise
                why = f"The system's keychain cannot be used ({error}). "
        else:
            why = ""
        self._write({**self._read(), name: secret})
        return f"{why}The token is in {self.file}, which only you can read: keep it out of backups."

    def forget(self, name: str) -> None:
        if self._chosen != "file":
            with suppress(NoKeychain):
                _out_of_keychain(name)
        self._write({key: value for key, value in self._read().items() if key != name})

    def _read(self) -> dict[str, str]:
        try:
            if os.name == "posix" and self.file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                self.file.chmod(0o600)  # somebody, or a backup, opened it to others
            found = orjson.loads(self.file.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, secrets: dict[str, str]) -> None:
        if secrets:
            write_atomically(self.file, orjson.dumps(secrets), mode=0o600)
        else:
            self.file.unlink(missing_ok=True)


def _from_keychain(name: str) -> str | None:
    import keyring

    try:
        return keyring.get_password(_SERVICE, name)
    except Exception as error:  # each backend has errors of its own
        raise NoKeychain(_words(error)) from None


def _into_keychain(name: str, secret: str) -> None:
    import keyring

    try:
        keyring.set_password(_SERVICE, name, secret)
    except Exception as error:
        raise NoKeychain(_words(error)) from None


def _out_of_keychain(name: str) -> None:
    import keyring
    import keyring.errors

    try:
        keyring.delete_password(_SERVICE, name)
    except keyring.errors.PasswordDeleteError:
        pass
    except Exception as error:
        raise NoKeychain(_words(error)) from None


def _words(error: Exception) -> str:
    """The error's kind alone: what a backend says might hold what it was given."""
    return {"NoKeyringError": "there is none"}.get(type(error).__name__, type(error).__name__)
