"""`session.sqlite`: the pending question of a film, kept by LangGraph's checkpointer. Losing it loses that question, nothing else."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ..storyboard.errors import FilmwrightError
from ..storyboard.files import disk_errors
from .checkpoints import LatestCheckpoint
from .events import Event, Listener
from .session_values import PlainSerializer

COLUMNS = {
    "checkpoints": "thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata",
    "writes": "thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, value",
}
SIDECARS = ("", "-wal", "-shm", "-journal")
BUSY_SECONDS = 2.0
PAGES_BESIDE = 32
"""Pages of the write-ahead log after which SQLite moves them into the database: its default of 1,000 makes 4 MB of a few rows."""
_DAMAGED = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_SCHEMA)
_FIXES = {
    sqlite3.SQLITE_FULL: "free some space and run the command again, what was made is kept",
    sqlite3.SQLITE_IOERR: "see whether the disk is full, and run the command again, what was made is kept",
    sqlite3.SQLITE_BUSY: "another program holds it, close that",
    sqlite3.SQLITE_LOCKED: "another program holds it, close that",
    sqlite3.SQLITE_READONLY: "make it writable, or move it away",
    sqlite3.SQLITE_CANTOPEN: "make it writable, or move it away",
    sqlite3.SQLITE_PERM: "make it writable, or move it away",
}


class Session:
    """The open database."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path, self._connection = path, connection
        self.saver = _saver(connection)

    def begin_anew(self) -> None:
        """Forgets everything, and gives the space back: what earlier runs wrote is of no use without a pending question.

        Raises:
            FilmwrightError: the file cannot be removed.
        """
        self.close()
        _remove(self._path)
        self._connection = _open(self._path)
        self.saver = _saver(self._connection)

    def close(self) -> None:
        self._connection.close()


def _saver(connection: sqlite3.Connection) -> LatestCheckpoint:
    connection.execute(f"PRAGMA wal_autocheckpoint = {PAGES_BESIDE}")
    return LatestCheckpoint(connection, serde=PlainSerializer())


@contextmanager
def open_session(path: Path, tell: Listener) -> Iterator[Session]:
    """Opens the session's database; a damaged one begins anew, and `tell` hears of it.

    Raises:
        FilmwrightError: it cannot be read or written, also later while it is open, or another program's data is in it, which stays.
    """
    try:
        with closing(Session(path, _connect(path, tell))) as session:
            yield session
    except sqlite3.Error as error:
        fix = _FIXES.get(_code(error), "move it away")
        raise FilmwrightError(f"cannot use {path}: {error}; {fix}") from error


def _connect(path: Path, tell: Listener) -> sqlite3.Connection:
    if path.exists() and not os.access(path, os.W_OK):
        raise FilmwrightError(f"cannot write {path}: it is read-only; make it writable, or move it away")
    connection = _open(path)
    try:
        _examine(connection, path)
        return connection
    except sqlite3.Error as error:
        connection.close()
        if _code(error) not in _DAMAGED:
            raise
    except BaseException:
        connection.close()
        raise
    tell(Event("warning", {"text": f"{path} is damaged and begins anew; a pending question is asked again"}))
    _remove(path)
    return _open(path)


def _remove(path: Path) -> None:
    for sidecar in SIDECARS:
        part = path.with_name(path.name + sidecar)
        with disk_errors(part):
            part.unlink(missing_ok=True)


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)


def _examine(connection: sqlite3.Connection, path: Path) -> None:
    """Whether this is a whole, writable database of ours.

    Raises:
        FilmwrightError: it is another program's.
        sqlite3.Error: it is damaged, or cannot be written.
    """
    named = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    tables = {str(name) for (name,) in named}
    strange = sorted(tables - COLUMNS.keys()) + [
        table for table in sorted(tables & COLUMNS.keys()) if "thread_id" not in _columns(connection, table)
    ]
    if strange:
        raise FilmwrightError(f"{path} is a database of another program (table {strange[0]!r}): move it away")
    for table in tables:
        connection.execute(f"SELECT {COLUMNS[table]} FROM {table} LIMIT 0").fetchall()
    if (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise _damage(str(found))
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("ROLLBACK")


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")}


def _damage(found: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(found)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; the general one where Python's own checks refused."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
