"""The control variate at evaluation: the quadratic part of the loss at w*, with its exact mean.

h = 1/2 delta^T H delta with H from the Hessian-vector products of Lanczos and delta the
displacement of a draw's twin. E[h] contains all trace terms, low rank and diagonal. The coefficient
for each half of the draws is estimated from the other half, so the estimate is unbiased for any H.
If q is Gaussian and the loss quadratic, it has no variance.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Scalar

from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.types import Weights
from lambda_hat_core.vi.chart import Chart
from lambda_hat_core.vi.family import Moment

_MIN_DRAWS = 8
"""Fewest draws from which a coefficient is estimated; with fewer, plain means are used."""


def quadratic(spectrum: Spectrum, delta: Weights) -> Scalar:
    """Return h."""
    along = jnp.sum((spectrum.theta - spectrum.rest) * (spectrum.vectors @ delta) ** 2)
    return 0.5 * (along + spectrum.rest * jnp.sum(delta**2))


def quadratic_mean(spectrum: Spectrum, chart: Chart, moment: Moment) -> Scalar:
    """Return E[h], exactly."""
    rows = jax.vmap(lambda v: chart.pull_back(v, moment.latent))(spectrum.vectors)
    axes = (spectrum.theta - spectrum.rest) @ rows**2
    axes = axes + spectrum.rest * chart.column_norms(moment.latent)
    low_rank = jax.vmap(lambda v: quadratic(spectrum, chart.displacement(v)))(moment.factors)
    return 0.5 * jnp.sum(moment.diagonal * axes) + jnp.sum(low_rank)


def controlled_means(
    losses: Float[np.ndarray, "chain draw"],
    control: Float[np.ndarray, "chain draw"],
    means: Float[np.ndarray, " chain"],
) -> tuple[Float[np.ndarray, " chain"], Float[np.ndarray, " chain"]]:
    """Return each restart's mean loss and its standard error, given the mean of the control.

    The standard error of a single draw is infinity.
    """
    corrected = losses.copy()
    count = losses.shape[1]
    if count >= _MIN_DRAWS:
        for half in (0, 1):
            other = control[:, 1 - half :: 2]
            centred = other - other.mean(axis=1, keepdims=True)
            variance = np.sum(centred**2, axis=1)
            covariance = np.sum(centred * losses[:, 1 - half :: 2], axis=1)
            slope = np.where(variance > 0, covariance / np.where(variance > 0, variance, 1), 0)
            excess = control[:, half::2] - means[:, None]
            corrected[:, half::2] -= slope[:, None] * excess
    if count == 1:
        return corrected[:, 0], np.full(len(losses), np.inf)
    return corrected.mean(axis=1), corrected.std(axis=1, ddof=1) / np.sqrt(count)
