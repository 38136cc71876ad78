"""What NUTS, HMC and MALA share: blackjax's state in whitened coordinates."""

from typing import Any

import blackjax.mcmc.hmc
import equinox as eqx
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray, Scalar

from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers.coordinates import Coordinates
from lambda_hat_core.samplers.kernel import Kernel, Stats
from lambda_hat_core.types import Weights


class HamiltonianKernel(Kernel):
    """A Metropolised kernel whose state consists of u, log p and its gradient."""

    posterior: eqx.AbstractVar[Posterior]
    coordinates: eqx.AbstractVar[Coordinates]
    step_size: eqx.AbstractVar[Scalar]

    def log_density(self, u: Weights) -> Scalar:
        """Log p(w0 + A u) up to a constant."""
        return self.posterior.log_density(self.coordinates.to_w(u))

    def init(self, key: PRNGKeyArray, w: Weights) -> Any:
        """Evaluate the density at w."""
        del key
        return blackjax.mcmc.hmc.init(self.coordinates.to_u(w), self.log_density)

    def position(self, state: Any) -> Weights:
        """Return w."""
        return self.coordinates.to_w(state.position)

    def gradient(self, key: PRNGKeyArray, state: Any) -> tuple[Weights, float]:
        """Return grad U at the position, which the state already holds, so it costs no work."""
        del key
        return -self.coordinates.gradient_to_w(state.logdensity_grad), 0.0

    def scaled(self, factor: Scalar) -> "HamiltonianKernel":
        """Return the kernel for coordinates in which every length is `factor` times as large."""
        return eqx.tree_at(lambda k: k.step_size, self, self.step_size * factor)

    def unit_mass(self) -> Weights:
        """Return the identity metric of the whitened coordinates."""
        return jnp.ones_like(self.posterior.w0)


def stats_of(info: Any, dtype: Any) -> Stats:
    """Return the stats of a blackjax HMC or NUTS step; every leapfrog is one gradient."""
    n_steps = jnp.asarray(info.num_integration_steps, dtype)
    return {
        "work": n_steps,
        "n_steps": n_steps,
        "acceptance_rate": jnp.asarray(info.acceptance_rate, dtype),
        "diverging": jnp.asarray(info.is_divergent, dtype),
        "energy": jnp.asarray(info.energy, dtype),
    }
