"""Control variate at evaluation: the loss minus its quadratic part at w*, whose mean is exact.

h(v) = (|v|^2 - gamma |S A v|^2) / (2 nbeta) is 1/2 (SAv)^T H (SAv), with H from the Hessian-vector
products of Lanczos and v the twin of a draw. E[h] holds every trace term, low rank and diagonal.
The coefficient of either half of the draws comes from the other half, so the estimate stays
unbiased whatever H is; where q is Gaussian and the loss quadratic it has no variance.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Scalar

from lambda_hat_core.posterior import Posterior
from lambda_hat_core.types import Weights
from lambda_hat_core.vi.chart import Chart
from lambda_hat_core.vi.family import Moment

_MIN_DRAWS = 8
"""Fewer do not estimate a coefficient: plain means then."""


def quadratic(posterior: Posterior, chart: Chart, twin: Weights) -> Scalar:
    """Return nbeta h."""
    spread = jnp.sum(chart.displacement(twin) ** 2)
    return 0.5 * (jnp.sum(twin**2) - posterior.gamma * spread)


def quadratic_mean(posterior: Posterior, chart: Chart, moment: Moment) -> Scalar:
    """Return nbeta E[h], exactly."""
    squares, spreads = chart.column_norms(moment.latent)
    diagonal = 0.5 * jnp.sum(moment.diagonal * (squares - posterior.gamma * spreads))
    low_rank = jax.vmap(lambda factor: quadratic(posterior, chart, factor))(moment.factors)
    return diagonal + jnp.sum(low_rank)


def controlled_mean(
    losses: Float[np.ndarray, " draw"], control: Float[np.ndarray, " draw"], mean: float
) -> tuple[float, float]:
    """Return the mean of `losses` and its standard error, the control's mean being known."""
    count = losses.size
    if count < _MIN_DRAWS:
        spread = losses.std(ddof=1) / np.sqrt(count) if count > 1 else np.inf
        return float(losses.mean()), float(spread)
    corrected = losses.copy()
    halves = np.arange(count) % 2
    for half in (0, 1):
        fitted, used = halves != half, halves == half
        centred = control[fitted] - control[fitted].mean()
        variance = float(centred @ centred)
        slope = float(centred @ losses[fitted]) / variance if variance > 0 else 0.0
        corrected[used] -= slope * (control[used] - mean)
    return float(corrected.mean()), float(corrected.std(ddof=1) / np.sqrt(count))
