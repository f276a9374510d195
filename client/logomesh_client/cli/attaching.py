"""`attach` and `detach`: a file begins, or ends, to be kept in step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from logomesh_client.cli.desk import Desk, find_space
from logomesh_client.cli.endings import Exit, Failure
from logomesh_client.cli.options import one_file, with_desk
from logomesh_client.cli.saying import count
from logomesh_client.cli.syncing import round_of, tell_report
from logomesh_client.file import LogoMeshFile, SpaceLink
from logomesh_client.profiles import Profile
from logomesh_client.wire import Problem, Server

_NO_THOUGHT: Final = {"tag": ["no tag has this id"]}
"""A filter that lets no thought through. Tags always come."""


@click.command(short_help="Begin to keep a file in step with spaces.")
@one_file
@click.option("--home", required=True, metavar="SPACE", help="New thoughts of this file go there.")
@click.option(
    "--with", "others", multiple=True, metavar="SPACE", help="Its thoughts appear in the file, too."
)
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Only thoughts with one of these tags.")
@click.option("--cluster", "clusters", multiple=True, metavar="ID", help="Only thoughts of these clusters.")
@click.option("--after", metavar="TIME", help="Only thoughts that changed after this time.")
@click.option("--before", metavar="TIME", help="Only thoughts that changed before this time.")
@click.option("--no-sync", is_flag=True, help="Do not sync at once.")
@with_desk
def attach(
    desk: Desk,
    file: Path,
    home: str,
    others: tuple[str, ...],
    tags: tuple[str, ...],
    clusters: tuple[str, ...],
    after: str | None,
    before: str | None,
    no_sync: bool,
) -> int:
    """Attach FILE to a home space, and to shared ones. LogoMesh may be open meanwhile.

    The filters choose what of the spaces comes to this file. Attaching again changes them, and adds spaces.
    """
    profile = desk.profile()
    require_file_keeping(profile)
    with desk.server(profile) as server, LogoMeshFile.open(file) as opened:
        home_link, links = links_for(server, profile, home, others)
        tag_ids = [tag_id(server, opened, [home_link, *links], named) for named in tags]
        if scope := scope_of(tag_ids, clusters, after, before):
            require_scope(server, home_link.space, scope)
        home_link, *links = [replace(link, scope=scope) for link in (home_link, *links)]
        attach_file(desk, profile, opened, home_link, links)
        desk.voice.say(f"{file.name} ({opened.dialect.value}) is attached to {home_link.name}, its home.")
        for link in links:
            desk.voice.say(f"  and to {link.name}")
        result: dict[str, Any] = {
            "file": str(file.resolve()),
            "dialect": opened.dialect.value,
            "home": home_link.space,
            "with": [link.space for link in links],
        }
        code = Exit.DONE
        if not no_sync:
            report = round_of(desk, opened)
            code = tell_report(desk, opened, report)
            result["sync"] = report
    desk.voice.say("From now on: logomesh sync --watch, or logomesh sync --install to have it run by itself.")
    desk.voice.result(result)
    return int(code)


def require_file_keeping(profile: Profile) -> None:
    """Raises `Failure` for a profile whose mode says that no file is kept in step with it."""
    if not profile.keeps_files:
        raise Failure(
            Exit.USAGE,
            f"The profile {profile.name} is {profile.sync_mode.value}: no file is kept in step with it.",
            f"logomesh profiles --profile {profile.name} --mode hybrid",
        )


def require_scope(server: Server, space: str, scope: dict[str, Any]) -> None:
    """Raises `Failure` for filters that the server cannot read: asked now, and not at every later round."""
    try:
        list(server.changes(space, scope=scope, limit=1))
    except Problem as problem:
        if problem.status != 400:
            raise
        raise Failure(Exit.USAGE, str(problem), "A time is written as 2025-06-08T09:30:00Z.") from None


def tag_id(server: Server, file: LogoMeshFile, links: Sequence[SpaceLink], named: str) -> str:
    """The id of a tag, which people know by its name, in the file or in a space. Raises `Failure`."""
    if found := file.titled("tags", named):
        return found[0]
    for link in links:
        cursor, more = None, True
        while more:
            pull = server.changes(link.space, cursor, scope=_NO_THOUGHT if cursor is None else None)
            for change in pull:
                name = (change.get("record") or {}).get("name")
                if change["type"] == "tags" and named in (change["id"], name):
                    return str(change["id"])
            cursor, more = pull.cursor, pull.more
    raise Failure(
        Exit.USAGE,
        f"There is no tag {named[:100]} in the file, nor in {', '.join(link.name for link in links)}.",
        "Write it just as LogoMesh shows it.",
    )


def links_for(
    server: Server, profile: Profile, home: str, others: tuple[str, ...]
) -> tuple[SpaceLink, list[SpaceLink]]:
    """The spaces that were named, as a file is attached to them. Raises `Failure` for one that is none."""
    spaces = server.spaces()
    found = [find_space(spaces, named) for named in (home, *others)]
    if found[0]["role"] == "viewer":
        raise Failure(
            Exit.NOT_ALLOWED,
            f"You may only read {found[0]['name']}, so new thoughts cannot go there.",
            "Take a space of your own as the home, and this one --with it.",
        )
    if len({space["id"] for space in found}) < len(found):
        raise Failure(Exit.USAGE, "A space is named twice.", "Name each space once.")
    links = [SpaceLink(space["id"], profile.url, space["name"]) for space in found]
    return links[0], links[1:]


def attach_file(
    desk: Desk, profile: Profile, file: LogoMeshFile, home: SpaceLink, others: list[SpaceLink]
) -> None:
    """Attach a file, or change how it is attached."""
    known = {link.space for link in file.links()}
    desk.know_file(file.path, profile)  # first: if we are killed now, `attach` is just said again
    file.attach(home, others)
    for link in (home, *others):
        if link.space in known and file.link(link.space).scope != link.scope:
            file.set_scope(link.space, link.scope)


def scope_of(
    tags: Sequence[str], clusters: Sequence[str], after: str | None, before: str | None
) -> dict[str, Any]:
    """The filters of selective sync, as a pull takes them; {} for everything."""
    scope = {"tag": list(tags), "cluster": list(clusters), "updated_after": after, "updated_before": before}
    return {name: value for name, value in scope.items() if value}


@click.command(short_help="Leave a file exactly as LogoMesh expects it.")
@one_file
@click.option("--force", is_flag=True, help="Also where something was not sent yet.")
@with_desk
def detach(desk: Desk, file: Path, force: bool) -> None:
    """Leave FILE exactly as LogoMesh expects it: no table, trigger or index of ours stays.

    All thoughts stay in it. Without --force it refuses while something was not sent yet.
    """
    with LogoMeshFile.open(file) as opened:
        if not opened.attached:
            desk.unknow_file(file)
            desk.voice.say(f"{file.name} is not attached to any space.")
            desk.voice.result({"file": str(file.resolve()), "detached": False})
            return
        unsent = sum(opened.unsent(link.space) for link in opened.links())
        aside = len(opened.rescue()) - sum(not one.refused for one in opened.waiting())
        if (unsent or aside) and not force:
            raise Failure(
                Exit.ATTENTION,
                f"{count(unsent, 'change')} not sent yet, {count(aside, 'piece')} of work put aside.",
                "Sync first (logomesh sync), keep what was put aside (logomesh rescue FILE), or use --force:"
                " what is in the file's own tables stays there in any case.",
            )
        revoked = desk.revoke_file(opened)
        opened.detach()
    desk.unknow_file(file)
    if not revoked:
        desk.voice.warn("Its token could not be revoked from here. Revoke it on the page of your devices.")
    desk.voice.say(f"{file.name} is LogoMesh's alone again. Nothing in it was changed.")
    desk.voice.result({"file": str(file.resolve()), "detached": True})
