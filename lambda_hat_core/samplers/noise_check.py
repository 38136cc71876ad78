"""Whether the noise of batches is still what it was where the chains began.

Less noise is injected to make up for a batch's own, as it was measured where the pilot arrived. A
flat direction may not have come far by then, and the noise of batches grows on the way: with a
control variate it is all due to the distance from w*, and where few rows have all of the curvature
of a direction, it is many times its mean. On a regression with 30 features that 10 to 40 of 20,000
rows have, chains began at a third of their variance there, and read 10 % too much. So it is
measured once more where the chains have come to.
"""

from typing import Any

import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.config.samplers.constant import Constant
from lambda_hat_core.config.samplers.known import ChainSpec
from lambda_hat_core.config.samplers.stochastic import Sghmc, Sgld
from lambda_hat_core.linalg.host import generator, hosted
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers import overdamped, sghmc
from lambda_hat_core.samplers.coordinates import Coordinates
from lambda_hat_core.samplers.gradients import GradientEstimate
from lambda_hat_core.samplers.kernel import Kernel
from lambda_hat_core.samplers.modes import BATCHES, PROBE, batch_gradients, variance_along, widths
from lambda_hat_core.samplers.product_metric import Metric, variance_in


def is_made_up_for(spec: ChainSpec, kernel: Kernel) -> bool:
    """Return whether a sampler injects less noise because of a batch's own."""
    is_constant = isinstance(spec, Constant)
    return is_constant and spec.makes_up and spec.whitens and kernel.has_noise


def _probe(kernel: Any) -> GradientEstimate:
    return kernel.estimate.on(min(PROBE, kernel.estimate.batch_size))


def check_work(kernel: Kernel, n_chains: int) -> float:
    """Full-gradient evaluations that `heated` takes."""
    return _probe(kernel).work * n_chains * BATCHES


def heated(
    key: PRNGKeyArray,
    spec: Sgld | Sghmc,
    kernel: Any,
    info: dict[str, Any],
    at: Float[Array, "chain d"],
) -> float:
    """Predict how far noise that is not made up for raises the llc, at the larger step size.

    Half a unit for every direction whose variance it doubles, whatever curvature the metric saw
    there: noise of batches is where single rows have curvature.

    Args:
        key: draws the batches.
        spec: the settings of the run.
        kernel: made up for the noise that the set-up had measured.
        info: what the set-up chose.
        at: where the chains have come to.
    """
    estimate = _probe(kernel)
    found = batch_gradients(generator(key), estimate, at)
    share = estimate.batch_size / kernel.estimate.batch_size
    noise, size = _noise(kernel.coordinates, kernel.posterior, found)
    more = share * noise - np.asarray(kernel.heat, np.float64)
    return 0.5 * _per_noise(spec, info) * float(size @ more)


def _noise(
    metric: Metric, posterior: Posterior, found: Any
) -> tuple[Float[np.ndarray, " mode"], Float[np.ndarray, " mode"]]:
    """Return the variance of A g along each of the metric's own directions, and what it is for."""
    nbeta = float(posterior.nbeta)
    if isinstance(metric, Coordinates):
        vectors = hosted(metric.vectors)
        k, d = vectors.shape
        width = widths(metric)
        variance, size = variance_along(found, vectors), np.append(np.ones(k), d - k)
    else:
        width = np.asarray(metric.width, np.float64)
        variance, size = variance_in(found, hosted(metric.basis)), np.ones_like(width)
    return nbeta**2 * width**2 * variance, size


def _per_noise(spec: Sgld | Sghmc, info: dict[str, Any]) -> float:
    """Return the relative rise of a direction's variance, per variance of A g."""
    step = info["step_size"]
    if isinstance(spec, Sgld):
        return overdamped.HEAT * step
    return sghmc.heat_of(info["alpha"]) * step**2
