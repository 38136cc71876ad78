"""First-order training on minibatches or the full data, as one scan in float64."""

from typing import NamedTuple, assert_never

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.config.training import Training
from lambda_hat_core.posterior import Loss
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


def _optimiser(spec: Training) -> optax.GradientTransformation:
    rate = spec.lr
    if spec.schedule == "cosine":
        rate = optax.cosine_decay_schedule(spec.lr, max(spec.steps, 1))
    match spec.optimizer:
        case "adam":
            optimiser = optax.adam(rate)
        case "adamw":
            optimiser = optax.adamw(rate, weight_decay=spec.weight_decay)
        case "sgd":
            optimiser = optax.sgd(rate)
        case _:
            assert_never(spec.optimizer)
    return optax.chain(optax.add_decayed_weights(spec.l2), optimiser) if spec.l2 else optimiser


@eqx.filter_jit
def _run(
    key: PRNGKeyArray, loss: Loss, w: Weights, data: Batch, test: Batch, n: int, spec: Training
) -> tuple[Weights, Float[Array, "step 2"]]:
    optimiser = _optimiser(spec)
    every = -(-spec.steps // _RECORDS)
    empty = jnp.full((2,), jnp.nan, w.dtype)

    def losses(w: Weights) -> Float[Array, " 2"]:
        held_out = loss.mean(w, test) if test is not None else jnp.nan
        return jnp.stack([loss.mean(w, data), jnp.asarray(held_out, w.dtype)])

    def minibatch(key: PRNGKeyArray) -> Batch:
        if spec.batch_size is None or data is None:
            return data
        index = jr.randint(key, (spec.batch_size,), 0, n)
        return jax.tree.map(lambda array: array[index], data)

    def step(carry: tuple, i: Scalar) -> tuple[tuple, Array]:
        w, state = carry
        gradient = jax.grad(loss.mean)(w, minibatch(jr.fold_in(key, i)))
        updates, state = optimiser.update(gradient, state, w)
        w = w + jnp.asarray(updates)
        seen = jax.lax.cond((i + 1) % every == 0, losses, lambda _: empty, w)
        return (w, state), seen

    (w, _), curve = jax.lax.scan(step, (w, optimiser.init(w)), jnp.arange(spec.steps))
    return w, curve


@eqx.filter_jit
def _gradient(loss: Loss, w: Weights, data: Batch) -> Weights:
    return jax.grad(loss.mean)(w, data)


def train(key: PRNGKeyArray, problem: Problem, spec: Training) -> Trained:
    """Train from the problem's start.

    Raises:
        ValueError: if the minibatch is larger than the data, or the gradient at the start is not
            finite.
        FloatingPointError: if training diverges.
    """
    size, n = spec.batch_size, problem.n
    if size is not None and size > n:
        raise ValueError(
            f"training.batch_size is {size}, but there are n = {n} examples; choose batch_size <= n"
        )
    if spec.steps == 0:
        return Trained(problem.start, np.zeros((0, 3)), 0.0)
    w, seen = _run(key, problem.loss, problem.start, problem.data, problem.test, n, spec)
    if not np.isfinite(w).all():
        if not np.isfinite(_gradient(problem.loss, problem.start, problem.data)).all():
            raise refusal(problem, problem.start, "where training starts")
        raise FloatingPointError(
            f"training diverged: {spec.optimizer} with lr = {spec.lr} produced non-finite weights; "
            "lower training.lr"
        )
    values = np.asarray(seen)
    steps = 1.0 + np.arange(spec.steps)
    kept = ~np.isnan(values[:, 0])
    full = 1.0 if size is None or problem.data is None else size / n
    return Trained(
        w, np.column_stack([steps, values])[kept], spec.steps * full + kept.sum().item() / 3
    )
