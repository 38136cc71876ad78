"""Errors for losses without finite derivatives: which derivative, with respect to which parameter.

The audit of w*, the pilot and the set-up of every sampler need the gradient and the Hessian at w*.
If one of them is not finite, no sampler can run, so the target is rejected. By the chain rule JAX
multiplies the infinite derivative of an outer function by the zero derivative of the inner one: the
gradient of a root or a norm is nan at 0, and so is the Hessian of a power of a square.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Scalar

from lambda_hat_core.posterior import Loss
from lambda_hat_core.programs import quickly
from lambda_hat_core.targets.networks.layout import dotted, split
from lambda_hat_core.targets.problem import Problem
from lambda_hat_core.types import Batch, Weights

_MOST_NAMES = 3
"""Most parameters that an error names; of the others it gives the number."""

_ROOT = (
    "write it so that it has one there (a root or a norm has none at 0: add a small constant under "
    "the root, or use jnp.where inside of it)"
)
_POWER = (
    "write it so that JAX can differentiate it twice there (w ** (2 * k) rather than (w * w) ** k; "
    "jnp.where inside of a root rather than around it)"
)


class _Derivatives(NamedTuple):
    """L_n, its gradient g, and the derivative of g along the vector of ones, at one point."""

    loss: Scalar
    gradient: Weights
    curvature: Weights


@quickly
def _at(loss: Loss, w: Weights, data: Batch) -> _Derivatives:
    def mean(w: Weights) -> Scalar:
        return loss.mean(w, data)

    gradient, curvature = jax.jvp(jax.grad(mean), (w,), (jnp.ones_like(w),))
    return _Derivatives(mean(w), gradient, curvature)


def refusal(problem: Problem, w: Weights, where: str = "at w*") -> ValueError:
    """Return the error for a loss that has no finite value, gradient or Hessian at w.

    The derivative of the gradient along one direction shows with respect to which parameters the
    Hessian is not finite, because their components are nan in every direction.

    Args:
        problem: the problem, which has the loss and the names of its parameters.
        w: the point at which some derivative is not finite.
        where: the point in words.
    """
    found = _at(problem.loss, w, problem.data)
    if not np.isfinite(found.loss):
        rest = "the loss must be finite: correct it, or move the parameters"
        return ValueError(f"{problem.maker} has a loss of {float(found.loss)} {where}; {rest}")
    first = not bool(jnp.isfinite(jnp.linalg.norm(found.gradient)))
    what, way_out = ("gradient", _ROOT) if first else ("Hessian", _POWER)
    names = _named(problem, found.gradient if first else found.curvature)
    return ValueError(
        f"{problem.maker} has a loss whose {what} is not finite {where}, with respect to "
        f"{names}; every sampler needs it, so none can run: {way_out}, or move the parameters away "
        "from that point"
    )


def _named(problem: Problem, values: Array) -> str:
    """Return the names of the parameters whose part of a flat vector is not finite."""
    parts = split(problem.shapes, values)
    bad = {
        name: f"{dotted(name)} ({count} of {part.size} entries)"
        for name, part in parts.items()
        if (count := int(jnp.sum(~jnp.isfinite(part))))
    }
    if not bad:
        return "all parameters together (its norm overflows)"
    shown = list(bad.values())[:_MOST_NAMES]
    more = [f"{len(bad) - len(shown)} more"] if len(bad) > len(shown) else []
    return ", ".join([*shown, *more])
