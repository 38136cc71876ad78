"""Where chains begin: w* plus the Laplace Gaussian in its stiff directions.

Directions whose curvature does not outweigh the localiser start at w*: there the Gaussian is as
wide as the localiser, and a jump of that size in many of them at once leaves the basin.
"""

import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.linalg.host import generator, hosted, namespace, placed
from lambda_hat_core.linalg.lanczos import times
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior


def laplace_start(
    key: PRNGKeyArray, posterior: Posterior, spectrum: Spectrum, n_chains: int
) -> Float[Array, "chain d"]:
    """Draw one start per chain.

    The draws are from N(w*, (nbeta H + gamma)^-1) in the directions with nbeta h > gamma.
    """
    gamma = float(posterior.gamma)
    stiffness = float(posterior.nbeta) * np.asarray(spectrum.theta, np.float64)
    resolved = stiffness > max(gamma, 1e-10 * stiffness[-1])
    width = np.where(resolved, 1 / np.sqrt(np.where(resolved, stiffness + gamma, 1.0)), 0.0)
    noise = generator(key).standard_normal((n_chains, stiffness.size)) * width
    like = posterior.w0.dtype
    moved = times(namespace().asarray(noise.astype(like)), hosted(spectrum.vectors))
    return placed(hosted(posterior.w0) + moved)
