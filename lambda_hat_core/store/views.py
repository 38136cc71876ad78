"""The views of llc.duckdb: each is one SELECT over parquet globs.

Every glob also matches an empty file with the table's schema, so that the views of a store without
results are empty rather than an error. No glob matches a folder whose name is no id, such as
`run_x.bak`.
"""

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple, get_args

from lambda_hat_core.store import records
from lambda_hat_core.store.store import SCHEMA, Store

DATABASE = "llc.duckdb"


class Source(NamedTuple):
    """The files of one schema, and the empty file that ensures that the glob matches something."""

    schema: records.Table
    files: str
    empty: str


_ID_OR_SCHEMA = "[_rt]*[s0-9a-f][c0-9a-f][h0-9a-f][e0-9a-f][m0-9a-f][a0-9a-f]"
"""The folder of the empty file, and those named by an id, which ends in twelve digits of its hash.
The pattern reads the last six characters, since the name of the former has no more."""

_SCHEMA_OR_TEMPERED = "[_r][su][cn][h_][et][me][am]*"
"""The folder of the empty file, and those of runs of `tempered`."""


def _part(schema: records.Table, folder: str, name: str) -> Source:
    """Return the files of a name in the artifacts of a folder."""
    return Source(schema, f"{folder}/{_ID_OR_SCHEMA}/{name}", f"{folder}/{SCHEMA}/{name}")


SOURCES = {
    "llc": _part("llc", "analyses", "estimate.parquet"),
    "failures": Source("llc", "failures/*run_*.parquet", "failures/_run_schema.parquet"),
    "targets": _part("targets", "targets", "target.parquet"),
    "unbuilt": Source("unbuilt", "failures/*tgt_*.parquet", "failures/_tgt_schema.parquet"),
    "run_checks": _part("checks", "analyses", "checks.parquet"),
    "target_checks": _part("checks", "targets", "checks.parquet"),
    "tempered": _part("llc", "analyses", "estimate.parquet")._replace(
        files=f"analyses/{_SCHEMA_OR_TEMPERED}/estimate.parquet"
    ),
    "draws": _part("draws", "analyses", "draws.parquet"),
    "profiles": _part("profiles", "analyses", "profile.parquet"),
    "experiments": Source(
        "experiments", "experiments/[!.]*.parquet", f"experiments/{SCHEMA}.parquet"
    ),
    "trials": Source("trials", "tuning/[!.]*/trials.parquet", f"tuning/{SCHEMA}/trials.parquet"),
    "trajectories": _part("trajectories", "targets", "checkpoint.parquet"),
    "observables": _part("observables", "analyses", "observables.parquet"),
    "covariances": _part("covariances", "analyses", "covariances.parquet"),
}
"""The sources of the views. Folders with temporary names start with a dot and do not match."""

_BY_NAME = "union_by_name = true"

VIEWS: tuple[records.Table, ...] = tuple(
    table for table in get_args(records.Table) if table != "unbuilt"
)
"""Every table is a view, but for failures of targets, which are part of `targets`."""


def statements(store: Store) -> dict[records.Table, str]:
    """Return the statement that creates each view; write missing seeds.

    The files are those beside llc.duckdb, wherever it lies, or those of the store if the views are
    in another database or llc.duckdb is attached to one.
    """
    write_seeds(store, [source for source in SOURCES if not seed(store, source).is_file()])
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
        WHERE run_id IS NOT NULL
    ) AS runs LEFT JOIN {_read(store, "experiments")} AS members
    ON members.run_id = runs.run_id
    LEFT JOIN (
        SELECT target_id, loss, restrict, nbeta, gamma, avg(llc) AS llc
        FROM {_read(store, "tempered")}
        WHERE verdict = 'ok' AND coalesce(settings, '') NOT LIKE '%"prior":%' GROUP BY ALL
    ) AS cold ON cold.target_id = runs.target_id AND cold.loss = runs.loss
    AND cold.restrict IS NOT DISTINCT FROM runs.restrict
    AND runs.sampler <> 'tempered' AND abs(cold.nbeta - runs.nbeta) <= 1e-6 * cold.nbeta
    AND abs(cold.gamma - runs.gamma) <= 1e-6 * cold.gamma
    AND coalesce(runs.settings, '') NOT LIKE '%"prior":%'
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
        UNION ALL SELECT {columns}, reasons[1], 1 FROM {unbuilt} WHERE target_id IS NOT NULL
    ) QUALIFY rank() OVER (PARTITION BY target_id ORDER BY rank) = 1"""


def _read(store: Store, source: str, *options: str) -> str:
    return f"read_parquet({', '.join([_glob(store, source), *options])})"


def _glob(store: Store, source: str) -> str:
    return f"{_root(store)} || {quoted(SOURCES[source].files)}"


def _root(store: Store) -> str:
    """Return an expression for the folder of the store, with a slash at the end, as a glob.

    A table function takes neither a subquery nor a column, but the value of a setting, and DuckDB
    derives the default of `temp_directory` from the path of the database that was opened.
    """
    found = f"current_setting('temp_directory'), '^(.*/)?{re.escape(DATABASE)}[.]tmp$'"
    escape = r"'([*?[])', '[\1]', 'g'"
    return (
        f"regexp_replace(CASE WHEN regexp_matches({found}) THEN regexp_extract({found}, 1) "
        f"ELSE {quoted(store.root)} || '/' END, {escape})"
    )


def write_seeds(store: Store, sources: Iterable[str]) -> None:
    """Write the empty files of some sources, with the columns of the current schema."""
    for source in sources:
        records.write(SOURCES[source].schema, [], seed(store, source))


def seed(store: Store, source: str) -> Path:
    """Return the empty file that a source's glob always matches."""
    return store.root / SOURCES[source].empty


def as_glob(text: str) -> str:
    """Return the glob that matches a path and nothing else, as the views write it."""
    return re.sub(r"([*?[])", r"[\1]", text)


def quoted(path: Path | str) -> str:
    """Return a path as a literal of SQL."""
    return "'" + str(path).replace("'", "''") + "'"


def matched(store: Store, source: Source) -> list[Path]:
    """Return the files of a source."""
    return sorted(store.root.glob(source.files))


def leaving_out(store: Store, statement: str, without: Collection[Path]) -> str:
    """Return a view's statement with lists of files for the globs that match one to leave out."""
    for name, source in SOURCES.items() if without else ():
        found = matched(store, source)
        if not set(found).isdisjoint(without):
            kept = ", ".join(quoted(path) for path in found if path not in without)
            statement = statement.replace(_glob(store, name), f"[{kept}]")
    return statement
