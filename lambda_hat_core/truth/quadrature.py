"""Posterior means in one and two dimensions, by Gauss-Legendre panels graded towards the ridges.

A zero set along an axis leads to ridges whose width decreases with the distance from the origin.
The panels halve towards 0 and towards w*, so that all scales are resolved equally.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from jaxtyping import Float

_REACH = 9.0
"""Range on each side of w*, in standard deviations of the localiser: exp(-9^2/2) = 3e-18."""
LEVELS = 20
"""Number of halvings; the innermost panel is 2e-5 standard deviations wide."""
_ORDERS = (12, 18)
"""Nodes per panel of the two rules, whose results must agree."""
_TOLERANCE = 1e-6
_BLOCK = 2**20

Losses = Callable[[Float[np.ndarray, "point d"]], Float[np.ndarray, " point"]]


def _rule(
    point: float, centre: float, width: float, order: int, levels: int
) -> tuple[np.ndarray, np.ndarray]:
    low, high = centre - _REACH * width, centre + _REACH * width
    scales = _REACH * width * 0.5 ** np.arange(levels)
    edges = [c + sign * scales for c in {0.0, point} for sign in (-1, 1)]
    grid = np.unique(np.concatenate([*edges, [0.0, point, low, high]]))
    grid = grid[(grid >= low) & (grid <= high)]
    nodes, weights = np.polynomial.legendre.leggauss(order)
    halves = [(0.5 * (b - a), 0.5 * (a + b)) for a, b in pairwise(grid)]
    return (
        np.concatenate([middle + half * nodes for half, middle in halves]),
        np.concatenate([half * weights for half, _ in halves]),
    )


def size(
    w0: Float[np.ndarray, " d"],
    levels: int = LEVELS,
    centre: Float[np.ndarray, " d"] | None = None,
) -> int:
    """Return at how many points the loss is evaluated."""
    pairs = list(zip(w0.tolist(), (w0 if centre is None else centre).tolist(), strict=True))
    return sum(
        math.prod(len(_rule(*pair, 1.0, order, levels)[0]) for pair in pairs) for order in _ORDERS
    )


def _estimate(
    losses: Losses,
    w0: Float[np.ndarray, " d"],
    nbeta: float,
    gamma: float,
    centre: Float[np.ndarray, " d"],
    order: int,
    levels: int,
) -> float:
    pairs = zip(w0.tolist(), centre.tolist(), strict=True)
    rules = [_rule(*pair, gamma**-0.5, order, levels) for pair in pairs]
    points = np.stack(np.meshgrid(*(r[0] for r in rules), indexing="ij"), -1).reshape(-1, w0.size)
    weights = np.ones(1)
    for _, weight in rules:
        weights = np.multiply.outer(weights, weight).ravel()
    excess = np.concatenate([losses(points[i : i + _BLOCK]) for i in range(0, len(points), _BLOCK)])
    # A loss may be infinite far from w*, where the mass is 0. Where it is NaN so is the result, and
    # the two rules do not agree.
    with np.errstate(over="ignore", invalid="ignore"):
        excess = nbeta * (excess - losses(w0[None])[0])
        log_density = -excess - 0.5 * gamma * np.sum((points - centre) ** 2, axis=1)
        mass = weights * np.exp(log_density - log_density.max())
        return float(np.sum(np.where(mass == 0, 0.0, mass * excess)) / np.sum(mass))


def potential(
    losses: Losses,
    w0: Float[np.ndarray, " d"],
    nbeta: float,
    gamma: float,
    *,
    levels: int = LEVELS,
    centre: Float[np.ndarray, " d"] | None = None,
) -> float | None:
    """Return nbeta (E_p[L] - L(w*)) for d <= 2, or None if the two rules disagree.

    Args:
        losses: a function that returns L at each of many points.
        w0: w*.
        nbeta: n beta.
        gamma: strength of the localiser.
        levels: number of halvings of the panels towards w*.
        centre: where the localiser is centred; None: at w*.

    Raises:
        ValueError: unless d is 1 or 2 and gamma > 0, without which the mean need not exist.
    """
    if w0.size > 2 or gamma <= 0:
        raise ValueError(
            f"quadrature: d is {w0.size} and gamma is {gamma}; it needs d <= 2 and gamma > 0"
        )
    at = w0 if centre is None else centre
    coarse, fine = (_estimate(losses, w0, nbeta, gamma, at, order, levels) for order in _ORDERS)
    return fine if abs(fine - coarse) <= _TOLERANCE * max(1.0, abs(fine)) else None
