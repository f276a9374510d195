"""`login`, `logout`, `profiles`, `spaces`: who one is, and on which servers."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click

from logomesh_client.cli.desk import Desk, device_name
from logomesh_client.cli.endings import Exit, Failure
from logomesh_client.cli.options import existing_file, with_desk
from logomesh_client.profiles import Profile, Profiles, SyncMode
from logomesh_client.wire import Address, BadToken, WireError


@click.command()
@click.argument("server")
@click.option("--name", help="A name for the profile; without it the server's.")
@click.option("--email", help="Your e-mail address; asked for if it is needed.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--token-stdin", is_flag=True, help="Read a device's token from standard input instead.")
@click.option("--device", help="A name for this device; without it the machine's.")
@click.option("--ca", type=existing_file, help="Trust only the certificates of this PEM file.")
@click.option(
    "--mode",
    type=click.Choice([mode.value for mode in SyncMode]),
    help="hybrid unless said otherwise: files are kept in step. local-only: the server is asked for nothing."
    " remote-only: no file is kept in step.",
)
@click.option("--default", "default", is_flag=True, help="Make it the default profile.")
@with_desk
def login(
    desk: Desk,
    server: str,
    name: str | None,
    email: str | None,
    password_stdin: bool,
    token_stdin: bool,
    device: str | None,
    ca: Path | None,
    mode: str | None,
    default: bool,
) -> None:
    """Sign in to SERVER and keep a profile of it.

    The password is used once, to make a token for this device; only the token is kept, in the system's
    keychain where there is one.
    """
    address = Address.parse(server)
    profile = _profile(desk.profiles, address, name or desk.profile_name)
    profile = replace(
        profile,
        sync_mode=SyncMode(mode) if mode else profile.sync_mode,
        ca=str(ca.resolve()) if ca else profile.ca,
    )
    if not address.is_secure:
        desk.voice.warn(f"{address.url} is not encrypted: use it only inside a network that you trust.")
    if token_stdin:
        token, device_id = _line_of_stdin("token"), ""
        with profile.server(token) as asked:
            device_id = next((one["id"] for one in asked.devices() if one["current"]), "")
    else:
        if not sys.stdin.isatty() and not (email and password_stdin):
            raise Failure(
                Exit.USAGE,
                "There is no terminal to ask for a password.",
                "Give --email and --password-stdin, or --token-stdin.",
            )
        email = email or click.prompt("E-mail address", err=True)
        password = (
            _line_of_stdin("password")
            if password_stdin
            else click.prompt("Password", hide_input=True, err=True)
        )
        with profile.server(None) as asked:
            asked.about()  # a password goes to no one but a LogoMesh server
            made = asked.new_device(
                device_name(device or socket.gethostname() or "laptop"), email=email, password=password
            )
        token, device_id = made.token, made.id
    replaced = profile.device
    profile = replace(profile, email=email or "", device=device_id, is_default=default or profile.is_default)
    warning = desk.secrets.keep(profile.secret_name, token)
    desk.forget_tokens_of_files(profile)
    profile = desk.profiles.keep(profile)
    if warning:
        desk.voice.warn(warning)
    if replaced and replaced != device_id:
        with suppress(WireError), profile.server(token) as asked:
            asked.revoke_device(replaced)  # it may be gone already, or another person's
    desk.voice.say(
        f"Signed in to {profile.url} as {email or 'the owner of the token'}; profile {profile.name}."
    )
    desk.voice.say("Next: logomesh spaces, then logomesh attach FILE --home SPACE")
    desk.voice.result(profile.as_json())


def _profile(profiles: Profiles, address: Address, name: str | None) -> Profile:
    """The profile to sign in with: the one of this name, or server, or a new one. Raises `Failure` where the
    name is that of another server."""
    known = profiles.of_server(address.url)
    if name is None and known is not None:
        return known
    all_ = {one.name: one for one in profiles.all()}
    if name is None:
        name = address.host if address.host not in all_ else f"{address.host}:{address.port}"
    same = all_.get(name)
    if same is None:
        return Profile.new(name, address.url)
    if same.url != address.url:
        raise Failure(
            Exit.USAGE,
            f"The profile {name} is for {same.url}.",
            f"Choose another name with --name, or end that one: logomesh logout {name!r}",
        )
    return same


@click.command(short_help="Revoke this device's token, remove the profile.")
@click.argument("name", required=False)
@with_desk
def logout(desk: Desk, name: str | None) -> None:
    """Revoke this device's token and remove the profile. Attached files keep all that is in them."""
    profile = desk.profiles.find(name or desk.profile_name)
    revoked = False
    if profile.device:
        try:
            with desk.server(replace(profile, sync_mode=SyncMode.HYBRID)) as server:
                server.revoke_device(profile.device)
            revoked = True
        except (WireError, BadToken, Failure) as error:
            desk.voice.warn(
                f"The token could not be revoked ({error}). Revoke it on the page of your devices."
            )
    desk.secrets.forget(profile.secret_name)
    desk.forget_tokens_of_files(profile)
    desk.profiles.remove(profile)
    desk.voice.say(f"The profile {profile.name} is gone.")
    desk.voice.result({"profile": profile.name, "revoked": revoked})


