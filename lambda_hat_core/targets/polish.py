"""The polish: from the end of training to a minimum of the full-data loss, in float64.

L-BFGS descends the long valleys at one gradient per step; a few Newton steps in a Krylov space
escape from saddles and converge at the minimum. The two alternate until the progress of a cycle is
too small to affect an estimate. Progress is measured in nbeta L_n, the unit of an estimate.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from lambda_hat_core.config.training import Training
from lambda_hat_core.targets import lbfgs
from lambda_hat_core.targets.derivatives import refusal
from lambda_hat_core.targets.infinity import separated
from lambda_hat_core.targets.losses import Supervised
from lambda_hat_core.targets.newton import newton_rank, newton_step
from lambda_hat_core.targets.problem import Problem
from lambda_hat_core.types import Weights, constant

ROUND = 100
"""Number of L-BFGS steps that count as one outer iteration."""
_CLASS_ROUND = 2
"""The same for class labels, so that a descent to infinity is noticed as soon as it is one."""
_BURST = 5
"""Newton steps per cycle."""
_ROUND_GAIN = 1e-3
"""Gain of an L-BFGS round, in nbeta L_n, below which Newton takes over."""
_CYCLE_GAIN = 1e-4
"""Gain of a cycle, in nbeta L_n, below which the polish has converged."""
_STILL_FALLING = 0.01
"""Relative gain above which a loss that tends to 0 has not converged, however small it is."""


class Polished(NamedTuple):
    """The end of a polish: the point, iterations, work in FGE, and why it stopped."""

    w: Weights
    iterations: int
    work: float
    stopped: str


class _Run(NamedTuple):
    """The constants that all stages of one polish share."""

    problem: Problem
    spec: Training
    nbeta: float
    tolerance: float

    def finished(self, w: Weights, grad_norm: float) -> str | None:
        if grad_norm <= self.tolerance:
            return "gradient below grad_tol"
        if separated(self.problem.loss, w, self.problem.data):
            return "classes separated: there is no minimum to descend to"
        return None

    def settled(self, before: float, after: float, least: float) -> bool:
        gain = before - after
        return self.nbeta * gain <= least and gain <= _STILL_FALLING * after


def polish(
    key: PRNGKeyArray,
    problem: Problem,
    w: Weights,
    spec: Training,
    nbeta: float,
    log: Callable[[str], None],
) -> Polished:
    """Descend until |grad| <= grad_tol max(1, L_n), the iterations are used up, or progress ends.

    Raises:
        FloatingPointError: if the loss is not finite at w.
        ValueError: if its gradient is not finite there.
    """
    state = lbfgs.start(problem.loss, w, problem.data)
    if not np.isfinite(state.loss):
        raise FloatingPointError("the training loss is not finite at the end of training")
    if not np.isfinite(state.gradient).all():
        raise refusal(problem, w, "where the polish starts")
    run = _Run(problem, spec, nbeta, spec.grad_tol * max(1.0, float(state.loss)))
    at = Polished(w, 0, 0.0, "")
    loss = math.inf
    while not at.stopped:
        before = loss
        at, loss = _descend(run, at)
        if spec.polish == "newton_cg" and not at.stopped:
            at, loss = _newton(jr.fold_in(key, at.iterations), run, at, loss)
        if not at.stopped and run.settled(before, loss, _CYCLE_GAIN):
            at = at._replace(stopped=f"a cycle lowered nbeta L_n by less than {_CYCLE_GAIN}")
    log(f"polished in {at.iterations} iterations to L_n = {loss:.8g}: {at.stopped}")
    return at


def _norm(vector: Weights) -> float:
    return float(np.linalg.norm(np.asarray(vector)))


def _descend(run: _Run, at: Polished) -> tuple[Polished, float]:
    """Run rounds of L-BFGS until the gain of a round is small."""
    problem, spec = run.problem, run.spec
    classes = isinstance(problem.loss, Supervised) and problem.loss.name == "cross_entropy"
    length = _CLASS_ROUND if classes else ROUND
    least = _ROUND_GAIN * length / ROUND if spec.polish == "newton_cg" else 0.0
    state = lbfgs.start(problem.loss, at.w, problem.data)
    done, stopped = at.iterations, ""
    while True:
        loss = float(state.loss)
        stopped = run.finished(state.w, _norm(state.gradient)) or stopped
        if not stopped and done >= spec.polish_steps:
            stopped = "polish_steps reached"
        if stopped:
            break
        tolerance = constant(run.tolerance, state.w)
        state = lbfgs.advance(problem.loss, state, problem.data, length, tolerance)
        done += 1
        if bool(state.stuck) and spec.polish == "lbfgs":
            stopped = "no lower point found"
        elif bool(state.stuck) or run.settled(loss, float(state.loss), least):
            break
    work = at.work + float(state.evaluations)
    return Polished(state.w, done, work, stopped), float(state.loss)


def _newton(key: PRNGKeyArray, run: _Run, at: Polished, loss: float) -> tuple[Polished, float]:
    """Take a few Newton steps."""
    problem = run.problem
    rank = newton_rank(at.w.size)
    w, radius = at.w, 0.1 * max(_norm(at.w), 1.0)
    done, stopped = at.iterations, ""
    for i in range(min(_BURST, run.spec.polish_steps - done)):
        step = newton_step(jr.fold_in(key, i), problem.loss, w, problem.data, radius, rank=rank)
        w, radius, loss, done = step.w, step.radius, step.loss, done + 1
        stopped = run.finished(w, step.grad_norm) or ""
        if stopped:
            break
    work = at.work + (done - at.iterations) * (2.0 * rank + 2)
    return Polished(w, done, work, stopped), loss
