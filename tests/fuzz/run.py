"""A run: what happens, step by step, drawn from a seed; then quiet, and the invariants."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Final

import httpx

from tests.fuzz import checks, hands, readers
from tests.fuzz.device import Device
from tests.fuzz.faults import POINTS, VICTIMS
from tests.fuzz.server import Server
from tests.fuzz.world import MANAGER, MAY_WRITE, Broken, Lost, Push, World

QUIET_SECONDS: Final = 30
"""Within this time after the last fault all outboxes are empty."""


def run(seed: int, steps: int, *, devices: int = 0, until: float | None = None) -> dict[str, int]:
    """Raises `Broken`, with the command that replays the run. Returns what happened, counted."""
    first = Random(f"{seed}")
    number = devices or first.choice((2, 3, 5, 8, 13, 20))
    with Server() as server:
        world = World.make(server, number, first.choice((1, 2, 3)))
        step = 0
        try:
            for step in range(steps):
                take_step(world, Random(f"{seed}/{step}"))
                if until is not None and time.monotonic() > until:
                    break
            come_to_rest(world, Random(f"{seed}/rest"))
            checks.all_of(world)
        except Exception as broken:
            raise Broken(
                f"Seed {seed} broke at step {step}, with {number} devices. Replay it with:\n\n"
                f"    make fuzz SEED={seed} STEPS={step + 1}\n\n"
                f"{type(broken).__name__}: {broken}\n\n{server.said()}"
            ) from broken
        world.count("steps", step + 1)
        return world.counts


def take_step(world: World, chance: Random) -> None:
    [name] = chance.choices(list(STEPS), [weight for weight, _ in STEPS.values()])
    world.count(f"steps {name}")
    STEPS[name][1](world, chance)
    for device in world.devices:
        device.offline = max(0, device.offline - 1)


def _device(world: World, chance: Random, *, online: bool = True) -> Device:
    fit = [it for it in world.devices if not it.retired and not (online and it.offline)]
    if not fit:
        fit = [it for it in world.devices if not it.retired]
        fit[0].offline = 0
    return chance.choice(fit)


def _space(world: World, device: Device, chance: Random) -> str:
    """Mostly one in which the device's owner has a role."""
    own = [space for space in world.spaces if world.role(device, space)]
    return chance.choice(own or world.spaces)


# Work and sync


def _work(world: World, chance: Random) -> None:
    device = _device(world, chance, online=False)
    copy = device.copy_of(_space(world, device, chance))
    for _ in range(chance.choice((1, 1, 2, 4, 10))):
        world.count(f"acts {hands.work(copy, chance)}")


def sync(world: World, device: Device, space: str, chance: Random) -> None:
    """What a client does when it is online: pull, push all that waits, pull."""
    if not world.pull(device, space, chance):
        return
    for _ in range(100):
        push = world.next_push(device, space, chance)
        if push is None:
            break
        world.deliver(push)
    world.pull(device, space, chance)


def _sync(world: World, chance: Random) -> None:
    device = _device(world, chance)
    sync(world, device, _space(world, device, chance), chance)


def _pull_while_others_push(world: World, chance: Random) -> None:
    device = _device(world, chance)
    space = _space(world, device, chance)

    def between() -> None:
        other = _device(world, chance)
        if other is not device and world.role(other, space) and chance.random() < 0.5:
            push = world.next_push(other, space, chance)
            if push is not None:
                world.deliver(push)

    world.pull(device, space, chance, between)


def _read_through_a_filter(world: World, chance: Random) -> None:
    reader = chance.choice(world.readers)
    readers.read(world, reader, _space(world, reader, chance), chance)


def _trespass(world: World, chance: Random) -> None:
    """Ask for what is somebody else's, at every address that names a space."""
    for device in world.devices:
        for space in world.spaces:
            if world.role(device, space) is None and not device.retired:
                address = f"/api/v1/spaces/{space}"
                expected = 403 if device.person == MANAGER else 404
                for path in ("/changes", "/digest", "/conflicts", "/record?type=tags&id=tag_todo"):
                    answer = world.told(device.token, "GET", f"{address}{path}")
                    if answer.status_code != expected:
                        raise Broken(f"{device.person} got {answer.status_code} for {path}: {answer.text}")
                body = {"seen": 0, "changes": []}
                world.take_answer(
                    Push(device, space, body, device.token),
                    world.told(device.token, "POST", f"{address}/changes", json=body),
                )
                return


# The network


def _push_of(world: World, chance: Random) -> Push | None:
    device = _device(world, chance)
    space = _space(world, device, chance)
    if world.role(device, space) not in ("editor", "owner") or not world.pull(device, space, chance):
        return None
    if not device.copy_of(space).waiting():
        for _ in range(3):
            hands.work(device.copy_of(space), chance)
    return world.next_push(device, space, chance)


