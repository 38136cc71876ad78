"""Stochastic gradient Nose-Hoover thermostat (Ding et al. 2014): friction that learns the noise.

p <- p - eps g(w);  w <- w + (eps/2) p;  x <- x + (k/2) (|p|^2/d - 1);
p <- exp(-x) p + sqrt(alpha (1 - exp(-2x)) / x) xi;  the second and third again.

g estimates grad U, x is the friction per step and k = alpha^2 / 2 the thermostat's rate, near
critical damping: x rises until the mean kinetic energy is right, whatever heat the minibatches
add. It cannot correct noise that differs between directions. The order is that of Leimkuhler &
Shang 2016 (arXiv:1505.06889, BADODAB).
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.config.samplers.stochastic import Sgnht
from lambda_hat_core.counters import split
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers.kernel import Kernel, Stats, Tuned
from lambda_hat_core.samplers.ledger import Dynamics, is_stable, stationary
from lambda_hat_core.samplers.modes import Modes
from lambda_hat_core.samplers.noise import Generator, standard_normal
from lambda_hat_core.samplers.sghmc import damped
from lambda_hat_core.samplers.stepsize import tuned_momentum
from lambda_hat_core.samplers.subset import Subset
from lambda_hat_core.types import Weights

_MOST_FRICTION = 8.0
"""exp(-8): nothing of the momentum survives a step."""


class SgnhtState(NamedTuple):
    """Point, momentum of unit mass, friction per step."""

    w: Weights
    p: Weights
    friction: Scalar


class SgnhtKernel(Kernel):
    """One step is one minibatch gradient."""

    posterior: Posterior
    step_size: Scalar
    alpha: float = eqx.field(static=True)
    batch_size: int | None = eqx.field(static=True)
    noise: Generator = eqx.field(static=True)

    def init(self, key: PRNGKeyArray, w: Weights) -> SgnhtState:
        """Draw a momentum; the friction starts at alpha."""
        return SgnhtState(w, jr.normal(key, w.shape, w.dtype), jnp.asarray(self.alpha, w.dtype))

    def step(self, key: PRNGKeyArray, state: SgnhtState) -> tuple[SgnhtState, Stats]:
        """Kick, drift, thermostat, damp, thermostat, drift."""
        posterior, size, alpha = self.posterior, self.batch_size, self.alpha
        batch_key, noise_key = split(key)
        w, p, x = state
        p = p - self.step_size * posterior.potential_grad(w, posterior.minibatch(batch_key, size))
        w = w + 0.5 * self.step_size * p
        x = x + alpha**2 / 4 * (jnp.mean(p**2) - 1)
        p = jnp.exp(-x) * p + jnp.sqrt(alpha * _damped_share(x)) * standard_normal(
            noise_key, w, self.noise
        )
        x = x + alpha**2 / 4 * (jnp.mean(p**2) - 1)
        w = w + 0.5 * self.step_size * p
        return SgnhtState(w, p, x), {"work": jnp.asarray(posterior.batch_work(size), w.dtype)}

    def position(self, state: SgnhtState) -> Weights:
        """Return w."""
        return state.w

    def gradient(self, key: PRNGKeyArray, state: SgnhtState) -> tuple[Weights, float]:
        """Return grad U on a FRESH minibatch: the one that moved w is correlated with w."""
        size = self.batch_size
        batch = self.posterior.minibatch(key, size)
        return self.posterior.potential_grad(state.w, batch), self.posterior.batch_work(size)


def _damped_share(x: Scalar) -> Scalar:
    """(1 - exp(-2x)) / x, which is 2 at x = 0."""
    small = jnp.abs(x) < 1e-6
    return jnp.where(small, 2.0, -jnp.expm1(-2 * x) / jnp.where(small, 1.0, x))


def dynamics(modes: Modes, eps: float, alpha: float) -> Dynamics:
    """One step on a quadratic at the friction where the mean kinetic energy is right."""

    def injected(x: float) -> float:
        return -alpha * np.expm1(-2 * x) / x

    def at(x: float) -> Dynamics:
        return damped(modes, eps, np.exp(-x), injected(x))

    def hot(x: float) -> bool:
        system = at(x)
        after = stationary(system)[:, 3]
        before = (after - injected(x)) * np.exp(2 * x)
        return bool(modes.size @ (before + after) > 2 * modes.size.sum())

    low, high = alpha, alpha
    while is_stable(at(high)) and hot(high) and high < _MOST_FRICTION:
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if hot(middle) else (low, middle)
    return at(high)


def build(
    key: PRNGKeyArray,
    posterior: Posterior,
    spec: Sgnht,
    *,
    few: Subset,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
    llc: float | None = None,
) -> Tuned:
    """Choose the step size if it is `auto`, and predict its biases."""
    return tuned_momentum(
        key,
        posterior,
        spec,
        SgnhtKernel,
        few=few,
        start=start,
        spectrum=spectrum,
        llc=llc,
        heat=1 / (2 * spec.alpha),
        dynamics=lambda modes, eps: dynamics(modes, eps, spec.alpha),
    )
