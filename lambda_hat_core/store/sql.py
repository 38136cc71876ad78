"""llc.duckdb: views over parquet globs and nothing else, so that writers never conflict.

Every glob also matches an empty file with the table's schema, so that the views of a store without
results are empty rather than an error. DuckDB is imported inside functions.
"""

import hashlib
import re
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from lambda_hat_core.store import files, records
from lambda_hat_core.store.store import SCHEMA, Store

DATABASE = "llc.duckdb"


class _Source(NamedTuple):
    """The files of one schema, and the empty file that ensures that the glob matches something."""

    schema: records.Table
    files: str
    empty: str


_SCHEMA_OR_TEMPERED = "[_r][su][cn][h_][et][me][am]*"
"""The folder of the empty file, and those of runs of `tempered`."""

_SOURCES = {
    "llc": _Source("llc", "analyses/[_r]*/estimate.parquet", f"analyses/{SCHEMA}/estimate.parquet"),
    "failures": _Source("llc", "failures/*run_*.parquet", "failures/_run_schema.parquet"),
    "targets": _Source(
        "targets", "targets/[_t]*/target.parquet", f"targets/{SCHEMA}/target.parquet"
    ),
    "unbuilt": _Source("unbuilt", "failures/*tgt_*.parquet", "failures/_tgt_schema.parquet"),
    "run_checks": _Source(
        "checks", "analyses/[_r]*/checks.parquet", f"analyses/{SCHEMA}/checks.parquet"
    ),
    "target_checks": _Source(
        "checks", "targets/[_t]*/checks.parquet", f"targets/{SCHEMA}/checks.parquet"
    ),
    "tempered": _Source(
        "llc",
        f"analyses/{_SCHEMA_OR_TEMPERED}/estimate.parquet",
        f"analyses/{SCHEMA}/estimate.parquet",
    ),
    "draws": _Source("draws", "analyses/[_r]*/draws.parquet", f"analyses/{SCHEMA}/draws.parquet"),
    "profiles": _Source(
        "profiles", "analyses/[_r]*/profile.parquet", f"analyses/{SCHEMA}/profile.parquet"
    ),
    "experiments": _Source(
        "experiments", "experiments/[!.]*.parquet", f"experiments/{SCHEMA}.parquet"
    ),
    "trials": _Source("trials", "tuning/[!.]*/trials.parquet", f"tuning/{SCHEMA}/trials.parquet"),
    "trajectories": _Source(
        "trajectories", "targets/[_t]*/checkpoint.parquet", f"targets/{SCHEMA}/checkpoint.parquet"
    ),
    "observables": _Source(
        "observables",
        "analyses/[_r]*/observables.parquet",
        f"analyses/{SCHEMA}/observables.parquet",
    ),
    "covariances": _Source(
        "covariances",
        "analyses/[_r]*/covariances.parquet",
        f"analyses/{SCHEMA}/covariances.parquet",
    ),
}
"""The sources of the views. Folders with temporary names start with a dot and do not match."""

_BY_NAME = "union_by_name = true"

VIEWS: tuple[records.Table, ...] = (
    "llc",
    "targets",
    "checks",
    "draws",
    "profiles",
    "experiments",
    "trials",
    "trajectories",
    "observables",
    "covariances",
)


def refresh(store: Store) -> Path:
    """Write a new llc.duckdb and replace the old one, without disturbing its readers."""
    path = store.root / DATABASE
    _write_seeds(store, _SOURCES)
    views = _views(store)
    files.sweep(store.root)
    files.write_atomic(path, lambda tmp: _build(views, tmp))
    return path


def is_fresh(store: Store) -> bool:
    """Return whether llc.duckdb exists and its views refer to this folder."""
    import duckdb

    path = store.root / DATABASE
    if not path.exists() or not all(_seed(store, source).exists() for source in _SOURCES):
        return False
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            found = connection.execute(
                "SELECT comment FROM duckdb_views() WHERE view_name = 'llc'"
            ).fetchall()
    except duckdb.Error:
        return False
    return found == [(_fingerprint(_views(store)),)]


def connect(store: Store) -> Any:
    """Return a DuckDB connection with the views; llc.duckdb is neither needed nor opened."""
    import duckdb

    connection = duckdb.connect()
    for statement in _views(store).values():
        connection.execute(statement)
    return connection


class Table(NamedTuple):
    """The result of a query."""

    names: list[str]
    rows: list[tuple[Any, ...]]


def query(store: Store, statement: str) -> Table:
    """Run one SQL statement on the views.

    Raises:
        ValueError: if DuckDB rejects the statement.
    """
    import duckdb

    with connect(store) as connection:
        try:
            cursor = connection.execute(statement)
            return Table([column[0] for column in cursor.description or ()], cursor.fetchall())
        except duckdb.Error as error:
            message = " ".join(str(error).split("\n\nLINE")[0].split())
            raise ValueError(f"this SQL cannot be run: {message}") from error


def show(table: Table, longest: int | None = 60) -> str:
    """Return a table as aligned text, with numbers to the right and absent values as null.

    Args:
        table: the result of a query.
        longest: longer cells are shortened and end in dots; None: no cell is shortened.
    """
    cells = [[_cell(value, longest) for value in row] for row in table.rows]
    widths = [max(map(len, column)) for column in zip(table.names, *cells, strict=True)]
    right = [
        any(isinstance(row[i], int | float | Decimal) for row in table.rows)
        for i in range(len(table.names))
    ]

    def line(row: list[str]) -> str:
        parts = (
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, right, strict=True)
        )
        return "  ".join(parts).rstrip()

    return "\n".join(
        [line(table.names), line(["-" * width for width in widths]), *map(line, cells)]
    )


