"""What ended a run: its precision, a budget, its length, or a failure."""

from typing import Any

from lambda_hat_core.config.samplers.base import Sampler
from lambda_hat_core.samplers.rule import Draws
from lambda_hat_core.samplers.trace import Trace

_UNITS = {"max_fge": "gradients", "max_draws": "draws per chain", "max_seconds": "seconds"}
_FAR_ABOVE = 1.2
"""Work in units of its budget, from which on it is said."""


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
        "n_burn": trace.info["n_burn"],
        "least_burn": trace.info["least_burn"],
    }


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


def too_early(share: float, rel_se: float, spent: str, budget: float, work: float) -> str:
    """Return that a budget was spent before the precision was reached.

    Args:
        share: standard error of the llc, as a share of it.
        rel_se: that which was asked for.
        spent: name of the budget.
        budget: its value.
        work: full-gradient evaluations of the run. A warm-up that has begun is not cut short, so
            that it may be far above the budget.
    """
    above = spent == "max_fge" and work > _FAR_ABOVE * budget
    used = f" (warm-up and first draws took {work:,.0f})" if above else ""
    return (
        f"the budget of {budget:,.10g} {_UNITS[spent]} was spent{used} at a standard error of "
        f"{100 * share:.2g} % (asked for: {100 * rel_se:.3g} %)"
    )
