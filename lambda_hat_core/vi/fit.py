"""Ascent of the ELBO by Adam: one scan of minibatch steps, restarts by vmap.

ELBO(phi) = E_q[log p(w) - log q_phi(w)], log p relative to -nbeta L_n(w*). Its gradient is the
path derivative of log p(w_phi) - log q_{stop(phi)}(w_phi), through w alone (sticking the landing,
Roeder et al. 2017, arXiv:1703.09194): it has no variance at q = p. Parameters that draws are not
differentiable in get the score-function gradient with a running baseline.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, Scalar

from lambda_hat_core.config.samplers import Vi
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.vi.chart import Chart
from lambda_hat_core.vi.family import frozen, join

_BASELINE_DECAY = 0.9


class FitOptions(NamedTuple):
    """What one compilation of the fit depends on."""

    n_samples: int
    batch_size: int | None
    clip: float | None


class Step(NamedTuple):
    """Scalars of one optimiser step, in nats where not said otherwise.

    Attributes:
        elbo: energy + entropy, on the step's minibatch.
        energy: E_q[log p], relative to -nbeta L_n(w*).
        entropy: -E_q[log q], of w.
        llc: nbeta (L_B(w) - L_B(w*)).
        radius: root mean |w - w*|^2, in the original coordinates.
        grad_norm: of all parameters, before clipping.
        weights_entropy: of the mixture weights.
    """

    elbo: Scalar
    energy: Scalar
    entropy: Scalar
    llc: Scalar
    radius: Scalar
    grad_norm: Scalar
    weights_entropy: Scalar


def learning_rates(spec: Vi, dtype: np.dtype) -> Float[Array, " step"]:
    """Linear warm-up over `lr_warmup_frac` of the steps, then the schedule, ending near 0."""
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
    """Full-gradient evaluations of one step of one restart, the minibatch loss at w* included."""
    batch = posterior.batch_work(options.batch_size)
    return batch * (options.n_samples + (1 / 3 if _is_partial(posterior, options) else 0.0))


def _is_partial(posterior: Posterior, options: FitOptions) -> bool:
    return posterior.data is not None and options.batch_size is not None


def _objective(
    params: PyTree,
    static: PyTree,
    key: PRNGKeyArray,
    posterior: Posterior,
    chart: Chart,
    loss0: Scalar,
    baseline: Scalar,
    options: FitOptions,
) -> tuple[Scalar, tuple[Scalar, Step]]:
    family = join(params, static)
    draw_key, batch_key = jr.split(key)
    u = family.draw(draw_key, options.n_samples)
    batch = posterior.minibatch(batch_key, options.batch_size)
    delta = jax.vmap(chart.displacement)(u)
    losses = jax.vmap(lambda v: posterior.loss.mean(posterior.w0 + v, batch))(delta)
    if _is_partial(posterior, options):
        loss0 = posterior.loss.mean(posterior.w0, batch)
    llc = posterior.nbeta * (losses - loss0)
    dist2 = jnp.sum(delta**2, axis=1)
    log_p = -llc - 0.5 * posterior.gamma * dist2
    log_q = jax.vmap(frozen(family).log_density)(u) - chart.log_det
    advantage = jax.lax.stop_gradient(log_p - log_q - baseline)
    score = jax.vmap(family.score_log_density)(jax.lax.stop_gradient(u))
    surrogate = jnp.mean(log_p - log_q + advantage * score) + family.regulariser()
    step = Step(
        elbo=jnp.mean(log_p - log_q),
        energy=jnp.mean(log_p),
        entropy=-jnp.mean(log_q),
        llc=jnp.mean(llc),
        radius=jnp.sqrt(jnp.mean(dist2)),
        grad_norm=jnp.zeros_like(loss0),
        weights_entropy=family.weights_entropy(),
    )
    return -surrogate, (jnp.mean(log_p - log_q), step)


@eqx.filter_jit
def fit(
    keys: PRNGKeyArray,
    params: PyTree,
    static: PyTree,
    posterior: Posterior,
    chart: Chart,
    loss0: Scalar,
    rates: Float[Array, " step"],
    options: FitOptions,
) -> tuple[PyTree, Step]:
    """Fit every restart; the arrays of `params` and of the returned Step start with that axis."""
    clip = optax.identity() if options.clip is None else optax.clip_by_global_norm(options.clip)
    adam = optax.chain(clip, optax.scale_by_adam())
    gradient = jax.grad(_objective, has_aux=True)

    def restart(key: PRNGKeyArray, params: PyTree) -> tuple[PyTree, Step]:
        def advance(carry: tuple, inputs: tuple) -> tuple[tuple, Step]:
            params, state, baseline = carry
            rate, index = inputs
            grads, (value, step) = gradient(
                params,
                static,
                jr.fold_in(key, index),
                posterior,
                chart,
                loss0,
                baseline,
                options,
            )
            updates, state = adam.update(grads, state)
            params = jax.tree.map(lambda p, change: p - rate * change, params, updates)
            baseline = _BASELINE_DECAY * baseline + (1 - _BASELINE_DECAY) * value
            step = step._replace(grad_norm=optax.global_norm(grads))
            return (params, state, baseline), step

        origin = jnp.zeros_like(posterior.w0)
        baseline = chart.log_det - join(params, static).log_density(origin)
        carry = (params, adam.init(params), baseline)
        (params, _, _), history = jax.lax.scan(advance, carry, (rates, jnp.arange(rates.size)))
        return params, history

    return jax.vmap(restart)(keys, params)
