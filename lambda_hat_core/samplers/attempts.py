"""A run of a minibatch sampler whose step turns out to be too large is made again.

The step comes from the curvature that the pilot met, and there are two ways in which that is not
what the chains meet. Where the curvature has no bound, as along the arms of a crossing, a chain
sooner or later comes to where the step is unstable. How far out that is grows as the step shrinks,
and the localiser makes the way there exponentially rarer. The same happens where a few rows have
most of the curvature, in a batch that has one of them. So a run whose loss is no longer finite, or
too high for the posterior, begins again where the pilot had arrived, with steps from a quarter of
the stiffness.

And where many directions are flat, as in a product of matrices of low rank, the pilot is too short
to go as far as the posterior does, and curvature grows on the way: forty times in a deep linear
network whose |w - w*|^2 was 320 after the pilot and 1490 at equilibrium. The draws at two step
sizes show that as a bias. So a run with a clear one sets itself up again where its chains are, and
if the bias is still clear there, with steps from a quarter of the stiffness too.

The noise of batches, too, may have grown on the way (`noise_check`). A run for which injected noise
makes up wrongly begins again where its chains are, with the noise that is found there; if that has
grown once more, with smaller steps.

Nothing of this changes a run to which none of it happens.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lambda_hat_core.config.samplers.known import ChainSpec
from lambda_hat_core.config.samplers.stochastic import Sghmc, Sgld, Sgnht
from lambda_hat_core.posterior import Posterior

MOST = 5
"""Attempts before a run counts as failed; the last one's step is 1 / 256 of the first one's for
`sgld`, and 1 / 16 for `sghmc` and `sgnht`, if all were made smaller."""

SMALLER = 0.25
"""step_fraction of an attempt, relative to what limited the step of the one before."""

_BEYOND = 100.0
"""How far the llc of a single draw may be above -log Z of a quadratic."""


def adapts(spec: ChainSpec) -> bool:
    """Return whether a run may be made again: if its step size is that of a measured curvature."""
    return isinstance(spec, Sgld | Sghmc | Sgnht) and spec.step_size == "auto"


def calmer(spec: ChainSpec, info: Mapping[str, Any]) -> ChainSpec:
    """Return the settings with which a run whose chains left is made again.

    Args:
        spec: the settings of the run.
        info: what its set-up found.
    """
    assert isinstance(spec, Sgld | Sghmc | Sgnht)
    fraction = spec.fraction
    if info["step_limited_by"] != "curvature":
        power = 1 if isinstance(spec, Sgld) else 2
        fraction = min(fraction, info["step_size"] ** power * info["mu_max"])
    return spec.model_copy(update={"step_fraction": SMALLER * fraction})


def told(before: list[dict[str, Any]]) -> str:
    """Return the attempts that were made again and why, as `info["attempts"]` has them."""
    return "; ".join(f"at step size {one['step_size']:.3g} {one['why']}" for one in before)


def highest(posterior: Posterior, h_max: float) -> float:
    """Return an llc that no draw of the posterior has.

    A fraction exp(-t) / Z of the posterior at most has nbeta (L_n - L_n(w*)) > t, with Z its
    evidence under the localiser as the prior. On a quadratic -log Z is at most d/2 log(1 + nbeta
    h_max / gamma); a prior of its own adds what it costs to be at w*. A hundred times as much is
    beyond what the curvature elsewhere can make of it.
    """
    nbeta, gamma = float(posterior.nbeta), float(posterior.gamma)
    size = posterior.w0.size
    stiff = 0.5 * size * math.log1p(nbeta * max(h_max, 0.0) / gamma) if gamma > 0 else math.inf
    squared = float(np.sum(np.square(np.asarray(posterior.w0, np.float64))))
    away = 0.5 * (posterior.prior_precision or 0.0) * squared
    return _BEYOND * (1.0 + stiff + away)
