"""The stiffest curvature that a chain meets, in the coordinates in which it moves."""

import jax
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.linalg.lanczos import lanczos
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.programs import quickly
from lambda_hat_core.samplers.coordinates import Coordinates

_RANK = 8


@quickly
def _peaks(
    key: PRNGKeyArray,
    posterior: Posterior,
    at: Coordinates,
    points: Float[Array, "chain d"],
    k: int,
) -> Float[Array, " chain"]:
    gradient = jax.grad(posterior.potential)

    def peak(key: PRNGKeyArray, w: Float[Array, " d"]) -> Scalar:
        def product(v: Float[Array, " d"]) -> Float[Array, " d"]:
            return at.apply(jax.jvp(gradient, (w,), (at.apply(v),))[1])

        return lanczos(key, product, w.size, k)[0][-1]

    return jax.lax.map(lambda pair: peak(*pair), (jr.split(key, len(points)), points))


def peak_curvature(
    key: PRNGKeyArray, posterior: Posterior, at: Coordinates, points: Float[Array, "chain d"]
) -> tuple[float, float]:
    """Return the largest curvature of U at single points in coordinates `at`, and the work.

    The mean Hessian is whitened to about 1; single Hessians reach several times that, and it is
    theirs that bounds a stable step.
    """
    k = min(_RANK, points.shape[1])
    found = _peaks(key, posterior, at, points, k)
    return float(np.asarray(found).max()), 2.0 * k * len(points)
