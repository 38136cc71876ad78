"""Stochastic gradient HMC (Chen et al. 2014, arXiv:1402.4102): damped momentum, minibatch kicks.

p <- p - h A g(w);  w <- w + (h/2) A p;  p <- c p + sqrt(1 - c^2) xi;  w <- w + (h/2) A p
with g an estimate of grad U = nbeta grad L_n + gamma (w - w*), A the square root of a constant
metric (the identity without `precond`) and c = 1 - alpha: the share alpha of the momentum is lost
and replaced in every step. This is the splitting of Leimkuhler & Matthews 2013 (arXiv:1203.5428,
BAOAB) with adjacent kicks joined: with full gradients its stationary positions on a quadratic are
exact for every stable step, h^2 A H_U A < 4, and elsewhere their law is off by O(h^2). An explicit
Euler step for the same dynamics is stable only for h A H_U A < friction.

A minibatch adds noise of its own to p, c^2 h^2 B with B the covariance of A g. Where B is measured,
in the manner of Chen et al., section 3.3, that much less is injected: sqrt(1 - c^2 - c^2 h^2 B) xi,
with B diagonal in the basis of the metric.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.config.samplers.stochastic import Sghmc
from lambda_hat_core.counters import split
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers import coordinates
from lambda_hat_core.samplers.coordinates import Coordinates
from lambda_hat_core.samplers.kernel import Kernel, Stats, Tuned
from lambda_hat_core.samplers.ledger import Dynamics, outer
from lambda_hat_core.samplers.modes import Modes
from lambda_hat_core.samplers.noise import Generator, standard_normal
from lambda_hat_core.samplers.stepsize import BLOCK, CYCLE, NOISE_BUDGET, tune
from lambda_hat_core.types import Weights

IN_TURN = 1000
"""From this d on the gradients of several chains are computed in turn: one chain's products are
plain matrix products instead of batched ones, and its activations fit the cache."""


_MOST_HEAT = 5 * NOISE_BUDGET
"""Where the minibatch's noise is compensated it may be a fifth of what damping takes away: `heat` is such
that the budget allows that."""


class SghmcState(NamedTuple):
    """A chain between two steps.

    Attributes:
        w: the point.
        p: the momentum, of unit mass in the metric's coordinates.
        gradient: an estimate of grad U at w, from a batch that w does not depend on.
        t: steps taken.
    """

    w: Weights
    p: Weights
    gradient: Weights
    t: Scalar


class SghmcKernel(Kernel):
    """One step is one gradient.

    Attributes:
        block: steps in a block; in the last of every CYCLE of them the step size is half of
            `step_size`. 0: never.
        heat: B along each of the metric's vectors.
        heat_rest: B in every direction that they leave out.
    """

    posterior: Posterior
    coordinates: Coordinates
    step_size: Scalar
    alpha: Scalar
    block: Scalar
    heat: Float[Array, " k"]
    heat_rest: Scalar
    batch_size: int | None = eqx.field(static=True)
    noise: Generator = eqx.field(static=True)

    @property
    def together(self) -> bool:
        """The metric's vectors are read once for all chains."""
        return True

    def estimate(self, key: PRNGKeyArray, w: Weights) -> Weights:
        """grad U at w, from a batch that `key` draws."""
        # What a function closes over is not batched by `sequential_vmap`: it takes its data.
        arrays, static = eqx.partition(self.posterior, eqx.is_array)

        def gradient(arrays: Posterior, key: PRNGKeyArray, w: Weights) -> Weights:
            posterior = eqx.combine(arrays, static)
            return posterior.potential_grad(w, posterior.minibatch(key, self.batch_size))

        if w.size >= IN_TURN:
            return jax.custom_batching.sequential_vmap(gradient)(arrays, key, w)
        return gradient(arrays, key, w)

    def init(self, key: PRNGKeyArray, w: Weights) -> SghmcState:
        """Draw a momentum."""
        momentum_key, batch_key = split(key)
        momentum = jr.normal(momentum_key, w.shape, w.dtype)
        return SghmcState(w, momentum, self.estimate(batch_key, w), jnp.zeros((), w.dtype))

    def step(self, key: PRNGKeyArray, state: SghmcState) -> tuple[SghmcState, Stats]:
        """Kick, drift, damp, drift; then look at the gradient where it has come to."""
        batch_key, noise_key = split(key)
        w, p, gradient, t = state
        turn = (t // jnp.maximum(self.block, 1)) % CYCLE
        halved = (self.block > 0) & (turn == CYCLE - 1)
        share = jnp.where(halved, 0.5, 1.0).astype(w.dtype)
        # The friction of a unit of time stays what it is.
        step_size, keep = share * self.step_size, (1 - self.alpha) ** share
        kicked = p - step_size * self.coordinates.apply(gradient)
        xi = standard_normal(noise_key, w, self.noise)
        p = keep * kicked + self._injected(xi, step_size, keep)
        w = w + self.coordinates.apply(0.5 * step_size * (kicked + p))
        state = SghmcState(w, p, self.estimate(batch_key, w), t + 1)
        work = jnp.asarray(self.posterior.batch_work(self.batch_size), w.dtype)
        return state, {"work": work, "step_size": step_size}

    def _injected(self, xi: Weights, step_size: Scalar, keep: Scalar) -> Weights:
        """Noise that makes up, with the minibatch's own, what damping takes away."""
        if self.batch_size is None or self.posterior.data is None:
            return jnp.sqrt(1 - keep**2) * xi
        share = (keep * step_size) ** 2
        rest = jnp.sqrt(jnp.maximum(1 - keep**2 - share * self.heat_rest, 0.0))
        along = jnp.sqrt(jnp.maximum(1 - keep**2 - share * self.heat, 0.0)) - rest
        vectors = self.coordinates.vectors
        return rest * xi + (along * (vectors @ xi)) @ vectors

    def position(self, state: SghmcState) -> Weights:
        """Return w."""
        return state.w

    def gradient(self, key: PRNGKeyArray, state: SghmcState) -> tuple[Weights, float]:
        """grad U at the position, from a batch drawn after it: it costs nothing more."""
        del key
        return state.gradient, 0.0


def dynamics(modes: Modes, eps: float, alpha: float, *, compensated: bool = False) -> Dynamics:
    """One step on a quadratic, as a map of (u, p); `compensated`: B is taken from the noise."""
    keep = 1 - alpha
    injected = np.full_like(modes.mu, 1 - keep**2)
    if compensated:
        injected = np.maximum(injected - (keep * eps) ** 2 * modes.noise, 0.0)
    return damped(modes, eps, keep, injected)


def damped(modes: Modes, eps: float, keep: float, injected: float | np.ndarray) -> Dynamics:
    """The same for any share of momentum kept and any variance injected."""
    mu, one = modes.mu, np.ones_like(modes.mu)
    both = 1 + keep
    A = np.stack(
        [
            np.stack([1 - both * eps**2 * mu / 2, both * eps / 2 * one], 1),
            np.stack([-keep * eps * mu, keep * one], 1),
        ],
        1,
    )
    damping = np.stack([eps / 2 * one, one], 1)
    kick = np.stack([-both * eps**2 / 2 * one, -keep * eps * one], 1)
    start = np.zeros_like(A)
    start[:, 0, 0], start[:, 1, 1] = modes.start / mu, 1.0
    return Dynamics(A, outer(damping, injected * one) + outer(kick, modes.noise), start)


def build(
    key: PRNGKeyArray,
    posterior: Posterior,
    spec: Sghmc,
    *,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
    llc: float | None = None,
) -> Tuned:
    """Choose the step size where it is `auto`, and predict its biases."""
    dtype, keep, whitens = start.dtype, 1 - spec.alpha, spec.precond == "lanczos"
    at = (
        coordinates.identity(posterior)
        if not whitens
        else coordinates.damped(posterior, spectrum, spec.damping)
    )
    step_size, work, info, modes = tune(
        key,
        posterior,
        spec,
        start=start,
        spectrum=spectrum,
        llc=llc,
        power=2,
        heat=_MOST_HEAT * keep**2 / (1 - keep**2) if whitens else 1 / (1 - keep**2),
        dynamics=lambda modes, eps: dynamics(modes, eps, spec.alpha, compensated=whitens),
        metric=at if whitens else None,
    )
    measured = modes.noise if whitens else np.zeros(1)
    k = at.vectors.shape[0]
    rest = measured[k] if len(measured) > k else 0.0
    kernel = SghmcKernel(
        posterior,
        at,
        jnp.asarray(step_size, dtype),
        jnp.asarray(spec.alpha, dtype),
        jnp.asarray(BLOCK * spec.thin if spec.extrapolate else 0, dtype),
        jnp.asarray(measured[:k], dtype),
        jnp.asarray(rest, dtype),
        spec.batch_size,
        spec.noise,
    )
    if spec.extrapolate:
        info["step_order"] = 2 if spec.batch_size is None or posterior.data is None else 1
    return Tuned(kernel, start, work, info)
