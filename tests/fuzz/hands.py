"""What people do in their LogoMesh, weighted like real work: much writing and moving, little deleting."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final
from urllib.parse import quote

from tests.fuzz import prose
from tests.fuzz.device import Copy
from tests.fuzz.kinds import KINDS, Ref
from tests.fuzz.oracle import GONE

ODD_IDS: Final = ("a/b?c=d", "tb_1718000000000", "Ünïcode ✓", "x" * 300, "..", "seg-%2F")
TAG_NAMES: Final = ("draft", "todo", "method", "result")
CLUSTERS: Final = ("memory", "attention", "Schlaf & Träume")
LINKS: Final = ("related", "supports", "contradicts")


def work(copy: Copy, chance: Random) -> str:
    """One thing that a user does in a copy of a space. Returns what it was."""
    [act] = chance.choices(list(ACTS), [weight for weight, _ in ACTS.values()])
    ACTS[act][1](copy, chance)
    return act


def _pick(copy: Copy, chance: Random, *types: str) -> Ref | None:
    found = sorted(ref for ref in copy.view() if ref[0] in types)
    return chance.choice(found) if found else None


def _now(chance: Random) -> str:
    """Clocks are set as they please: they order nothing."""
    return (
        f"20{chance.randrange(20, 30)}-0{chance.randint(1, 9)}-1{chance.randrange(10)}"
        f"T1{chance.randrange(10)}:00:00.{chance.randrange(10**6):06d}Z"
    )


def _new_id(chance: Random, prefix: str) -> str:
    unique = f"{chance.randrange(16**8):08x}"
    return f"{chance.choice(ODD_IDS)}{unique}" if chance.random() < 0.1 else f"{prefix}_{unique}"


def _create_thought(copy: Copy, chance: Random) -> None:
    patch: dict[str, Any] = {
        "title": prose.token(chance),
        "created_at": _now(chance),
        "updated_at": _now(chance),
    }
    if chance.random() < 0.7:
        patch["description"] = prose.text(chance)
    if chance.random() < 0.3:
        patch |= {"fields.priority": prose.token(chance), "metadata.source.file": chance.randrange(9)}
    copy.edit(("thoughts", _new_id(chance, "tb")), patch)


def _create_segment(copy: Copy, chance: Random) -> None:
    if (thought := _pick(copy, chance, "thoughts")) is None:
        return _create_thought(copy, chance)
    patch = {
        "thought_id": thought[1],
        "title": prose.token(chance),
        "content": prose.text(chance),
        "created_at": _now(chance),
    }
    return copy.edit(("segments", _new_id(chance, "seg")), patch)


def _create_tag(copy: Copy, chance: Random) -> None:
    """LogoMesh derives a tag's id from its name, so two devices make the same one."""
    name = chance.choice(TAG_NAMES)
    ref = ("tags", f"tag_{name}")
    if ref not in copy.view():
        copy.edit(ref, {"name": name, "color": chance.choice(("red", "blue")), "created_at": _now(chance)})


def _link(copy: Copy, chance: Random) -> None:
    source, target = _pick(copy, chance, "thoughts", "segments"), _pick(copy, chance, "tags", "segments")
    if source is None or target is None:
        return
    if source[0] == "thoughts":
        if target[0] == "tags":
            copy.edit(_composed("thought_tags", source[1], target[1]), {"created_at": _now(chance)})
    elif target[0] == "tags":
        copy.edit(_composed("segment_tags", source[1], target[1]), {"created_at": _now(chance)})
    else:
        ref = _composed("segment_neighbors", source[1], target[1], chance.choice(LINKS))
        copy.edit(ref, {"strength": chance.randrange(8) / 8, "metadata.why": prose.token(chance)})


def _composed(type_: str, *parts: str) -> Ref:
    return type_, "/".join(quote(part, safe="-._~") for part in parts)


def _hang_on_segment(copy: Copy, chance: Random) -> None:
    if (segment := _pick(copy, chance, "segments")) is None:
        return
    [type_] = chance.choices(["segment_fields", "segment_llm_history", "segment_related_context"], [4, 1, 1])
    patch: dict[str, Any] = {"segment_id": segment[1]}
    if type_ == "segment_fields":
        patch |= {"name": chance.choice(("unit", "site")), "value": prose.token(chance)}
    elif type_ == "segment_llm_history":
        patch |= {"prompt": prose.text(chance), "response": prose.text(chance), "llm_model": "small"}
    else:
        patch |= {"context_type": "note", "data": prose.token(chance), "expires_at": _now(chance)}
    copy.edit((type_, _new_id(chance, "h")), patch)


