"""Lanczos with full reorthogonalisation: Ritz pairs of a symmetric operator.

The three-term recurrence, A V = V T + remainder with T tridiagonal, keeps one new vector per step;
every new vector is orthogonalised twice against all its predecessors, so that the basis is
orthonormal to rounding ("twice is enough": Giraud, Langou & Rozloznik 2005). Where the recurrence
breaks down, because the Krylov space is invariant (a multiple of the identity, a start along an
eigenvector), it goes on from a fresh random direction, which T couples to nothing. Golub & Van
Loan, Matrix Computations, 4th ed., section 10.3.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.types import Weights

Operator = Callable[[Weights], Weights]


def lanczos(
    key: PRNGKeyArray, product: Operator, d: int, k: int, *, start: Weights | None = None
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
    tiny = 100 * jnp.finfo(dtype).eps

    def outside(basis: Float[Array, "k d"], vector: Weights) -> Weights:
        # `v @ basis` reads the rows of the basis in their order; `basis.T @ v` is several times
        # slower.
        with jax.default_matmul_precision("highest"):
            for _ in range(2):
                vector = vector - (basis @ vector) @ basis
        return vector

    def random_direction(basis: Float[Array, "k d"], i: Array) -> Weights:
        fresh = outside(basis, jr.normal(jr.fold_in(key, i), (d,), dtype))
        return fresh / jnp.linalg.norm(fresh)

    def advance(i: Array, carry: tuple) -> tuple:
        basis, diagonal, couplings, vector = carry
        basis = basis.at[i].set(vector)
        image = product(vector)
        residual = outside(basis, image)
        norm = jnp.linalg.norm(residual)
        broke = norm <= tiny * jnp.maximum(jnp.linalg.norm(image), tiny)
        following = jax.lax.cond(
            broke,
            lambda: random_direction(basis, i + 1),
            lambda: residual / norm,
        )
        coupling = jnp.where(broke, 0.0, norm)
        return basis, diagonal.at[i].set(vector @ image), couplings.at[i].set(coupling), following

    begin = jr.normal(jr.fold_in(key, 0), (d,), dtype)
    if start is not None:
        begin = jnp.where(jnp.linalg.norm(start) > 0, start, begin)
    begin = begin / jnp.linalg.norm(begin)
    zeros = jnp.zeros((k,), dtype)
    carry = (jnp.zeros((k, d), dtype), zeros, zeros, begin)
    basis, diagonal, couplings, _ = jax.lax.fori_loop(0, k, advance, carry)
    between = jnp.diag(couplings[:-1], 1)
    theta, rotation = jnp.linalg.eigh(jnp.diag(diagonal) + between + between.T)
    # In float32 `eigh` returns vectors that are orthonormal to several units of rounding, which the
    # inverse of a metric enlarges by its condition: a Newton-Schulz step makes up for it.
    with jax.default_matmul_precision("highest"):
        rotation = 1.5 * rotation - 0.5 * rotation @ (rotation.T @ rotation)
        return theta, rotation.T @ basis
