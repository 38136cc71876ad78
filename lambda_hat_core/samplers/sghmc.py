"""Stochastic gradient HMC (Chen et al. 2014, arXiv:1402.4102): damped momentum, minibatch kicks.

v <- v - h A^2 g(w);  w <- w + (h/2) v;  v <- c v + sqrt(1 - c^2) A xi;  w <- w + (h/2) v
with g an estimate of grad U = nbeta grad L_n + gamma (w - w*), A the square root of a constant
metric (the identity without `precond`) and c = 1 - alpha: the share alpha of the momentum is lost
and replaced in every step. This is the splitting of Leimkuhler & Matthews 2013 (arXiv:1203.5428,
BAOAB) with adjacent kicks joined: with full gradients its stationary positions on a quadratic are
exact for every stable step, h^2 A H_U A < 4, and elsewhere their law is off by O(h^2). An explicit
Euler step for the same dynamics is stable only for h A H_U A < friction. Where the step changes,
`alternating` has the kick.

A minibatch adds noise of its own: with B the covariance of A g, a direction of curvature mu has a
variance that is larger by the fraction (1 + c)^2 h^2 B / ((4 - h^2 mu) (1 - c^2)). Where B is
measured, in the manner of Chen et al., section 3.3, less is injected,
sqrt(1 - c^2 - (1 + c)^2 h^2 B / 4) xi, which leaves h^2 mu / 4 of that fraction. B counts as
diagonal in the basis of the metric.
"""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.config.samplers.stochastic import Sghmc
from lambda_hat_core.counters import split
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers.alternating import Alternation
from lambda_hat_core.samplers.gradients import EstimatingKernel, GradientEstimate
from lambda_hat_core.samplers.kernel import Stats, Tuned
from lambda_hat_core.samplers.ledger import Dynamics, outer
from lambda_hat_core.samplers.modes import Modes
from lambda_hat_core.samplers.noise import Generator, standard_normal
from lambda_hat_core.samplers.product_metric import Metric
from lambda_hat_core.samplers.subset import Subset
from lambda_hat_core.samplers.whitened import whiten
from lambda_hat_core.types import Weights, constant

_FRICTION = 0.35
"""Rate of an `auto` alpha, per unit of time. A direction of curvature mu forgets its square at this
rate f if mu > f^2 / 4, else at 2 mu / f. On a classifier 0.2 to 0.4 were best, and 0.7 took a third
more gradients per effective draw in the metric with damping 5."""


class SghmcState(NamedTuple):
    """A chain between two steps.

    Attributes:
        w: the point.
        v: the velocity of w, A p with a momentum p of unit mass in the metric's coordinates.
        gradient: an estimate of grad U at w, from a batch that w does not depend on.
        t: steps taken.
    """

    w: Weights
    v: Weights
    gradient: Weights
    t: Scalar


class SghmcKernel(EstimatingKernel):
    """One step is one gradient.

    Attributes:
        heat: B along each of the metric's vectors, and last in any direction that they leave out.
    """

    posterior: Posterior
    estimate: GradientEstimate
    coordinates: Metric
    alternation: Alternation
    alpha: Scalar
    heat: Float[Array, " mode"]
    noise: Generator = eqx.field(static=True)

    def init(self, key: PRNGKeyArray, w: Weights) -> SghmcState:
        """Draw a momentum."""
        momentum_key, batch_key = split(key)
        v = self.coordinates.apply(jr.normal(momentum_key, w.shape, w.dtype))
        return SghmcState(w, v, self.estimate(batch_key, w), jnp.zeros((), w.dtype))

    def step(self, key: PRNGKeyArray, state: SghmcState) -> tuple[SghmcState, Stats]:
        """Kick, drift, damp, drift; then look at the gradient where it has come to."""
        batch_key, noise_key = split(key)
        w, v, gradient, t = state
        step_size = self.alternation.step_size(t)
        # The friction of a unit of time stays what it is.
        keep = (1 - self.alpha) ** self.alternation.share(t)
        xi = standard_normal(noise_key, w, self.noise)
        injected = self._injected(step_size, keep)
        force, noise = self.coordinates.kick(gradient, xi, injected)
        kicked = v - self.alternation.kick(t) * force
        v = keep * kicked + noise
        shift = self.alternation.shift(t, keep)
        w = w + 0.5 * step_size * (kicked + v) - shift * force
        state = SghmcState(w, v, self.estimate(batch_key, w), t + 1)
        work = jnp.asarray(self.estimate.work, w.dtype)
        return state, {"work": work, "step_size": step_size}

    def _injected(self, step_size: Scalar, keep: Scalar) -> Float[Array, " mode"]:
        """Return the size of the noise that, with the minibatch's own, makes up for the damping."""
        left = 1 - keep**2
        if not self.estimate.is_exact:
            left = left - _made_up_for(self.heat, step_size, keep)
        return jnp.sqrt(jnp.maximum(left, 0.0)) * jnp.ones_like(self.heat)


def _alpha(spec: Sghmc, eps: float) -> float:
    """Return the share of the momentum that a step of size eps replaces.

    It is still `auto` only where gradients have no noise, so that `heat_of` it does not matter.
    """
    return -math.expm1(-_FRICTION * eps) if spec.alpha == "auto" else spec.alpha


def heat_of(alpha: float) -> float:
    """Return the relative rise of a variance, per eps^2 and per variance of A g from a batch."""
    return 1 / (1 - (1 - alpha) ** 2)


def _made_up_for(heat: Any, eps: Any, keep: Any) -> Any:
    """Return the variance that minibatch noise of variance B makes up for; NumPy's or JAX's."""
    return (0.5 * (1 + keep) * eps) ** 2 * heat


def dynamics(modes: Modes, eps: float, alpha: float, *, compensated: bool = False) -> Dynamics:
    """One step on a quadratic, as a map of (u, p); `compensated`: B is taken from the noise."""
    keep = 1 - alpha
    injected = np.full_like(modes.mu, 1 - keep**2)
    if compensated:
        injected = np.maximum(injected - _made_up_for(modes.noise, eps, keep), 0.0)
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
    few: Subset,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
    llc: float | None = None,
) -> Tuned:
    """Choose the step size where it is `auto`, and predict its biases."""
    whitens = spec.whitens
    made = whiten(
        key,
        posterior,
        spec,
        few=few,
        start=start,
        spectrum=spectrum,
        llc=llc,
        power=2,
        heat=heat_of(_alpha(spec, 1.0)),
        dynamics=lambda modes, eps: dynamics(modes, eps, _alpha(spec, eps), compensated=whitens),
    )
    alpha = _alpha(spec, made.info["step_size"])
    kernel = SghmcKernel(
        posterior,
        made.estimate,
        made.coordinates,
        made.alternation,
        constant(alpha, start),
        made.heat,
        spec.noise,
    )
    return Tuned(kernel, start, made.work, made.info | {"alpha": alpha})
