"""Dagster's event log in SQLite, at half of what it costs to record a run.

Dagster opens a database for every event and closes it again, with every statement compiled anew,
and every process asks Alembic, which imports all its migrations, whether each database is made.
Here connections stay open, and a new database is a copy that is put in place whole.
"""

import os
import shutil
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import dagster
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS, create_db_conn_string
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.event import listen
from sqlalchemy.pool import NullPool, QueuePool

_TIMEOUT = {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}


class Engines:
    """Engines by database, each with a connection that stays open; the oldest are closed."""

    MOST = 64
    """A step writes to three databases; the webserver reads those of every Dagster run it shows."""

    def __init__(self):
        self._found: OrderedDict[str, Engine] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def connect(self, url: str) -> Iterator[Connection]:
        """Open one transaction; threads may do so at once."""
        with self._get(url).connect() as connection, connection.begin():
            yield connection

    def _get(self, url: str) -> Engine:
        with self._lock:
            if url not in self._found:
                options = _TIMEOUT | {"check_same_thread": False}
                engine = create_engine(
                    url, poolclass=QueuePool, pool_size=1, max_overflow=-1, connect_args=options
                )
                listen(engine, "connect", _sync_less)
                self._found[url] = engine
            self._found.move_to_end(url)
            if len(self._found) > self.MOST:
                self._found.popitem(last=False)[1].dispose()
            return self._found[url]

    def close(self) -> None:
        """Close every connection that is not in use."""
        with self._lock:
            while self._found:
                self._found.popitem()[1].dispose()


def _sync_less(connection: sqlite3.Connection, record: object) -> None:
    """Let a power cut lose the last events, but nothing else, as SQLite promises of its WAL."""
    del record
    connection.execute("PRAGMA synchronous = NORMAL")


class Events(SqliteEventLogStorage):
    """The event log of one folder: a database of all assets, and one of each Dagster run."""

    def __init__(self, base_dir: str):
        self._engines = Engines()
        self._tables: set[str] = set()
        super().__init__(base_dir)
        self._empty = Path(self._base_dir).with_name(f"empty-{dagster.__version__}.db")
        if not self._empty.exists():
            self._make_empty()

    def has_table(self, table_name: str) -> bool:
        """Look once for a table that is there; Dagster asks at every check that it records."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            if shard not in self._initialized_dbs:
                path = Path(self.path_for_shard(shard))
                if not path.exists():
                    self._put_empty(path)
                self._initialized_dbs.add(shard)
            with self._engines.connect(self.conn_string_for_shard(shard)) as connection:
                yield connection

    def store_event(self, event: EventLogEntry) -> None:
        """Record an event, and show who watches the file of its Dagster run that there is one.

        While a connection is open, SQLite writes beside that file.
        """
        super().store_event(event)
        os.utime(self.path_for_shard(event.run_id))

    def wipe(self) -> None:
        """Delete every event."""
        self._engines.close()
        super().wipe()

    def dispose(self) -> None:
        """Close what is open."""
        super().dispose()
        self._engines.close()

    def _put_empty(self, path: Path) -> None:
        """Put a database without events in place, unless another process was faster."""
        fresh = path.with_suffix(f".{uuid4().hex}")
        try:
            shutil.copy(self._empty, fresh)
            with suppress(FileExistsError):
                os.link(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)

    def _make_empty(self) -> None:
        """Make a database without events, as this version of Dagster does, for others to copy."""
        name = uuid4().hex
        url = create_db_conn_string(str(self._empty.parent), name)
        self._initdb(create_engine(url, poolclass=NullPool, connect_args=_TIMEOUT))
        os.replace(self._empty.with_name(f"{name}.db"), self._empty)
