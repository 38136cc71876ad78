"""Records of runs, targets and trainings that could not be made: rows for SQL, with tracebacks."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lambda_hat_core.config.spec import Origin, RunSpec
from lambda_hat_core.plan.labels import run_label
from lambda_hat_core.store import files, records
from lambda_hat_core.store.store import Store
from lambda_hat_core.store.tables import Damaged, read_table


def failure_path(store: Store, id: str) -> Path:
    """Return the path of the failure record of a run or target."""
    return store.root / "failures" / f"{id}.parquet"


def write_failure(
    store: Store, spec: RunSpec | Origin, reason: str, details: str | None = None
) -> records.Row:
    """Record that a run or target could not be made, as a row of `llc` or of `targets`.

    The record of a training has the columns of a target's, but no view shows it.

    Args:
        store: the store.
        spec: the run, target or training that failed.
        reason: the reason in one line.
        details: a traceback, stored in a text file next to the record.

    Returns:
        The row.
    """
    is_run = isinstance(spec, RunSpec)
    row = records.run_row(spec) if is_run else records.target_row(spec)
    row |= {"verdict": "failed", "reasons": [" ".join(reason.split())]}
    if is_run:
        row |= {
            "stopped_by": "failure",
            "label": run_label(spec, _target_label(store, spec.target)),
        }
    path = failure_path(store, spec.id)
    records.write("llc" if is_run else "unbuilt", [row], path)
    if details is not None:
        files.write_atomic(path.with_suffix(".txt"), details)
    return row


def _target_label(store: Store, id: str) -> str:
    """Return the label of a target that was made or could not be; its id if it has none."""
    try:
        return json.loads((store.path("targets", id) / "meta.json").read_bytes())["label"] or id
    except (OSError, ValueError, KeyError, TypeError):
        pass
    try:
        return read_table(failure_path(store, id), columns=["label"])[0]["label"] or id
    except (FileNotFoundError, Damaged, IndexError):
        return id


def note_failure(store: Store, spec: RunSpec | Origin, end: Mapping[str, Any]) -> None:
    """Record how a request failed, unless the worker already did so before it died.

    Args:
        store: the store.
        spec: the run, target or training that the worker was asked for.
        end: the event that ended the request; it is ignored if the request succeeded or was
            stopped on purpose.
    """
    if end["event"] != "failed" or end["cause"] == "stopped":
        return
    if read_failure(store, spec.id) != end["reason"]:
        write_failure(store, spec, end["reason"])


def clear_failure(store: Store, id: str) -> None:
    """Delete the failure record of `id`, if there is one."""
    path = failure_path(store, id)
    path.unlink(missing_ok=True)
    path.with_suffix(".txt").unlink(missing_ok=True)


def read_failure(store: Store, id: str) -> str | None:
    """Return why the last attempt at `id` failed; None if it did not, or the record is damaged."""
    try:
        rows = read_table(failure_path(store, id), columns=["reasons"])
    except (FileNotFoundError, Damaged):
        return None
    reasons = [reason for row in rows for reason in row["reasons"] or ()]
    return reasons[0] if reasons else None
