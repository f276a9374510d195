"""What every command needs: profiles, tokens, servers for files, and the list of files that are attached."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import orjson

from logomesh_client.cli.endings import Exit, Failure
from logomesh_client.cli.saying import Voice
from logomesh_client.file import LogoMeshFile
from logomesh_client.places import config_folder, only_one, write_atomically
from logomesh_client.profiles import Profile, Profiles, SyncMode
from logomesh_client.secrets import TOKEN_VARIABLE, Secrets
from logomesh_client.wire import Problem, Server, Timeouts, WireError

QUICK: Final = Timeouts(connect=2.0, idle=4.0)
"""For what is nice to have, but nobody should wait for."""
PATIENCE: Final = 20.0
"""Seconds for which a command, which somebody waits for, tries again on a bad line."""


@dataclass
class Desk:
    voice: Voice
    profile_name: str | None = None
    profiles: Profiles = field(default_factory=Profiles)
    secrets: Secrets = field(default_factory=Secrets)

    def profile(self) -> Profile:
        return self.profiles.find(self.profile_name)

    def profile_of(self, url: str, path: Path) -> Profile | None:
        """The profile by which a file is kept in step with a server: the one that was named, the one that the
        file was attached with, or any of that server."""
        if self.profile_name is not None and (named := self.profile()).url == url:
            return named
        known = {one.id: one for one in self.profiles.all() if one.url == url}
        attached_with = self._known().get(path.resolve(), "")
        return known.get(attached_with) or self.profiles.of_server(url)

    def server(self, profile: Profile | None = None, patience: float = PATIENCE) -> Server:
        """The server of a profile, with its token. Raises `Failure` where there is none, or it is not to be
        asked."""
        profile = profile or self.profile()
        if profile.sync_mode is SyncMode.LOCAL_ONLY:
            raise Failure(
                Exit.USAGE,
                f"The profile {profile.name} is local-only: its server is not asked for anything.",
                f"logomesh profiles --profile {profile.name} --mode hybrid",
            )
        token = self.secrets.get(profile.secret_name)
        if token is None:
            raise Failure(
                Exit.SIGN_IN,
                f"There is no token for {profile.url}.",
                f"Sign in: logomesh login {profile.url}",
            )
        return profile.server(token, patience=patience)

    def server_for(self, file: LogoMeshFile, url: str, patience: float = PATIENCE) -> Server:
        """The server of a file's space, with the token of this file: each file is a device of its own."""
        profile = self.profile_of(url, file.path)
        if profile is not None and profile.sync_mode is SyncMode.LOCAL_ONLY:
            self.server(profile)
        token = self.file_token(file)
        if token is None:
            if profile is None:
                raise Failure(
                    Exit.SIGN_IN, f"There is no profile for {url}.", f"Sign in: logomesh login {url}"
                )
            with self.server(profile, patience) as server:
                token = self._new_device(server, file)
        return Server(url, token, ca=profile.ca if profile else None, patience=patience)

    def new_identity(self, file: LogoMeshFile, url: str, patience: float = 0.0) -> Callable[[], Server]:
        """For a copy of a file whose token another copy uses: a device of its own, made with that token."""

        def made() -> Server:
            with self.server_for(file, url, patience) as server:
                self._new_device(server, file)
            return self.server_for(file, url, patience)

        return made

    def file_token(self, file: LogoMeshFile) -> str | None:
        return self.secrets.get(_secret_name(file))

    def forget_file(self, file: LogoMeshFile) -> None:
        """The token of a file is not needed any more."""
        self.secrets.forget(_secret_name(file))

    def revoke_file(self, file: LogoMeshFile) -> bool:
        """The file is detached: its device ends, here and on its servers. Whether no server still takes its
        token."""
        token, revoked = self.file_token(file), True
        if token is not None and TOKEN_VARIABLE not in os.environ:
            for url in dict.fromkeys(link.server for link in file.links()):
                profile = self.profile_of(url, file.path)
                try:
                    with Server(url, token, ca=profile.ca if profile else None, timeouts=QUICK) as server:
                        device = next(one["id"] for one in server.devices() if one["current"])
                        server.revoke_device(device)
                except Problem as problem:
                    revoked = revoked and problem.status == 401
                except WireError:
                    revoked = False
        self.forget_file(file)
        return revoked

    def forget_tokens_of_files(self, profile: Profile) -> None:
        """After signing in again, or out, the files of a profile get new tokens, too."""
        for path in self.known_files():
            used = self.profile_of(profile.url, path)
            if used is not None and used.id != profile.id:
                continue
            try:
                with LogoMeshFile.open(path) as file:
                    if any(link.server == profile.url for link in file.links()):
                        self.forget_file(file)
            except Exception:  # noqa: S112 - a file that is away, or broken, keeps its old token
                continue

    def _new_device(self, server: Server, file: LogoMeshFile) -> str:
        made = server.new_device(device_name(f"{socket.gethostname()}: {file.path.name}"))
        self.secrets.keep(_secret_name(file), made.token)  # where, was said when signing in
        return made.token

    # The files of this machine that are attached

    def known_files(self) -> list[Path]:
        return list(self._known())

    def know_file(self, path: Path, profile: Profile) -> None:
        """Remember that a file is attached, and with which profile."""
        with only_one(_known_files().with_name(".files.lock")):
            self._write_known(self._known() | {path.resolve(): profile.id})

    def unknow_file(self, path: Path) -> None:
        with only_one(_known_files().with_name(".files.lock")):
            known = self._known()
            if known.pop(path.resolve(), None) is not None:
                self._write_known(known)

    def _known(self) -> dict[Path, str]:
        """File -> the id of the profile that it was attached with."""
        try:
            files = orjson.loads(_known_files().read_bytes())["files"]
            if isinstance(files, list):  # the version before noted no profiles
                files = dict.fromkeys(files, "")
            return {_path(path): str(profile) for path, profile in files.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Failure(
                Exit.USAGE,
                f"{_known_files()} cannot be read.",
                "Move it away, and attach your files again; that costs nothing.",
            ) from None

    def _write_known(self, known: dict[Path, str]) -> None:
        files = {_spelled(path): profile for path, profile in sorted(known.items())}
        content = orjson.dumps({"version": 1, "files": files}, option=orjson.OPT_INDENT_2) + b"\n"
        write_atomically(_known_files(), content, mode=0o600)

    def changed_at(self) -> tuple[int, ...]:
        """Another value after somebody has changed the profiles, or the list of files."""
        found = []
        for file in (self.profiles.file, _known_files()):
            try:
                found.append(file.stat().st_mtime_ns)
            except OSError:
                found.append(0)
        return tuple(found)

    def files(self, named: Iterable[Path]) -> list[Path]:
        """The files that were named, or else all that are attached here. Raises `Failure` for none."""
        found = list(named) or [path for path in self.known_files() if path.exists()]
        if not found:
            raise Failure(
                Exit.FILE, "No file is attached here.", "Attach one: logomesh attach FILE --home SPACE"
            )
        return found


def find_space(spaces: list[dict[str, Any]], named: str) -> dict[str, Any]:
    """A space by its id or name. Raises `Failure` that lists what there is."""
    mine = [space for space in spaces if space["role"] is not None]
    by_id = [space for space in mine if space["id"] == named]
    by_name = [space for space in mine if space["name"] == named]
    found = by_id or by_name or [space for space in mine if space["name"].lower() == named.lower()]
    if len(found) == 1:
        return found[0]
    listed = (
        "; ".join(f"{space['name']} ({space['role']}, {space['id']})" for space in found or mine) or "none"
    )
    if found:
        raise Failure(Exit.USAGE, f"Several spaces are called {named}.", f"Name one by its id: {listed}")
    raise Failure(Exit.NOT_ALLOWED, f"You have no space called {named[:100]}.", f"You have: {listed}")


def device_name(text: str) -> str:
    """A text as the name of a device; the name of a file may hold anything."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)[:200]


def _known_files() -> Path:
    return config_folder() / "files.json"


def _spelled(path: Path) -> str:
    """A path as JSON can hold it: it need not be text."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return path.as_uri()
    return str(path)


def _path(text: str) -> Path:
    return Path(os.fsdecode(unquote_to_bytes(text[7:])) if text.startswith("file://") else text)


def _secret_name(file: LogoMeshFile) -> str:
    """A copy of a file has the same id but lies elsewhere: it must not use the same token."""
    place = hashlib.sha256(str(file.path.resolve()).encode(errors="surrogatepass")).hexdigest()[:16]
    return f"file:{file.file_id}:{place}"
