"""The servers that a person works with, under names of their own: LogoMesh's `DatabaseConnectionProfile`."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import orjson

from logomesh_client.places import config_folder, only_one, write_atomically
from logomesh_client.wire import Address, Server, Timeouts

TYPE: Final = "logomesh-server"


class SyncMode(StrEnum):
    LOCAL_ONLY = "local-only"
    """Only the file: nothing is ever sent."""
    HYBRID = "hybrid"
    """The file, kept in step with the server."""
    REMOTE_ONLY = "remote-only"
    """Only the server: there is no file here."""


class BadProfile(ValueError):
    """A profile, or the file of profiles, cannot be used. Its words say what to do."""


@dataclass(frozen=True)
class Profile:
    """A server, and how one works with it. Its token is kept elsewhere (`secrets`)."""

    id: str
    name: str
    url: str
    is_default: bool = False
    sync_mode: SyncMode = SyncMode.HYBRID
    email: str = ""
    ca: str | None = None
    """A file of certificates to trust instead of the machine's."""
    device: str = ""
    """The id of the device that was made when signing in."""
    rules: dict[str, str] = field(default_factory=dict)
    """Tag name -> the space that new thoughts with this tag go to."""

    @classmethod
    def new(cls, name: str, url: str, **more: Any) -> Profile:
        """Raises `BadProfile` or `BadAddress`."""
        if not name.strip() or not name.isprintable() or len(name) > 100:
            raise BadProfile("A profile's name has 1 to 100 printable characters.")
        return cls(uuid.uuid4().hex, name.strip(), Address.parse(url).url, **more)

    @property
    def keeps_files(self) -> bool:
        """Whether files here are kept in step with it."""
        return self.sync_mode is SyncMode.HYBRID

    @property
    def secret_name(self) -> str:
        return f"profile:{self.id}"

    def server(self, token: str | None, *, patience: float = 0.0, timeouts: Timeouts = Timeouts()) -> Server:
        return Server(self.url, token, ca=self.ca, patience=patience, timeouts=timeouts)

    def as_json(self) -> dict[str, Any]:
        """As LogoMesh names the members: id, name, type, connection, is_default, sync mode."""
        return {
            "id": self.id,
            "name": self.name,
            "type": TYPE,
            "connection": {"url": self.url, "email": self.email, "ca": self.ca, "device": self.device},
            "is_default": self.is_default,
            "sync_mode": self.sync_mode.value,
            "rules": self.rules,
        }


class Profiles:
    """All profiles of a person: a small file, written whole each time, by one process at a time."""

    def __init__(self, folder: Path | None = None) -> None:
        self.file = (folder or config_folder()) / "profiles.json"
        self._lock = self.file.with_name(".profiles.lock")

    def all(self) -> list[Profile]:
        try:
            found = orjson.loads(self.file.read_bytes())
            if not isinstance(found["profiles"], list):
                raise TypeError("no list of profiles")
            return [_parsed(one) for one in found["profiles"]]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadProfile(
                f"{self.file} cannot be read ({error}). Move it away and sign in again with `logomesh login`;"
                " attached files lose nothing."
            ) from None

    def find(self, name: str | None = None) -> Profile:
        """The one with this name or id, or the default one."""
        known = self.all()
        for profile in known:
            if name in (profile.name, profile.id) if name is not None else profile.is_default:
                return profile
        if not known:
            raise BadProfile("There is no profile yet. Sign in first: logomesh login SERVER")
        names = ", ".join(profile.name for profile in known)
        if name is None:
            raise BadProfile(f"No profile is the default one. Name one with --profile: {names}")
        raise BadProfile(f"There is no profile {name[:100]}. There are: {names}")

    def of_server(self, url: str) -> Profile | None:
        """The profile of a server, the default one before others."""
        known = sorted(self.all(), key=lambda profile: not profile.is_default)
        return next((profile for profile in known if profile.url == url), None)

    def keep(self, profile: Profile) -> Profile:
        """Add it, or put it in the place of the one with its id or name. The first one is the default."""
        with only_one(self._lock):
            others = [one for one in self.all() if one.id != profile.id and one.name != profile.name]
            if not others:
                profile = replace(profile, is_default=True)
            if profile.is_default:
                others = [replace(one, is_default=False) for one in others]
            self._write([*others, profile])
        return profile

    def remove(self, profile: Profile) -> None:
        with only_one(self._lock):
            left = [one for one in self.all() if one.id != profile.id]
            if left and profile.is_default:
                left[0] = replace(left[0], is_default=True)
            self._write(left)

    def _write(self, profiles: list[Profile]) -> None:
        content = {"version": 1, "profiles": [profile.as_json() for profile in profiles]}
        write_atomically(self.file, orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n", mode=0o600)


def _parsed(one: dict[str, Any]) -> Profile:
    """A profile as it stands in the file. Raises ValueError, KeyError or TypeError for what is none."""
    connection = one["connection"]
    ca = connection.get("ca")
    return Profile(
        id=str(one["id"]),
        name=str(one["name"]),
        url=Address.parse(str(connection["url"])).url,
        is_default=bool(one["is_default"]),
        sync_mode=SyncMode(one["sync_mode"]),
        email=str(connection.get("email") or ""),
        ca=None if ca is None else str(ca),
        device=str(connection.get("device") or ""),
        rules={str(tag): str(space) for tag, space in dict(one.get("rules") or {}).items()},
    )
