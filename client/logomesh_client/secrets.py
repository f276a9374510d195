"""Where tokens are kept: in the environment, the system's keychain, or a file that only its owner reads.

A secret goes by a name: `profile:ID` for whoever signed in, `file:ID` for one attached file. It is shown
nowhere and stands in no file but the one named here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import orjson

from logomesh_client.places import config_folder, only_one, write_atomically

TOKEN_VARIABLE: Final = "LOGOMESH_TOKEN"  # noqa: S105 - its name
KEEPER_VARIABLE: Final = "LOGOMESH_SECRETS"
"""`keychain` or `file`; without it the keychain is taken where it works."""
_SERVICE: Final = "logomesh"


class SecretsAway(Exception):
    """What is kept cannot be had. Its words say why, and never hold a secret."""


class NoKeychain(SecretsAway):
    """The system's keychain cannot be used."""

    def __init__(self, words: str, absent: bool = False) -> None:
        super().__init__(words)
        self.absent = absent
        """Whether there is none at all."""


class BadSecrets(SecretsAway):
    """The file cannot be read as one of ours."""


class Secrets:
    def __init__(self, folder: Path | None = None) -> None:
        self.file = (folder or config_folder()) / "secrets.json"
        self._lock = self.file.with_name(".secrets.lock")
        self._chosen = os.environ.get(KEEPER_VARIABLE, "")

    def get(self, name: str) -> str | None:
        """The secret: of the environment before all others. Raises `SecretsAway`."""
        if token := os.environ.get(TOKEN_VARIABLE, "").strip():
            return token
        locked: NoKeychain | None = None
        if self._chosen != "file":
            try:
                if (found := _from_keychain(name)) is not None:
                    return found
            except NoKeychain as error:
                if self._chosen == "keychain":
                    raise
                locked = None if error.absent else error
        kept = self._read()
        if locked is not None and not kept:
            raise locked  # it may well be in there
        return kept.get(name)

    def keep(self, name: str, secret: str) -> str:
        """Keep it, in the keychain or else in the file. Returns a warning for its owner, or ""."""
        why = ""
        if self._chosen != "file":
            try:
                _into_keychain(name, secret)
                self._change(lambda kept: kept.pop(name, None))
                return ""
            except NoKeychain as error:
                if self._chosen == "keychain":
                    raise
                why = f"The system's keychain cannot be used ({error}). "
        self._change(lambda kept: kept.update({name: secret}))
        return f"{why}The token is in {self.file}, which only you can read: keep it out of backups."

    def forget(self, name: str) -> None:
        if self._chosen != "file":
            with suppress(NoKeychain):
                _out_of_keychain(name)
        self._change(lambda kept: kept.pop(name, None))

    def _read(self) -> dict[str, str]:
        try:
            if os.name == "posix" and self.file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                self.file.chmod(0o600)  # somebody, or a backup, opened it to others
            found = orjson.loads(self.file.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError:
            found = None
        if not isinstance(found, dict) or not all(isinstance(secret, str) for secret in found.values()):
            raise BadSecrets(f"{self.file} cannot be read.")
        return found

    def _change(self, act: Callable[[dict[str, str]], object]) -> None:
        """Change what is in the file, while no other process does."""
        with only_one(self._lock):
            kept = self._read()
            before = dict(kept)
            act(kept)
            if kept == before:
                return
            if kept:
                write_atomically(self.file, orjson.dumps(kept), mode=0o600)
            else:
                self.file.unlink(missing_ok=True)


def _from_keychain(name: str) -> str | None:
    import keyring

    try:
        return keyring.get_password(_SERVICE, name)
    except Exception as error:  # each backend has errors of its own
        raise _no_keychain(error) from None


def _into_keychain(name: str, secret: str) -> None:
    import keyring

    try:
        keyring.set_password(_SERVICE, name, secret)
    except Exception as error:
        raise _no_keychain(error) from None
    if _from_keychain(name) != secret:  # as with keyring's backend for none, which takes everything
        raise NoKeychain("it keeps nothing", absent=True)


def _out_of_keychain(name: str) -> None:
    import keyring
    import keyring.errors

    try:
        keyring.delete_password(_SERVICE, name)
    except keyring.errors.PasswordDeleteError:
        pass
    except Exception as error:
        raise _no_keychain(error) from None


def _no_keychain(error: Exception) -> NoKeychain:
    """The error's kind alone: what a backend says might hold what it was given."""
    kind = type(error).__name__
    if kind == "NoKeyringError":
        return NoKeychain("there is none", absent=True)
    return NoKeychain(kind)
