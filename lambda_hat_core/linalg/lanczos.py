"""Lanczos with full reorthogonalisation: Ritz pairs of a symmetric operator.

The three-term recurrence, A V = V T + remainder with T tridiagonal, keeps one new vector per step;
every new vector is orthogonalised twice against all its predecessors, so that the basis is
orthonormal to rounding ("twice is enough": Giraud, Langou & Rozloznik 2005). Where the recurrence
breaks down, because the Krylov space is invariant (a multiple of the identity, a start along an
eigenvector), it goes on from a fresh random direction, which T couples to nothing. Golub & Van
Loan, Matrix Computations, 4th ed., section 10.3.

The loop runs on the host and calls the operator, whose program is the only one it needs.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from lambda_hat_core.linalg.host import namespace

Vector = Any
"""An array of shape (d,) of `host.namespace`, or what that namespace takes for one."""
Operator = Callable[[Vector], Vector]


class Pairs(NamedTuple):
    """Ritz pairs.

    Attributes:
        theta: Ritz values in ascending order.
        vectors: orthonormal Ritz vectors, as rows.
    """

    theta: Float[np.ndarray, " k"]
    vectors: Any


def lanczos(
    rng: np.random.Generator,
    product: Operator,
    k: int,
    *,
    like: Vector,
    start: Vector | None = None,
) -> Pairs:
    """Return k Ritz values in ascending order and their orthonormal Ritz vectors.

    At k = d the pairs are the eigenpairs. Costs k products. The Krylov space is that of `start`, or
    of a random vector where there is none or it is 0. If the operator has values that are not
    finite, so have the Ritz values.

    Args:
        rng: for random directions.
        product: v -> A v in R^d.
        k: number of pairs.
        like: an array of shape (d,) in the dtype of the vectors.
        start: where the Krylov space begins.

    Raises:
        ValueError: unless 1 <= k <= d.
    """
    d, dtype = like.size, like.dtype
    if not 1 <= k <= d:
        raise ValueError(f"lanczos: k is {k}, but the operator has d = {d}; choose 1 <= k <= d")
    xp = namespace()
    tiny = 100 * float(np.finfo(dtype).eps)
    basis = xp.zeros((k, d), dtype)
    diagonal, couplings = np.zeros(k, dtype), np.zeros(k, dtype)
    if start is None or norm(start) == 0:
        vector = _random_direction(rng, basis[:0], dtype)
    else:
        vector = xp.asarray(start) / norm(start)
    for i in range(k):
        basis = with_row(basis, i, vector)
        image = xp.asarray(product(vector))
        diagonal[i] = float(vector @ image)
        if i + 1 == k or not np.isfinite(diagonal[i]):
            break
        rows = basis if xp is not np else basis[: i + 1]
        residual = outside(rows, image)
        size = norm(residual)
        if size > tiny * max(norm(image), tiny):
            couplings[i], vector = size, residual / size
        else:
            vector = _random_direction(rng, rows, dtype)
    if not np.isfinite(diagonal).all() or not np.isfinite(couplings).all():
        return Pairs(np.full(k, np.nan, dtype), basis)
    between = np.diag(couplings[:-1], 1)
    theta, rotation = np.linalg.eigh(np.diag(diagonal) + between + between.T)
    # In float32 `eigh` returns vectors that are orthonormal to several units of rounding, which the
    # inverse of a metric enlarges by its condition: a Newton-Schulz step makes up for it.
    rotation = 1.5 * rotation - 0.5 * rotation @ (rotation.T @ rotation)
    return Pairs(theta, times(xp.asarray(rotation.T), basis))


def norm(vector: Vector) -> float:
    """Return |v|, in float64 sums."""
    return float(np.linalg.norm(np.asarray(vector, np.float64)))


def times(a: Vector, b: Vector) -> Vector:
    """Return a b in the full precision of its dtype; a GPU would take fewer digits by default."""
    with jax.default_matmul_precision("highest"):
        return a @ b


def outside(basis: Vector, vector: Vector) -> Vector:
    """Return what of a vector is orthogonal to the rows of an orthonormal basis, to rounding."""
    # `v @ basis` reads the rows of the basis in their order; `basis.T @ v` is several times slower.
    for _ in range(2):
        vector = vector - times(times(basis, vector), basis)
    return vector


def with_row(basis: Vector, i: int, row: Vector) -> Vector:
    """Return a basis with another row i; a NumPy array is changed in place."""
    if isinstance(basis, np.ndarray):
        basis[i] = row
        return basis
    return basis.at[i].set(row)


def _random_direction(rng: np.random.Generator, basis: Vector, dtype: Any) -> Vector:
    """Return a random unit vector that is orthogonal to the rows of a basis."""
    fresh = outside(basis, namespace().asarray(rng.standard_normal(basis.shape[1]).astype(dtype)))
    return fresh / norm(fresh)
