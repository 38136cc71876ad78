"""Dagster's history in SQLite, opened by one process at a time.

The fault: if two processes create the databases of `DagsterSqliteStorage` at the same moment, one
of them takes the other's tables for those of an old release. Two schema versions are then recorded,
and the history can never be opened again. dagster.yaml selects this class instead.
"""

import fcntl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData


class History(DagsterSqliteStorage):
    """Runs, events and schedules under one folder."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "History":
        """Open the databases in `base_dir`; missing ones are created."""
        folder = Path(config_value["base_dir"])
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            return cls.from_local(str(folder), inst_data)
