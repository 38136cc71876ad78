"""First-order training on minibatches or the full data, as one scan in float64."""

from collections.abc import Callable
from typing import Any, NamedTuple, assert_never

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.config.training import Training
from lambda_hat_core.posterior import Loss
from lambda_hat_core.programs import compiled
from lambda_hat_core.targets.derivatives import refusal
from lambda_hat_core.targets.problem import Problem
from lambda_hat_core.types import Batch, Weights

_RECORDS = 200
"""Number of full-data losses recorded per training run, for the curve."""


class Trained(NamedTuple):
    """The end of training, its curve (step, training loss, test loss) and work in FGE."""

    w: Weights
    curve: Float[np.ndarray, "record 3"]
    work: float


def optimiser(spec: Training) -> optax.GradientTransformation:
    """Return the optimiser of a training, with its schedule."""
    rate = spec.lr
    if spec.schedule == "cosine":
        rate = optax.cosine_decay_schedule(spec.lr, max(spec.steps, 1))
    match spec.optimizer:
        case "adam":
            rule = optax.adam(rate)
        case "adamw":
            rule = optax.adamw(rate, weight_decay=spec.weight_decay)
        case "sgd":
            rule = optax.sgd(rate)
        case _:
            assert_never(spec.optimizer)
    return optax.chain(optax.add_decayed_weights(spec.l2), rule) if spec.l2 else rule


def make_step(
    key: PRNGKeyArray, loss: Loss, data: Batch, n: int, spec: Training
) -> Callable[[tuple[Weights, Any], Scalar], tuple[Weights, Any]]:
    """Return one step of a training, from (weights, optimiser's state) and the step's number."""
    rule = optimiser(spec)

    def minibatch(key: PRNGKeyArray) -> Batch:
        if spec.batch_size is None or data is None:
            return data
        index = jr.randint(key, (spec.batch_size,), 0, n)
        return jax.tree.map(lambda array: array[index], data)

    def step(carry: tuple[Weights, Any], i: Scalar) -> tuple[Weights, Any]:
        w, state = carry
        gradient = jax.grad(loss.mean)(w, minibatch(jr.fold_in(key, i)))
        updates, state = rule.update(gradient, state, w)
        return w + jnp.asarray(updates), state

    return step


@compiled
def _run(
    key: PRNGKeyArray, loss: Loss, w: Weights, data: Batch, test: Batch, n: int, spec: Training
) -> tuple[Weights, Float[Array, "step 2"]]:
    advance = make_step(key, loss, data, n, spec)
    every = -(-spec.steps // _RECORDS)
    empty = jnp.full((2,), jnp.nan, w.dtype)

    def losses(w: Weights) -> Float[Array, " 2"]:
        held_out = loss.mean(w, test) if test is not None else jnp.nan
        return jnp.stack([loss.mean(w, data), jnp.asarray(held_out, w.dtype)])

    def step(carry: tuple, i: Scalar) -> tuple[tuple, Array]:
        w, state = advance(carry, i)
        seen = jax.lax.cond((i + 1) % every == 0, losses, lambda _: empty, w)
        return (w, state), seen

    (w, _), curve = jax.lax.scan(step, (w, optimiser(spec).init(w)), jnp.arange(spec.steps))
    return w, curve


@compiled
def _gradient(loss: Loss, w: Weights, data: Batch) -> Weights:
    return jax.grad(loss.mean)(w, data)


def fits(spec: Training, n: int) -> None:
    """Refuse a minibatch that is larger than the data.

    Raises:
        ValueError: if it is.
    """
    size = spec.batch_size
    if size is not None and size > n:
        raise ValueError(
            f"training.batch_size is {size}, but there are n = {n} examples; choose batch_size <= n"
        )


def diverged(problem: Problem, spec: Training, where: str = "") -> Exception:
    """Return the error of a training whose weights are not finite, `where` in words."""
    if not np.isfinite(_gradient(problem.loss, problem.start, problem.data)).all():
        return refusal(problem, problem.start, "where training starts")
    at = f" {where}" if where else ""
    return FloatingPointError(
        f"training diverged{at}: {spec.optimizer} with lr = {spec.lr} produced non-finite weights; "
        "lower training.lr"
    )


def train(key: PRNGKeyArray, problem: Problem, spec: Training) -> Trained:
    """Train from the problem's start.

    Raises:
        ValueError: if the minibatch is larger than the data, or the gradient at the start is not
            finite.
        FloatingPointError: if training diverges.
    """
    size, n = spec.batch_size, problem.n
    fits(spec, n)
    if spec.steps == 0:
        return Trained(problem.start, np.zeros((0, 3)), 0.0)
    w, seen = _run(key, problem.loss, problem.start, problem.data, problem.test, n, spec)
    if not np.isfinite(w).all():
        raise diverged(problem, spec)
    values = np.asarray(seen)
    steps = 1.0 + np.arange(spec.steps)
    kept = ~np.isnan(values[:, 0])
    full = 1.0 if size is None or problem.data is None else size / n
    return Trained(
        w, np.column_stack([steps, values])[kept], spec.steps * full + kept.sum().item() / 3
    )
