"""Push, pull and live events through HTTP, beside the raw limit of the same database."""

from __future__ import annotations

import json
import os
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import median, quantiles
from typing import Any
from uuid import UUID

import httpx
import psycopg

from logomesh_server.folder import Places
from logomesh_server.processes import end_group
from logomesh_server.serving import web_arguments
from sync import packing
from sync.core.records import empty_record
from sync.core.sheets import sheet_of
from tests.bench import kinto
from tests.bench.figures import Figures, seconds, typical
from tests.bench.served import Served, served
from tests.bench.wire import Wire
from tests.logomesh_server.processes import ROOT, environment, free_port
from workspaces.ids import uuid7

BATCH = 1000
_WORDS = (
    "memory",
    "schema",
    "attention",
    "recall",
    "priming",
    "salience",
    "cue",
    "trace",
    "theory",
    "of",
    "the",
)


def run(small: bool) -> None:
    """All figures; `small` for a look at whether it runs."""
    with served() as server:
        peer = _kinto(server, 400 if small else 2_000)
        _pushes(server, 5_000 if small else 100_000, peer)
        _pulls(server, 5_000 if small else 100_000, peer)
        _increments(server, (2_000, 5_000) if small else (10_000, 100_000, 1_000_000))
        _empty_pulls(server, 200 if small else 4_000)
        _events(server, *(50, 50) if small else (2_000, 500))
        _spaces(server, 8 if small else 64, 160 if small else 3_200)


# --- records of about 1 KB ------------------------------------------------------------------------------


def prose(rng: random.Random, length: int) -> str:
    """Sentences that compress about as well as notes do."""
    words: list[str] = []
    while sum(map(len, words)) + len(words) < length:
        words.append(rng.choice(_WORDS) if rng.random() < 0.7 else f"{rng.getrandbits(32):x}")
    return " ".join(words)[:length]


