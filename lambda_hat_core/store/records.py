"""Rows of the SQL tables, in parquet files with fixed schemas."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from lambda_hat_core.config.posterior import SELF_LABELLED
from lambda_hat_core.config.spec import Origin, RunSpec, TargetSpec
from lambda_hat_core.plan.labels import target_label
from lambda_hat_core.store import files

Table = Literal[
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
    "unbuilt",
]
Row = dict[str, Any]

_ARROW = {"text": "string", "int": "int64", "real": "float64", "bool": "bool"}


def _schema(columns: str) -> dict[str, str]:
    """Parse 'name:type name name:type'; a name without a type is a real number."""
    pairs = (column.partition(":") for column in columns.split())
    return {name: kind or "real" for name, _, kind in pairs}


SCHEMAS: dict[Table, dict[str, str]] = {
    "llc": _schema(
        "run_id:text target_id:text sampler:text flavour:text dtype:text seed:int loss:text n:int "
        "d:int nbeta gamma n_chains:int n_draws:int n_burn:int llc llc_se llc_lo llc_hi llc_known "
        "llc_oracle loss0 ess_bulk ess_tail r_hat v_m work_fge wall_s verdict:text reasons:texts "
        "created_at:time label:text settings:text acceptance n_divergent:int ess_min v_m_se "
        "at_minimum:bool descent restrict:text advice:texts "
        "stopped_by:text"
    ),
    "targets": _schema(
        "target_id:text kind:text label:text n:int d:int loss0 grad_norm min_eigenvalue llc_known "
        "llc_known_reason:text seed:int spec:text created_at:time"
    ),
    "checks": _schema(
        "run_id:text target_id:text name:text passed:bool severity:text value threshold words:text"
    ),
    "draws": _schema("run_id:text chain:int draw:int loss llc dist2 cumulative_fge"),
    "profiles": _schema(
        "run_id:text replica:int nbeta llc llc_se acceptance exchange_rate log_evidence "
        "log_evidence_se"
    ),
    "experiments": _schema("experiment:text target_id:text run_id:text"),
    "trials": _schema(
        "problem:text method:text number:int state:text parameters:text llc llc_se llc_ref "
        "objective v_m work_fge wall_s run_id:text reason:text study:text"
    ),
    "trajectories": _schema(
        "trajectory_id:text step:int target_id:text train_loss test_loss metric label:text"
    ),
    "observables": _schema("run_id:text name:text index:int mean se r_hat at_minimum"),
    "covariances": _schema("run_id:text a:text b:text index_a:int index_b:int cov se"),
}
SCHEMAS["unbuilt"] = SCHEMAS["targets"] | _schema("reasons:texts")
"""The columns of the files of every table, in order. Times are in UTC.

