"""From the end of training to a minimum of the full-data loss, in float64.

L-BFGS goes down the long valleys at one gradient a step; Newton steps in a Krylov space then settle
in the bottom. Progress is measured in nbeta L_n, the unit of an estimate.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, PRNGKeyArray

from lambda_hat_core.config.training import Training
from lambda_hat_core.losses import Supervised
from lambda_hat_core.target import Loss
from lambda_hat_core.targets import lbfgs
from lambda_hat_core.targets.newton import newton_step
from lambda_hat_core.targets.problem import Problem
from lambda_hat_core.types import Batch, Weights

ROUND = 100
"""L-BFGS steps that count as one outer iteration."""
_CLASS_ROUND = 10
"""The same for class labels, where the descent may have to stop before it runs to infinity."""
_RANK = 128
"""Krylov dimension of a Newton step: 256 gradients."""
_WINDOW = 10
"""Newton steps over which too small a gain means that the polish has settled."""
_ROUND_GAIN = 1e-3
"""Gain of an L-BFGS round, in nbeta L_n, below which Newton takes over."""
_NEWTON_GAIN = 1e-4
"""Gain of a window of Newton steps, in nbeta L_n, below which it has settled."""
_STILL_FALLING = 0.01
"""Relative gain above which a loss on its way to 0 is not settled, however small it is."""
_INFIMUM = 0.05
"""nbeta L_n at which the descent towards a loss of 0 at infinity stops: no estimate can then be
more negative than that."""


class Polished(NamedTuple):
    """Where the polish stopped and why; work in FGE."""

    w: Weights
    iterations: int
    work: float
    stopped: str


@eqx.filter_jit
def _all_correct(loss: Supervised, w: Weights, data: Batch) -> Array:
    assert data is not None
    x, y = data
    return jnp.all(jnp.argmax(loss.network.apply(w, x), axis=-1) == y)


def separated(loss: Loss, w: Weights, data: Batch) -> bool:
    """Return whether the loss falls to 0 along a ray, so that it has no minimum at all.

    It does once every example is classified right: scaling the last layer up lowers every term of
    the cross entropy for ever.
    """
    if not isinstance(loss, Supervised) or loss.name != "cross_entropy":
        return False
    return bool(_all_correct(loss, w, data))


def polish(
    key: PRNGKeyArray,
    problem: Problem,
    w: Weights,
    spec: Training,
    nbeta: float,
    log: Callable[[str], None],
) -> Polished:
    """Descend until |grad| <= grad_tol max(1, L_n), the steps are spent, or nothing is gained.

    Raises:
        FloatingPointError: if the loss is not finite at w.
    """
    state = lbfgs.start(problem.loss, w, problem.data)
    if not bool(jnp.isfinite(state.loss)):
        raise FloatingPointError("the training loss is not finite at the end of training")
    tolerance = spec.grad_tol * max(1.0, float(state.loss))
    classes = isinstance(problem.loss, Supervised) and problem.loss.name == "cross_entropy"
    length = _CLASS_ROUND if classes else ROUND
    least = _ROUND_GAIN * length / ROUND if spec.polish == "newton_cg" else 0.0
    rounds, stopped = 0, None
    while stopped is None and rounds < spec.polish_steps:
        before = float(state.loss)
        stopped = _finished(problem, state.w, before, state.gradient, tolerance, nbeta)
        if stopped is None:
            state = lbfgs.advance(problem.loss, state, problem.data, length, jnp.asarray(tolerance))
            rounds += 1
            gain = nbeta * (before - float(state.loss))
            small = gain <= least and gain <= _STILL_FALLING * nbeta * float(state.loss)
            if bool(state.stuck) or small:
                break
    work = float(state.evaluations)
    log(f"L-BFGS: {rounds * length} steps, L_n = {float(state.loss):.8g}")
    if stopped is None:
        stopped = _finished(problem, state.w, float(state.loss), state.gradient, tolerance, nbeta)
    if stopped is not None or spec.polish == "lbfgs":
        why = stopped or ("no lower point found" if state.stuck else "polish_steps spent")
        return Polished(state.w, rounds, work, why)
    return _newton(
        key, problem, state.w, spec, nbeta, tolerance, Polished(w, rounds, work, ""), log
    )


def _finished(
    problem: Problem, w: Weights, loss: float, gradient: Weights, tolerance: float, nbeta: float
) -> str | None:
    if float(jnp.linalg.norm(gradient)) <= tolerance:
        return "gradient below grad_tol"
    if nbeta * loss <= _INFIMUM and separated(problem.loss, w, problem.data):
        return "classes separated: the loss has no minimum, only an infimum of 0 at infinity"
    return None


def _newton(
    key: PRNGKeyArray,
    problem: Problem,
    w: Weights,
    spec: Training,
    nbeta: float,
    tolerance: float,
    so_far: Polished,
    log: Callable[[str], None],
) -> Polished:
    rank = min(w.size, _RANK)
    radius = 0.1 * jnp.maximum(jnp.linalg.norm(w), 1.0)
    losses: list[float] = []
    done, why = so_far.iterations, "polish_steps spent"
    while done < spec.polish_steps:
        at = newton_step(jr.fold_in(key, done), problem.loss, w, problem.data, radius, rank=rank)
        w, radius, done = at.w, at.radius, done + 1
        losses.append(float(at.loss))
        if float(at.grad_norm) <= tolerance:
            why = "gradient below grad_tol"
            break
        if nbeta * losses[-1] <= _INFIMUM and separated(problem.loss, w, problem.data):
            why = "classes separated: the loss has no minimum, only an infimum of 0 at infinity"
            break
        gain = losses[-1 - _WINDOW] - losses[-1] if len(losses) > _WINDOW else math.inf
        if nbeta * gain < _NEWTON_GAIN and gain <= _STILL_FALLING * losses[-1]:
            why = f"{_WINDOW} Newton steps lowered nbeta L_n by less than {_NEWTON_GAIN}"
            break
    steps = len(losses)
    if losses:
        log(f"Newton: {steps} steps, L_n = {losses[-1]:.8g}, stopped: {why}")
    return Polished(w, done, so_far.work + steps * (2.0 * rank + 2), why)
