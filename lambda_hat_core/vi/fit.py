"""Maximisation of the ELBO by Adam: scans of minibatch steps, with the restarts under vmap.

ELBO(phi) = E_q[log p(w) - log q_phi(w)], with log p relative to -nbeta L_n(w*). Its gradient is the
path derivative of log p(w_phi) - log q_{stop(phi)}(w_phi) through w alone (sticking the landing,
Roeder et al. 2017, arXiv:1703.09194), which has no variance at q = p. For parameters in which draws
are not differentiable, the score-function gradient with a running baseline is used.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray, PyTree, Scalar

from lambda_hat_core.config.samplers.vi import Vi
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.programs import compiled
from lambda_hat_core.samplers.drive import CHUNKS, Checkpoint
from lambda_hat_core.types import Weights
from lambda_hat_core.vi.chart import Chart
from lambda_hat_core.vi.family import join

_BASELINE_DECAY = 0.9


class FitOptions(NamedTuple):
    """The settings on which the compiled program of the fit depends."""

    n_samples: int
    batch_size: int | None
    clip: float | None

    @classmethod
    def of(cls, spec: Vi) -> "FitOptions":
        """Return the options of a specification."""
        return cls(spec.n_samples, spec.batch_size, spec.clip_global_norm)


class FitStep(NamedTuple):
    """Scalars of one optimiser step, in nats unless stated otherwise.

    Attributes:
        elbo: energy + entropy, on the minibatch of the step.
        energy: E_q[log p], relative to -nbeta L_n(w*).
        entropy: -E_q[log q], the entropy of w.
        llc: nbeta (L(w) - L(w*)).
        radius: root mean square of |w - w*|, in the original coordinates.
        grad_norm: norm of the gradient in all parameters, before clipping.
        weights_entropy: entropy of the mixture weights.
    """

    elbo: Scalar
    energy: Scalar
    entropy: Scalar
    llc: Scalar
    radius: Scalar
    grad_norm: Scalar
    weights_entropy: Scalar


def learning_rates(spec: Vi, dtype: np.dtype) -> Float[Array, " step"]:
    """Return the rates: a linear warm-up over `lr_warmup_frac` of the steps, then the schedule."""
    t = np.arange(spec.steps)
    warm = round(spec.lr_warmup_frac * spec.steps)
    left = 1 - np.clip((t - warm) / max(spec.steps - warm, 1), 0, 1)
    match spec.lr_schedule:
        case "constant":
            shape = np.ones_like(left)
        case "linear_decay":
            shape = left
        case "cosine":
            shape = 0.5 * (1 - np.cos(np.pi * left))
    return jnp.asarray(spec.lr * shape * np.minimum(1, (t + 1) / (warm + 1)), dtype)


def step_work(posterior: Posterior, options: FitOptions) -> float:
    """Return the full-gradient evaluations per step and restart, that at w* included."""
    batch = posterior.batch_work(options.batch_size)
    return batch * (options.n_samples + _is_partial(posterior, options))


def _is_partial(posterior: Posterior, options: FitOptions) -> bool:
    return posterior.data is not None and options.batch_size is not None


class Minimum(NamedTuple):
    """L_n and its gradient at w*, on all data."""

    loss: Scalar
    gradient: Weights


def minimum_of(posterior: Posterior, loss0: float) -> Minimum:
    """Return the loss and the gradient at w*, at the cost of one gradient."""
    gradient = _full_gradient(posterior)
    return Minimum(jnp.asarray(loss0, posterior.w0.dtype), gradient)


@compiled
def _full_gradient(posterior: Posterior) -> Weights:
    return posterior.loss_grad(posterior.w0, posterior.data)


def _losses_above_minimum(
    key: PRNGKeyArray,
    posterior: Posterior,
    minimum: Minimum,
    delta: Float[Array, "sample d"],
    options: FitOptions,
) -> Float[Array, " sample"]:
    """Return estimates of L(w* + delta) - L(w*) from one minibatch.

    The loss and the gradient of the minibatch at w* are replaced by those of the full data, which
    are known. The remaining minibatch noise vanishes with delta instead of growing with nbeta.
    """
    batch = posterior.minibatch(key, options.batch_size)
    losses = jax.vmap(lambda v: posterior.loss.mean(posterior.w0 + v, batch))(delta)
    if not _is_partial(posterior, options):
        return losses - minimum.loss
    loss, slope = jax.value_and_grad(posterior.loss.mean)(posterior.w0, batch)
    return losses - loss - delta @ (slope - minimum.gradient)


def _objective(
    flat: Float[Array, " p"],
    unravel: Callable[[Float[Array, " p"]], PyTree],
    static: PyTree,
    key: PRNGKeyArray,
    posterior: Posterior,
    chart: Chart,
    minimum: Minimum,
    baseline: Scalar,
    options: FitOptions,
) -> tuple[Scalar, tuple[Scalar, FitStep]]:
    family = join(unravel(flat), static)
    draw_key, batch_key = jr.split(key)
    u, log_q = family.draw_sticking(draw_key, options.n_samples)
    delta = jax.vmap(chart.displacement)(u)
    llc = posterior.nbeta * _losses_above_minimum(batch_key, posterior, minimum, delta, options)
    dist2 = jnp.sum(delta**2, axis=1)
    log_p = -llc - jax.vmap(posterior.tether)(delta)
    log_q = log_q - chart.log_det
    advantage = jax.lax.stop_gradient(log_p - log_q - baseline)
    score = jax.vmap(family.score_log_density)(jax.lax.stop_gradient(u))
    surrogate = jnp.mean(log_p - log_q + advantage * score) + family.regulariser()
    step = FitStep(
        elbo=jnp.mean(log_p - log_q),
        energy=jnp.mean(log_p),
        entropy=-jnp.mean(log_q),
        llc=jnp.mean(llc),
        radius=jnp.sqrt(jnp.mean(dist2)),
        grad_norm=jnp.zeros_like(baseline),
        weights_entropy=family.weights_entropy(),
    )
    return -surrogate, (jnp.mean(log_p - log_q), step)


class Fitted(NamedTuple):
    """The result of a fit.

    Attributes:
        params: the parameters of all restarts.
        history: the fields of `FitStep`, as float64 arrays (restart, step).
        before: seconds that an earlier process spent on the fit.
    """

    params: PyTree
    history: dict[str, np.ndarray]
    before: float


def fit(
    keys: Key[Array, " restart"],
    params: PyTree,
    static: PyTree,
    posterior: Posterior,
    chart: Chart,
    minimum: Minimum,
    rates: Float[Array, " step"],
    options: FitOptions,
    *,
    checkpoint: Checkpoint,
    clock: Callable[[], float],
) -> Fitted:
    """Fit all restarts, which are the leading axis of `params`, in equal chunks of steps."""
    n_steps = rates.size
    length = -(-n_steps // CHUNKS)
    count = -(-n_steps // length) if length else 1
    rates = jnp.pad(rates, (0, length * count - n_steps))
    carry, parts, ends = checkpoint.resume(_begin(params, chart, options))
    before = ends[-1] if ends else 0.0
    began = clock() - before
    for first in range(len(parts) * length, max(length * count, 1), max(length, 1)):
        span = jnp.arange(first, first + length)
        carry, steps = _advance(
            keys, carry, params, static, posterior, chart, minimum, rates[span], span, options
        )
        on_host = jax.device_get(steps)._asdict()
        parts.append({name: np.asarray(x, np.float64) for name, x in on_host.items()})
        ends.append(clock() - began)
        checkpoint.save(carry, parts, ends)
    joined = {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}
    history = {name: values[:, :n_steps] for name, values in joined.items()}
    return Fitted(_params(carry, params), history, before)


class _Carry(NamedTuple):
    """The state of a restart between steps: parameters, state of the optimiser, baseline."""

    flat: Float[Array, "..."]
    adam: Any
    baseline: Float[Array, "..."]


def _optimiser(options: FitOptions) -> optax.GradientTransformation:
    clip = optax.identity() if options.clip is None else optax.clip_by_global_norm(options.clip)
    return optax.chain(clip, optax.scale_by_adam())


@compiled
def _begin(params: PyTree, chart: Chart, options: FitOptions) -> _Carry:
    baseline = chart.log_det + 0.5 * chart.origin.size * math.log(2 * math.pi)

    def restart(params: PyTree) -> _Carry:
        flat, _ = ravel_pytree(params)
        return _Carry(flat, _optimiser(options).init(flat), baseline)

    return jax.vmap(restart)(params)


@compiled
def _params(carry: _Carry, params: PyTree) -> PyTree:
    return jax.vmap(lambda flat, params: ravel_pytree(params)[1](flat))(carry.flat, params)


@compiled
def _advance(
    keys: Key[Array, " restart"],
    carry: _Carry,
    params: PyTree,
    static: PyTree,
    posterior: Posterior,
    chart: Chart,
    minimum: Minimum,
    rates: Float[Array, " step"],
    indices: Int[Array, " step"],
    options: FitOptions,
) -> tuple[_Carry, FitStep]:
    adam = _optimiser(options)
    gradient = jax.grad(_objective, has_aux=True)

    def restart(key: PRNGKeyArray, carry: _Carry, params: PyTree) -> tuple[_Carry, FitStep]:
        _, unravel = ravel_pytree(params)

        def advance(carry: _Carry, inputs: tuple) -> tuple[_Carry, FitStep]:
            flat, state, baseline = carry
            rate, index = inputs
            grads, (value, step) = gradient(
                flat,
                unravel,
                static,
                jr.fold_in(key, index),
                posterior,
                chart,
                minimum,
                baseline,
                options,
            )
            update, state = adam.update(grads, state)
            baseline = _BASELINE_DECAY * baseline + (1 - _BASELINE_DECAY) * value
            step = step._replace(grad_norm=jnp.linalg.norm(grads))
            return _Carry(flat - rate * update, state, baseline), step

        return jax.lax.scan(advance, carry, (rates, indices))

    return jax.vmap(restart)(keys, carry, params)
