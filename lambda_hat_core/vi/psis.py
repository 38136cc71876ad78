"""Pareto-smoothed importance sampling (Vehtari et al. 2024, arXiv:1507.02646).

k-hat of the ratios p/q over draws from q shows whether q covers p. The smoothed weights correct a
mean for the difference between q and p, as far as q covers p. `arviz_stats` is imported inside the
function, because importing it takes seconds.
"""

import numpy as np
from jaxtyping import Float

MIN_DRAWS = 25
"""Fewest draws; with fewer the tail has less than five."""


def smooth(
    log_ratios: Float[np.ndarray, "chain draw"],
) -> tuple[Float[np.ndarray, "chain draw"], Float[np.ndarray, " chain"]]:
    """Return weights that sum to 1, and k-hat, for each restart.

    For equal ratios (q = p) there is no tail, and k-hat is 0. With too few draws it is NaN.
    """
    from arviz_stats.base.array import array_stats

    count = log_ratios.shape[1]
    weights, khat = np.full(log_ratios.shape, 1 / count), np.zeros(len(log_ratios))
    for i, ratios in enumerate(log_ratios):
        if np.ptp(ratios) <= 1e-9:
            continue
        if count < MIN_DRAWS:
            raw = np.exp(ratios - ratios.max())
            weights[i], khat[i] = raw / raw.sum(), np.nan
        else:
            smoothed, khat[i] = array_stats.psislw(-ratios)
            weights[i] = np.exp(smoothed)
    return weights, khat