def _lose_the_answer(world: World, chance: Random) -> None:
    if (push := _push_of(world, chance)) is not None:
        world.deliver(push, heard=False)


def _deliver_twice(world: World, chance: Random) -> None:
    """The second answer may be the one that arrives."""
    if (push := _push_of(world, chance)) is not None:
        heard = chance.random() < 0.5
        world.deliver(push, heard=heard)
        world.deliver(push, heard=not heard)


def _deliver_twice_at_once(world: World, chance: Random) -> None:
    if (push := _push_of(world, chance)) is None:
        return
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(world.send, [push, push]))
    first, second = sorted(answers, key=_order)
    world.take_answer(push, first)
    world.take_answer(push, second, heard=False)


def _order(answer: httpx.Response) -> tuple[int, int]:
    """Of two answers to the same push the one with more duplicates, or the later version, was made later."""
    found = answer.json()
    duplicates = sum(result["status"] == "duplicate" for result in found.get("results", []))
    return found.get("version", 0), duplicates


def _delay(world: World, chance: Random) -> None:
    """A push gets stuck in the network. Its device hears nothing, and sends it again in time."""
    if len(world.delayed) < 5 and (push := _push_of(world, chance)) is not None:
        world.delayed.append(push)


def _arrive_late(world: World, chance: Random) -> None:
    if world.delayed:
        push = world.delayed.pop(chance.randrange(len(world.delayed)))
        world.count("pushes that arrived late")
        world.deliver(push, heard=False)


