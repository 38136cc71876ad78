"""Dagster's history in SQLite, made by one process at a time, whole or not at all.

Two processes that make Dagster's databases at the same moment both write the schema's version, and
nothing opens them again; a process that is killed while it makes them leaves tables of no version.
And Dagster makes an engine for every event, with every statement compiled anew: half of what it
costs to record a run. dagster.yaml names this class instead of the plain one.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS, create_db_conn_string
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool

_IS_DEV, _MODULE = "DAGSTER_IS_DEV_CLI", "DAGSTER_MODULE_NAME"

_LAST = "history"
"""The folder of databases that is put in place after the others."""


_ENGINES = 64
"""Databases, one a Dagster run, whose engine a process keeps; a run's step writes to three."""


@lru_cache(maxsize=_ENGINES)
def _engine(url: str) -> Engine:
    """Return an engine that holds no connection, so that threads may share it."""
    return create_engine(
        url, poolclass=NullPool, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
    )


class Events(SqliteEventLogStorage):
    """The event log, which keeps its engines and with them its compiled statements."""

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = _engine(self.conn_string_for_shard(shard))
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection


class Runs(SqliteRunStorage):
    """The table of runs, with an engine that is kept as well."""

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Open one transaction."""
        with _engine(self._conn_string).connect() as connection, connection.begin():
            yield connection


class History(DagsterSqliteStorage):
    """Runs, events and schedules under one folder."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None):
        super().__init__(base_dir, inst_data)
        folder = Path(base_dir, _LAST)
        self._run_storage = Runs(create_db_conn_string(str(folder), "runs"))
        self._event_log_storage = Events(str(folder / "runs"))

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "History":
        """Open the databases of `base_dir`, or make them.

        In `dagster dev` this is the last that runs before its server and its daemon start. Both are
        given a workspace, and end, without a word, if the environment names a module as well, which
        `dagster job execute` needs.
        """
        if os.environ.get(_IS_DEV):
            os.environ.pop(_MODULE, None)
        folder = Path(config_value["base_dir"])
        with _alone(folder):
            if not (folder / _LAST).exists():
                _make(folder)
            return cls(str(folder), inst_data)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(folder: Path) -> None:
    """Make the databases beside their place, and put them there."""
    fresh = folder / ".fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    DagsterSqliteStorage(str(fresh)).dispose()
    for part in sorted(fresh.iterdir(), key=lambda part: part.name == _LAST):
        place = folder / part.name
        shutil.rmtree(place, ignore_errors=True)
        os.rename(part, place)
    fresh.rmdir()
