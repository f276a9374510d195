"""`conflicts`: where two people changed the same thing; shown side by side, decided also offline."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import click
import orjson

from logomesh_client.cli.desk import Desk
from logomesh_client.cli.endings import Exit, Failure
from logomesh_client.cli.options import with_desk
from logomesh_client.cli.saying import count, short
from logomesh_client.cli.several import each_file
from logomesh_client.file import LogoMeshFile

_WIDEST = 48
_KINDS = {
    "edit": "both changed it",
    "delete": "one deleted what the other changed",
    "revive": "one changed what the other had deleted",
}


@click.command(short_help="List, show and decide conflicts, also offline.")
@click.argument("what", nargs=-1)
@click.option(
    "--take", type=click.Choice(["server", "client", "proposal", "both"]), help="Decide for this side."
)
@click.option("--set", "values", metavar="FIELD=VALUE", multiple=True, help="Decide for a value of your own.")
@with_desk
def conflicts(desk: Desk, what: tuple[str, ...], take: str | None, values: tuple[str, ...]) -> int:
    """List the open conflicts of files, show one, or decide it.

    \b
    logomesh conflicts [FILE …]                     list
    logomesh conflicts ID                           show side by side
    logomesh conflicts ID --take server             decide for what the server has
    logomesh conflicts ID --take client             for what the other side wanted
    logomesh conflicts ID --take proposal|both      for texts: merged by words, or one after the other
    logomesh conflicts ID --set title="Both of it"  for a value of your own

    An ID may be shortened. A decision made offline goes out with the next sync.
    """
    paths = [Path(one) for one in what if Path(one).is_file()]
    ids = [one for one in what if not Path(one).is_file()]
    if missing := next((one for one in ids if len(Path(one).parts) > 1 or Path(one).suffix), None):
        raise Failure(Exit.FILE, f"There is no file {missing}.", "Check its name and folder.")
    if len(ids) > 1 or ((take or values) and not ids):
        raise Failure(Exit.USAGE, "Name one conflict by its ID.", "logomesh conflicts lists them.")
    code, found = _open(desk, desk.files(paths))
    if not ids:
        _list(desk, found)
        return max(code, Exit.ATTENTION if found else Exit.DONE)
    path, space, conflict = _one(found, ids[0])
    if take is None and not values:
        _show(desk, conflict)
        desk.voice.result(conflict)
        return Exit.DONE
    if take and values:
        raise Failure(Exit.USAGE, "Decide with --take or with --set, not both.")
    decision = {"take": take} if take else {"set": _values(values, conflict)}
    with LogoMeshFile.open(path) as file:
        file.resolve(space, conflict["id"], decision)
    desk.voice.say("Decided. It goes out with the next sync; the history keeps both sides.")
    desk.voice.result({"conflict": conflict["id"], "decision": decision})
    return Exit.DONE


def _open(desk: Desk, paths: list[Path]) -> tuple[int, list[tuple[Path, str, dict[str, Any]]]]:
    """(exit code, the open conflicts of files)."""
    found: list[tuple[Path, str, dict[str, Any]]] = []

    def look(path: Path) -> tuple[int, dict[str, Any]]:
        with LogoMeshFile.open(path) as file:
            for link in file.links():
                for conflict in file.conflicts(link.space):
                    shown = {**conflict, "file": str(path), "space": link.space, "space_name": link.name}
                    shown["title"] = _title(file, conflict)
                    found.append((path, link.space, shown))
        return Exit.DONE, {}

    code, _ = each_file(desk, paths, look, named=False)
    return code, sorted(found, key=lambda one: str(one[2].get("created_at")))


def _title(file: LogoMeshFile, conflict: dict[str, Any]) -> str:
    """What the record is called, as far as this file knows."""
    try:
        here = file.record(conflict["record_type"], conflict["record_id"])
    except KeyError:
        here = None
    if here is not None:
        for name in ("title", "name", "content"):
            if here[1].get(name):
                return short(here[1][name], 50)
    return str(conflict["record_id"])


def _one(found: list[tuple[Path, str, dict[str, Any]]], named: str) -> tuple[Path, str, dict[str, Any]]:
    matching = [one for one in found if one[2]["id"] == named] or [
        one for one in found if one[2]["id"].endswith(named) or one[2]["id"].startswith(named)
    ]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise Failure(Exit.USAGE, f"Several conflicts have {named} in their ID.", "Write more of it.")
    raise Failure(
        Exit.USAGE, f"No open conflict is called {named[:100]}.", "logomesh conflicts lists them; sync first?"
    )


def _list(desk: Desk, found: list[tuple[Path, str, dict[str, Any]]]) -> None:
    if not found:
        desk.voice.say("No open conflicts.")
    rows = []
    for _, _, one in found:
        fields = ", ".join(one.get("fields") or {}) or one["kind"]
        who = _who(one.get("client"))
        rows.append([one["id"][-12:], one["space_name"], one["record_type"], one["title"], fields, who])
    desk.voice.table(rows)
    if found:
        desk.voice.say(
            f"{count(len(found), 'open conflict')}. Show one: logomesh conflicts {found[0][2]['id'][-12:]}"
        )
    desk.voice.result([one for _, _, one in found])


def _show(desk: Desk, one: dict[str, Any]) -> None:
    say = desk.voice.say
    say(f"{one['record_type']} {one['title']}", bold=True)
    say(f"{_KINDS.get(one['kind'], one['kind'])}; in {one['space_name']}, {one.get('created_at') or ''}")
    left, right = f"server: {_who(one.get('server'))}", f"client: {_who(one.get('client'))}"
    say()
    _side_by_side(desk, left, right)
    _side_by_side(desk, "─" * _column(desk), "─" * _column(desk))
    for name, sides in (one.get("fields") or {}).items():
        say(name, bold=True)
        _side_by_side(desk, _text(sides, "server"), _text(sides, "client"))
        say(f"  before: {short(sides['base'], 90)}" if sides.get("base") is not None else "  before: nothing")
        proposal = (one.get("proposal") or {}).get(name)
        if proposal is not None:
            say(f"  proposal: {short(proposal, 90)}")
    say()
    say(f"Decide: logomesh conflicts {one['id'][-12:]} --take server|client|proposal|both")
    say("or: --set FIELD=VALUE")


def _text(sides: dict[str, Any], side: str) -> str:
    if side not in sides:
        return "(removed)"
    value = sides[side]
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _side_by_side(desk: Desk, left: str, right: str) -> None:
    width = _column(desk)
    columns = [
        [piece for line in text.splitlines() or [""] for piece in textwrap.wrap(line, width) or [""]]
        for text in (left, right)
    ]
    for number in range(max(map(len, columns))):
        cells = [column[number] if number < len(column) else "" for column in columns]
        desk.voice.say(f"  {cells[0]:{width}} │ {cells[1]}".rstrip())


def _column(desk: Desk) -> int:
    return max(12, min(_WIDEST, (desk.voice.width - 5) // 2))


def _who(side: dict[str, Any] | None) -> str:
    if not side:
        return "?"
    device = f" on {side['device']}" if side.get("device") else ""
    return f"{side.get('user') or '?'}{device}"


def _values(values: tuple[str, ...], conflict: dict[str, Any]) -> dict[str, Any]:
    """FIELD=VALUE pairs; a value is JSON where the field is no text now."""
    found = {}
    fields = conflict.get("fields") or {}
    for pair in values:
        name, sign, text = pair.partition("=")
        if not sign or name not in fields:
            raise Failure(
                Exit.USAGE, f"{pair[:80]} sets nothing that is in conflict.", f"Fields: {', '.join(fields)}"
            )
        known = [value for value in fields[name].values() if value is not None]
        if known and not isinstance(known[0], str):
            try:
                found[name] = orjson.loads(text)
            except ValueError:
                raise Failure(Exit.USAGE, f"{text[:80]} is not JSON.", f"{name} is no text.") from None
        else:
            found[name] = text
    return found
