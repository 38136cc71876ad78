"""Dagster's history in SQLite, made by one process at a time.

Two processes that make Dagster's databases at the same moment both write the schema's version, and
nothing opens them again. dagster.yaml names this class instead of the plain one.
"""

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
        """Open the databases of `base_dir`, or make them."""
        folder = Path(config_value["base_dir"])
        with _alone(folder):
            return cls(str(folder), inst_data)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
