"""MALA (Roberts & Tweedie 1996): one Langevin step, accepted or rejected.

u' = u - (eps/2) grad U + sqrt(eps) xi in the coordinates of the metric, so eps is a squared length:
under the identity metric it is SGLD's step size, in whitened coordinates it is a pure number.
"""

import math
from collections.abc import Callable
from typing import Any

import blackjax.mcmc.mala
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.config.samplers.exact import Mala
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers.adapt import adapted
from lambda_hat_core.samplers.coordinates import Coordinates
from lambda_hat_core.samplers.hamiltonian import HamiltonianKernel
from lambda_hat_core.samplers.kernel import Stats, Tuned
from lambda_hat_core.samplers.telling import silent
from lambda_hat_core.types import Weights

_step: Any = blackjax.mcmc.mala.build_kernel()


class MalaKernel(HamiltonianKernel):
    """One step is one gradient. `step_size` is the length sqrt(eps)."""

    posterior: Posterior
    coordinates: Coordinates
    step_size: Scalar

    def init(self, key: PRNGKeyArray, w: Weights) -> Any:
        """Evaluate the density at w."""
        del key
        return blackjax.mcmc.mala.init(self.coordinates.to_u(w), self.log_density)

    def step(self, key: PRNGKeyArray, state: Any) -> tuple[Any, Stats]:
        """Propose, accept or reject. blackjax's step size is eps / 2.

        A step diverges if nothing is left of its acceptance rate in the dtype, or it is NaN.
        """
        state, info = _step(key, state, self.log_density, self.step_size**2 / 2)
        accepted = jnp.asarray(info.acceptance_rate, self.posterior.w0.dtype)
        return state, {
            "work": jnp.ones_like(accepted),
            "acceptance_rate": accepted,
            "diverging": 1 - jnp.asarray(accepted > 0, accepted.dtype),
        }


def build(
    key: PRNGKeyArray,
    posterior: Posterior,
    spec: Mala,
    *,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
    log: Callable[[str], None] = silent,
) -> Tuned:
    """Adapt from `start`, then return the fixed kernel."""
    tuned = adapted(
        key,
        posterior,
        spec,
        MalaKernel,
        start=start,
        spectrum=spectrum,
        log=log,
        scaling=-1 / 6,
        step_size=None if spec.step_size == "auto" else math.sqrt(spec.step_size),
    )
    return tuned._replace(info={**tuned.info, "step_size": tuned.info["step_size"] ** 2})