def _long_prose(rng: random.Random, length: int) -> str:
    """As `prose`, faster: so that each record has a text of its own, else packing looks better than it is."""
    words = rng.choices(_WORDS, k=length // 7)
    words[::3] = [f"{rng.getrandbits(32):x}" for _ in words[::3]]
    return " ".join(words)


def thought(rng: random.Random) -> dict[str, Any]:
    return {
        "title": prose(rng, 40),
        "description": prose(rng, 620),
        "color": "#3b82f6",
        "position_x": rng.random() * 2000,
        "position_y": rng.random() * 2000,
        "metadata": {"source": "notes"},
        "created_at": "2025-09-20T10:00:00.000000Z",
        "updated_at": "2025-09-20T10:00:00.000000Z",
    }


def new_changes(rng: random.Random, ids: Sequence[str]) -> list[dict[str, Any]]:
    return [_change(id_, 0, thought(rng)) for id_ in ids]


def _change(id_: str, base: int, patch: dict[str, Any]) -> dict[str, Any]:
    return {"change_id": str(uuid7()), "type": "thoughts", "id": id_, "base": base, "set": patch}


def body_of(changes: list[dict[str, Any]], epoch: str | None = None, seen: int = 0) -> bytes:
    return json.dumps({"epoch": epoch, "seen": seen, "changes": changes}).encode()


def ids(count: int, first: int = 0) -> list[str]:
    return [f"thought_{n:08x}-0000-4000-8000-000000000000" for n in range(first, first + count)]


def batches(items: Sequence[Any], size: int = BATCH) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _wire(server: Served, **headers: str) -> Wire:
    return Wire(f"{server.url}/api/v1", {"Authorization": f"Token {server.token}", **headers})


def _push(wire: Wire, space: str, body: bytes) -> dict[str, Any]:
    answer = wire.post(f"/spaces/{space}/changes", body)
    assert answer.status == 200, answer.body[:500]
    results: dict[str, Any] = json.loads(answer.body)
    assert not any(result["status"] == "rejected" for result in results["results"]), answer.body[:500]
    return results


def _kinto(server: Served, count: int) -> kinto.Rates | None:
    if kinto.program() is None:
        print('Kinto is not installed (pip install "kinto[postgresql]" elsewhere, then KINTO=…/bin/kinto).')
        return None
    rng = random.Random(6)
    return kinto.rates(server, {id_: thought(rng) for id_ in ids(count)})


# --- pushes ---------------------------------------------------------------------------------------------


def _pushes(server: Served, count: int, peer: kinto.Rates | None) -> None:
    figures = Figures(f"Push: {count:,} records of 1 KB in batches of {BATCH:,}, one connection")
    rng = random.Random(1)
    records = {id_: thought(rng) for id_ in ids(count)}
    bodies = [body_of([_change(id_, 0, records[id_]) for id_ in batch]) for batch in batches(list(records))]
    limit = count / _raw_upsert(server, records)
    space, wire = server.space("pushes"), _wire(server)
    took = seconds(lambda: [_push(wire, space, body) for body in bodies])
    figures.add(
        "new records / COPY to a temporary table + upsert", count / took, "/s", beside=limit,
        aim="≥ 0.20, ≥ 8,000/s",
    )  # fmt: skip
    pushed = count / took
    if peer:
        figures.add("new records / Kinto's", pushed, "/s", beside=peer.pushed, aim="≥ 50")
    edits = list(_edits(wire, space, list(records)[: min(count, 20_000)], rng))
    took = seconds(lambda: [_push(wire, space, body) for body in edits])
    edited = len(edits) * BATCH / took
    figures.add("edits, 10% of them concurrent / new records", edited, "/s", beside=pushed, aim="≥ 0.50")
    wire.close()


def _edits(wire: Wire, space: str, known: list[str], rng: random.Random) -> Iterator[bytes]:
    """Pushes of edits on what was first pushed; a tenth of them meet an edit that they had not seen."""
    page = json.loads(wire.get(f"/spaces/{space}/changes?limit=1").body)
    head, bases = page["head"], {}
    cursor = ""
    while True:
        answer = json.loads(wire.get(f"/spaces/{space}/changes?limit=10000{cursor}").body)
        bases |= {change["id"]: change["version"] for change in answer["changes"]}
        if not answer["more"]:
            break
        cursor = f"&cursor={answer['cursor']}"
    for batch in batches(known):
        met = [
            _change(id_, bases[id_], {"color": "#10b981", "title": "seen by nobody"}) for id_ in batch[::10]
        ]
        _push(wire, space, body_of(met, page["epoch"], head))
        changes = [_change(id_, bases[id_], {"description": prose(rng, 620)}) for id_ in batch]
        yield body_of(changes, page["epoch"], head)


def _raw_upsert(server: Served, records: dict[str, dict[str, Any]]) -> float:
    """Seconds for the same rows by COPY into a temporary table and INSERT … ON CONFLICT, a batch a commit."""
    space = uuid7()
    whole = [(id_, {**empty_record("thoughts"), **record}) for id_, record in records.items()]
    packed = packing.pack(sheet_of("thoughts", whole))
    with server.database() as db:
        db.execute("DROP TABLE IF EXISTS bench_upsert")
        db.execute("CREATE TABLE bench_upsert (LIKE sync_thoughts INCLUDING ALL)")
        db.execute("CREATE TEMPORARY TABLE bench_batch (LIKE sync_thoughts) ON COMMIT DELETE ROWS")
        copy = packing.copy_statement("thoughts").replace("sync_thoughts", "bench_batch")
        pieces = [packing.rows("thoughts", batch, space, 1) for batch in batches(packed)]

        def load() -> None:
            for piece in pieces:
                with db.transaction():
                    with db.cursor().copy(copy) as stream:
                        stream.write(packing.SIGNATURE + piece + packing.TRAILER)
                    db.execute(
                        "INSERT INTO bench_upsert SELECT * FROM bench_batch"
                        " ON CONFLICT (space_id, key) DO UPDATE SET version = excluded.version"
                    )

        took = seconds(load)
        db.execute("DROP TABLE bench_upsert")
    return took


# --- pulls ----------------------------------------------------------------------------------------------


def fill(server: Served, name: str, count: int, own_ids: Sequence[str] | None = None) -> str:
    """A space with so many records in change sets of 1,000, written past HTTP because only reading counts.

    Their ids follow one another, unless `own_ids` says otherwise.
    """
    space, rng = server.space(name), random.Random(2)
    with server.database() as db:
        person = db.execute("SELECT owner_id FROM workspaces_space WHERE id = %s", [space]).fetchone()
        sample = [{**empty_record("thoughts"), **thought(rng)} for _ in range(BATCH)]
        pool = _long_prose(rng, 620 * min(count, 100_000))
        copy = packing.copy_statement("thoughts")
        for version, batch in enumerate(batches(own_ids or ids(count)), 1):
            places = [620 * (BATCH * version + n) % (len(pool) - 620) for n in range(len(batch))]
            texts = [pool[at : at + 620] for at in places]
            records = [sample[n] | {"description": text} for n, text in enumerate(texts)]
            packed = packing.pack(sheet_of("thoughts", list(zip(batch, records, strict=True))))
            with db.transaction():
                with db.cursor().copy(copy) as stream:
                    piece = packing.rows("thoughts", packed, UUID(space), version)
                    stream.write(packing.SIGNATURE + piece + packing.TRAILER)
                db.execute(
                    "INSERT INTO sync_changeset (space_id, version, at, person_id, origin)"
                    " VALUES (%s, %s, now(), %s, 'import')",
                    [space, version, person[0] if person else None],
                )
                db.execute(
                    "UPDATE sync_spacehead SET head = %s, counts = jsonb_build_object('thoughts', %s::int8)"
                    " WHERE space_id = %s",
                    [version, version * BATCH, space],
                )
        db.execute("ANALYZE sync_thoughts")
    return space


def _pulls(server: Served, count: int, peer: kinto.Rates | None) -> None:
    figures = Figures(f"First pull: {count:,} records of 1 KB, uncompressed, one connection")
    space, wire = fill(server, "pulls", count), _wire(server)
    with server.database() as db:
        query = "COPY (SELECT row_to_json(t) FROM (SELECT id, version, title, description, color, position_x,"
        query += " position_y, fields, metadata, created_at, updated_at FROM sync_thoughts WHERE space_id ="
        query += f" '{UUID(space)}' ORDER BY version, key) t) TO STDOUT"

        def raw() -> None:
            with db.cursor().copy(query) as stream:  # type: ignore[arg-type]
                for _ in stream:
                    pass

        limit = count / typical(3, raw)
    got: list[bytes] = []

    def stream() -> None:
        got[:] = [wire.get(f"/spaces/{space}/changes", Accept="application/x-ndjson").body]

    took = typical(3, stream)
    assert got[0].count(b"\n") == count + 1, got[0][-300:]
    figures.add("NDJSON stream / COPY (SELECT row_to_json …)", count / took, "/s", beside=limit, aim="≥ 0.50")
    plain = len(got[0])
    took = typical(3, lambda: _all_pages(wire, space))
    figures.add("pages of 10,000 / the same", count / took, "/s", beside=limit, aim="≥ 60,000/s")
    if peer:
        figures.add("pages of 10,000 / Kinto's", count / took, "/s", beside=peer.pulled, aim="≥ 4")
    packed = wire.get(f"/spaces/{space}/changes", Accept="application/x-ndjson", Accept_Encoding="zstd").body
    figures.add("bytes with zstd / without", len(packed) / 1e6, "MB", beside=plain / 1e6, aim="≤ 0.35")
    wire.close()


def _all_pages(wire: Wire, space: str) -> None:
    cursor = ""
    while True:
        body = wire.get(f"/spaces/{space}/changes?limit=10000{cursor}").body
        page = json.loads(body)
        if not page["more"]:
            return
        cursor = f"&cursor={page['cursor']}"


def _increments(server: Served, sizes: Sequence[int]) -> None:
    figures = Figures("Incremental pull of 100 changes, by the size of the space")
    first = None
    for size in sizes:
        space, wire = fill(server, f"increments {size}", size), _wire(server)
        took = []
        cursor = _end(wire, space)
        for round_ in range(20):
            rng = random.Random(round_)
            _push(wire, space, body_of(new_changes(rng, ids(100, 10**8 + 100 * round_))))
            began = time.perf_counter()
            answer = json.loads(wire.get(f"/spaces/{space}/changes?cursor={cursor}").body)
            took.append(1000 * (time.perf_counter() - began))
            assert len(answer["changes"]) == 100
            cursor = answer["cursor"]
        first = first or median(took)
        figures.add(f"{size:,} records / the smallest", median(took), "ms", beside=first, aim="≤ 4 ms, flat")
        wire.close()


def _end(wire: Wire, space: str) -> str:
    """The cursor at the end of a space."""
    body = wire.get(f"/spaces/{space}/changes", Accept="application/x-ndjson").body
    cursor: str = json.loads(body[body.rindex(b"\n", 0, -1) + 1 :])["end"]["cursor"]
    return cursor


@contextmanager
def _bare(server: Served) -> Iterator[str]:
    """The bare view of tests/bench/bare.py on the same database, with the same front."""
    port = free_port()
    places = Places.of(server.data)
    env = environment(server.data, port) | {
        "DJANGO_SETTINGS_MODULE": "tests.bench.bare_settings",
        "DATABASE_URL": places.database_url,
        "REDIS_URL": places.redis_url,
    }
    arguments = web_arguments("127.0.0.1", port, processes=1)
    process = subprocess.Popen(arguments, env=env, cwd=ROOT, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                httpx.get(f"{url}/bare").raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield url
    finally:
        end_group(process.pid, 15, 10)


def _empty_pulls(server: Served, requests: int) -> None:
    figures = Figures("Empty pull, with token and access check, 16 connections")
    space, wire = fill(server, "empty", 1_000), _wire(server)
    cursor = _end(wire, space)
    wire.close()
    with _bare(server) as bare:
        limit = _rate(lambda: Wire(bare), "/bare", requests)
    ours = _rate(lambda: _wire(server), f"/spaces/{space}/changes?cursor={cursor}", requests)
    figures.add("empty pulls / bare view with one SELECT", ours, "/s", beside=limit, aim="≥ 0.60")


def _rate(connect: Callable[[], Wire], path: str, requests: int, connections: int = 16) -> float:
    wires = [connect() for _ in range(connections)]

    def ask(wire: Wire) -> None:
        for _ in range(requests // connections):
            assert wire.get(path).status == 200

    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(lambda wire: wire.get(path), wires))
        took = seconds(lambda: list(pool.map(ask, wires)))
    for wire in wires:
        wire.close()
    return requests // connections * connections / took


# --- live events ----------------------------------------------------------------------------------------


def _events(server: Served, idle: int, same: int) -> None:
    """Another device of the space hears of a push: beside idle streams of another space, then among many."""
    figures = Figures(f"Live: answer of a push → event at another device, {idle:,} idle streams beside it")
    space, rng = server.space("live"), random.Random(3)
    before = _memory(server)
    quiet = [_listening(server, server.stranger) for _ in range(idle)]
    figures.add("memory of an idle stream", (_memory(server) - before) / idle / 1024, "KiB")
    first, _ = _heard(server, space, rng, ears=1, pushes=100)
    figures.add("one device hears, p50", median(first), "ms", aim="≤ 5 ms")
    figures.add("one device hears, p99", quantiles(first, n=100)[98], "ms", aim="≤ 30 ms")
    for wire in quiet:
        wire.close()
    _, last = _heard(server, space, rng, ears=same, pushes=20)
    figures.add(f"the last of {same} devices in the space hears, p50", median(last), "ms", aim="≤ 60 ms")
    figures.say("all listeners are threads of this process; 0 ms: the event was there before the answer")


def _heard(
    server: Served, space: str, rng: random.Random, *, ears: int, pushes: int
) -> tuple[list[float], list[float]]:
    """For each push, after how many milliseconds the first and the last of the listeners heard of it."""
    wires = [_listening(server, server.token) for _ in range(ears)]
    arrived: dict[int, list[float]] = {}
    for wire in wires:
        threading.Thread(target=_hear, args=(wire, space, arrived), daemon=True).start()
    time.sleep(1)
    pusher = _wire(server)
    first, last = [], []
    for number in range(pushes):
        answer = _push(pusher, space, body_of(new_changes(rng, ids(1, 10**6 * ears + number))))
        answered = time.perf_counter()
        deadline = answered + 5
        while len(arrived.get(answer["version"], ())) < ears and time.perf_counter() < deadline:
            time.sleep(0.001)
        times = sorted(arrived.get(answer["version"], ()))
        assert len(times) == ears, f"{len(times)} of {ears} heard"
        first.append(max(0.0, 1000 * (times[0] - answered)))
        last.append(max(0.0, 1000 * (times[-1] - answered)))
    for wire in [pusher, *wires]:
        wire.close()
    return first, last


def _memory(server: Served) -> float:
    """Bytes of the web process that has the streams."""
    return float(max(process.memory_info().rss for process in server.serving.children("granian")))


def _listening(server: Served, token: str) -> Wire:
    wire = Wire(f"{server.url}/api/v1", {"Authorization": f"Token {token}"})
    wire.ask("GET", "/live", b"", {"Accept": "text/event-stream"})
    return wire


def _hear(wire: Wire, space: str, arrived: dict[int, list[float]]) -> None:
    try:
        for line in wire.lines():
            if line.startswith(b"data:") and space.encode() in line:
                now = time.perf_counter()
                version = json.loads(line.removeprefix(b"data:")).get("version")
                arrived.setdefault(version, []).append(now)
    except (OSError, ValueError):
        return  # closed at the end of the measurement


# --- many spaces ----------------------------------------------------------------------------------------


def _spaces(server: Served, count: int, pushes: int, clients: int = 16) -> None:
    figures = Figures(f"{count} spaces, {clients} clients, pushes of 5 records")
    spaces = [server.space(f"many {n}") for n in range(count)]
    rng = random.Random(4)
    bodies = [body_of(new_changes(rng, ids(5, 5 * n))) for n in range(pushes)]
    wires = [_wire(server) for _ in range(clients)]

    def work(number: int) -> None:
        for n in range(number, pushes, clients):
            _push(wires[number], spaces[n % count], bodies[n])

    with ThreadPoolExecutor(clients) as pool:
        took = seconds(lambda: list(pool.map(work, range(clients))))
    limit = pushes / _raw_transactions(server, spaces, pushes, clients)
    figures.add("pushes / the same statements without HTTP", pushes / took, "/s", beside=limit, aim="≥ 0.40")
    for wire in wires:
        wire.close()


def _raw_transactions(server: Served, spaces: list[str], pushes: int, clients: int) -> float:
    """Seconds for as many transactions: take the head, COPY five records, note change set and receipts."""
    rng = random.Random(5)
    blank = empty_record("thoughts")
    five = [
        packing.pack(sheet_of("thoughts", [(id_, blank | thought(rng)) for id_ in ids(5, 10**7 + 5 * n)]))
        for n in range(pushes)
    ]
    copy = packing.copy_statement("thoughts")
    databases = [server.database() for _ in range(clients)]
    row = databases[0].execute("SELECT owner_id FROM workspaces_space WHERE id = %s", [spaces[0]]).fetchone()
    person = row[0] if row else None

    def work(number: int) -> None:
        for n in range(number, pushes, clients):
            _raw_push(databases[number], UUID(spaces[n % len(spaces)]), person, five[n], copy)

    with ThreadPoolExecutor(clients) as pool:
        took = seconds(lambda: list(pool.map(work, range(clients))))
    for db in databases:
        db.close()
    return took


def _raw_push(db: psycopg.Connection, space: UUID, person: Any, packed: list[bytes], copy: str) -> None:
    with db.transaction():
        row = db.execute("SELECT head FROM sync_spacehead WHERE space_id = %b FOR UPDATE", [space]).fetchone()
        version = (row[0] if row else 0) + 1
        with db.cursor().copy(copy) as stream:
            piece = packing.rows("thoughts", packed, space, version)
            stream.write(packing.SIGNATURE + piece + packing.TRAILER)
        db.execute(
            "INSERT INTO sync_changeset (space_id, version, at, person_id, origin)"
            " VALUES (%b, %b, now(), %b, 'push')",
            [space, version, person],
        )
        db.execute(
            "INSERT INTO sync_receipt (space_id, person_id, change_id, body_hash, version)"
            " SELECT %b, %b, u, %b, %b FROM unnest(%b::uuid[]) u",
            [space, person, os.urandom(32), version, [uuid7() for _ in packed]],
        )
        db.execute("UPDATE sync_spacehead SET head = %b WHERE space_id = %b", [version, space])
