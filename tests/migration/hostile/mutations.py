"""Files that were sound once: truncated, flipped, swapped, with lying headers and strange journals. Seeded."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

from tests.logomesh_files import SCHEMAS, full

_HEADER = ((16, 2), (18, 1), (19, 1), (20, 1), (24, 4), (28, 4), (32, 4), (36, 4), (40, 4), (44, 4), (52, 4), (56, 4), (64, 4), (92, 4), (96, 4))  # fmt: skip
"""Fields of the header: where, and how many bytes."""
_DOCUMENT = b"""{"success":true,"data":{"metadata":{"exportDate":"2025-10-22T00:00:00.000Z"},"thoughts":[{"id":"t",
"title":"\\ud83d\\u0000 T","tags":[{"name":"a","color":"red"},"b"],"position":{"x":1,"y":1e400},"segments":[{"segment_id":"s",
"thought_bubble_id":"t","title":"S","content":"C","metadata":{"a":[1,2,{"b":null}]},"fields":{"x":"y"}}]}]}}"""


def bases(folder: Path) -> list[Path]:
    """Sound files of several kinds, to be damaged."""
    found = [full(folder / f"{dialect}.base", dialect, thoughts=8, segments=6) for dialect in SCHEMAS]
    for name, *settings in (
        ("small-pages", "page_size = 512"),
        ("utf16", "encoding = 'UTF-16le'"),
        ("vacuumed", "page_size = 1024", "auto_vacuum = FULL"),
        ("wal", "journal_mode = WAL"),
    ):
        found.append(_rewritten(found[2], folder / f"{name}.base", settings))
    document = folder / "document.base"
    document.write_bytes(_DOCUMENT)
    return [*found, document]


def _rewritten(source: Path, target: Path, settings: list[str]) -> Path:
    db = sqlite3.connect(target)
    for setting in settings:
        db.execute(f"PRAGMA {setting}")
    other = sqlite3.connect(source)
    for line in other.iterdump():
        if not line.startswith(("BEGIN", "COMMIT")):
            db.execute(line)
    db.commit()
    db.close()
    other.close()
    return target


def mutated(number: int, bases: list[Path], folder: Path) -> tuple[Path, str]:
    """The file of this number, made anew in a folder, and what was done to it."""
    rng = random.Random(number)
    base = rng.choice(bases)
    data = bytearray(base.read_bytes())
    path = folder / "file.sqlite3"
    for old in folder.iterdir():
        old.unlink()
    done = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        change = rng.choice(_CHANGES)
        change(rng, data)
        done.append(change.__name__)
    path.write_bytes(data)
    if rng.random() < 0.25:
        beside = rng.choice((_stale_journal, _strange_wal))
        beside(rng, data, path)
        done.append(beside.__name__)
    return path, f"{number}: {base.name} {', '.join(done)}"


def truncate(rng: random.Random, data: bytearray) -> None:
    del data[rng.choice((rng.randrange(len(data) + 1), rng.randrange(len(data) // 512 + 1) * 512)) :]


def flip_bits(rng: random.Random, data: bytearray) -> None:
    reach = rng.choice((100, 4096, len(data)))
    for _ in range(rng.choice((1, 3, 20, 200))):
        if data:
            data[rng.randrange(min(reach, len(data)))] ^= 1 << rng.randrange(8)


def swap_pages(rng: random.Random, data: bytearray) -> None:
    pages = len(data) // 512
    if pages > 2:
        first, second = (rng.randrange(1, pages) * 512 for _ in range(2))
        data[first : first + 512], data[second : second + 512] = (
            data[second : second + 512],
            data[first : first + 512],
        )


def copy_page(rng: random.Random, data: bytearray) -> None:
    pages = len(data) // 4096
    if pages > 1:
        source, target = (rng.randrange(pages) * 4096 for _ in range(2))
        data[target : target + 4096] = data[source : source + 4096]


def lie_in_header(rng: random.Random, data: bytearray) -> None:
    for place, size in rng.sample(_HEADER, rng.choice((1, 2, 5))):
        value = rng.choice((0, 1, 2, 255, 512, 65535, 2**31, 2**32 - 1, rng.randrange(2**32)))
        data[place : place + size] = (value % 256**size).to_bytes(size)


def overwrite(rng: random.Random, data: bytearray) -> None:
    start = rng.randrange(len(data) + 1)
    data[start : start + rng.choice((8, 100, 4096))] = rng.randbytes(rng.choice((8, 100, 4096)))


def edit_words(rng: random.Random, data: bytearray) -> None:
    old, new = rng.choice(
        (
            (b"TEXT", b"BLOB"), (b"thoughts", b"segments"), (b"PRIMARY KEY", b"UNIQUE     "), (b"CREATE TABLE", b"CREATE  VIEW"),
            (b"CREATE INDEX", b"CREATE TABLE"), (b"NOT NULL", b"AS (1)  "), (b"DEFAULT 0", b"CHECK (0)"), (b"tags", b"TAGS"),
            (b"{", b"["), (b'"', b"'"), (b":", b","), (b"title", b"rowid"), (b"created_at", b"hex(title)"),
        )
    )  # fmt: skip
    places = (
        [place for place in range(len(data)) if data.startswith(old, place)] if len(data) < 300_000 else []
    )
    for place in rng.sample(places, min(len(places), rng.choice((1, 2, 100)))):
        data[place : place + len(old)] = new.ljust(len(old))


def repeat(rng: random.Random, data: bytearray) -> None:
    start = rng.randrange(len(data) + 1)
    data[start:start] = data[start : start + 4096] * rng.choice((1, 3))


_CHANGES: tuple[Callable[[random.Random, bytearray], None], ...] = (
    truncate, flip_bits, flip_bits, swap_pages, copy_page, lie_in_header, overwrite, edit_words, repeat,
)  # fmt: skip


def _stale_journal(rng: random.Random, data: bytearray, path: Path) -> None:
    page = int.from_bytes(data[16:18]) if len(data) > 18 else 4096
    nonce = rng.randrange(2**32)
    header = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"".join(
        rng.choice(choices).to_bytes(4)
        for choices in (
            (1, 3, 2**32 - 1, 0), (nonce,), (len(data) // max(page, 1), 0, 2**31), (512, 0, 4096, 2**31), (page, 0, 4096),
        )
    )  # fmt: skip
    body = bytearray(header.ljust(512, b"\0"))
    for _ in range(rng.randrange(4)):
        content = bytes(data[:page]) if rng.random() < 0.5 else rng.randbytes(page)
        total = (nonce + sum(content[place] for place in range(len(content) - 200, 0, -200))) & 0xFFFFFFFF
        body += rng.randrange(9).to_bytes(4) + content + total.to_bytes(4)
    if rng.random() < 0.3:
        flip_bits(rng, body)
    Path(f"{path}-journal").write_bytes(body)


def _strange_wal(rng: random.Random, data: bytearray, path: Path) -> None:
    """A write-ahead log whose sums are right, of a file that this may not be."""
    page = int.from_bytes(data[16:18]) if len(data) > 18 else 4096
    page = 65536 if page == 1 else page
    head = b"".join(n.to_bytes(4) for n in (0x377F0683, 3007000, rng.choice((page, page, 0, 4096)), 0, 7, 9))
    first, second = _sum(head, 0, 0)
    wal = bytearray(head + first.to_bytes(4) + second.to_bytes(4))
    for number in range(rng.randrange(1, 5)):
        content = bytes(data[:page]) if rng.random() < 0.5 else rng.randbytes(page)
        content = content.ljust(page, b"\0")
        start = rng.choice((1, number + 1, 2**31)).to_bytes(4) + rng.choice((0, 1, len(data) // max(page, 1), 2**32 - 1)).to_bytes(4)  # fmt: skip
        first, second = _sum(start, first, second)
        first, second = _sum(content, first, second)
        wal += start + (7).to_bytes(4) + (9).to_bytes(4) + first.to_bytes(4) + second.to_bytes(4) + content
    if rng.random() < 0.3:
        flip_bits(rng, wal)
    Path(f"{path}-wal").write_bytes(wal)


def _sum(data: bytes, first: int, second: int) -> tuple[int, int]:
    for place in range(0, len(data) - 7, 8):
        first = (first + int.from_bytes(data[place : place + 4]) + second) & 0xFFFFFFFF
        second = (second + int.from_bytes(data[place + 4 : place + 8]) + first) & 0xFFFFFFFF
    return first, second
