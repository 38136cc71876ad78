"""Imports of what every step needs, in the process from which steps are forked.

They must not start JAX or a thread, nor open a database or a socket, because the steps would
inherit it. The threads of OpenBLAS (numpy) and jemalloc (pyarrow) are exceptions: they support
forks.
"""

import importlib

_MODULES = (
    "alembic.command",
    "alembic.config",
    "alembic.runtime.migration",
    "dagster._cli",
    "dagster._core.launcher",
    "dagster._core.run_coordinator",
    "dagster._core.storage.event_log.sqlite.sqlite_event_log",
    "dagster._core.storage.fs_io_manager",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.root",
    "dagster._core.storage.runs.sqlite.sqlite_run_storage",
    "dagster._core.storage.schedules.sqlite.sqlite_schedule_storage",
    "dagster._core.storage.sqlite_storage",
    "duckdb",
    "pandas",  # imported by pyarrow as soon as it makes an array
    "pyarrow.parquet",
    "rich.logging",
    "sqlalchemy",
    "structlog",
    "upath",
    "lambda_hat_assets.definitions",
)

for _module in _MODULES:
    importlib.import_module(_module)
