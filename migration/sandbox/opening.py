"""Opens somebody else's SQLite file and reads what its schema says. Runs only in the child.

Nothing that the file defines is ever executed: no views, triggers, virtual tables, generated
columns, extensions; nothing else can be opened from it.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import apsw

from migration.dialects import Column, NotLogoMesh, Schema, Table
from migration.sandbox.limits import LONGEST_CELL

_SETTINGS = (
    (apsw.SQLITE_DBCONFIG_DEFENSIVE, 1),
    (apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
    (apsw.SQLITE_DBCONFIG_ENABLE_VIEW, 0),
    (apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0),
    (apsw.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0),
    (apsw.SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0),
    (apsw.SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, 0),
    (apsw.SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, 0),
    (apsw.SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0),
)
_LIMITS = (
    (apsw.SQLITE_LIMIT_LENGTH, LONGEST_CELL),
    (apsw.SQLITE_LIMIT_ATTACHED, 0),
    (apsw.SQLITE_LIMIT_SQL_LENGTH, 1_000_000),
    (apsw.SQLITE_LIMIT_COLUMN, 2_000),
    (apsw.SQLITE_LIMIT_EXPR_DEPTH, 100),
    (apsw.SQLITE_LIMIT_TRIGGER_DEPTH, 1),
    (apsw.SQLITE_LIMIT_WORKER_THREADS, 0),
)
_MAGIC = b"SQLite format 3\0"
_READABLE = frozenset(
    {apsw.SQLITE_SELECT, apsw.SQLITE_READ, apsw.SQLITE_RECURSIVE, apsw.SQLITE_PRAGMA, apsw.SQLITE_TRANSACTION}
)
_WRITABLE_TEMP = frozenset(
    {
        apsw.SQLITE_CREATE_TEMP_TABLE,
        apsw.SQLITE_CREATE_TEMP_INDEX,
        apsw.SQLITE_INSERT,
        apsw.SQLITE_UPDATE,
    }
)


def open_file(path: Path) -> apsw.Connection:
    """Open a file for reading only. Raises `NotLogoMesh` for what is no SQLite database."""
    with path.open("rb") as file:
        start = file.read(100)
    if not start:
        raise NotLogoMesh(
            "empty",
            "The file is empty: it has 0 bytes.",
            "LogoMesh makes such a file when it cannot start; look for an older one or a backup.",
        )
    if not start.startswith(_MAGIC):
        raise _not_sqlite(start)
    address = f"file:{quote(str(path))}?mode=ro&immutable=1"
    db = apsw.Connection(address, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    for setting, value in _SETTINGS:
        db.config(setting, value)
    for limit, value in _LIMITS:
        db.limit(limit, value)
    db.execute("PRAGMA cell_size_check = ON")
    db.execute("PRAGMA mmap_size = 0")
    db.execute("PRAGMA cache_size = -48000")
    db.execute("PRAGMA temp_store = FILE")
    db.authorizer = _authorize
    return db


def read_schema(db: apsw.Connection) -> Schema:
    """What the file's schema says, without executing any of it."""
    tables: dict[str, Table] = {}
    unread: dict[str, str] = {}
    rows = db.execute("SELECT type, name, CAST(sql AS TEXT) FROM sqlite_schema").fetchall()
    kinds = {row[1]: row for row in db.execute("PRAGMA main.table_list").fetchall()}
    for type_, name, _ in rows:
        if not isinstance(name, str) or name.startswith("sqlite_"):
            continue
        if type_ in ("view", "trigger"):
            unread.setdefault(name.lower(), type_)
        elif type_ == "table":
            _, _, kind, _, without_rowid, _ = kinds.get(name, (0, 0, "missing", 0, 0, 0))
            if kind == "table":
                tables[name.lower()] = Table(name, _columns(db, name), bool(without_rowid))
            else:
                unread[name.lower()] = "virtual table" if kind in ("virtual", "shadow") else f"{kind} table"
    ((encoding,),) = db.execute("PRAGMA encoding").fetchall()
    return Schema(tables, unread, str(encoding))


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _columns(db: apsw.Connection, table: str) -> tuple[Column, ...]:
    rows = db.execute(f"PRAGMA main.table_xinfo({quoted(table)})").fetchall()
    return tuple(
        Column(str(name), str(declared or ""), hidden != 0) for _, name, declared, _, _, _, hidden in rows
    )


def _authorize(
    action: int, first: str | None, second: str | None, database: str | None, _: str | None
) -> int:
    if action in _READABLE or (database == "temp" and action in _WRITABLE_TEMP):
        return apsw.SQLITE_OK
    if action == apsw.SQLITE_FUNCTION:  # a default names one, which is never called; none can reach outside
        return apsw.SQLITE_DENY if str(second).lower() == "load_extension" else apsw.SQLITE_OK
    return apsw.SQLITE_DENY


def _not_sqlite(start: bytes) -> NotLogoMesh:
    if start[:4] in (b"7\x7f\x06\x82", b"7\x7f\x06\x83"):
        return NotLogoMesh(
            "wal-alone",
            "This is only the write-ahead log (-wal) of a SQLite database.",
            "Upload the database file itself, and this file together with it.",
        )
    if start[:8] == b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7":
        return NotLogoMesh(
            "journal-alone",
            "This is only the rollback journal (-journal) of a SQLite database.",
            "Upload the database file itself, and this file together with it.",
        )
    if len(set(start)) > 40 and len(start) == 100:
        return NotLogoMesh(
            "not-sqlite",
            "The file is not a SQLite database, or it is encrypted: its first bytes are not those of SQLite.",
            "If it is encrypted (SQLCipher, an encrypted archive), decrypt it first; else choose the"
            " .sqlite3 file that LogoMesh writes.",
        )
    return NotLogoMesh(
        "not-sqlite",
        "The file is not a SQLite database: its first bytes are not those of SQLite.",
        "Choose the .sqlite3 file that LogoMesh writes, usually data/logomesh.sqlite3.",
    )
