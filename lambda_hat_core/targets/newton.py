"""One matrix-free step of a trust-region Newton method on the full data.

Lanczos computes the Krylov space of the gradient, in which the trust-region problem is solved
exactly: the step follows negative curvature, and the radius limits it in flat directions. For k = d
it is the step of Moré & Sorensen (1983), doi:10.1137/0904038.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from lambda_hat_core.linalg.hessian import hessian_pairs, product_at
from lambda_hat_core.linalg.host import generator, hosted
from lambda_hat_core.linalg.lanczos import lanczos, norm
from lambda_hat_core.posterior import Loss
from lambda_hat_core.targets.probe import slope
from lambda_hat_core.types import Batch, Weights, constant

_RANK = 128
"""Dimension of the Krylov space, which costs 256 gradients per step."""
_DENSE = 256
"""Largest d for which the full Hessian is as cheap as that many sequential products."""
_BISECTIONS = 60
"""Bisections of log mu over 30 decades, more than float64 can resolve."""
_NOISE = 1e-13
"""Relative change of the loss below which float64 sums cannot tell which point is lower."""


def newton_rank(d: int) -> int:
    """Return the dimension of the space in which a step is taken."""
    return d if d <= _DENSE else _RANK


class NewtonStep(NamedTuple):
    """The result of a trust-region step; w is unchanged if no lower point was found."""

    w: Weights
    radius: float
    loss: float
    grad_norm: float


def _subproblem(
    theta: Float[np.ndarray, " k"], components: Float[np.ndarray, " k"], radius: float
) -> Float[np.ndarray, " k"]:
    """Minimise c.p + 1/2 p diag(theta) p over |p| <= radius."""
    largest = np.abs(theta).max()
    lowest = max(0.0, -theta[0]) + 1e-14 * largest

    def at(shift: float) -> Float[np.ndarray, " k"]:
        return -components / (theta + lowest + shift)

    with np.errstate(divide="ignore", invalid="ignore"):
        step = at(0.0)
        if not np.linalg.norm(step) <= radius:
            high = math.log(float(np.linalg.norm(components)) / radius + 1e-300)
            low = high - 70.0
            for _ in range(_BISECTIONS):
                middle = 0.5 * (low + high)
                if np.linalg.norm(at(math.exp(middle))) > radius:
                    low = middle
                else:
                    high = middle
            step = at(math.exp(high))
    if theta[0] < -1e-10 * largest:
        spare = math.sqrt(max(radius**2 - float((step**2).sum()), 0.0))
        step[0] += -spare if components[0] > 0 else spare
    return step


def newton_step(
    key: PRNGKeyArray, loss: Loss, w: Weights, data: Batch, radius: float, *, rank: int
) -> NewtonStep:
    """Take one step of at most `radius` in a Krylov space of `rank` dimensions."""
    value, gradient = (np.asarray(x) for x in slope(loss, w, data))
    if rank == w.size:
        theta, vectors = hessian_pairs(loss, w, data)
    else:
        product = product_at(loss, w, data)
        theta, vectors = lanczos(generator(key), product, rank, like=w, start=gradient)
    components = np.asarray(vectors) @ gradient
    step = _subproblem(theta, components, radius)
    predicted = -float(components @ step + 0.5 * (theta * step**2).sum())
    trial = constant(hosted(w) + step @ hosted(vectors), w)
    trial_value, trial_gradient = (np.asarray(x) for x in slope(loss, trial, data))
    length, grad_norm = norm(step), norm(gradient)
    if predicted > _NOISE * abs(value):
        ratio = float(value - trial_value) / predicted
    else:
        ratio = 1.0 if norm(trial_gradient) < grad_norm else -1.0
    accepted = ratio > 1e-4 and bool(np.isfinite(trial_value))
    grown = 2 * radius if ratio > 0.75 and length > 0.99 * radius else radius
    return NewtonStep(
        w=trial if accepted else w,
        radius=grown if ratio > 0.25 and accepted else 0.25 * length,
        loss=float(trial_value if accepted else value),
        grad_norm=norm(trial_gradient) if accepted else grad_norm,
    )
