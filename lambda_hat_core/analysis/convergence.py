"""Effective sample size and R-hat of a scalar that several chains recorded.

The definitions are those of Vehtari, Gelman, Simpson, Carpenter & Bürkner 2021 (arXiv:1903.08008),
with Geyer's initial monotone sequence (Geyer 1992, section 3.3), and the values are ArviZ's, which
the tests compare. They are computed here because importing ArviZ's statistics takes as long as a
whole answer on a small network.

Chains are split into halves, so that a drift of all chains shows as a difference between halves.
"""

import numpy as np
from jaxtyping import Float
from scipy.fft import next_fast_len
from scipy.special import ndtri

Series = Float[np.ndarray, "chain draw"]
_Halves = Float[np.ndarray, "half step"]


def ess_mean(series: Series) -> float:
    """Return the effective sample size of the mean."""
    return _ess(_halves(series))


def ess_bulk(series: Series) -> float:
    """Return the effective sample size of the ranks, which exists where the series has no mean."""
    return _ess(_normal_scores(_halves(series)))


def ess_tail(series: Series, tail: float = 0.05) -> float:
    """Return the smaller effective sample size of the two quantiles that bound the tails."""
    edges = np.quantile(series, [tail, 1 - tail])
    return min(_ess(_halves((series <= edge).astype(float))) for edge in edges)


def r_hat(series: Series) -> float:
    """Return the larger R-hat of the ranks of the values and of their distances from the median.

    The first compares the chains' places, the second their widths.
    """
    halves = _halves(series)
    distances = np.abs(halves - np.median(halves))
    return max(_r_hat(_normal_scores(values)) for values in (halves, distances))


def _halves(series: Series) -> _Halves:
    """Return the first and the last half of every chain as chains; an odd draw is left out."""
    half = series.shape[1] // 2
    return np.concatenate([series[:, :half], series[:, -half:]])


def _normal_scores(series: _Halves) -> _Halves:
    """Return the normal quantiles of the ranks (Blom 1958); equal values get their mean rank."""
    _, which, counts = np.unique(series, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return ndtri((ranks[which].reshape(series.shape) - 0.375) / (series.size + 0.25))


def _r_hat(series: _Halves) -> float:
    draws = series.shape[1]
    within = series.var(axis=1, ddof=1).mean()
    between = series.mean(axis=1).var(ddof=1)
    return float(np.sqrt(between / within + (draws - 1) / draws))


def _autocovariance(series: _Halves) -> _Halves:
    """Return sum_t x_t x_(t+lag) / draws of each centred chain, for every lag."""
    draws = series.shape[1]
    length = next_fast_len(2 * draws, real=True)
    centred = series - series.mean(axis=1, keepdims=True)
    transformed = np.fft.rfft(centred, length, axis=1)
    return np.fft.irfft(np.abs(transformed) ** 2, length, axis=1)[:, :draws] / draws


def _ess(series: _Halves) -> float:
    """Return draws / (1 + 2 sum of the autocorrelations) of all chains together.

    The autocorrelations are taken in pairs of an even lag and the next, whose sums are positive and
    fall if a chain is reversible. So the sum over pairs ends at the first negative one, of which
    only the even lag counts, if it is positive, and no pair counts more than the one before it.
    """
    chains, draws = series.shape
    if np.ptp(series) == 0:
        return float(series.size)
    covariance = _autocovariance(series).mean(axis=0)
    within = covariance[0] * draws / (draws - 1)
    total = covariance[0] + (series.mean(axis=1).var(ddof=1) if chains > 1 else 0.0)
    rho = 1 - (within - covariance) / total
    rho[0] = 1.0
    # The last lags average too few products to count.
    pairs = rho[: 2 * max((draws - 1) // 2, 1)].reshape(-1, 2)
    sums = pairs.sum(axis=1)
    ends = np.flatnonzero(sums < 0)
    end = int(ends[0]) if ends.size else len(sums) - 1
    last = max(float(pairs[end, 0]), 0.0) if ends.size else float(pairs[end, 0])
    time = -1 + 2 * np.minimum.accumulate(sums[:end]).sum() + last
    return series.size / max(time, 1 / np.log10(series.size))
