"""Control variate at evaluation: the loss minus its quadratic part at w*, whose mean is exact.

h(u) = (|P u|^2 - gamma |S A P u|^2) / (2 nbeta) is 1/2 v^T H v of the known part of the
displacement v, with H from the Hessian-vector products of Lanczos. E_q[h] holds every trace term,
low rank and diagonal. The coefficient of either half of the draws comes from the other half, so
the estimate stays unbiased whatever H is; on a quadratic it has no variance.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Scalar

from lambda_hat_core.posterior import Posterior
from lambda_hat_core.types import Weights
from lambda_hat_core.vi.chart import Chart
from lambda_hat_core.vi.family import Family

_MIN_DRAWS = 8
"""Fewer do not estimate a coefficient: plain means then."""


def quadratic(family: Family, posterior: Posterior, chart: Chart, u: Weights) -> Scalar:
    """Return nbeta h(u)."""
    known = family.known_part(u)
    spread = jnp.sum(chart.displacement(known) ** 2)
    return 0.5 * (jnp.sum(known**2) - posterior.gamma * spread)


def quadratic_mean(family: Family, posterior: Posterior, chart: Chart) -> Scalar:
    """Return nbeta E_q[h], exactly."""
    diagonal, factors, latent = family.known_moment()
    squares, spreads = chart.column_norms(latent)
    total = jnp.sum(diagonal * (squares - posterior.gamma * spreads))
    for factor in factors:
        total = total + 2 * quadratic(family, posterior, chart, factor)
    return 0.5 * total


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
