"""What every command needs: profiles, tokens, servers for files, and the list of files that are attached."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from logomesh_client.cli.endings import Exit, Failure
from logomesh_client.cli.saying import Voice
from logomesh_client.file import LogoMeshFile
from logomesh_client.places import config_folder, write_atomically
from logomesh_client.profiles import Profile, Profiles
from logomesh_client.secrets import Secrets
from logomesh_client.wire import Server

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

    def server(self, profile: Profile | None = None, patience: float = PATIENCE) -> Server:
        """The server of a profile, with its token. Raises `Failure` where there is none."""
        profile = profile or self.profile()
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
        profile = self.profiles.of_server(url)
        token = self.secrets.get(_secret_name(file))
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

    def forget_file(self, file: LogoMeshFile) -> None:
        """The file is detached: its token is not needed any more."""
        self.secrets.forget(_secret_name(file))

    def forget_tokens_of_files(self, url: str) -> None:
        """After signing in again the files get new tokens, too."""
        for path in self.known_files():
            try:
                with LogoMeshFile.open(path) as file:
                    if any(link.server == url for link in file.links()):
                        self.forget_file(file)
            except Exception:  # noqa: S112 - a file that is away, or broken, keeps its old token
                continue

    def _new_device(self, server: Server, file: LogoMeshFile) -> str:
        made = server.new_device(f"{socket.gethostname()}: {file.path.name}"[:200])
        self.secrets.keep(_secret_name(file), made.token)  # where, was said when signing in
        return made.token

    # The files of this machine that are attached

    def known_files(self) -> list[Path]:
        try:
            found = orjson.loads(_known_files().read_bytes())
            return [Path(path) for path in found["files"]]
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def know_file(self, path: Path) -> None:
        self._write_known({*self.known_files(), path.resolve()})

    def unknow_file(self, path: Path) -> None:
        self._write_known({known for known in self.known_files() if known != path.resolve()})

    def _write_known(self, paths: Iterable[Path]) -> None:
        files = sorted(map(str, paths))
        write_atomically(_known_files(), orjson.dumps({"files": files}, option=orjson.OPT_INDENT_2) + b"\n")

    def files(self, named: Iterable[Path]) -> list[Path]:
        """The files that were named, or else all that are attached here. Raises `Failure` for none."""
        found = list(named) or [path for path in self.known_files() if path.exists()]
        if not found:
            raise Failure(
                Exit.FILE, "No file is attached here.", "Attach one: logomesh attach FILE --home SPACE"
            )
        return found

    @contextmanager
    def servers_of(self, file: LogoMeshFile, patience: float = PATIENCE) -> Iterator[dict[str, Server]]:
        """The servers of a file's spaces, by their address."""
        with ExitStack() as stack:
            urls = dict.fromkeys(link.server for link in file.links())
            yield {url: stack.enter_context(self.server_for(file, url, patience)) for url in urls}


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


def _known_files() -> Path:
    return config_folder() / "files.json"


def _secret_name(file: LogoMeshFile) -> str:
    """A copy of a file has the same id but lies elsewhere: it must not use the same token."""
    place = hashlib.sha256(str(file.path.resolve()).encode(errors="surrogatepass")).hexdigest()[:16]
    return f"file:{file.file_id}:{place}"
