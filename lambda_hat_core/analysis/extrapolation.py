r"""From draws at two step sizes to the mean at step size 0.

A run that spends part of its draws at half its step h has two means, m_1 = theta + b + e_1 and
m_2 = theta + b / 2^p + e_2, p the order of its bias in the step: 2 for a symmetric splitting with
full gradients, 1 where minibatch noise heats. Solving for theta is Richardson-Romberg extrapolation
(Durmus et al. 2016, arXiv:1606.07692), which makes the errors e several times as large, needlessly
if the bias is far below them. So b has the prior N(0, tau^2), and theta is the generalised
least-squares mean: about the plain mean if the errors hide any bias that tau allows, and the
extrapolation if they do not. Its variance includes what is not known of b. tau is a small fraction
of the answer, or the size of the bias that was predicted, or the bias that the two means show
beyond their errors, whichever is the largest.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from lambda_hat_core.analysis.diagnostics import Mean, Series, mcmc_mean, t_quantile

TAU = 0.05
"""Least standard deviation of the prior of b, relative to the mean."""


class Extrapolated(NamedTuple):
    """The mean at step size 0, and what was found on the way.

    Attributes:
        mean: theta, its standard error and the half width of its interval.
        bias: b, the estimated bias of the draws at the larger step.
        bias_se: its standard error.
        difference: mean of the draws at h less that of the draws at h/2.
        difference_se: its standard error.
    """

    mean: Mean
    bias: float
    bias_se: float
    difference: float
    difference_se: float


def extrapolated(
    series: Series, fine: Bool[np.ndarray, " draw"], order: int, *, known: float = 0.0
) -> Extrapolated:
    """Return the mean at step size 0 of chains that alternate between two step sizes.

    Args:
        series: of every chain and draw.
        fine: which draws were made at half the step. Where that is all of them or none, the mean is
            the plain one.
        order: p, 1 or 2.
        known: the size of b that was predicted, 0 if nothing was.
    """
    plain = mcmc_mean(series)
    if fine.all() or not fine.any():
        return Extrapolated(plain, 0.0, math.inf, 0.0, math.inf)
    n_chains, n_draws = series.shape
    coarse_means, fine_means = series[:, ~fine].mean(axis=1), series[:, fine].mean(axis=1)
    whole = float(plain.se or 0.0) ** 2 * n_draws
    variances = whole / (~fine).sum(), whole / fine.sum()
    shape = np.array([1.0, 2.0**-order])
    difference = float((coarse_means - fine_means).mean())
    se = math.sqrt(sum(variances))
    seen = (difference**2 - se**2) / (1 - shape[1]) ** 2
    prior = math.sqrt(max((TAU * plain.mean) ** 2, known**2, seen))
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
    theta_se = max(errors)
    bias = float(coarse_means.mean()) - theta
    bias_se = math.hypot(math.sqrt(variances[0]), theta_se)
    return Extrapolated(Mean(theta, theta_se, max(widths)), bias, bias_se, difference, se)
