"""Points at which a loss has no derivative: what is stationary there, and what falls.

The derivatives that are computed at a kink are those of one of its sides. So a gradient need not
vanish at a minimum, and a second derivative may be negative there.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.linalg.host import hosted
from lambda_hat_core.linalg.lanczos import Vector
from lambda_hat_core.posterior import Loss, mean_loss
from lambda_hat_core.programs import quickly
from lambda_hat_core.targets.problem import Problem
from lambda_hat_core.types import Batch, Weights, constant

_AT_ONCE = 2**20
"""Losses of single rows that are evaluated at once."""
SAMPLES = 256
"""Number of gradients whose convex hull is searched at a kink."""
_UNSEEN = 1e-3
"""Mean rise of nbeta L_n on the sphere on which gradients are sampled. The posterior cannot
resolve distances that small."""
_HULL_STEPS = 2000
_LOOKS = 8
"""Distances at which the loss is looked at on either side along negative curvature."""


def falls_along(
    problem: Problem,
    w: Weights,
    lowest: tuple[float, Vector],
    *,
    here: float,
    nbeta: float,
    fall: float,
    limit: float,
) -> bool:
    """Return whether the loss is lower somewhere along an eigenvector of negative curvature.

    It is looked at between the distances at which its quadratic approximation falls by `limit` and
    by `fall`, at most a thousand times as far. Above |w0 w1| = 0, say, it is not lower anywhere.

    Args:
        problem: has the loss and the data.
        w: the point.
        lowest: the eigenvalue and its vector.
        here: L_n(w).
        nbeta: the temperature at which a fall counts.
        fall: the largest fall of nbeta L_n that is predicted.
        limit: half of it is the smallest that counts.
    """
    curvature, vector = lowest
    direction = np.asarray(vector, np.float64)
    unit = direction / np.linalg.norm(direction) / math.sqrt(0.5 * nbeta * -curvature)
    steps = np.sqrt(np.geomspace(limit, min(fall, 1e6 * limit), _LOOKS))

    def at(step: float) -> float:
        return float(mean_loss(problem.loss, constant(hosted(w) + step * unit, w), problem.data))

    return any(nbeta * (at(step) - here) < -0.5 * limit for step in (*steps, *-steps))


def scale_of(theta: Any, nbeta: Any, gamma: Any, xp: Any) -> Any:
    """Return the root of nbeta^2/2 (nbeta h + gamma)^-1; curvature within rounding counts as 0."""
    floor = xp.finfo(theta.dtype).eps * xp.max(xp.abs(theta)) * theta.size
    stiff = xp.where(theta > floor, nbeta * theta, 0.0) + gamma
    return xp.where(stiff > 0, nbeta / xp.sqrt(2 * xp.where(stiff > 0, stiff, 1.0)), 0.0)


@quickly
def hull_bias(
    key: PRNGKeyArray,
    loss: Loss,
    w: Weights,
    data: Batch,
    theta: Array,
    vectors: Array,
    nbeta: Scalar,
    gamma: Scalar,
) -> Scalar:
    """Return the least off-centre bias over the convex hull of gradients sampled around w.

    At a kink the gradient does not vanish, but a convex combination of the gradients on its sides
    does (Clarke), and is found by sampling (Burke, Lewis & Overton 2005,
    doi:10.1137/030601296). The part of a gradient outside of the Ritz vectors is treated as if it
    lay in their flattest direction.
    """
    d = w.size
    curvature = jnp.maximum(jnp.mean(jnp.maximum(theta, 0.0)), 1e-300)
    reach = jnp.sqrt(2 * _UNSEEN / (nbeta * curvature))
    directions = jr.normal(jr.split(key)[1], (SAMPLES, d))
    directions /= jnp.linalg.norm(directions, axis=1, keepdims=True)
    around = jnp.concatenate([w[None], w + reach * directions])
    rows = 1 if data is None else len(jax.tree.leaves(data)[0])
    at_once = max(1, min(16, _AT_ONCE // rows))
    gradients = jax.lax.map(lambda u: jax.grad(loss.mean)(u, data), around, batch_size=at_once)
    components, scale = gradients @ vectors.T, scale_of(theta, nbeta, gamma, jnp)
    outside = (gradients - components @ vectors) * jnp.max(scale)
    gram = (components * scale) @ (components * scale).T + outside @ outside.T
    rate = 1 / jnp.maximum(jnp.trace(gram), 1e-300)

    def descend(_: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        weights, ahead, t = carry
        following = _onto_simplex(ahead - rate * (gram @ ahead))
        next_t = 0.5 * (1 + jnp.sqrt(1 + 4 * t**2))
        ahead = following + (t - 1) / next_t * (following - weights)
        return following, ahead, next_t

    begin = jnp.zeros(SAMPLES + 1).at[0].set(1.0)
    weights, _, _ = jax.lax.fori_loop(0, _HULL_STEPS, descend, (begin, begin, jnp.ones(())))
    return weights @ gram @ weights


def _onto_simplex(v: Float[Array, " m"]) -> Float[Array, " m"]:
    """Project onto the probability simplex (Duchi et al. 2008)."""
    ordered = jnp.sort(v)[::-1]
    excess = (jnp.cumsum(ordered) - 1) / jnp.arange(1, v.size + 1)
    count = jnp.sum(ordered > excess)
    return jnp.maximum(v - excess[count - 1], 0.0)
