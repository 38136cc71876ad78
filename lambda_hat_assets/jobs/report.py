"""The report that the last step of `llc` prints: the estimates, and the reasons of failures."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lambda_hat_core.plan.plan import Plan
from lambda_hat_core.store import failures, sql
from lambda_hat_core.store.store import Store
from lambda_hat_core.store.views import quoted

_MOST_LINES = 40


class ReportRow(NamedTuple):
    """The facts of one run that are printed."""

    run: str
    target: str
    sampler: str
    llc: float | None
    se: float | None
    oracle: float | None
    known: float | None
    verdict: str
    reasons: list[str]
    advice: list[str] | None = None


def note_blocked(store: Store, plan: Plan) -> None:
    """Record why targets and runs could not start: their training or their target was not made."""
    for id, spec in plan.targets.items():
        training = spec.trained_by
        if training is None or store.is_complete("targets", id):
            continue
        why = failures.read_failure(store, training.id)
        if why is not None:
            failures.write_failure(store, spec, f"its training {training.id} failed: {why}")
    for id, spec in plan.runs.items():
        if store.is_complete("targets", spec.target) or store.is_complete("analyses", id):
            continue
        why = failures.read_failure(store, spec.target) or "it was not made"
        failures.write_failure(store, spec, f"its target {spec.target} failed: {why}")


def rows(store: Store, experiment: str) -> tuple[list[ReportRow], Sequence[Path]]:
    """Return the experiment's rows of `llc`, and the damaged files that were left out."""
    found = sql.query(
        store,
        "SELECT run_id, target_id, sampler, llc, llc_se, llc_oracle, llc_known, "
        f"verdict, reasons, advice FROM llc WHERE experiment = {quoted(experiment)} "
        "ORDER BY trajectory_id NULLS FIRST, step, target_id, sampler, run_id",
    )
    return [ReportRow(*row) for row in found.rows], found.left_out


def table(found: list[ReportRow], labels: dict[str, str]) -> list[str]:
    """Return the rows as lines, grouped by target."""
    lines: list[str] = []
    target = ""
    for row in found[:_MOST_LINES]:
        if row.target != target:
            target = row.target
            lines.append(f"{target}  {labels.get(target, '')}")
        lines.append(f"  {row.run:28} {_estimate(row)}")
    if len(found) > _MOST_LINES:
        lines.append(f"  and {len(found) - _MOST_LINES} more: lambda-hat sql 'from llc'")
    return lines


def _estimate(row: ReportRow) -> str:
    more = f" and {len(row.reasons) - 1} more" if len(row.reasons) > 1 else ""
    way_out = f": set {row.advice[0]}" if row.advice else ""
    first = f"{row.reasons[0]}{way_out}{more}" if row.reasons else "no reason given"
    if row.llc is None:
        return f"failed: {first}"
    error = "" if row.se is None else f" +- {row.se:.2g}"
    known = "" if row.known is None else f"  known lambda {row.known:.4g}"
    exact = known if row.oracle is None else f"  exact {row.oracle:.4g}"
    why = f" ({first})" if row.reasons else ""
    return f"llc {row.llc:8.4g}{error}{exact}  {row.verdict}{why}"


def failed(found: list[ReportRow], plan: Plan) -> dict[str, str]:
    """Return the reasons why runs of the plan have no usable estimate, by id."""
    reasons = {row.run: "; ".join(row.reasons) for row in found if row.verdict == "failed"}
    there = {row.run for row in found}
    return reasons | {run: "it was not run" for run in plan.runs if run not in there}
