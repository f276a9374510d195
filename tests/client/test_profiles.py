"""Profiles and secrets: what stands where, and that it stays whole and unseen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keyring
import keyring.backend
import pytest

from logomesh_client.places import write_atomically
from logomesh_client.profiles import BadProfile, Profile, Profiles, SyncMode
from logomesh_client.secrets import NoKeychain, Secrets
from logomesh_client.wire import BadAddress


class Keychain(keyring.backend.KeyringBackend):
    """A keychain of our own, so that the machine's is left alone."""

    priority = 1.0  # type: ignore[assignment]

    def __init__(self, broken: bool = False) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}
        self.broken = broken

    def get_password(self, service: str, username: str) -> str | None:
        if self.broken:
            raise RuntimeError("the bus is gone: lm_secret")
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.broken:
            raise RuntimeError(f"cannot keep {password}")
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.broken:
            raise RuntimeError("the bus is gone")
        self.kept.pop((service, username), None)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGOMESH_TOKEN", "LOGOMESH_SECRETS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def keychain() -> Iterator[Keychain]:
    made, before = Keychain(), keyring.get_keyring()
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


def test_profiles_are_kept_as_logomesh_names_them(tmp_path: Path) -> None:
    profiles = Profiles(tmp_path)
    assert profiles.all() == []
    first = profiles.keep(Profile.new("lab", "lab.example", email="eva@lab.example"))
    second = profiles.keep(Profile.new("home", "localhost:8000", sync_mode=SyncMode.LOCAL_ONLY))
    assert [one.is_default for one in profiles.all()] == [True, False]
    profiles.keep(replace(second, is_default=True))
    assert profiles.find().name == "home"
    assert profiles.find("lab") == replace(first, is_default=False)
    stored = json.loads((tmp_path / "profiles.json").read_bytes())["profiles"]
    assert {"id", "name", "type", "connection", "is_default", "sync_mode"} <= stored[0].keys()
    profiles.remove(profiles.find("home"))
    assert profiles.find().name == "lab"
    assert profiles.of_server("https://lab.example") == profiles.find()
    assert profiles.of_server("https://other.example") is None


def test_what_is_no_profile(tmp_path: Path) -> None:
    profiles = Profiles(tmp_path)
    with pytest.raises(BadProfile, match="logomesh login"):
        profiles.find()
    with pytest.raises(BadProfile):
        Profile.new("a\nb", "lab.example")
    with pytest.raises(BadAddress):
        Profile.new("lab", "https://eva:secret@lab.example")
    (tmp_path / "profiles.json").write_text('{"profiles": [{"id":')
    with pytest.raises(BadProfile, match="Move it away"):
        profiles.all()


def test_the_keychain_comes_first(tmp_path: Path, keychain: Keychain) -> None:
    secrets = Secrets(tmp_path)
    assert secrets.keep("profile:1", "lm_secret") == ""
    assert list(keychain.kept.values()) == ["lm_secret"]
    assert not (tmp_path / "secrets.json").exists()
    assert Secrets(tmp_path).get("profile:1") == "lm_secret"
    secrets.forget("profile:1")
    assert secrets.get("profile:1") is None


def test_a_keychain_that_breaks_costs_no_token(tmp_path: Path, keychain: Keychain) -> None:
    keychain.broken = True
    secrets = Secrets(tmp_path)
    warning = secrets.keep("profile:1", "lm_secret")
    assert "secrets.json" in warning
    assert "lm_secret" not in warning
    assert secrets.get("profile:1") == "lm_secret"
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600
    (tmp_path / "secrets.json").chmod(0o644)
    assert secrets.get("profile:1") == "lm_secret"
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600
    secrets.forget("profile:1")
    assert not (tmp_path / "secrets.json").exists()


def test_who_asks_for_the_keychain_gets_nothing_else(
    tmp_path: Path, keychain: Keychain, monkeypatch: pytest.MonkeyPatch
) -> None:
    keychain.broken = True
    monkeypatch.setenv("LOGOMESH_SECRETS", "keychain")
    with pytest.raises(NoKeychain) as raised:
        Secrets(tmp_path).keep("profile:1", "lm_secret")
    assert "lm_secret" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_the_environment_counts_before_all_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGOMESH_SECRETS", "file")
    secrets = Secrets(tmp_path)
    secrets.keep("profile:1", "lm_kept")
    monkeypatch.setenv("LOGOMESH_TOKEN", "lm_environment")
    assert secrets.get("profile:1") == "lm_environment"


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "file.json"
    write_atomically(path, b"one")

    def no_room(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", no_room)
        with pytest.raises(OSError, match="No space"):
            write_atomically(path, b"two")
    assert path.read_bytes() == b"one"
    assert list(path.parent.iterdir()) == [path]
