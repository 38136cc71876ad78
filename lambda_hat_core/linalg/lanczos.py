"""Lanczos with full reorthogonalisation: Ritz pairs of a symmetric operator.

The Krylov basis is orthogonalised twice against all its predecessors, so the returned vectors are
orthonormal to rounding. Where the recurrence breaks down (an invariant subspace is exhausted, as
with a multiple of the identity), it restarts from a fresh random direction. Golub & Van Loan,
Matrix Computations, 4th ed., section 10.3.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.types import Weights

Operator = Callable[[Weights], Weights]


def lanczos(
    key: PRNGKeyArray, hvp: Operator, d: int, k: int, *, start: Weights | None = None
) -> tuple[Float[Array, " k"], Float[Array, "k d"]]:
    """Return k Ritz values in ascending order and their orthonormal Ritz vectors.

    At k = d the pairs are the eigenpairs. Costs k products. The Krylov space is that of `start`, or
    of a random vector where there is none or it is 0.

    Raises:
        ValueError: unless 1 <= k <= d.
    """
    if not 1 <= k <= d:
        raise ValueError(f"lanczos: k is {k}, but the operator has d = {d}; choose 1 <= k <= d")
    dtype = jnp.zeros(()).dtype
    noise = jr.normal(key, (k, d), dtype)
    tiny = 100 * jnp.finfo(dtype).eps

    def fresh(basis: Float[Array, "k d"], vector: Weights) -> Weights:
        for _ in range(2):
            vector = vector - basis.T @ (basis @ vector)
        return vector

    def advance(i: Array, carry: tuple) -> tuple:
        basis, images, vector = carry
        basis = basis.at[i].set(vector)
        image = hvp(vector)
        images = images.at[i].set(image)
        residual = fresh(basis, image)
        norm, scale = jnp.linalg.norm(residual), jnp.linalg.norm(image)
        restart = fresh(basis, noise[(i + 1) % k])
        broke = norm <= tiny * jnp.maximum(scale, tiny)
        following = jnp.where(broke, restart, residual)
        following = fresh(basis, following / jnp.linalg.norm(following))
        return basis, images, following / jnp.linalg.norm(following)

    begin = noise[0]
    if start is not None:
        begin = jnp.where(jnp.linalg.norm(start) > 0, start, begin)
    begin = begin / jnp.linalg.norm(begin)
    empty = jnp.zeros((k, d), dtype)
    basis, images, _ = jax.lax.fori_loop(0, k, advance, (empty, empty, begin))
    projected = basis @ images.T
    theta, rotation = jnp.linalg.eigh((projected + projected.T) / 2)
    return theta, rotation.T @ basis
