"""Where chains begin: w* plus the Laplace Gaussian in its stiff directions.

Directions whose curvature does not outweigh the localiser start at w*: there the Gaussian is as
wide as the localiser, and a jump of that size in many of them at once leaves the basin.
"""

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.programs import quickly


@quickly
def laplace_start(
    key: PRNGKeyArray, posterior: Posterior, spectrum: Spectrum, n_chains: int
) -> Float[Array, "chain d"]:
    """Draw one start per chain.

    The draws are from N(w*, (nbeta H + gamma)^-1) in the directions with nbeta h > gamma.
    """
    stiffness = posterior.nbeta * spectrum.theta
    resolved = stiffness > jnp.maximum(posterior.gamma, 1e-10 * stiffness[-1])
    width = jnp.where(resolved, 1 / jnp.sqrt(jnp.where(resolved, stiffness, 1.0)), 0.0)
    shrink = jnp.sqrt(jnp.where(resolved, stiffness / (stiffness + posterior.gamma), 0.0))
    noise = jr.normal(key, (n_chains, spectrum.theta.size), spectrum.theta.dtype)
    return posterior.w0 + (noise * width * shrink) @ spectrum.vectors
