"""What it does to the draws of the LLC that their losses are measured on some of the examples."""

import math
from typing import NamedTuple

import numpy as np

from lambda_hat_core.samplers.trace import Trace

_LARGEST_ERROR = 5.0
"""Standard deviations within which the errors of all draws are."""


class EvaluationNoise(NamedTuple):
    """Errors of single LLC draws: the largest, and their share of the variance of the draws."""

    largest: float
    share: float | None


NO_NOISE = EvaluationNoise(0.0, None)


def evaluation_noise(trace: Trace) -> EvaluationNoise:
    """Return the errors of the draws of a run, none if their losses are those of all examples."""
    variance = trace.stats.get("loss_variance")
    if variance is None:
        return NO_NOISE
    errors = trace.nbeta**2 * np.asarray(variance, np.float64)
    spread = float(np.var(trace.llc))
    share = float(errors.mean()) / spread if spread > 0 else None
    return EvaluationNoise(_LARGEST_ERROR * math.sqrt(float(errors.max())), share)
