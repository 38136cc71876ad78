"""Dagster's history in SQLite, opened by one process at a time.

The fault: of two processes that make the databases of `DagsterSqliteStorage` at the same moment one
takes the other's tables for those of an old release, so that two versions are noted, and nothing
opens the history again. dagster.yaml names this class instead.
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
        """Open the databases of `base_dir`, which are made where they are missing."""
        folder = Path(config_value["base_dir"])
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            return cls.from_local(str(folder), inst_data)