def _cell(value: Any, longest: int | None) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.6g}"
        case list():
            text = f"[{', '.join(_cell(item, None) for item in value)}]"
        case _:
            text = " ".join(str(value).split())
    return text if longest is None or len(text) <= longest else f"{text[: longest - 3]}..."


def _build(views: dict[records.Table, str], path: Path) -> None:
    import duckdb

    try:
        with duckdb.connect() as connection:
            connection.execute(f"ATTACH {_quoted(path)} AS built (STORAGE_VERSION 'v1.0.0')")
            connection.execute("USE built")
            for statement in views.values():
                connection.execute(statement)
            connection.execute(f"COMMENT ON VIEW llc IS '{_fingerprint(views)}'")
            connection.execute("USE memory")
            connection.execute("DETACH built")
    except duckdb.IOException as error:
        path.with_name(f"{path.name}.wal").unlink(missing_ok=True)
        raise files.refused(str(error)) from error


def _fingerprint(views: dict[records.Table, str]) -> str:
    return hashlib.sha256("\n".join(views.values()).encode()).hexdigest()


def _views(store: Store) -> dict[records.Table, str]:
    """Return the statement that creates each view, with absolute paths; write missing seeds."""
    _write_seeds(store, [source for source in _SOURCES if not _seed(store, source).exists()])
    special = {"llc": _llc(store), "targets": _targets(store), "checks": _checks(store)}
    selects: dict[records.Table, str] = {
        view: special[view] if view in special else _plain(store, view) for view in VIEWS
    }
    return {view: f"CREATE VIEW {view} AS {select}" for view, select in selects.items()}


def _plain(store: Store, view: records.Table) -> str:
    return f"SELECT {', '.join(records.SCHEMAS[view])} FROM {_read(store, view)}"


def _llc(store: Store) -> str:
    """Select analyses, failures of runs without one, their experiments and their checkpoints.

    A run without an exact value has that of a run of `tempered` on the same posterior, which may
    have been analysed later.

    Failures are read by column name, because older versions wrote fewer columns. For analyses that
    would take three times as long.
    """
    columns = [f"runs.{name}" for name in records.SCHEMAS["llc"]]
    columns[columns.index("runs.llc_oracle")] = "coalesce(runs.llc_oracle, cold.llc) AS llc_oracle"
    columns.insert(2, "members.experiment")
    at = columns.index("runs.restrict")
    columns[at:at] = ["checkpoints.step", "checkpoints.trajectory_id"]
    return f"""SELECT {", ".join(columns)} FROM (
        SELECT *, 0 AS rank FROM {_read(store, "llc")}
        UNION ALL BY NAME SELECT *, 1 AS rank FROM {_read(store, "failures", _BY_NAME)}
    ) AS runs LEFT JOIN {_read(store, "experiments")} AS members
    ON members.run_id = runs.run_id
    LEFT JOIN (
        SELECT target_id, loss, nbeta, gamma, avg(llc) AS llc FROM {_read(store, "tempered")}
        WHERE verdict = 'ok' GROUP BY ALL
    ) AS cold ON cold.target_id = runs.target_id AND cold.loss = runs.loss
    AND runs.sampler <> 'tempered' AND abs(cold.nbeta - runs.nbeta) <= 1e-6 * cold.nbeta
    AND abs(cold.gamma - runs.gamma) <= 1e-6 * cold.gamma
    LEFT JOIN {_read(store, "trajectories")} AS checkpoints
    ON checkpoints.target_id = runs.target_id
    QUALIFY rank() OVER (PARTITION BY runs.run_id ORDER BY runs.rank) = 1"""


def _checks(store: Store) -> str:
    columns = ", ".join(records.SCHEMAS["checks"])
    parts = (_read(store, source) for source in ("run_checks", "target_checks"))
    return " UNION ALL ".join(f"SELECT {columns} FROM {part}" for part in parts)


def _targets(store: Store) -> str:
    """Select targets, and those that could not be built with the reason.

    Failure records are read by column name, because older versions wrote fewer columns.
    """
    columns = ", ".join(records.SCHEMAS["targets"])
    unbuilt = _read(store, "unbuilt", _BY_NAME)
    return f"""SELECT {", ".join(records.SCHEMAS["targets"])}, failure FROM (
        SELECT {columns}, NULL AS failure, 0 AS rank FROM {_read(store, "targets")}
        UNION ALL SELECT {columns}, reasons[1], 1 FROM {unbuilt}
    ) QUALIFY rank() OVER (PARTITION BY target_id ORDER BY rank) = 1"""


def _read(store: Store, source: str, *options: str) -> str:
    root = re.sub(r"([*?[])", r"[\1]", str(store.root))
    return f"read_parquet({', '.join([_quoted(f'{root}/{_SOURCES[source].files}'), *options])})"


def _write_seeds(store: Store, sources: Iterable[str]) -> None:
    """Write the empty files of some sources, with the columns of the current schema."""
    for source in sources:
        records.write(_SOURCES[source].schema, [], _seed(store, source))


def _seed(store: Store, source: str) -> Path:
    """Return the empty file that a source's glob always matches."""
    return store.root / _SOURCES[source].empty


def _quoted(path: Path | str) -> str:
    return "'" + str(path).replace("'", "''") + "'"
