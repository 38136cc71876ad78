"""What the Hessian on all examples says where an audit has taken it on a few.

A few products with it are enough, since the subset knows roughly where the loss is stiff.
"""

import numpy as np
from jaxtyping import Float

from lambda_hat_core.linalg.hessian import eigenpairs
from lambda_hat_core.linalg.host import hosted, namespace, placed
from lambda_hat_core.linalg.lanczos import Operator, Pairs, Vector, norm, outside, times

_LOWEST, PRODUCTS = 2, 8
"""Lowest vectors of the subset with which the search for the lowest eigenvalue begins, and all the
products that it takes."""
_CONJUGATE, _CONVERGED = 8, 1e-2
"""Most steps of conjugate gradients, and what may be left of the fall that they look for."""
_SETTLED = 1e-6
"""Residual of a pair, in units of the curvature of the flat directions, from which it is found."""


def lowest(
    rng: np.random.Generator, product: Operator, few: Pairs
) -> tuple[Float[np.ndarray, " m"], Vector]:
    """Return the lowest Ritz values on all examples, and the vector of the first.

    A subset has negative curvature by sampling error alone, and by the same error hides that of all
    examples among other directions. So this is Davidson's method (1975, J. Comput. Phys. 17, 87):
    Rayleigh-Ritz on a few directions, to which the residual of the lowest pair is added, divided by
    what the subset says of the curvature, so that stiff directions do not crowd out the flat ones.
    A random direction is one of the first, since those of the subset may be eigenvectors of both.

    Args:
        rng: for that direction.
        product: with the Hessian on all examples.
        few: eigenpairs on the subset, or some of them.
    """
    xp, vectors = namespace(), hosted(few.vectors)
    dtype, d = vectors.dtype, vectors.shape[1]
    sizes = np.abs(few.theta)
    noise = max(sizes[:8].max(), 1e-6 * sizes.max()) or 1.0

    def softened(v: Vector, shift: float) -> Vector:
        """Return v divided by the distance of the subset's curvature from the shift."""
        weights = 1 / np.maximum(np.abs(few.theta - shift), noise) - 1 / noise
        return v / noise + times(xp.asarray(weights.astype(dtype)) * times(vectors, v), vectors)

    basis = vectors[:_LOWEST]
    images = xp.stack([xp.asarray(product(v)) for v in basis])
    step = softened(xp.asarray(rng.standard_normal(d).astype(dtype)), 0.0)
    while True:
        fresh = outside(basis, step)
        size = norm(fresh)
        grows = len(basis) < min(PRODUCTS, d) and size > 1e-9 * norm(step)
        if grows:
            basis = xp.concatenate([basis, fresh[None] / size])
            images = xp.concatenate([images, xp.asarray(product(basis[-1]))[None]])
        values, turn = eigenpairs(np.asarray(times(basis, images.T), np.float64))
        turn = hosted(turn.astype(dtype))
        found = times(turn, basis)
        residuals = times(turn, images) - xp.asarray(values.astype(dtype))[:, None] * found
        open_ones = [i for i, r in enumerate(residuals) if norm(r) > _SETTLED * noise]
        if not (grows and open_ones and len(basis) < min(PRODUCTS, d)):
            return values, found[0]
        step = softened(residuals[open_ones[0]], float(values[open_ones[0]]))


def settled_bias(
    product: Operator, few: Pairs, gradient: Float[np.ndarray, " d"], nbeta: float, gamma: float
) -> tuple[float | None, int]:
    """Return nbeta^2/2 g^T (nbeta H + gamma)^-1 g, and the number of products that it took.

    A subset may have no curvature along a gradient that a few rows make. Conjugate gradients, which
    the subset preconditions, find x = (nbeta H + gamma)^-1 g from below in g^T x; None if they have
    not within a few steps (Golub & Van Loan, Matrix Computations, 4th ed., section 11.5).

    Args:
        product: with the Hessian on all examples.
        few: eigenpairs on the subset, all of them or those in the Krylov space of the gradient.
        gradient: g, of the loss on all examples.
        nbeta: the temperature.
        gamma: strength of the localiser.
    """
    vectors = np.asarray(few.vectors, np.float64)
    stiff = nbeta * np.maximum(few.theta, 0.0) + gamma
    if not stiff.min() > 0:
        return None, 0
    rest = 1 / stiff.min()

    def divided(v: np.ndarray) -> np.ndarray:
        return rest * v + ((1 / stiff - rest) * (vectors @ v)) @ vectors

    residual = np.asarray(gradient, np.float64)
    step = divided(residual)
    size = begun = float(residual @ step)
    found = 0.0
    for turn in range(_CONJUGATE):
        image = nbeta * np.asarray(product(placed(step)), np.float64) + gamma * step
        curvature = float(step @ image)
        if not curvature > 0:
            return None, turn + 1
        found += size**2 / curvature
        residual = residual - size / curvature * image
        following = divided(residual)
        size, before = float(residual @ following), size
        if size <= _CONVERGED * min(begun, found):
            return 0.5 * nbeta**2 * found, turn + 1
        step = following + size / before * step
    return None, _CONJUGATE
