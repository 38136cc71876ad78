"""Errors of single draws of the llc whose losses are measured on batches."""

import math
from typing import NamedTuple

import numpy as np

from lambda_hat_core.samplers.trace import Trace

_LARGEST_ERROR = 5.0
"""Standard deviations within which the errors of all draws are."""


class Evaluation(NamedTuple):
    """Errors of single llc draws: the largest, and their share of the variance of the draws."""

    largest: float
    share: float | None


EXACT = Evaluation(0.0, None)


def evaluation(trace: Trace) -> Evaluation:
    """Return the errors of the draws of a trace, none of them if all examples were used."""
    variance = trace.stats.get("loss_variance")
    if variance is None:
        return EXACT
    errors = trace.nbeta**2 * np.asarray(variance, np.float64)
    spread = float(np.var(trace.llc))
    share = float(errors.mean()) / spread if spread > 0 else None
    return Evaluation(_LARGEST_ERROR * math.sqrt(float(errors.max())), share)
