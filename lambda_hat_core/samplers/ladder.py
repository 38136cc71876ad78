r"""The nbeta of the replicas: where they are first, how many there are, where rejections put them.

Two neighbours exchange their positions with a probability that is 1 minus a rejection, and the sum
of the rejections, the barrier, hardly depends on where the replicas are (Syed, Bouchard-Cote,
Deligiannidis & Doucet 2022, arXiv:1905.02939). So a ladder is best where all rejections are equal,
and its length follows from the barrier. If nbeta (L - L(w*)) has a Gamma distribution of shape
lambda at every nbeta, the barrier of a unit of log nbeta is Gamma(lambda + 1/2) / (sqrt(pi)
Gamma(lambda)), which is about sqrt(lambda / pi).
"""

import math

import numpy as np
from jaxtyping import Float

REJECTION = 0.5
"""Rejection between neighbours that is aimed at, the best one in theory (Syed et al. 2022). On the
crossing w0^2 w1^2 rejections of 0.63, 0.43 and 0.33 gave 14, 13 and 9 effective draws per thousand
gradients."""

MOST = 64
"""Most replicas that are chosen without being asked for."""

_LEAST_LLC = 0.5
_LEAST_REJECTION = 0.01
"""Counted for every pair, so that replicas do not move far because of noise."""
_TOLERANCE = 0.25
"""Relative difference from the wanted number of replicas that is not worth another program."""

Ladder = Float[np.ndarray, " replica"]


def barrier_density(llc: float) -> float:
    """Return the barrier of a unit of log nbeta where nbeta (L - L(w*)) is Gamma-distributed."""
    return math.exp(math.lgamma(llc + 0.5) - math.lgamma(llc)) / math.sqrt(math.pi)


def first(nbeta: float, hottest: float, softest: float, llc: float, size: int | None) -> Ladder:
    """Return a geometric ladder, in descending order.

    Args:
        nbeta: that of the coldest replica.
        hottest: that of the hottest replica, which may be 0.
        softest: where hottest is 0, the nbeta of the hottest replica but one.
        llc: a rough estimate at nbeta.
        size: number of replicas; None: from `llc`.
    """
    last = min(hottest or softest, nbeta / 1.5)
    if size is None:
        barrier = barrier_density(max(llc, _LEAST_LLC)) * math.log(nbeta / last)
        size = min(1 + math.ceil(barrier / REJECTION) + (hottest == 0), MOST)
    if hottest > 0:
        return np.geomspace(nbeta, last, size)
    steps = np.geomspace(nbeta, last, size - 1) if size > 2 else np.array([nbeta])
    return np.append(steps, 0.0)


def wanted(rejections: Float[np.ndarray, " pair"]) -> int:
    """Return how many replicas there should be, given what neighbours reject.

    The number is unchanged if it is nearly right, because another one takes another program.
    """
    size = len(rejections) + 1
    count = min(1 + max(1, math.ceil(float(np.sum(rejections)) / REJECTION)), MOST)
    return size if abs(count - size) <= max(1, _TOLERANCE * size) else count


def equalised(
    ladder: Ladder, rejections: Float[np.ndarray, " pair"], softest: float, size: int
) -> Float[np.ndarray, " new"]:
    """Return a ladder of `size` with the same ends between whose neighbours all reject alike.

    The barrier up to each replica is interpolated linearly in log(nbeta + softest).
    """
    barrier = np.append(0.0, np.cumsum(np.maximum(rejections, _LEAST_REJECTION)))
    places = np.interp(np.linspace(0, barrier[-1], size), barrier, coordinate(ladder, softest))
    found = np.exp(places) - _offset(ladder, softest)
    found[0], found[-1] = ladder[0], ladder[-1]
    return found


def coordinate(ladder: Ladder, softest: float) -> Ladder:
    """Return log(nbeta + softest), or log nbeta of a ladder that does not end at 0."""
    return np.log(ladder + _offset(ladder, softest))


def _offset(ladder: Ladder, softest: float) -> float:
    return softest if ladder[-1] == 0 else 0.0
