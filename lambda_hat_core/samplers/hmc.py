"""HMC with a jittered trajectory length (Neal 2011, section 3.2).

The number of leapfrogs is uniform on 1 .. 2 n_leapfrog - 1 for every draw, so that no mode of a
nearly Gaussian posterior resonates.
"""

from collections.abc import Callable
from typing import Any

import blackjax.mcmc.hmc
import equinox as eqx
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.config.samplers.exact import Hmc
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers.adapt import adapted
from lambda_hat_core.samplers.coordinates import Coordinates
from lambda_hat_core.samplers.hamiltonian import HamiltonianKernel, stats_of
from lambda_hat_core.samplers.kernel import Stats, Tuned
from lambda_hat_core.samplers.telling import silent

_step: Any = blackjax.mcmc.hmc.build_kernel()


class HmcKernel(HamiltonianKernel):
    """One step is one trajectory of random length."""

    posterior: Posterior
    coordinates: Coordinates
    step_size: Scalar
    n_leapfrog: int = eqx.field(static=True)

    def step(self, key: PRNGKeyArray, state: Any) -> tuple[Any, Stats]:
        """Draw a length, integrate, accept or reject."""
        length_key, move_key = jr.split(key)
        length = jr.randint(length_key, (), 1, 2 * self.n_leapfrog)
        state, info = _step(
            move_key, state, self.log_density, self.step_size, self.unit_mass(), length
        )
        return state, stats_of(info, self.posterior.w0.dtype)


def build(
    key: PRNGKeyArray,
    posterior: Posterior,
    spec: Hmc,
    *,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
    log: Callable[[str], None] = silent,
) -> Tuned:
    """Adapt from `start`, then return the fixed kernel."""

    def kernel(posterior: Posterior, coordinates: Coordinates, step_size: Scalar) -> HmcKernel:
        return HmcKernel(posterior, coordinates, step_size, spec.n_leapfrog)

    return adapted(key, posterior, spec, kernel, start=start, spectrum=spectrum, log=log)
