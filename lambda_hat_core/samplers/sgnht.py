"""Stochastic gradient Nose-Hoover thermostat (Ding et al. 2014): friction that learns the noise.

p <- p - h A g(w);  w <- w + (h/2) A p;  x <- x + (k/2) (|p|^2/d - 1);
p <- exp(-x) p + sqrt(alpha (1 - exp(-2x)) / x) xi;  the third and the second again.

g estimates grad U, A is the square root of a constant metric (the identity without `precond`), x is
the friction per step and k = alpha^2 / 2 the thermostat's rate, near critical damping: x rises
until the mean kinetic energy in the metric's coordinates is right, whatever heat the minibatches
add. So nothing else makes up for their noise. The thermostat cannot correct noise that differs
between directions: that error is of first order in h, and the extrapolation to step size 0 takes it
away. In a half step x, alpha and k count half, so that the friction of a unit of time stays what it
is. The order is that of Leimkuhler & Shang 2016 (arXiv:1505.06889, BADODAB).
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
from lambda_hat_core.samplers.alternating import Alternation
from lambda_hat_core.samplers.gradients import EstimatingKernel, GradientEstimate
from lambda_hat_core.samplers.kernel import Stats, Tuned
from lambda_hat_core.samplers.ledger import Dynamics, is_stable, stationary
from lambda_hat_core.samplers.modes import Modes
from lambda_hat_core.samplers.noise import Generator, standard_normal
from lambda_hat_core.samplers.product_metric import Metric
from lambda_hat_core.samplers.sghmc import damped
from lambda_hat_core.samplers.subset import Subset
from lambda_hat_core.samplers.whitened import whiten
from lambda_hat_core.types import Weights, constant

_MOST_FRICTION = 8.0
"""exp(-8): nothing of the momentum survives a step."""


class SgnhtState(NamedTuple):
    """A chain between two steps.

    Attributes:
        w: the point.
        p: the momentum, of unit mass in the metric's coordinates.
        friction: per step of the whole size.
        gradient: an estimate of grad U at w, from a batch that w does not depend on.
        t: steps taken.
    """

    w: Weights
    p: Weights
    friction: Scalar
    gradient: Weights
    t: Scalar


class SgnhtKernel(EstimatingKernel):
    """One step is one gradient."""

    posterior: Posterior
    estimate: GradientEstimate
    coordinates: Metric
    alternation: Alternation
    alpha: Scalar
    noise: Generator = eqx.field(static=True)

    def init(self, key: PRNGKeyArray, w: Weights) -> SgnhtState:
        """Draw a momentum; the friction starts at alpha."""
        momentum_key, batch_key = split(key)
        p = jr.normal(momentum_key, w.shape, w.dtype)
        zero = jnp.zeros((), w.dtype)
        return SgnhtState(w, p, self.alpha + zero, self.estimate(batch_key, w), zero)

    def step(self, key: PRNGKeyArray, state: SgnhtState) -> tuple[SgnhtState, Stats]:
        """Kick, drift, thermostat, damp, thermostat, drift; then look at the gradient there."""
        batch_key, noise_key = split(key)
        w, p, x, gradient, t = state
        share, step_size = self.alternation.share(t), self.alternation.step_size(t)
        rate = self.alpha**2 / 4 * share
        force = self.coordinates.apply(gradient)
        kicked = p - self.alternation.kick(t) * force
        x = x + rate * (jnp.mean(kicked**2) - 1)
        injected = jnp.sqrt(self.alpha * share * _damped_share(x * share))
        keep = jnp.exp(-x * share)
        p = keep * kicked + injected * standard_normal(noise_key, w, self.noise)
        x = x + rate * (jnp.mean(p**2) - 1)
        moved = 0.5 * step_size * (kicked + p) - self.alternation.shift(t, keep) * force
        w = w + self.coordinates.apply(moved)
        state = SgnhtState(w, p, x, self.estimate(batch_key, w), t + 1)
        work = jnp.asarray(self.estimate.work, w.dtype)
        return state, {"work": work, "step_size": step_size}


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
    """Choose the step size where it is `auto`, and predict its biases."""
    made = whiten(
        key,
        posterior,
        spec,
        few=few,
        start=start,
        spectrum=spectrum,
        llc=llc,
        power=2,
        heat=1 / (2 * spec.alpha),
        dynamics=lambda modes, eps: dynamics(modes, eps, spec.alpha),
    )
    kernel = SgnhtKernel(
        posterior,
        made.estimate,
        made.coordinates,
        made.alternation,
        constant(spec.alpha, start),
        spec.noise,
    )
    return Tuned(kernel, start, made.work, made.info)
