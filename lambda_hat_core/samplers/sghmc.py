"""Stochastic gradient HMC (Chen et al. 2014, arXiv:1402.4102): damped momentum, minibatch kicks.

p <- p - eps g(w);  w <- w + (eps/2) p;  p <- c p + sqrt(1 - c^2) xi;  w <- w + (eps/2) p
with g an estimate of grad U = nbeta grad L_n + gamma (w - w*) and c = 1 - alpha: the share alpha of
the momentum is lost and replaced every step. This is the splitting of Leimkuhler & Matthews 2013
(arXiv:1203.5428, BAOAB): with full gradients its stationary positions on a quadratic are exact for
every stable step, eps^2 (nbeta h_max + gamma) < 4. An explicit Euler step for the same dynamics
is stable only for eps (nbeta h_max + gamma) < friction.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.config.samplers.stochastic import Sghmc
from lambda_hat_core.counters import split
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers.kernel import Kernel, Stats, Tuned
from lambda_hat_core.samplers.ledger import Dynamics, outer
from lambda_hat_core.samplers.modes import Modes
from lambda_hat_core.samplers.noise import Generator, standard_normal
from lambda_hat_core.samplers.stepsize import tuned_momentum
from lambda_hat_core.types import Weights


class SghmcState(NamedTuple):
    """Point and momentum, of unit mass."""

    w: Weights
    p: Weights


class SghmcKernel(Kernel):
    """One step is one minibatch gradient."""

    posterior: Posterior
    step_size: Scalar
    alpha: float = eqx.field(static=True)
    batch_size: int | None = eqx.field(static=True)
    noise: Generator = eqx.field(static=True)

    def init(self, key: PRNGKeyArray, w: Weights) -> SghmcState:
        """Draw a momentum."""
        return SghmcState(w, jr.normal(key, w.shape, w.dtype))

    def step(self, key: PRNGKeyArray, state: SghmcState) -> tuple[SghmcState, Stats]:
        """Kick, drift, damp, drift."""
        posterior, size, keep = self.posterior, self.batch_size, 1 - self.alpha
        batch_key, noise_key = split(key)
        w, p = state
        p = p - self.step_size * posterior.potential_grad(w, posterior.minibatch(batch_key, size))
        w = w + 0.5 * self.step_size * p
        p = keep * p + (1 - keep**2) ** 0.5 * standard_normal(noise_key, w, self.noise)
        w = w + 0.5 * self.step_size * p
        return SghmcState(w, p), {"work": jnp.asarray(posterior.batch_work(size), w.dtype)}

    def position(self, state: SghmcState) -> Weights:
        """Return w."""
        return state.w

    def gradient(self, key: PRNGKeyArray, state: SghmcState) -> tuple[Weights, float]:
        """Return grad U on a FRESH minibatch: the one that moved w is correlated with w."""
        size = self.batch_size
        batch = self.posterior.minibatch(key, size)
        return self.posterior.potential_grad(state.w, batch), self.posterior.batch_work(size)


def dynamics(modes: Modes, eps: float, alpha: float) -> Dynamics:
    """One step on a quadratic, as a map of (u, p)."""
    return damped(modes, eps, 1 - alpha, 1 - (1 - alpha) ** 2)


def damped(modes: Modes, eps: float, keep: float, injected: float) -> Dynamics:
    """Return such a step for any kept fraction of momentum and any injected variance."""
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
    """Choose the step size if it is `auto`, and predict its biases."""
    return tuned_momentum(
        key,
        posterior,
        spec,
        SghmcKernel,
        start=start,
        spectrum=spectrum,
        llc=llc,
        heat=1 / (1 - (1 - spec.alpha) ** 2),
        dynamics=lambda modes, eps: dynamics(modes, eps, spec.alpha),
    )
