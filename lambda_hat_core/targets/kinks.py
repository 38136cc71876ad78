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
_FLAT = 0.05
"""Largest change of nbeta L_n over that distance."""
_HULL_STEPS = 2000
_SMALL = 1e-5
"""Fall of nbeta L_n to either side that negative curvature predicts where it is looked for."""


def curves_down(
    problem: Problem, w: Weights, lowest: tuple[float, Vector], *, here: float, nbeta: float
) -> bool:
    """Return whether the loss curves down along an eigenvector of negative curvature.

    That of a smooth loss does at every small step. Above |w0 w1| = 0, where the derivatives of one
    side have a negative eigenvalue, it curves up.

    Args:
        problem: has the loss and the data.
        w: the point.
        lowest: the eigenvalue, below 0, and its vector.
        here: L_n(w).
        nbeta: the temperature.

    Returns:
        Whether the two sides together fall by at least half of what the eigenvalue predicts, at a
        step at which that is as small as rounding allows. Where the loss there is not a number,
        they do not.
    """
    curvature, vector = lowest
    direction = np.asarray(vector, np.float64)
    fall = max(_SMALL, 1e-9 * abs(nbeta * here))
    step = math.sqrt(2 * fall / (nbeta * -curvature)) * direction / np.linalg.norm(direction)

    def at(point: np.ndarray) -> float:
        return float(mean_loss(problem.loss, constant(point, w), problem.data))

    start = np.asarray(w)
    ends = at(start + step), at(start - step)
    return nbeta * (sum(ends) - 2 * here) < -fall


def scale_of(theta: Any, nbeta: Any, gamma: Any, xp: Any) -> Any:
    """Return the root of nbeta^2/2 (nbeta h + gamma)^-1; curvature within rounding counts as 0.

    Args:
        theta: eigenvalues h.
        nbeta: the temperature.
        gamma: strength of the localiser.
        xp: numpy or jax.numpy.
    """
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
    slope: Scalar,
    nbeta: Scalar,
    gamma: Scalar,
) -> tuple[Scalar, Scalar]:
    """Return the least off-centre bias over the convex hull of gradients sampled around w.

    At a kink the gradient does not vanish, but a convex combination of the gradients on its sides
    does (Clarke), and is found by sampling (Burke, Lewis & Overton 2005,
    doi:10.1137/030601296). The part of a gradient outside of the Ritz vectors is treated as if it
    lay in their flattest direction.

    Args:
        key: random key.
        loss: its mean over the data is L_n.
        w: the point.
        data: all rows, None for a potential.
        theta: Ritz values of the Hessian.
        vectors: the Ritz vectors, as rows.
        slope: |grad L_n(w)|.
        nbeta: the temperature.
        gamma: strength of the localiser.

    Returns:
        The bias, and how far L_n is lower at the lowest of the points, in units of the fall that
        the gradient predicts in a random direction. At a minimum that is 0, above a kink that is
        none, as that of -|w|, and on a slope about 1 to 3.
    """
    d = w.size
    curvature = jnp.maximum(jnp.mean(jnp.maximum(theta, 0.0)), 1e-300)
    # Without curvature, as of |w|, the gradient alone says how far the posterior resolves nothing.
    reach = jnp.minimum(jnp.sqrt(2 * _UNSEEN / (nbeta * curvature)), _FLAT / (nbeta * slope))
    directions = jr.normal(jr.split(key)[1], (SAMPLES, d))
    directions /= jnp.linalg.norm(directions, axis=1, keepdims=True)
    around = jnp.concatenate([w[None], w + reach * directions])
    rows = 1 if data is None else len(jax.tree.leaves(data)[0])
    at_once = max(1, min(16, _AT_ONCE // rows))
    losses, gradients = jax.lax.map(
        lambda u: jax.value_and_grad(loss.mean)(u, data), around, batch_size=at_once
    )
    falls = jnp.max(losses[0] - losses) / (slope * reach / jnp.sqrt(d))
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
    return weights @ gram @ weights, falls


def _onto_simplex(v: Float[Array, " m"]) -> Float[Array, " m"]:
    """Project onto the probability simplex (Duchi et al. 2008)."""
    ordered = jnp.sort(v)[::-1]
    excess = (jnp.cumsum(ordered) - 1) / jnp.arange(1, v.size + 1)
    count = jnp.sum(ordered > excess)
    return jnp.maximum(v - excess[count - 1], 0.0)
