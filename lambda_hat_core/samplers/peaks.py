"""The stiffest curvature that a chain meets, in the coordinates in which it moves."""

import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.linalg.host import generator, hosted, placed
from lambda_hat_core.linalg.lanczos import Operator, Vector, lanczos
from lambda_hat_core.linalg.spectrum import MeanHessian
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers.product_metric import Metric

_RANK = 8


def peak_curvature(
    key: PRNGKeyArray, posterior: Posterior, at: Metric, points: Float[Array, "chain d"]
) -> tuple[float, float]:
    """Return the largest curvature of U at single points in coordinates `at`, and the work.

    The mean Hessian is whitened to about 1; single Hessians reach several times that, and it is
    theirs that bounds a stable step.
    """
    k, rng = min(_RANK, points.shape[1]), generator(key)
    nbeta, gamma = float(posterior.nbeta), float(posterior.gamma)
    at, hessian = hosted(at), MeanHessian(rng, posterior, len(points))
    found = []
    for point in hosted(points):
        product, _ = hessian.at(placed(point[None]))

        def whitened(v: Vector, product: Operator = product) -> Vector:
            w = at.apply(v)
            return at.apply(nbeta * product(w) + gamma * w)

        found.append(lanczos(rng, whitened, k, like=posterior.w0).theta[-1])
    return float(np.max(found)), 2.0 * k * len(points)
