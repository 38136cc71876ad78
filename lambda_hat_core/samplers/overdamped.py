"""Overdamped Langevin dynamics with a constant metric: SGLD, plain or whitened.

w <- w - (eps/2) A^2 g(w) + sqrt(eps) A xi
with g an estimate of grad U and A^2 a constant preconditioner, so that no correction term is
missing (pSGLD with a constant P). Two integrators differ in xi:
    euler                 xi_t, independent: the variance of a Gaussian is 1 / (1 - eps mu / 4)
    times
                          too large
    leimkuhler_matthews   (xi_t + xi_(t+1)) / 2: exact on a Gaussian for every stable step, with an
                          error O(eps^2) elsewhere (Leimkuhler & Matthews 2013,
                          doi:10.1093/amrx/abs010)
Minibatches add noise of variance (eps/2)^2 B, with B the covariance of A g, and so increase the
variance of a direction from 1 / mu by the fraction eps B / (4 (1 - eps mu / 4)). If B is measured,
the variance of xi is reduced by as much as cancels this. B and the curvature count as diagonal in
the metric's basis.
"""

from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.counters import split
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers.alternating import Alternation
from lambda_hat_core.samplers.gradients import EstimatingKernel, GradientEstimate
from lambda_hat_core.samplers.kernel import Stats
from lambda_hat_core.samplers.ledger import Dynamics, outer
from lambda_hat_core.samplers.modes import Modes
from lambda_hat_core.samplers.noise import Generator, standard_normal
from lambda_hat_core.samplers.product_metric import Metric
from lambda_hat_core.types import Weights

Integrator = Literal["euler", "leimkuhler_matthews"]

HEAT = 0.25
"""Relative rise of a direction's variance, per eps and per variance of A g from a batch."""


class OverdampedState(NamedTuple):
    """A chain between two steps.

    Attributes:
        w: the point.
        xi: the noise of the last step, of size 0 where the next one does not need it.
        gradient: an estimate of grad U at w, from a batch that w does not depend on.
        t: steps taken.
    """

    w: Weights
    xi: Float[Array, " d_or_0"]
    gradient: Weights
    t: Scalar


class OverdampedKernel(EstimatingKernel):
    """One step is one gradient.

    Attributes:
        heat: B along each of the metric's vectors, and last in any direction that they leave out.
        mu: curvature of U in the metric's coordinates, likewise.
    """

    posterior: Posterior
    estimate: GradientEstimate
    coordinates: Metric
    alternation: Alternation
    heat: Float[Array, " mode"]
    mu: Float[Array, " mode"]
    integrator: Integrator = eqx.field(static=True)
    noise: Generator = eqx.field(static=True)

    def init(self, key: PRNGKeyArray, w: Weights) -> OverdampedState:
        """Draw the noise before the first step."""
        noise_key, batch_key = split(key)
        xi = jnp.zeros((0,), w.dtype)
        if self.integrator == "leimkuhler_matthews":
            xi = standard_normal(noise_key, w, self.noise)
        return OverdampedState(w, xi, self.estimate(batch_key, w), jnp.zeros((), w.dtype))

    def step(self, key: PRNGKeyArray, state: OverdampedState) -> tuple[OverdampedState, Stats]:
        """Move along the gradient and add noise; then look at the gradient where it has come to."""
        batch_key, noise_key = split(key)
        w, last, gradient, t = state
        eps = self.alternation.step_size(t)
        fresh = standard_normal(noise_key, w, self.noise)
        xi, kept = fresh, last
        if self.integrator == "leimkuhler_matthews":
            xi, kept = 0.5 * (last + fresh), fresh
        size = self._cooled(eps)
        force, noise = self.coordinates.kick(gradient, xi, size)
        drift = eps if self.integrator == "euler" else self.alternation.drift(t)
        w = w - 0.5 * drift * force + jnp.sqrt(eps) * noise
        state = OverdampedState(w, kept, self.estimate(batch_key, w), t + 1)
        return state, {"work": jnp.asarray(self.estimate.work, w.dtype), "step_size": eps}

    def _cooled(self, eps: Scalar) -> Float[Array, " mode"]:
        """Return the size of xi with which a Gaussian's variance is that of full gradients."""
        if self.estimate.is_exact:
            return jnp.ones_like(self.heat)
        added = _made_up_for(self.heat, self.mu, eps, self.integrator)
        return jnp.sqrt(jnp.clip(1 - added, 0.0, 1.0))


def _made_up_for(heat: Any, mu: Any, eps: Any, integrator: Integrator) -> Any:
    """Return the share of xi's variance that noise of variance B makes up for; NumPy's or JAX's."""
    if integrator == "euler":
        return eps * heat / 4
    return eps * heat / (4 - eps * mu)


def dynamics(
    modes: Modes, eps: float, integrator: Integrator, *, compensated: bool = False
) -> Dynamics:
    """One step on a quadratic in u = A^(-1) (w - w*); Leimkuhler-Matthews carries half of xi."""
    mu, one = modes.mu, np.ones_like(modes.mu)
    start, heat = modes.start / mu, (eps / 2) ** 2 * modes.noise
    keep = 1 - eps * mu / 2
    injected = np.full_like(mu, eps)
    if compensated:
        stable = np.minimum(mu, (1 - 1e-12) * 4 / eps)
        added = _made_up_for(modes.noise, stable, eps, integrator)
        injected = eps * np.clip(1 - added, 0.0, 1.0)
    if integrator == "euler":
        kick = np.stack([one], 1)
        return Dynamics(outer(kick, keep), outer(kick, injected + heat), outer(kick, start))
    # (u, z): u' = keep u + z + z', z' = sqrt(eps)/2 xi'.
    zero = np.zeros_like(mu)
    A = np.stack([np.stack([keep, one], 1), np.stack([zero, zero], 1)], 1)
    both, place = np.stack([one, one], 1), np.stack([one, zero], 1)
    memory = np.stack([zero, one], 1)
    begun = outer(place, start) + outer(memory, injected / 4)
    return Dynamics(A, outer(both, injected / 4) + outer(place, heat), begun)