The views of `sql` are defined by them. The record of a failed run is a row of `llc`, and that of a
failed target a row of `unbuilt`.
"""


def write(table: Table, columns: Mapping[str, Any] | Sequence[Row], path: Path) -> None:
    """Write a parquet file of `table`, atomically.

    Args:
        table: determines the columns and their types.
        columns: the rows, or arrays by column name; missing columns are null.
        path: the file.
    """
    import pyarrow as pa
    from pyarrow import parquet

    special = {"texts": pa.list_(pa.string()), "time": pa.timestamp("us")}
    types = {
        name: special.get(kind) or pa.type_for_alias(_ARROW[kind])
        for name, kind in SCHEMAS[table].items()
    }
    if not isinstance(columns, Mapping):
        columns = {name: [row.get(name) for row in columns] for name in types}
    count = max((len(values) for values in columns.values()), default=0)
    arrays = [
        pa.array(columns.get(name, [None] * count), type=kind) for name, kind in types.items()
    ]
    content = pa.Table.from_arrays(arrays, schema=pa.schema(types.items()))
    files.write_atomic(path, lambda tmp: parquet.write_table(content, tmp))


def now() -> datetime:
    """Return the time in UTC, rounded to the second, as it is stored in the tables."""
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


def target_row(spec: Origin, meta: Mapping[str, Any] | None = None) -> Row:
    """Return the row of a target, from its spec and, if given, its meta.json."""
    found = {"label": target_label(spec, {})} if meta is None else meta
    row = {name: found.get(name) for name in SCHEMAS["targets"]}
    return row | {
        "target_id": spec.id,
        "kind": spec.model.kind,
        "seed": spec.seed,
        "spec": spec.model_dump_json(),
        "created_at": now(),
    }


def checkpoint_row(spec: TargetSpec, meta: Mapping[str, Any]) -> Row:
    """Return the row of a checkpoint in `trajectories`, from its spec and its meta.json."""
    row = {name: meta.get(name) for name in SCHEMAS["trajectories"]}
    return row | {"target_id": spec.id}


def run_row(spec: RunSpec) -> Row:
    """Return the columns of a run that are known before it runs."""
    sampler: Any = spec.sampler
    fixed = sampler.until is None
    return {
        "run_id": spec.id,
        "target_id": spec.target,
        "sampler": sampler.kind,
        "flavour": sampler.flavour,
        "dtype": spec.dtype,
        "seed": spec.seed,
        "loss": spec.posterior.loss,
        "restrict": None if spec.posterior.restrict is None else ", ".join(spec.posterior.restrict),
        "n_chains": sampler.n_chains,
        "n_draws": sampler.n_draws if fixed else None,
        "n_burn": getattr(sampler, "n_burn", 0) if fixed else None,
        "created_at": now(),
    }


_OWN_LABELS = {
    "off_centre_bias": 0.0,
    "is_minimum": True,
    "audit_reasons": [],
    "llc_known": None,
    "llc_known_reason": "the known coefficient is that of the target's labels, not of its outputs",
}
"""What replaces the audit of w*, which is an exact minimum of a loss with its own outputs."""


OF_ALL = "with all parameters, of which only some are sampled, "
"""Precedes what the audit of a target found, in a run of some of its parameters."""


def facts_of(spec: RunSpec, meta: Row) -> Row:
    """Return the facts of a target's meta.json that hold for a run.

    A known value is one of all parameters, and of the target's own labels. The audit too is one of
    all parameters: a minimum is one for some of them as well, but by how much the loss falls in a
    Newton step of all says nothing about a run of some.
    """
    if spec.posterior.restrict is not None:
        reason = "the known value is that of all parameters, and only some are sampled"
        meta = meta | {"llc_known": None, "llc_known_reason": reason, "multiplicity": None}
        said = [f"{OF_ALL}{first}" for first in meta["audit_reasons"][:1]]
        said += meta["audit_reasons"][1:]
        meta = meta | {"off_centre_bias": None, "audit_reasons": said}
    if spec.posterior.loss == SELF_LABELLED:
        meta = meta | _OWN_LABELS
    return meta


def write_draws(run_id: str, trace: Any, path: Path) -> None:
    """Write every retained draw of a run's trace, a `trace.Trace`."""
    import numpy as np

    n_chains, n_draws = trace.loss.shape
    columns = {
        "run_id": [run_id] * trace.loss.size,
        "chain": np.repeat(np.arange(n_chains), n_draws),
        "draw": np.tile(np.arange(n_draws), n_chains),
        "loss": trace.loss.ravel(),
        "llc": trace.llc.ravel(),
        "dist2": trace.dist2.ravel(),
        "cumulative_fge": np.tile(trace.cumulative_fge, n_chains),
    }
    write("draws", columns, path)


def write_checks(of: Row, checks: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the checks of a run or of a target, the id of which `of` has."""
    write("checks", [{**of, **check, "words": check["text"]} for check in checks], path)


def audited(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the audit in a target's meta.json as a check; a checkpoint need not be a minimum."""
    said = [*meta["audit_reasons"], *meta.get("audit_notes", [])]
    return {
        "name": "minimum",
        "passed": meta["is_minimum"] or meta.get("step") is not None,
        "severity": "warn",
        "value": meta.get("off_centre_bias"),
        "threshold": meta.get("audit_limit"),
        "text": "; ".join(said) or "w* passed its audit",
    }


def write_profile(run_id: str, replicas: Sequence[Any], path: Path) -> None:
    """Write what each replica of a run tells, a `tempering.Replica` each, coldest first."""
    rows = [
        {"run_id": run_id, "replica": index, **replica._asdict()}
        for index, replica in enumerate(replicas)
    ]
    write("profiles", rows, path)
