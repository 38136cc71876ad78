"""Dagster's history in SQLite, made by one process at a time, whole or not at all.

Two processes that make Dagster's databases at the same moment both write the schema's version, and
nothing opens them again; a process that is killed while it makes them leaves tables of no version.
dagster.yaml names this class instead of the plain one.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sqlite import create_db_conn_string
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy.engine import Connection

from lambda_hat_assets.mends.event_log import Engines, Events

_LAST = "history"
"""The folder of databases that is put in place after the others."""


class Runs(SqliteRunStorage):
    """The table of runs, whose connection stays open as well."""

    def __init__(self, conn_string: str):
        super().__init__(conn_string)
        self._engines = Engines()

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Open one transaction."""
        with self._engines.connect(self._conn_string) as connection:
            yield connection

    def dispose(self) -> None:
        """Close what is open."""
        self._engines.close()


class History(DagsterSqliteStorage):
    """Runs, events and schedules under one folder."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None):
        DagsterStorage.__init__(self)  # without the three questions to Alembic
        self.base_dir, self._inst_data = base_dir, inst_data
        self._run_storage = Runs(create_db_conn_string(f"{base_dir}/{_LAST}", "runs"))
        self._event_log_storage = Events(f"{base_dir}/{_LAST}/runs")
        self._schedule_storage = SqliteScheduleStorage(
            create_db_conn_string(f"{base_dir}/schedules", "schedules")
        )

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "History":
        """Open the databases of `base_dir`, or make them."""
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
