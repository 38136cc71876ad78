r"""From draws at two step sizes to the mean at step size 0.

A run that spends part of its draws at half its step h has two means, m_1 = theta + b + e_1 and
m_2 = theta + b / 2^p + e_2, p the order of its bias in the step: 2 for a symmetric splitting with
full gradients, 1 where minibatch noise heats. Solving for theta is Richardson-Romberg extrapolation
(Durmus et al. 2016, arXiv:1606.07692), which makes the errors e several times as large, needlessly
where the bias is far below them. So b is N(0, tau^2) beforehand, tau a small share of the answer,
and theta is the generalised least-squares mean: about the plain mean where the errors hide any bias
that tau allows, the extrapolation where they do not. Its variance holds what is not known of b.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from lambda_hat_core.analysis.diagnostics import Mean, Series, mcmc_mean, t_quantile

TAU = 0.05
"""Standard deviation of the bias at the larger step, as a share of the mean, before it is measured:
step rules aim at a few percent."""


class Extrapolated(NamedTuple):
    """The mean at step size 0, and what was found on the way.

    Attributes:
        mean: theta, its standard error and the half width of its interval.
        bias: by how much the plain mean of all draws exceeds theta.
        difference: mean of the draws at h less that of the draws at h/2.
        difference_se: its standard error.
    """

    mean: Mean
    bias: float
    difference: float
    difference_se: float


def extrapolated(series: Series, fine: Bool[np.ndarray, " draw"], order: int) -> Extrapolated:
    """Return the mean at step size 0 of chains that alternate between two step sizes.

    Args:
        series: of every chain and draw.
        fine: which draws were made at half the step. Where that is all of them or none, the mean is
            the plain one.
        order: p, 1 or 2.
    """
    plain = mcmc_mean(series)
    if fine.all() or not fine.any():
        return Extrapolated(plain, 0.0, 0.0, math.inf)
    n_chains, n_draws = series.shape
    coarse_means, fine_means = series[:, ~fine].mean(axis=1), series[:, fine].mean(axis=1)
    whole = float(plain.se or 0.0) ** 2 * n_draws
    variances = whole / (~fine).sum(), whole / fine.sum()
    shape = np.array([1.0, 2.0**-order])
    prior = TAU * abs(plain.mean)
    covariance = np.diag(variances) + prior**2 * np.outer(shape, shape)
    solved = np.linalg.solve(covariance, np.ones(2)) if whole > 0 else np.array([0.0, 1.0])
    weights = solved / solved.sum()
    means: Float[np.ndarray, " chain"] = weights[0] * coarse_means + weights[1] * fine_means
    theta = float(means.mean())
    left = prior * float(weights @ shape)
    known = math.hypot(math.sqrt(float(weights**2 @ variances)), left)
    errors, widths = [known], [known * t_quantile(math.inf)]
    if plain.half_width is not None and plain.se:
        widths.append(known * plain.half_width / plain.se)
    if n_chains > 1:
        spread = math.hypot(float(means.std(ddof=1)) / math.sqrt(n_chains), left)
        errors.append(spread)
        widths.append(spread * t_quantile(n_chains - 1))
    difference = float((coarse_means - fine_means).mean())
    se = math.sqrt(sum(variances))
    found = Mean(theta, max(errors), max(widths))
    return Extrapolated(found, plain.mean - theta, difference, se)
