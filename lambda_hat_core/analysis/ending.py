"""What ended a run: its precision, a budget, its length, or a failure."""

from typing import Any

from lambda_hat_core.config.samplers.base import Sampler
from lambda_hat_core.samplers.rule import Draws
from lambda_hat_core.samplers.trace import Trace

_UNITS = {"max_fge": "gradients", "max_draws": "draws per chain", "max_seconds": "seconds"}
_MENTIONED = 0.2
"""Smallest overrun of a budget that is mentioned, as a share of it."""


def ended(draws: Draws, spec: Sampler) -> dict[str, Any]:
    """Return the entries of a trace's `info` about the lengths of its run and what ended it."""
    return {
        "n_draws": draws.n_burn + draws.cumulative_work.size,
        "n_burn": draws.n_burn,
        "stopped_by": draws.stopped_by,
        "spent": draws.spent,
        "until": None if spec.until is None else spec.until.model_dump(),
        "least_burn": spec.least_burn,
    }


def ending(trace: Trace) -> dict[str, Any]:
    """Return the fields of an `Estimate` about the end of its run."""
    until, spent = trace.info.get("until"), trace.info.get("spent")
    if trace.failure is not None:
        return {"stopped_by": "failure"}
    if until is None:
        return {"stopped_by": "length"}
    budget = None if spent is None else float(until[spent])
    return {
        "stopped_by": trace.info["stopped_by"],
        "rel_se": until["rel_se"],
        "spent": spent,
        "budget": budget,
        "overrun": _overrun(trace, budget) if spent == "max_fge" else 0.0,
        "n_burn": trace.info["n_burn"],
        "least_burn": trace.info["least_burn"],
    }


def _overrun(trace: Trace, budget: float | None) -> float:
    """Return by how much a run is above its budget; what was tried before it is not its own."""
    own = trace.work_fge - trace.work.get("choice", 0.0)
    return max(own - (budget or own), 0.0)


def in_burn_in(least: int, made: int, spent: str, budget: float) -> str:
    """Return that a budget was spent before the burn-in was over.

    Args:
        least: draws per chain that are burn-in at least.
        made: draws per chain that were made.
        spent: name of the budget.
        budget: its value.
    """
    return (
        f"the budget ended in the burn-in: the preconditioner changes in the first {least} draws "
        f"per chain, but only {made} were made before {spent} ({budget:,.10g} {_UNITS[spent]}) was "
        "spent"
    )


def too_early(share: float, rel_se: float, spent: str, budget: float, overrun: float) -> str:
    """Return that a budget was spent before the precision was reached.

    Args:
        share: standard error of the llc, as a share of it.
        rel_se: that which was asked for.
        spent: name of the budget.
        budget: its value.
        overrun: by how much the run is above it. A warm-up that has begun is not cut short.
    """
    above = overrun > _MENTIONED * budget
    used = f" (warm-up and first draws took {budget + overrun:,.0f})" if above else ""
    return (
        f"the budget of {budget:,.10g} {_UNITS[spent]} was spent{used} at a standard error of "
        f"{100 * share:.2g} % (asked for: {100 * rel_se:.3g} %)"
    )
