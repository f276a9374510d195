"""A database whose application was running has a part of its rows in a file beside it.

The write-ahead log (-wal) holds pages that are newer than those in the file, the rollback
journal (-journal) pages that were there before an unfinished change. Both are applied here
page by page to a copy: SQLite itself would apply another file's log without a word.
"""

from __future__ import annotations

import shutil
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from migration.dialects import NotLogoMesh

_WAL_HEADER: Final = struct.Struct(">8I")
_FRAME: Final = struct.Struct(">6I")
_JOURNAL_HEADER: Final = struct.Struct(">8s5I")
_JOURNAL_MAGIC: Final = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"


@dataclass(frozen=True)
class Pages:
    """What a journal says about the file: pages by number, and how many pages the file has."""

    at: dict[int, int]
    """Page number -> where its bytes start in the journal."""
    size: int
    page_size: int


def settle_journals(path: Path) -> Path:
    """The file with its journal applied: the file itself where there is none, else a copy beside it.

    Raises `NotLogoMesh` for a journal that does not belong to the file.
    """
    wal, journal = Path(f"{path}-wal"), Path(f"{path}-journal")
    settled = path.with_name("settled.sqlite3")
    for beside, read in ((wal, read_wal), (journal, read_journal)):
        if beside.exists() and beside.stat().st_size:
            pages = read(beside, path)
            if pages is not None:
                _apply(pages, beside, path, settled)
                return settled
    return path


def read_wal(wal: Path, database: Path) -> Pages | None:
    """The committed pages of a write-ahead log; None if it has none."""
    with wal.open("rb") as file, database.open("rb") as main:
        header = file.read(_WAL_HEADER.size)
        start = main.read(100)
        if len(header) < _WAL_HEADER.size:
            return None
        magic, _, page_size, _, salt1, salt2, sum1, sum2 = _WAL_HEADER.unpack(header)
        if magic & 0xFFFFFFFE != 0x377F0682:
            raise _stranger("The file sent as -wal is not a write-ahead log.")
        order = ">" if magic & 1 else "<"
        sums = _checksum(header[:24], (0, 0), order)
        if sums != (sum1, sum2):
            raise _stranger("The write-ahead log is damaged: its header does not add up.")
        if _page_size(start) != page_size or not _is_page_size(page_size):
            raise _stranger("The write-ahead log has another page size than the file.")
        if start[18:20] != b"\x02\x02":
            raise _stranger("The file does not use a write-ahead log.")
        pending: dict[int, int] = {}
        committed: dict[int, int] = {}
        size = 0
        while len(head := file.read(_FRAME.size)) == _FRAME.size:
            number, commit, frame_salt1, frame_salt2, sum1, sum2 = _FRAME.unpack(head)
            place = file.tell()
            page = file.read(page_size)
            if (frame_salt1, frame_salt2) != (salt1, salt2) or len(page) < page_size:
                break
            sums = _checksum(page, _checksum(head[:8], sums, order), order)
            if sums != (sum1, sum2) or number == 0:
                break
            pending[number] = place
            if commit:
                committed |= pending
                pending, size = {}, commit
    if not committed:
        return None
    _require_whole(committed, size, database, page_size)
    if 1 in committed:
        _require_same_life(wal, committed[1], start)
    return Pages(committed, size, page_size)


def read_journal(journal: Path, database: Path) -> Pages | None:
    """The pages that undo an unfinished change; None if there was none."""
    at: dict[int, int] = {}
    size = page_size = 0
    length = journal.stat().st_size
    with journal.open("rb") as file, database.open("rb") as main:
        start = main.read(100)
        place = 0
        while place + _JOURNAL_HEADER.size <= length:
            file.seek(place)
            magic, count, nonce, pages, sector, in_header = _JOURNAL_HEADER.unpack(
                file.read(_JOURNAL_HEADER.size)
            )
            if magic != _JOURNAL_MAGIC:
                if place == 0 and magic != bytes(8):
                    raise _stranger("The file sent as -journal is not a rollback journal.")
                break
            if place == 0:
                size, page_size = pages, in_header
                if page_size != _page_size(start) or not _is_page_size(page_size):
                    raise _stranger("The rollback journal has another page size than the file.")
            place += max(sector, 512)
            if count == 0xFFFFFFFF:
                count = (length - place) // (page_size + 8)
            for _ in range(count):
                file.seek(place)
                record = file.read(page_size + 8)
                if len(record) < page_size + 8:
                    break
                number, page = int.from_bytes(record[:4]), record[4:-4]
                if number == 0 or _journal_sum(page, nonce) != int.from_bytes(record[-4:]):
                    break
                at.setdefault(number, place + 4)
                place += page_size + 8
            place = -(-place // max(sector, 512)) * max(sector, 512)
    if not at:
        return None
    if max(at) > size:
        raise _stranger("The rollback journal speaks of pages that the file never had.")
    _require_whole(at, size, database, page_size)
    return Pages(at, size, page_size)


def _apply(pages: Pages, journal: Path, database: Path, target: Path) -> None:
    shutil.copyfile(database, target)
    target.chmod(0o600)
    with journal.open("rb") as source, target.open("r+b") as file:
        for number, place in sorted(pages.at.items()):
            source.seek(place)
            file.seek((number - 1) * pages.page_size)
            file.write(source.read(pages.page_size))
        file.truncate(pages.size * pages.page_size)


def _require_whole(at: dict[int, int], size: int, database: Path, page_size: int) -> None:
    in_file = database.stat().st_size // page_size
    missing = next((number for number in range(in_file + 1, size + 1) if number not in at), None)
    if missing is not None:
        raise _stranger(
            f"Page {missing} of the database is neither in the file ({in_file} pages) nor in its journal."
        )


def _require_same_life(wal: Path, place: int, start: bytes) -> None:
    """Page 1 in the log must be a later state of the file's own page 1."""
    with wal.open("rb") as file:
        file.seek(place)
        page = file.read(100)
    counter, later = int.from_bytes(start[24:28]), int.from_bytes(page[24:28])
    cookie, later_cookie = int.from_bytes(start[40:44]), int.from_bytes(page[40:44])
    if page[:24] != start[:24] or page[56:60] != start[56:60] or later < counter or later_cookie < cookie:
        raise _stranger("The write-ahead log continues another state of the file's first page.")


def _page_size(start: bytes) -> int:
    size = int.from_bytes(start[16:18])
    return 65536 if size == 1 else size


def _is_page_size(size: int) -> bool:
    return 512 <= size <= 65536 and size & (size - 1) == 0


def _checksum(data: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second


def _journal_sum(page: bytes, nonce: int) -> int:
    return (nonce + sum(page[place] for place in range(len(page) - 200, 0, -200))) & 0xFFFFFFFF


def _stranger(found: str) -> NotLogoMesh:
    return NotLogoMesh(
        "foreign-journal",
        f"The file and the journal sent with it do not belong together. {found}",
        "Close LogoMesh, then upload the database and the file of the same name that ends in -wal or"
        " -journal, both from the same folder and the same moment.",
    )
