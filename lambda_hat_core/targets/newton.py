"""One matrix-free step of a trust-region Newton method on the full data.

Lanczos computes the Krylov space of the gradient, in which the trust-region problem is solved
exactly: the step follows negative curvature, and the radius limits it in flat directions. For k = d
it is the step of Moré & Sorensen (1983), doi:10.1137/0904038.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.linalg.lanczos import lanczos
from lambda_hat_core.posterior import Loss
from lambda_hat_core.types import Batch, Weights

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
    radius: Scalar
    loss: Scalar
    grad_norm: Scalar


def _subproblem(
    theta: Float[Array, " k"], components: Float[Array, " k"], radius: Scalar
) -> Float[Array, " k"]:
    """Minimise c.p + 1/2 p diag(theta) p over |p| <= radius."""
    largest = jnp.max(jnp.abs(theta))
    lowest = jnp.maximum(0.0, -theta[0]) + 1e-14 * largest

    def at(shift: Scalar) -> Float[Array, " k"]:
        return -components / (theta + lowest + shift)

    def halve(_: Array, bounds: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
        low, high = bounds
        middle = 0.5 * (low + high)
        outside = jnp.linalg.norm(at(jnp.exp(middle))) > radius
        return jnp.where(outside, middle, low), jnp.where(outside, high, middle)

    top = jnp.log(jnp.linalg.norm(components) / radius + 1e-300)
    _, shift = jax.lax.fori_loop(0, _BISECTIONS, halve, (top - 70.0, top))
    inside = jnp.linalg.norm(at(jnp.zeros(()))) <= radius
    step = jnp.where(inside, at(jnp.zeros(())), at(jnp.exp(shift)))
    spare = jnp.sqrt(jnp.maximum(radius**2 - jnp.sum(step**2), 0.0))
    downhill = jnp.where(components[0] > 0, -spare, spare)
    return step.at[0].add(jnp.where(theta[0] < -1e-10 * largest, downhill, 0.0))


@eqx.filter_jit
def newton_step(
    key: PRNGKeyArray,
    loss: Loss,
    w: Weights,
    data: Batch,
    radius: Scalar,
    *,
    rank: int,
) -> NewtonStep:
    """Take one step of at most `radius` in a Krylov space of `rank` dimensions."""

    def mean(w: Weights) -> Scalar:
        return loss.mean(w, data)

    value, gradient = jax.value_and_grad(mean)(w)

    def hvp(v: Weights) -> Weights:
        return jax.jvp(jax.grad(mean), (w,), (v,))[1]

    if rank == w.size:
        hessian = jax.lax.map(hvp, jnp.eye(rank), batch_size=16)
        theta, rows = jnp.linalg.eigh((hessian + hessian.T) / 2)
        vectors = rows.T
    else:
        theta, vectors = lanczos(key, hvp, w.size, rank, start=gradient)
    components = vectors @ gradient
    step = _subproblem(theta, components, radius)
    predicted = -(components @ step + 0.5 * jnp.sum(theta * step**2))
    trial = w + step @ vectors
    trial_value, trial_gradient = jax.value_and_grad(mean)(trial)
    length = jnp.linalg.norm(step)
    grad_norm = jnp.linalg.norm(gradient)
    resolved = predicted > _NOISE * jnp.abs(value)
    flatter = jnp.linalg.norm(trial_gradient) < grad_norm
    ratio = (value - trial_value) / jnp.where(predicted > 0, predicted, 1.0)
    ratio = jnp.where(resolved, ratio, jnp.where(flatter, 1.0, -1.0))
    accepted = (ratio > 1e-4) & jnp.isfinite(trial_value)
    grown = jnp.where((ratio > 0.75) & (length > 0.99 * radius), 2 * radius, radius)
    return NewtonStep(
        w=jnp.where(accepted, trial, w),
        radius=jnp.where((ratio > 0.25) & accepted, grown, 0.25 * length),
        loss=jnp.where(accepted, trial_value, value),
        grad_norm=jnp.where(accepted, jnp.linalg.norm(trial_gradient), grad_norm),
    )