def _partition(world: World, chance: Random) -> None:
    for device in chance.sample(world.devices, chance.randint(1, max(1, len(world.devices) // 2))):
        device.offline = chance.randint(5, 60)


def _all_at_once(world: World, chance: Random, *, strike: tuple[str, str] | None = None) -> None:
    """Several devices push into one space in the same moment."""
    space = chance.choice(world.spaces)
    pushes = []
    for device in chance.sample(world.devices, len(world.devices))[:6]:
        if device.retired or world.role(device, space) not in ("editor", "owner"):
            continue
        if any(device.token == push.token for push in pushes) or not world.pull(device, space, chance):
            continue
        hands.work(device.copy_of(space), chance)
        if (push := world.next_push(device, space, chance)) is not None:
            pushes.append(push)
    if not pushes:
        return
    if strike is not None:
        world.server.arm(*strike)
    with ThreadPoolExecutor(len(pushes)) as pool:
        answers = list(pool.map(lambda push: _outcome(world, push), pushes))
    if strike is not None:
        world.count(f"strikes {' '.join(strike)}", world.server.disarm())
        world.server.until_ready()
    checks.take_in_order(world, space, list(zip(pushes, answers, strict=True)), struck=strike is not None)


def _outcome(world: World, push: Push) -> httpx.Response | None:
    try:
        return world.send(push)
    except Lost:
        return None


# What breaks


def _strike(world: World, chance: Random) -> None:
    """Kill the web process, or the database session, at a point of somebody's push."""
    point, victim = chance.choice(POINTS), chance.choice(VICTIMS)
    if chance.random() < 0.3:
        return _all_at_once(world, chance, strike=(point, victim))
    if (push := _push_of(world, chance)) is None:
        return None
    world.server.arm(point, victim)
    answer = _outcome(world, push)
    if world.server.disarm():
        world.count(f"strikes {point} {victim}")
    world.server.until_ready()
    if answer is not None and answer.status_code < 500:
        world.take_answer(push, answer)
    elif answer is not None and answer.status_code != 503:
        raise Broken(f"Without its database the server answered {answer.status_code}: {answer.text}")
    else:
        world.settle(push)
    return None


def _kill_database(world: World, chance: Random) -> None:
    world.server.kill_database()


def _back_up(world: World, chance: Random) -> None:
    world.back_up()


def _restore(world: World, chance: Random) -> None:
    """Half of the time nobody tells the server that it was restored: it must find out."""
    if world.backup is not None:
        world.restore()
        if chance.random() < 0.5:
            world.server.manage("after_restore")


def _purge(world: World, chance: Random) -> None:
    """All deletions are forgotten, however young: devices that had not heard of them must find out."""
    world.server.purge()
    for space in world.spaces:
        world.oracles[space].purge()


# People and devices


def _share(world: World, chance: Random) -> None:
    space = chance.choice(world.spaces)
    person = chance.choice([name for name in ("ben", "cai", "dan", "eva") if name != world.owner(space)])
    role = chance.choice((None, "viewer", "editor", "editor"))
    if role is not None or person in world.roles[space]:
        world.share(space, person, role)


def _move(world: World, chance: Random) -> None:
    """Thoughts go to another space, with all that hangs on them and their history."""
    device = _device(world, chance)
    spaces = [space for space in world.spaces if world.role(device, space) in MAY_WRITE]
    if len(spaces) < 2:
        return
    source, target = chance.sample(spaces, 2)
    oracle, other = world.oracles[source], world.oracles[target]
    thoughts = sorted(record.ref[1] for record in oracle.live() if record.ref[0] == "thoughts")
    if not thoughts:
        return
    chosen = chance.sample(thoughts, min(len(thoughts), chance.randint(1, 3)))
    written = checks.words_written(oracle)
    body = {"thoughts": chosen, "to": target}
    answer = world.told(device.token, "POST", f"/api/v1/spaces/{source}/move", json=body)
    refused, gone, left = oracle.move(chosen, other)
    world.count(f"moves {refused or 'made'}")
    if refused:
        if answer.status_code != 409 or not answer.json()["type"].endswith(refused):
            raise Broken(f"A move had to be refused as {refused}, but was answered {answer.text}")
        return
    for ref in gone:
        other.arrived[ref] = other.arrived.get(ref, set()) | written.get(ref, set())
    expected = {
        "version": oracle.head,
        "to": {"space": target, "version": other.head},
        "moved": dict(Counter(type_ for type_, _ in gone)),
    }
    found = answer.json()
    if {*map(tuple, found.pop("left", []))} != left or found != expected:
        raise Broken(f"A move of {chosen} from {source} was answered {answer.text}, not {expected} {left}")


def _revoke(world: World, chance: Random) -> None:
    device = _device(world, chance, online=False)
    own = [it for it in world.devices if it.person == device.person and not it.retired]
    ending = [it for it in own if it.token == device.token or device.name in it.made_by]  # with its clones
    if len(ending) == len(own):
        return
    mine = world.good(device.token, "GET", "/api/v1/devices")["devices"]
    names = [it["name"] for it in mine if it["name"] == device.name]
    if len(names) != 1:
        return
    id_ = next(it["id"] for it in mine if it["name"] == device.name)
    world.good(device.token, "DELETE", f"/api/v1/devices/{id_}")
    for other in ending:
        other.retired = "it was revoked"
    answer = world.told(device.token, "GET", "/api/v1/spaces")
    if answer.status_code != 401:
        raise Broken(f"A revoked token was answered {answer.status_code}")


def _clone(world: World, chance: Random) -> None:
    """Somebody copies their whole disk to a second machine."""
    if len(world.devices) < 25:
        device = _device(world, chance, online=False)
        world.devices.append(device.twin(device.name))


def _keep_an_old_copy(world: World, chance: Random) -> None:
    device = _device(world, chance, online=False)
    world.old_copies[device.token] = (device, device.twin(device.name).copies)


def _go_back_to_an_old_copy(world: World, chance: Random) -> None:
    """A client's file is restored from its user's own backup."""
    if world.old_copies:
        device, copies = world.old_copies.pop(chance.choice(sorted(world.old_copies)))
        device.copies, device.shares_identity = copies, True


STEPS: Final[dict[str, tuple[float, Callable[[World, Random], None]]]] = {
    "work": (50, _work),
    "sync": (30, _sync),
    "pull while others push": (3, _pull_while_others_push),
    "read through a filter": (12, _read_through_a_filter),
    "trespass": (0.5, _trespass),
    "lose the answer": (4, _lose_the_answer),
    "deliver twice": (2, _deliver_twice),
    "deliver twice at once": (2, _deliver_twice_at_once),
    "delay": (2, _delay),
    "arrive late": (2, _arrive_late),
    "partition": (1, _partition),
    "all at once": (4, _all_at_once),
    "strike": (1.5, _strike),
    "kill the database": (0.3, _kill_database),
    "back up": (0.3, _back_up),
    "restore": (0.3, _restore),
    "purge": (0.4, _purge),
    "share": (1.5, _share),
    "move": (2, _move),
    "revoke": (0.3, _revoke),
    "clone": (0.5, _clone),
    "keep an old copy": (0.7, _keep_an_old_copy),
    "go back to an old copy": (0.7, _go_back_to_an_old_copy),
}
"""Step -> weight, and what happens."""


def come_to_rest(world: World, chance: Random) -> None:
    """No more faults: all devices sync until nothing waits, and all hold the same."""
    for device in world.devices:
        device.offline = 0
    while world.delayed:
        _arrive_late(world, chance)
    started = time.monotonic()
    for _ in range(3):
        for device in world.devices:
            for space in world.spaces:
                if not device.retired:
                    sync(world, device, space, chance)
    for reader in world.readers:
        for space in world.spaces:
            readers.read(world, reader, space, chance, to_the_end=True)
    left = [
        (device.name, space)
        for device in world.devices
        for space in world.spaces
        if not device.retired and device.copy_of(space).waiting()
    ]
    if left:
        raise Broken(f"These outboxes do not empty: {left}")
    world.count("seconds to rest", round(time.monotonic() - started))
    if time.monotonic() - started > QUIET_SECONDS:
        raise Broken(f"The outboxes were empty only after {time.monotonic() - started:.0f} s")
