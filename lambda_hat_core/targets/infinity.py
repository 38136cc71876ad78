"""Whether a loss has its minimum at infinity, so that a descent has no point to end at.

Examples are classes that the model can separate: the cross entropy then falls for ever as the
parameters grow, its gradient and its curvature vanish, and every test of a minimum that looks at
derivatives alone is passed somewhere on the way. What tells such a point from a minimum is that
the loss does not rise ahead of it.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Scalar

from lambda_hat_core.posterior import Loss, mean_loss
from lambda_hat_core.programs import quickly
from lambda_hat_core.targets.audit import LIMIT, REVERSED, Audit
from lambda_hat_core.targets.losses import Supervised
from lambda_hat_core.targets.problem import Problem
from lambda_hat_core.targets.valley import falls_for_ever
from lambda_hat_core.types import Batch, Weights, constant

_AHEAD = (0.125, 0.25, 0.5, 1.0)
"""How much farther from the origin the loss is looked at, as shares of |w|. The nearest is where a
network still follows its scaling; the farthest is for losses whose digits are used up at w."""
_STEPS = 4
"""Points on the way there, at none of which the loss may have risen."""
_BACK = 2.0**-20
"""A point near the origin, where the loss must be higher: else it does not depend on |w|."""
_UNSEEN = 1e-3
"""Rise of nbeta L_n that the posterior cannot resolve, and rounding errors may cause."""
_BOTTOMLESS = 1e6
"""How far below zero the loss of a trained network may be, in units of the loss at its start."""
_FALLS = 1e-9
"""Least share of the loss that it falls by. A loss that normalises its inputs by the root of
|x|^2 + 1e-12 falls by 1e-13 of its value, which nothing can tell from a minimum."""


def endless(problem: Problem, w: Weights, nbeta: float, *, audited: bool) -> str | None:
    """Return why there is no minimum where a descent has led, or None if there may be one.

    Args:
        problem: has the loss and the data.
        w: the point.
        nbeta: the temperature at which a difference of the loss counts.
        audited: whether w passes the audit. Where it does not, only class labels are looked at: on
            the way to a minimum farther from the origin, any loss falls as the parameters grow.
    """
    loss, data = problem.loss, problem.data
    if separated(loss, w, data):
        return (
            "every training example can be classified correctly, so that the cross entropy has no "
            "minimum, only an infimum of 0 at infinity"
        )
    if not audited:
        return None
    back, here, *ends = _along_ray(loss, w, data, [_BACK, 1.0, *(1 + share for share in _AHEAD)])
    if not nbeta * (back - here) > LIMIT:
        return None
    if all(nbeta * (end - here) > _UNSEEN for end in ends):
        return None
    parts = [k / _STEPS for k in range(1, _STEPS + 1)]
    factors = [1 + share * part for share in _AHEAD for part in parts]
    ahead = np.reshape(_along_ray(loss, w, data, factors), (len(_AHEAD), _STEPS))
    for share, losses in zip(_AHEAD, ahead, strict=True):
        flat = nbeta * (losses - here) <= _UNSEEN
        if flat.all() and here - losses[-1] > _FALLS * abs(here):
            return (
                f"the minimum is at infinity: from |w| = {float(jnp.linalg.norm(w)):.3g} on, where "
                f"L_n = {here:.3g}, the loss only falls as the parameters grow (to "
                f"{losses[-1]:.3g} at {1 + share:g} w)"
            )
    return None


def judged(problem: Problem, w: Weights, found: Audit, nbeta: float, gamma: float) -> Audit:
    """Return the audit of a given point w, with the reason if its minimum is at infinity."""
    why = endless(problem, w, nbeta, audited=not found.reasons)
    if why is None:
        return on_the_floor(problem, w, found, nbeta, gamma)
    return found._replace(reasons=(why, *found.reasons))


def on_the_floor(problem: Problem, w: Weights, found: Audit, nbeta: float, gamma: float) -> Audit:
    """Return an audit that is passed, with the reason if w is in a valley without an end.

    The other directions have their minimum there, so a polish that led to it need not be undone.
    """
    if found.reasons or found.kinked or found.pairs is None:
        return found
    why = falls_for_ever(problem, w, found.pairs, nbeta=nbeta, gamma=gamma, least=LIMIT)
    return found if why is None else found._replace(reasons=(why,))


@quickly
def _loss_at(loss: Loss, w: Weights, data: Batch, factor: Scalar) -> Scalar:
    return loss.mean(factor * w, data)


def _along_ray(loss: Loss, w: Weights, data: Batch, factors: list[float]) -> list[float]:
    """Return the loss at multiples of w."""
    return [float(_loss_at(loss, w, data, constant(factor, w))) for factor in factors]


@quickly
def _all_correct(loss: Supervised, w: Weights, data: Batch) -> Array:
    right, scored = loss.hits(w, data)
    return jnp.all(right == scored)


def separated(loss: Loss, w: Weights, data: Batch) -> bool:
    """Return whether the loss falls to 0 along a ray, so that it has no minimum.

    This is so if every example is classified correctly: scaling up the last layer then keeps
    lowering every term of the cross entropy.
    """
    if not isinstance(loss, Supervised) or loss.name != "cross_entropy":
        return False
    return bool(_all_correct(loss, w, data))


def refuse_bottomless(problem: Problem, loss: float) -> None:
    """Refuse a target whose loss has no lower bound.

    Args:
        problem: the target before its training.
        loss: L_n where training and polish ended.

    Raises:
        ValueError: if it is below zero by more than a million times the loss at the start.
    """
    if loss >= -_BOTTOMLESS:
        return
    start = float(mean_loss(problem.loss, problem.start, problem.data))
    if loss < -_BOTTOMLESS * max(1.0, abs(start)):
        raise ValueError(
            f"{problem.maker} has a loss that fell from {start:.3g} to {loss:.3g} on the way to "
            f"its minimum, so it has no lower bound. {REVERSED}"
        )
