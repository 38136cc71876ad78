"""Whether a loss falls for ever along a direction that is flat at w, whatever it does elsewhere.

A feature that only rows of one class have is such a direction: its weight grows without end, while
the other weights have their minimum, in which the ray through w rises.

Newton's step tells the two apart. To a minimum it is as long as what is left of the way; where a
loss falls as a power or an exponential it gets no shorter. So the slope is looked at several steps
ahead, where it has turned if there is a minimum of an even order up to 8. The steps are along the
flat directions only. After each, one along the stiff ones leads back to the floor of the valley.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from lambda_hat_core.linalg.hessian import product_at
from lambda_hat_core.linalg.host import placed
from lambda_hat_core.linalg.lanczos import Pairs
from lambda_hat_core.targets.networks.layout import dotted, named_arrays
from lambda_hat_core.targets.probe import slope
from lambda_hat_core.targets.problem import Problem
from lambda_hat_core.types import Weights, constant

_STEPS = (1, 2, 4, 8)
"""Where the slope must not have turned, in Newton steps."""
_SEEN = 1e-11
"""Least share of the loss that a step lowers it by: normalising by the root of |x|^2 + 1e-12 makes
less than that of a direction in which nothing else changes."""
_NATS = 1e-9
"""Least fall of nbeta L_n in a step, for a loss that is 0."""
_EXACT = 1e-14
"""Share of the largest curvature that rounding errors make where there is none."""

_BEHIND = (1.0, 0.5)
"""Where the loss has to be higher behind w, as shares of |w|."""

Point = Float[np.ndarray, " d"]


def falls_for_ever(
    problem: Problem, w: Weights, pairs: Pairs, *, nbeta: float, gamma: float, least: float
) -> str | None:
    """Return why there is no minimum near a w that passes its audit, or None if there may be one.

    It takes a product with the Hessian and up to eleven gradients.

    Args:
        problem: has the loss and the data.
        w: the point.
        pairs: eigenpairs of the Hessian there, which may be those of a subset.
        nbeta: the temperature at which a difference of the loss counts.
        gamma: a direction is flat where nbeta times its curvature is less.
        least: how much nbeta L_n has to rise behind w, so that its fall ahead has any meaning.
    """
    loss, data, start = problem.loss, problem.data, np.asarray(w)
    flat, largest = nbeta * pairs.theta <= gamma, float(pairs.theta.max())
    if not (flat.any() and largest > 0):
        return None

    def seen(point: Point) -> tuple[float, Point]:
        value, gradient = slope(loss, constant(point, w), data)
        return float(value), np.asarray(gradient)

    vectors = np.asarray(pairs.vectors)
    here, gradient = seen(start)
    ahead = _step(pairs.theta[flat], vectors[flat], gradient, largest)
    if not ahead.any():
        return None
    ahead /= np.linalg.norm(ahead)
    falls = -float(gradient @ ahead)
    curvature = float(ahead @ np.asarray(product_at(loss, w, data)(placed(ahead))))
    if not curvature > 0 or not falls**2 / curvature > max(_SEEN * abs(here), _NATS / nbeta):
        return None
    length, aside = falls / curvature, np.zeros_like(start)
    for steps in _STEPS:
        point = start + steps * length * ahead
        _, gradient = seen(point + aside)
        aside += _step(pairs.theta[~flat], vectors[~flat], gradient, largest)
        lower, gradient = seen(point + aside)
        if not (lower < here and gradient @ ahead < 0):
            return None
    behind = [start - share * np.linalg.norm(start) * ahead for share in _BEHIND]
    if not any(nbeta * (seen(point)[0] - here) > least for point in behind):
        return None
    return (
        f"the minimum is at infinity: the loss is flat at w* along {_words(problem, ahead)}, and "
        f"still falls at a distance of {_STEPS[-1] * length:.3g}"
    )


def _step(theta: Float[np.ndarray, " k"], vectors: Any, gradient: Point, largest: float) -> Point:
    """Return Newton's step in the space of some eigenvectors."""
    return -((vectors @ gradient) / (np.abs(theta) + _EXACT * largest)) @ vectors


def _words(problem: Problem, direction: Point) -> str:
    """Return a direction as the entry that has most of it, and how much of it that is."""
    largest = int(np.argmax(np.abs(direction)))
    sizes = named_arrays(problem.shapes, np.arange(direction.size))
    name, part = next((name, part) for name, part in sizes.items() if largest in part)
    index = ", ".join(str(int(i[0])) for i in np.nonzero(part == largest))
    return f"a direction with {direction[largest]:+.2f} of {dotted(name)}[{index}]"
