r"""Lambda and its multiplicity from the llc at several nbeta of one run.

The evidence has its leading poles at lambda and lambda + delta (Watanabe 2009, section 6.3), so

    Z = nbeta^-lambda (1 + b nbeta^-delta)            for m = 1,
    Z = nbeta^-lambda (log nbeta + c)^(m - 1)         for m > 1,

and the llc is -d log Z / d log nbeta. Each m is fitted by weighted least squares, with weak priors
of c and delta, and weighs exp(-chi2 / 2). In contrast to `profiles.temperature_fit`, m is an
integer, and a simple pole is approached by a power of nbeta, not by 1 / log nbeta. Two poles that
are closer than 1 / log nbeta look like a double one: w0^4 w1^6, whose poles are 1/6 and 1/4, shows
its m only beyond nbeta 1e16.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import chdtri

LEAST_POINTS = 4
"""Fewest values of nbeta, one more than the parameters of m = 1."""

MISFIT = 1e-3
"""Probability of the chi-squared of a model below which it does not describe the points."""

SHARE = 0.7
"""Smallest llc that is used, as a share of that of the coldest replica. Where it is smaller the
localiser decides more than the pole."""

_LARGEST_M = 4
_GAP, _GAP_SPREAD = math.log(0.3), 0.8
"""Prior of log delta: the gaps of polynomials of low degree are 1/12 to 1."""
_SHIFT, _SHIFT_SPREAD = 2.0, 3.0
"""Prior of c, which is 2.25 for w0^2 w1^2 at gamma 1, and -2.35 at gamma 10."""
_STARTS = (-2.5, -1.5, -0.5)

Values = Float[np.ndarray, " point"]


class PoleFit(NamedTuple):
    """The leading pole of the evidence.

    Attributes:
        llc: lambda, averaged over m with the weight of each; None if it cannot be fitted.
        llc_se: its standard error, which includes how far the fits of different m are apart.
        multiplicity: the m with the largest weight.
        weight: its weight, at most 1.
        chi2: chi-squared of its fit.
        nbeta_min: smallest nbeta that was used.
        n_points: number of replicas that were used.
    """

    llc: float | None
    llc_se: float | None
    multiplicity: int | None
    weight: float | None
    chi2: float | None
    nbeta_min: float | None
    n_points: int


class _Model(NamedTuple):
    """The fit of one m; `cost` is its chi-squared with that of the priors."""

    llc: float
    se: float
    chi2: float
    cost: float


def pole_fit(nbeta: Values, llc: Values, se: Values, d: int) -> PoleFit:
    """Fit the coldest replicas: as many as one of the models describes.

    Where the localiser dominates none of them holds, so the hottest points are left out one by one
    while chi-squared is too large; if four are not described either, there is no fit. There are at
    most `d` poles in one place.
    """
    order = np.argsort(-nbeta)
    order = order[(nbeta[order] > math.e) & (se[order] > 0)]
    order = order[llc[order] >= SHARE * llc[order[:1]]]
    for count in range(len(order), LEAST_POINTS - 1, -1):
        used = order[:count]
        log, dof = np.log(nbeta[used]), count - 2
        models = [_fitted(log, llc[used], se[used], m) for m in range(1, min(d, _LARGEST_M) + 1)]
        best = int(np.argmin([model.cost for model in models]))
        if models[best].chi2 <= chdtri(dof, MISFIT):
            return _averaged(models, best, max(1.0, models[best].chi2 / dof), nbeta[used])
    return PoleFit(None, None, None, None, None, None, len(order))


def _averaged(models: Sequence[_Model], best: int, widening: float, nbeta: Values) -> PoleFit:
    weights = np.exp([-(model.cost - models[best].cost) / (2 * widening) for model in models])
    weights = weights / weights.sum()
    values = np.array([model.llc for model in models])
    llc = float(weights @ values)
    errors = widening * np.array([model.se for model in models]) ** 2
    se = math.sqrt(float(weights @ (errors + (values - llc) ** 2)))
    return PoleFit(
        llc, se, best + 1, float(weights[best]), models[best].chi2, float(nbeta[-1]), len(nbeta)
    )


def _fitted(log: Values, y: Values, se: Values, m: int) -> _Model:
    # The coldest value can be negative by noise, but no coefficient is.
    first = max(0.0, float(y[0]))
    least = 0.5 * first
    if m == 1:
        starts = [[first, -0.3, gap] for gap in _STARTS]
        bounds = ([least, -0.98, -4.0], [np.inf, 20.0, 1.0])
    else:
        starts = [[first + (m - 1) / (log[0] + _SHIFT), _SHIFT]]
        bounds = ([least, -0.8 * log.min()], [np.inf, 50.0])

    def misses(at: np.ndarray) -> np.ndarray:
        if m == 1:
            llc, size, gap = at
            term = size * np.exp(-math.exp(gap) * log)
            curve = llc + math.exp(gap) * term / (1 + term)
            prior = (gap - _GAP) / _GAP_SPREAD
        else:
            llc, shift = at
            curve, prior = llc - (m - 1) / (log + shift), (shift - _SHIFT) / _SHIFT_SPREAD
        return np.append((y - curve) / se, prior)

    from scipy.optimize import least_squares  # every estimate would import it

    found = min((least_squares(misses, s, bounds=bounds) for s in starts), key=lambda f: f.cost)
    covariance = np.linalg.pinv(found.jac.T @ found.jac)
    chi2 = float(np.sum(found.fun[:-1] ** 2))
    error = math.sqrt(float(covariance[0, 0]))
    return _Model(float(found.x[0]), error, chi2, 2 * float(found.cost))
