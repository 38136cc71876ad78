"""Unadjusted Langevin dynamics, w += -(eps/2) grad U(w) + sqrt(eps) xi (Roberts & Tweedie 1996).

In a direction of curvature c the variance of the samples is 1 / (c (1 - eps c / 4)) instead of 1 /
c.
"""

from typing import Any

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.config.samplers.toy import Toy
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers.kernel import Kernel, Stats, Tuned
from lambda_hat_core.types import Weights


class ToyKernel(Kernel):
    """One step is one gradient; the state is w and the gradient there."""

    posterior: Posterior
    eps: Scalar

    def init(self, key: PRNGKeyArray, w: Weights) -> Any:
        """Start at w."""
        del key
        return w, self.posterior.potential_grad(w, self.posterior.data)

    def step(self, key: PRNGKeyArray, state: Any) -> tuple[Any, Stats]:
        """Advance one step."""
        w, drift = state
        noise = jr.normal(key, w.shape, w.dtype)
        w = w - self.eps / 2 * drift + jnp.sqrt(self.eps) * noise
        return self.init(key, w), {"work": jnp.ones((), w.dtype)}

    def position(self, state: Any) -> Weights:
        """Return w."""
        return state[0]

    def gradient(self, key: PRNGKeyArray, state: Any) -> tuple[Weights, float]:
        """Return grad U at the position, which the state contains, so it costs no work."""
        del key
        return state[1], 0.0


def build(
    key: PRNGKeyArray,
    posterior: Posterior,
    spec: Toy,
    *,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
) -> Tuned:
    """Set the step size from the largest curvature; nothing is adapted."""
    del key
    eps = spec.step_fraction / (posterior.nbeta * spectrum.h_max + posterior.gamma)
    return Tuned(ToyKernel(posterior, eps), start, 0.0, {"step_size": float(eps)})
