"""Means with errors, effective sample sizes and R-hat of scalar series.

ESS and R-hat are those of `convergence`, with None where they are not defined.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import chdtri, stdtrit

from lambda_hat_core.analysis import convergence
from lambda_hat_core.analysis.convergence import Series

COVERAGE = 0.90
"""Probability of every interval; all intervals are central."""

MIN_DRAWS = 4
"""Fewest draws per chain for which ESS and R-hat are defined, as in ArviZ."""

R_HAT_CAP = 1000.0
"""The largest R-hat that is reported, so that JSON and SQL can represent it."""


class Mean(NamedTuple):
    """A mean, its standard error, and the half width of its 90 % interval; None if unknown."""

    mean: float
    se: float | None
    half_width: float | None


def number(value: float | np.floating | None) -> float | None:
    """Return a plain float, or None if the value is missing or not finite."""
    return None if value is None or not math.isfinite(value) else float(value)


def t_quantile(dof: float | int) -> float:
    """Return the quantile of Student's t that bounds the central 90 %."""
    return float(stdtrit(max(dof, 1.0), 0.5 + COVERAGE / 2))


def moves(series: Series) -> bool:
    """Return whether the series varies by more than its rounding errors."""
    return bool(np.ptp(series) > 8 * np.finfo(series.dtype).eps * np.max(np.abs(series)))


def _is_defined(series: Series) -> bool:
    """Return whether ESS and R-hat of the series are defined."""
    return series.shape[1] >= MIN_DRAWS and moves(series)


def ess_bulk(series: Series) -> float | None:
    """Return the rank-normalised effective sample size of all chains together."""
    return number(convergence.ess_bulk(series)) if _is_defined(series) else None


def ess_tail(series: Series) -> float | None:
    """Return the smaller of the effective sample sizes of the 5 % and the 95 % quantile."""
    return number(convergence.ess_tail(series)) if _is_defined(series) else None


def r_hat(series: Series) -> float | None:
    """Return the rank-normalised split R-hat; None for one chain or a constant series.

    Chains that are constant at different values give infinity, which is reported as `R_HAT_CAP`.
    """
    if len(series) < 2 or not _is_defined(series):
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        return min(convergence.r_hat(series), R_HAT_CAP)


def bfmi(energy: Series) -> float | None:
    """Return the lowest Bayesian fraction of missing information over the chains."""
    if energy.shape[1] < MIN_DRAWS or not all(moves(chain[None]) for chain in energy):
        return None
    change = np.square(np.diff(energy, axis=1)).mean(axis=1)
    return number(np.min(change / energy.var(axis=1, ddof=1)))


def mcmc_mean(series: Series) -> Mean:
    """Return the mean of Markov chains with its error.

    The standard error is the larger of two: sd / sqrt(ESS), where ESS is the smaller of the
    rank-normalised ESS and the ESS for the mean; and the standard error of the chain means. The
    interval is the wider of the two that use these errors with t quantiles of ESS - 1 and of C - 1
    degrees of freedom. The second is calibrated even if the ESS is badly estimated, the first
    varies less, and the wider one covers at least as often as either.
    """
    n_chains = len(series)
    errors: list[tuple[float, float]] = []
    if _is_defined(series):
        ess = min(convergence.ess_bulk(series), convergence.ess_mean(series))
        errors.append((float(series.std(ddof=1)) / math.sqrt(ess), ess - 1))
    if n_chains > 1 and moves(series):
        spread = float(series.mean(axis=1).std(ddof=1))
        errors.append((spread / math.sqrt(n_chains), n_chains - 1))
    mean = float(series.mean())
    if not errors:
        return Mean(mean, None, None)
    return Mean(mean, max(se for se, _ in errors), max(se * t_quantile(dof) for se, dof in errors))


def restart_mean(means: Float[np.ndarray, " chain"], ses: Float[np.ndarray, " chain"]) -> Mean:
    """Return the mean over independent restarts, each with a known Monte Carlo error.

    As for chains, there are two errors: that of the draws, and that from the scatter of the
    restarts' means. If a chi-squared test at 5 % finds that the restarts differ by more than the
    errors of their draws, the excess is a bias of each fit, which does not average out; it is
    therefore not divided by sqrt(C).
    """
    n_restarts, noise = len(means), float(np.mean(ses**2))
    mc = math.sqrt(noise / n_restarts)
    errors = [(mc, mc * t_quantile(math.inf))]
    if n_restarts > 1:
        variance, t = float(means.var(ddof=1)), t_quantile(n_restarts - 1)
        scatter = math.sqrt(variance / n_restarts)
        errors.append((scatter, scatter * t))
        if (n_restarts - 1) * variance > noise * chdtri(n_restarts - 1, 0.05):
            excess = math.sqrt(variance - noise)
            errors.append((math.hypot(mc, excess), math.hypot(errors[0][1], excess * t)))
    return Mean(float(means.mean()), max(se for se, _ in errors), max(width for _, width in errors))


def iid_mean(series: Series) -> Mean:
    """Return the mean of independent draws from each of several restarts (`restart_mean`)."""
    n_draws = series.shape[1]
    if n_draws < 2 or not moves(series):
        return Mean(float(series.mean()), None, None)
    return restart_mean(series.mean(axis=1), series.std(axis=1, ddof=1) / math.sqrt(n_draws))
