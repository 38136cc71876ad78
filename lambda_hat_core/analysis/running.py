"""The running estimate, from the first draws up to all of them, for convergence figures."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from lambda_hat_core.analysis.diagnostics import MIN_DRAWS
from lambda_hat_core.analysis.means import mean_llc
from lambda_hat_core.samplers.trace import Trace

_POINTS = 36


class Running(NamedTuple):
    """The running estimate, at numbers of draws that are spaced evenly in their logarithm.

    Attributes:
        draws: number of draws per chain so far.
        fge: full-gradient evaluations of all chains so far, set-up included.
        seconds: wall time so far.
        llc: estimate from the draws so far.
        se: its standard error, nan if unknown.
        lo: lower end of its 90 % interval, nan if unknown.
        hi: upper end of that interval.
        chains: the running mean of each chain.
        setup_fge: full-gradient evaluations before the first draw: set-up and burn-in.
        setup_seconds: wall time before the first draw.
    """

    draws: Int[np.ndarray, " point"]
    fge: Float[np.ndarray, " point"]
    seconds: Float[np.ndarray, " point"]
    llc: Float[np.ndarray, " point"]
    se: Float[np.ndarray, " point"]
    lo: Float[np.ndarray, " point"]
    hi: Float[np.ndarray, " point"]
    chains: Float[np.ndarray, "chain point"]
    setup_fge: float
    setup_seconds: float


def finite_prefix(trace: Trace) -> int:
    """Return the number of draws before the first one with a non-finite loss or distance."""
    bad = ~(np.isfinite(trace.loss) & np.isfinite(trace.dist2)).all(axis=0)
    return int(np.argmax(bad)) if bad.any() else trace.loss.shape[1]


def before_first(totals: Float[np.ndarray, " draw"]) -> float:
    """Return the total before the first draw, which costs as much as the second."""
    if totals.size < 2:
        return float(totals[0]) if totals.size else 0.0
    return max(0.0, float(2 * totals[0] - totals[1]))


def running(trace: Trace) -> Running:
    """Return the estimates from the first t draws for growing t, up to a non-finite draw."""
    n_draws = finite_prefix(trace)
    first = min(MIN_DRAWS, n_draws)
    counts = np.unique(np.geomspace(max(first, 1), max(n_draws, 1), _POINTS).round().astype(int))
    counts = counts[counts <= n_draws]
    means = [mean_llc(trace, int(count)) for count in counts]
    llc = np.array([mean.mean for mean in means], float)
    width = np.array([np.nan if m.half_width is None else m.half_width for m in means], float)
    sums = np.cumsum(trace.llc[:, :n_draws], axis=1)
    return Running(
        draws=counts,
        fge=np.asarray(trace.cumulative_fge[counts - 1], float),
        seconds=np.asarray(trace.seconds[counts - 1], float),
        llc=llc,
        se=np.array([np.nan if m.se is None else m.se for m in means], float),
        lo=llc - width,
        hi=llc + width,
        chains=sums[:, counts - 1] / counts,
        setup_fge=before_first(trace.cumulative_fge),
        setup_seconds=before_first(trace.seconds),
    )