def _write(copy: Copy, chance: Random) -> None:
    if (ref := _pick(copy, chance, "thoughts", "segments", "segments", "segment_llm_history")) is None:
        return
    field = chance.choice(KINDS[ref[0]].prose)
    patch = {field: prose.edited(chance, copy.view()[ref].get(field))}
    if "updated_at" in KINDS[ref[0]].times and chance.random() < 0.8:
        patch["updated_at"] = _now(chance)
    copy.edit(ref, patch)


def _name(copy: Copy, chance: Random) -> None:
    if (ref := _pick(copy, chance, "thoughts", "segments", "segment_fields", "tags")) is None:
        return
    field = {"segment_fields": "value", "tags": "name"}.get(ref[0], "title")
    copy.edit(ref, {field: None if chance.random() < 0.1 else prose.token(chance)})


def _move_about(copy: Copy, chance: Random) -> None:
    """The canvas writes positions without pause."""
    if (ref := _pick(copy, chance, "thoughts", "segments", "tags")) is None:
        return
    for name in KINDS[ref[0]].layout:
        copy.edit(ref, {name: f"c{chance.randrange(99)}" if name == "color" else chance.randrange(4000) / 4})


def _set_key(copy: Copy, chance: Random) -> None:
    if (ref := _pick(copy, chance, "thoughts", "segments")) is None:
        return
    path = chance.choice(("fields.priority", "fields.Location", "metadata.source.file", "extra.mood"))
    held = path in copy.view()[ref]
    value = (
        GONE
        if held and chance.random() < 0.3
        else chance.choice((prose.token(chance), chance.random() < 0.5, 7))
    )
    copy.edit(ref, {path: value})


def _sort_into_a_cluster(copy: Copy, chance: Random) -> None:
    if (segment := _pick(copy, chance, "segments")) is not None:
        copy.edit(segment, {"cluster_id": chance.choice((*CLUSTERS, None))})


def _move_elsewhere(copy: Copy, chance: Random) -> None:
    segment, thought = _pick(copy, chance, "segments"), _pick(copy, chance, "thoughts")
    if segment is not None and thought is not None:
        copy.edit(segment, {"thought_id": thought[1]})


def _delete(copy: Copy, chance: Random) -> None:
    [type_] = chance.choices(list(KINDS), [3, 1, 4, 2, 1, 1, 2, 1, 1])
    if (ref := _pick(copy, chance, type_)) is not None:
        copy.delete(ref)


def _use_again(copy: Copy, chance: Random) -> None:
    """An id that was there once: an undo, or a tag's name."""
    if copy.gone:
        ref = chance.choice(copy.gone)
        if ref not in copy.view() and ref[0] in ("thoughts", "tags"):
            copy.edit(ref, {"title" if ref[0] == "thoughts" else "name": prose.token(chance)})


def _resolve(copy: Copy, chance: Random) -> None:
    disputes = copy.open_conflicts()
    if not disputes:
        return
    dispute = chance.choice(disputes)
    takes = ["server", "client"]
    prose_too = KINDS[dispute["record_type"]].prose
    if dispute["kind"] == "edit":
        if dispute["fields"].keys() <= dispute["proposal"].keys():
            takes += ["proposal"] * 3
        sides = [side.get(name) for side in dispute["fields"].values() for name in ("server", "client")]
        if all(isinstance(side, str) for side in sides) and not dispute["fields"].keys() & {
            *prose_too,
            "thought_id",
        }:
            takes.append("both")
    decision: dict[str, Any] = {"take": chance.choice(takes)}
    if dispute["kind"] == "edit" and chance.random() < 0.2 and "title" in dispute["fields"]:
        decision = {"set": {"title": prose.token(chance)}}
    copy.resolve(("conflicts", dispute["id"]), dispute["version"], decision)


ACTS: Final[dict[str, tuple[int, Callable[[Copy, Random], None]]]] = {
    "write": (30, _write),
    "name": (12, _name),
    "move about": (16, _move_about),
    "set a key": (8, _set_key),
    "create a thought": (7, _create_thought),
    "create a segment": (10, _create_segment),
    "create a tag": (4, _create_tag),
    "link": (8, _link),
    "hang on a segment": (6, _hang_on_segment),
    "move elsewhere": (3, _move_elsewhere),
    "sort into a cluster": (4, _sort_into_a_cluster),
    "delete": (7, _delete),
    "use an id again": (2, _use_again),
    "resolve": (6, _resolve),
}
"""Act -> weight, and what it does."""
