"""What parent and child say to each other: typed messages, never pickles.

The child reads a stranger's file, so the parent believes nothing but the shape of its words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO, Final

import msgspec

UNKNOWN_TABLE: Final = "unknown-table"
"""Why all rows of a table that LogoMesh does not know are set aside."""

SLICE_ROWS: Final = 500
SLICE_BYTES: Final = 512 * 1024
"""So much a chunk holds: what is made of it stays in the processor's cache. So much is also brought at once
while others write in the space: they wait for about ten milliseconds."""


class Filters(msgspec.Struct, frozen=True):
    """Which thoughts are wanted: any of one kind, all kinds. Empty: all thoughts."""

    tags: tuple[str, ...] = ()
    """Ids or names."""
    clusters: tuple[str, ...] = ()
    after: str = ""
    before: str = ""
    """Both exclusive, as the feed spells times; of the thought's updated_at."""


BEFORE_ALL: Final = -(2**63)
"""A position before those of all rows: rowids may be negative."""


class Request(msgspec.Struct, frozen=True):
    """What the child is to do. One child does one thing."""

    path: str
    scratch: str
    """A folder of the import, for what SQLite sorts and for notes between two children."""
    act: str
    """inspect, pack, hash or rows"""
    table: str = ""
    """Go on in this table…"""
    after: int = BEFORE_ALL
    """…after this position."""
    positions: tuple[int, ...] = ()
    """For `rows`: which rows of the table to describe."""
    filters: tuple[Filters, ...] = ()
    """Take only the thoughts that one of these chooses, and what hangs on them. None: everything."""
    recovered: str = ""
    """Id of the thought under which segments without a thought are gathered; "": they are set aside."""
    missing_tags: bool = False
    """Make the tags that links name and the file does not have."""
    new_ids: str = ""
    """Give new ids to rows whose own cannot be used, made of this text; "": they are set aside."""
    salvage: bool = False
    """For `inspect`: take what can still be read of a damaged file."""
    chunk_rows: int = SLICE_ROWS
    chunk_bytes: int = SLICE_BYTES


class Aside(msgspec.Struct, frozen=True):
    """A row that cannot be a record."""

    position: int
    reason: str
    missing: str
    columns: bytes
    """JSON: column -> {"type", "base64" or "value"}, exact."""


class Listed(msgspec.Struct, frozen=True):
    """A deviation in one cell."""

    position: int
    id: str
    column: str
    kind: str


class Chunk(msgspec.Struct, frozen=True, tag=True):
    """Some rows of one table, in order."""

    table: str
    last: int
    """Position of its last row: the next chunk starts after it."""
    rows: int
    records: list[bytes]
    """pack: packed records; hash: key and hash, 24 bytes."""
    positions: list[int]
    """Of the records."""
    embeddings: list[bytes]
    aside: list[Aside]
    listed: list[Listed]
    counted: dict[str, int]
    """kind/column -> rows, for deviations that are only counted."""
    left: int = 0
    """Of the rows: those that the filters leave for later."""
    made: dict[str, list[bytes]] = {}
    """Type -> records that no row stands for, in the form of the others. Each chunk that needs one has it."""
    read: int = 0
    """Bytes of its rows in the file."""

    @property
    def size(self) -> int:
        """Bytes of its rows, or of what it brings (embeddings and rows set aside too) if that is more."""
        brought = sum(map(len, self.records)) + sum(map(len, self.embeddings))
        return max(self.read, brought + sum(len(row.columns) for row in self.aside))


def gathered(slices: Iterable[Chunk], are_enough: Callable[[int, int], bool]) -> Iterator[Chunk]:
    """Chunks joined to larger ones of one table, each as soon as its rows and bytes are enough."""
    waiting: list[Chunk] = []
    rows = size = 0
    for each in slices:
        if waiting and each.table != waiting[0].table:
            yield joined(waiting)
            waiting, rows, size = [], 0, 0
        waiting.append(each)
        rows, size = rows + each.rows, size + each.size
        if are_enough(rows, size):
            yield joined(waiting)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield joined(waiting)


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """Chunks of one table that follow each other, as one."""
    if len(chunks) == 1:
        return chunks[0]
    counted: Counter[str] = Counter()
    made: dict[str, dict[bytes, None]] = {}
    for each in chunks:
        counted.update(each.counted)
        for type_, records in each.made.items():
            made.setdefault(type_, {}).update(dict.fromkeys(records))
    return Chunk(
        chunks[0].table,
        chunks[-1].last,
        sum(each.rows for each in chunks),
        [record for each in chunks for record in each.records],
        [position for each in chunks for position in each.positions],
        [embedding for each in chunks for embedding in each.embeddings],
        [row for each in chunks for row in each.aside],
        [cell for each in chunks for cell in each.listed],
        dict(counted),
        sum(each.left for each in chunks),
        {type_: list(records) for type_, records in made.items()},
        sum(each.read for each in chunks),
    )


class Choosable(msgspec.Struct, frozen=True):
    """A tag or a cluster, and how many thoughts have it."""

    id: str
    name: str
    thoughts: int


class Offered(msgspec.Struct, frozen=True):
    """What the file has to choose by."""

    tags: list[Choosable]
    clusters: list[Choosable]
    more_tags: bool
    more_clusters: bool
    """Whether there are more than are listed."""
    first: str
    last: str
    """When a thought was changed first and last; "" where no time can be read."""


class Found(msgspec.Struct, frozen=True, tag=True):
    """What a file is."""

    dialect: str
    because: list[str]
    encoding: str
    tables: dict[str, int]
    """Table that becomes records -> rows."""
    unknown: dict[str, int]
    unread: dict[str, str]
    damage: list[str]
    replaced: int
    """Segments whose order only rowids decided."""
    offered: Offered | None = None


class Column(msgspec.Struct, frozen=True):
    """A column of the file."""

    name: str
    becomes: str
    """`segments.content`; "kept" in a table that LogoMesh does not know."""
    storage: dict[str, int]
    """SQLite's storage class -> cells."""
    bytes: int
    """Of all its cells, texts as UTF-8."""


class Surveyed(msgspec.Struct, frozen=True, tag=True):
    """The columns of a table, once all its rows were seen."""

    table: str
    columns: list[Column]
    dimensions: dict[str, int]
    """How long embeddings are -> how many are so long."""


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The file cannot be taken."""

    kind: str
    found: str
    advice: str


class Described(msgspec.Struct, frozen=True, tag=True):
    """A row as it is, for one that turned out to be set aside only in the database."""

    position: int
    columns: bytes


class Finished(msgspec.Struct, frozen=True, tag=True):
    """All is said. A child that ends without this word was stopped."""


Frame = Chunk | Found | Surveyed | Refused | Described | Finished

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Frame)


def write_frame(stream: BinaryIO, frame: Frame) -> None:
    data = _encoder.encode(frame)
    stream.write(len(data).to_bytes(4))
    stream.write(data)


def read_frames(stream: BinaryIO) -> Iterator[Frame]:
    """Frames until the stream ends. Raises `msgspec.DecodeError` for what is none."""
    while len(head := stream.read(4)) == 4:
        yield _decoder.decode(stream.read(int.from_bytes(head)))
