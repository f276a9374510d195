"""Profiles and secrets: what stands where, and that it stays whole and unseen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keyring
import keyring.backend
import keyring.backends.fail
import keyring.backends.null
import pytest

from logomesh_client.places import write_atomically
from logomesh_client.profiles import BadProfile, Profile, Profiles, SyncMode
from logomesh_client.secrets import BadSecrets, NoKeychain, Secrets
from logomesh_client.wire import BadAddress
from tests.logomesh_server.processes import ROOT


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


_MANY = """
import sys
from pathlib import Path
from logomesh_client.profiles import Profile, Profiles
from logomesh_client.secrets import Secrets
folder, name = Path(sys.argv[1]), sys.argv[2]
for number in range(15):
    Profiles(folder).keep(Profile.new(f"{name} {number}", f"https://{name}{number}.example"))
    Secrets(folder).keep(f"{name}:{number}", "lm_secret")
"""


def test_two_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "client"), "LOGOMESH_SECRETS": "file"}
    running = [
        subprocess.Popen([sys.executable, "-c", _MANY, str(tmp_path), name], env=environment)
        for name in ("one", "two", "three")
    ]
    assert [each.wait(60) for each in running] == [0, 0, 0]
    assert len(Profiles(tmp_path).all()) == 45
    assert len(json.loads((tmp_path / "secrets.json").read_bytes())) == 45
    assert sum(one.is_default for one in Profiles(tmp_path).all()) == 1


def test_a_keychain_that_is_locked_is_no_missing_token(tmp_path: Path, keychain: Keychain) -> None:
    secrets = Secrets(tmp_path)
    secrets.keep("profile:1", "lm_secret")
    keychain.broken = True
    with pytest.raises(NoKeychain) as raised:
        secrets.get("profile:1")
    assert "lm_secret" not in str(raised.value)


def test_where_there_never_was_a_keychain_there_is_just_no_token(tmp_path: Path) -> None:
    before = keyring.get_keyring()
    keyring.set_keyring(keyring.backends.fail.Keyring())
    try:
        assert Secrets(tmp_path).get("profile:1") is None
        assert "there is none" in Secrets(tmp_path).keep("profile:1", "lm_secret")
    finally:
        keyring.set_keyring(before)


def test_a_keychain_that_keeps_nothing_loses_no_token(tmp_path: Path) -> None:
    before = keyring.get_keyring()
    keyring.set_keyring(keyring.backends.null.Keyring())
    try:
        assert "keeps nothing" in Secrets(tmp_path).keep("profile:1", "lm_secret")
        assert Secrets(tmp_path).get("profile:1") == "lm_secret"
    finally:
        keyring.set_keyring(before)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"profile:1": 7}', b"\xff", b'{"profile:2"'])
def test_damaged_secrets_are_kept_aside_and_said(content: bytes, tmp_path: Path) -> None:
    secrets = Secrets(tmp_path)
    secrets._chosen = "file"
    (tmp_path / "secrets.json").write_bytes(content)
    with pytest.raises(BadSecrets, match=r"secrets\.json"):
        secrets.get("profile:1")
    with pytest.raises(BadSecrets):
        secrets.keep("profile:1", "lm_secret")  # it might overwrite what somebody can still mend
    assert (tmp_path / "secrets.json").read_bytes() == content


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        '{"profiles": {}}',
        '{"profiles": [7]}',
        '{"profiles": [{"id": "1", "name": "a", "is_default": true, "sync_mode": "hybrid",'
        ' "connection": 7}]}',
        '{"profiles": [{"id": "1", "name": "a", "is_default": true, "sync_mode": "hybrid",'
        ' "connection": {"url": "https://[::1"}}]}',
        '{"profiles": [{"id": "1", "name": "a", "is_default": true, "sync_mode": "of tomorrow",'
        ' "connection": {"url": "https://lab.example"}}]}',
    ],
)
def test_damaged_profiles_are_said(content: str, tmp_path: Path) -> None:
    (tmp_path / "profiles.json").write_text(content)
    with pytest.raises(BadProfile, match=r"profiles\.json"):
        Profiles(tmp_path).all()
    with pytest.raises(BadProfile):
        Profiles(tmp_path).keep(Profile.new("lab", "lab.example"))
    assert (tmp_path / "profiles.json").read_text() == content


def test_the_end_of_a_line_belongs_to_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGOMESH_TOKEN", "lm_environment\n")
    assert Secrets(tmp_path).get("profile:1") == "lm_environment"