@click.command()
@click.option("--default", "default", metavar="NAME", help="Make this profile the default one.")
@click.option("--mode", type=click.Choice([mode.value for mode in SyncMode]), help="Change the sync mode.")
@click.option(
    "--rule", "rules", metavar="TAG=SPACE", multiple=True, help="New thoughts with this tag go there."
)
@with_desk
def profiles(desk: Desk, default: str | None, mode: str | None, rules: tuple[str, ...]) -> None:
    """List the profiles, or change one."""
    if default is not None:
        desk.profiles.keep(replace(desk.profiles.find(default), is_default=True))
    if mode is not None or rules:
        profile = desk.profile()
        told = dict(profile.rules)
        for rule in rules:
            tag, sign, space = rule.rpartition("=")
            if not sign or not tag:
                raise Failure(Exit.USAGE, f"{rule} is no rule.", "Write it as TAG=SPACE; TAG= takes it away.")
            told[tag] = space
        told = {tag: space for tag, space in told.items() if space}
        mode_ = SyncMode(mode) if mode else profile.sync_mode
        desk.profiles.keep(replace(profile, sync_mode=mode_, rules=told))
    known = desk.profiles.all()
    if not known:
        desk.voice.say("There is no profile yet. Sign in: logomesh login SERVER")
    desk.voice.table(
        [["*" if one.is_default else " ", one.name, one.url, one.sync_mode.value, one.email] for one in known]
    )
    for one in known:
        for tag, space in one.rules.items():
            desk.voice.say(f"  {one.name}: what is tagged {tag} goes to {space}")
    desk.voice.result([one.as_json() for one in known])


@click.command()
@click.option("--create", metavar="NAME", help="Make a space first.")
@click.option("--shared", is_flag=True, help="The space to make is for others, too.")
@click.option("--workspace", help="The workspace to make it in; needed if you are in several.")
@with_desk
def spaces(desk: Desk, create: str | None, shared: bool, workspace: str | None) -> None:
    """List the spaces that you may open."""
    with desk.server() as server:
        if create is not None:
            server.create_space(
                workspace or _only_workspace(server.workspaces()), create, "shared" if shared else "private"
            )
        found = [space for space in server.spaces() if space["role"] is not None]
    for space in found:
        space["thoughts"] = space["counts"].get("thoughts", 0)
    rows = [[s["name"], s["role"], s["kind"], f"{s['thoughts']:,} thoughts", s["id"]] for s in found]
    desk.voice.table(rows)
    if not found:
        desk.voice.say("You have none yet. Make one: logomesh spaces --create NAME")
    desk.voice.result(found)


def _only_workspace(workspaces: list[dict[str, str]]) -> str:
    if len(workspaces) == 1:
        return workspaces[0]["id"]
    named = ", ".join(one["name"] for one in workspaces) or "none"
    raise Failure(Exit.USAGE, "Which workspace?", f"Name one with --workspace; you are in: {named}")


def _line_of_stdin(what: str) -> str:
    found = sys.stdin.readline().rstrip("\r\n")
    if not found:
        raise Failure(Exit.USAGE, f"Standard input has no {what}.")
    return found
