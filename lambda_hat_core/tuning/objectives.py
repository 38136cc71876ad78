"""The objective of a trial, which is minimised.

The types are abs |llc - ref|, huber, and certificate |log V_M| + se. With `cost`, (bias^2 + se^2)
FGE is added: the work after which the error would be 1, the analogue of the work-normalised
variance of an unbiased sampler. Without a reference the bias is llc log V_M: if the posterior is
Gaussian, V_M is the factor by which the weighted variance, and therefore the llc, is wrong.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from lambda_hat_core.config.study import Objective


class Measured(NamedTuple):
    """The results of a run, possibly intermediate ones; None if unknown.

    Attributes:
        llc: the estimate.
        se: its standard error.
        v_m: virial certificate.
        work_fge: full-gradient evaluations spent so far.
    """

    llc: float | None
    se: float | None
    v_m: float | None
    work_fge: float


def value(objective: Objective, runs: Sequence[Measured], reference: float | None) -> float:
    """Return the objective, averaged over a trial's runs.

    Args:
        objective: the settings of the objective.
        runs: the results of the trial's runs, one per seed.
        reference: the llc that `abs` and `huber` compare with.

    Raises:
        ValueError: if a number is missing or not finite; the error names it.
    """
    base = [_base(objective, run, reference) for run in runs]
    cost = _cost(runs, reference if objective.needs_reference else None) if objective.cost else 0.0
    total = math.fsum(base) / len(base) + cost
    if not math.isfinite(total):
        raise ValueError(f"the objective is {total}")
    return total


def _base(objective: Objective, run: Measured, reference: float | None) -> float:
    if objective.type == "certificate":
        return abs(_log_v_m(run)) + _known(run.se, "the standard error")
    if reference is None:
        raise ValueError(f"the objective {objective.type} needs a reference, and there is none")
    off = abs(_known(run.llc, "the llc") - reference)
    if objective.type == "abs":
        return off
    delta = objective.delta
    return off**2 / 2 if off <= delta else delta * (off - delta / 2)


def _cost(runs: Sequence[Measured], reference: float | None) -> float:
    """Return (bias^2 + se^2) FGE per run, with the bias of the mean over all runs."""
    count = len(runs)
    llc = math.fsum(_known(run.llc, "the llc") for run in runs) / count
    if reference is None:
        bias = llc * math.fsum(_log_v_m(run) for run in runs) / count
    else:
        bias = llc - reference
    variance = math.fsum(_known(run.se, "the standard error") ** 2 for run in runs) / count
    return (bias**2 + variance) * math.fsum(run.work_fge for run in runs) / count


def _log_v_m(run: Measured) -> float:
    v_m = _known(run.v_m, "V_M")
    if v_m <= 0:
        raise ValueError(
            f"V_M is {v_m:.3g}, which is impossible at equilibrium: the chains drift away"
        )
    return math.log(v_m)


def _known(number: float | None, what: str) -> float:
    if number is None:
        raise ValueError(f"{what} could not be computed")
    return number
