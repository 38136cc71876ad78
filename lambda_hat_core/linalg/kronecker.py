r"""The Hessian of a network in a basis that is a product of small ones, array by array.

The Hessian of a layer's weights W is roughly a Kronecker product L (x) R of what comes in and what
goes out (Martens & Grosse 2015, arXiv:1503.05671). Its eigenvectors are then products of those of L
and R, and they take r^2 + c^2 numbers instead of (rc)^2. Here they come from products with random
vectors alone, so that any loss has them: for V of independent normal entries and the block L V R of
H V that belongs to W,
    E[(L V R) (L V R)^T] = tr(R^2) L^2,   E[(L V R)^T (L V R)] = tr(L^2) R^2.
In that basis Q, whether the model holds or not, further products tell the norms of the rows and the
diagonal of Q^T H Q (Hutchinson): E[(Q^T H Q z)_i^2] and E[z_i (Q^T H Q z)_i]. What the basis leaves
undone makes the norm of a row larger than its diagonal, so it errs towards stiff.
"""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lambda_hat_core.linalg.host import namespace, placed
from lambda_hat_core.linalg.lanczos import Operator
from lambda_hat_core.types import AnyArray, constant

_FOR_BASES, _FOR_ROWS = 16, 16
"""Products for the bases, and others for what is measured in them: the same ones would find the
directions flat that happened to be flat in them."""
_WIDEST = 1024
"""Longest side of a matrix that has a basis; along a longer one its entries stay as they are."""

Shape = tuple[int, ...]


class Block(NamedTuple):
    """An array of the flat vector as a matrix. A vector is a matrix of one row."""

    rows: int
    columns: int


def block_of(shape: Shape) -> Block:
    """Return an array of any number of axes as the matrix whose sides have the smallest sum."""
    cuts = range(1, len(shape))
    sides = [Block(math.prod(shape[:cut]), math.prod(shape[cut:])) for cut in cuts]
    return min(sides, key=sum, default=Block(1, math.prod(shape)))


def share_in_matrices(shapes: tuple[Shape, ...], least: int) -> float:
    """Return the share of all entries that are in matrices with no side below `least`."""
    blocks = [block_of(shape) for shape in shapes]
    inside = sum(rows * columns for rows, columns in blocks if min(rows, columns) >= least)
    return inside / max(sum(rows * columns for rows, columns in blocks), 1)


class ProductBasis(eqx.Module):
    """An orthogonal matrix Q of d rows, in blocks: V -> left V right^T for every array.

    Attributes:
        blocks: the arrays of the flat vector, in order.
        left: the basis of each one's rows; None where that is the identity.
        right: likewise of its columns.
    """

    blocks: tuple[Block, ...] = eqx.field(static=True)
    left: tuple[Float[AnyArray, "_ _"] | None, ...]
    right: tuple[Float[AnyArray, "_ _"] | None, ...]

    def into(self, vs: Float[AnyArray, "*m d"]) -> Any:
        """Return Q^T v for each of several vectors."""
        return self._turned(vs, inwards=True)

    def out_of(self, vs: Float[AnyArray, "*m d"]) -> Any:
        """Return Q v for each of several vectors."""
        return self._turned(vs, inwards=False)

    def _turned(self, vs: Any, *, inwards: bool) -> Any:
        is_host = isinstance(vs, np.ndarray)
        turned = []
        with jax.default_matmul_precision("highest"):
            parts = _parts(vs, self.blocks)
            for part, block, left, right in zip(
                parts, self.blocks, self.left, self.right, strict=True
            ):
                if left is None and right is None:
                    turned.append(part)
                    continue
                matrix = part.reshape(*vs.shape[:-1], *block)
                if right is not None:
                    matrix = matrix @ (right if inwards else right.T)
                if left is not None:
                    matrix = (left.T if inwards else left) @ matrix
                turned.append(matrix.reshape(part.shape))
        return (np if is_host else jnp).concatenate(turned, axis=-1)


def _parts(vs: Any, blocks: tuple[Block, ...]) -> list[Any]:
    sizes = [rows * columns for rows, columns in blocks]
    if isinstance(vs, np.ndarray):
        return np.split(vs, np.cumsum(sizes)[:-1], axis=-1)
    return list(jax.lax.split(vs, sizes, axis=vs.ndim - 1))


class Factors(eqx.Module):
    """A symmetric matrix in a product basis.

    Attributes:
        basis: Q.
        norms: of the rows of Q^T H Q.
        diagonal: of Q^T H Q, with a relative error of 1 / sqrt(8) in each entry or more.
    """

    basis: ProductBasis
    norms: Float[Array, " d"]
    diagonal: Float[Array, " d"]


def factors(
    rng: np.random.Generator, product: Operator, shapes: tuple[Shape, ...], *, like: Array
) -> tuple[Factors, int]:
    """Return the factors of a symmetric operator on R^d, and the products that they took.

    Args:
        rng: for the random vectors.
        product: v -> H v.
        shapes: of the arrays in the flat vector.
        like: an array of shape (d,) in the dtype of the result.
    """
    xp, d = namespace(), like.size
    blocks = tuple(block_of(shape) for shape in shapes)

    def probe() -> tuple[Any, Any]:
        z = xp.asarray(rng.standard_normal(d).astype(like.dtype))
        return z, product(z)

    squares: list[list[Any]] = [[0.0, 0.0] for _ in blocks]
    for _ in range(_FOR_BASES):
        for found, part, block in zip(squares, _parts(probe()[1], blocks), blocks, strict=True):
            matrix = part.reshape(block)
            for i, side in enumerate((matrix, matrix.T)):
                if 1 < len(side) <= _WIDEST and min(block) > 1:
                    found[i] = found[i] + side @ side.T

    def basis(square: Any) -> Any:
        return None if isinstance(square, float) else xp.linalg.eigh(square)[1]

    left, right = (tuple(basis(found[i]) for found in squares) for i in range(2))
    host = ProductBasis(blocks, left, right)
    norms = diagonal = 0.0
    for _ in range(_FOR_ROWS):
        z, turned = (host.into(v) for v in probe())
        norms, diagonal = norms + turned**2, diagonal + z * turned
    return Factors(
        placed(host),
        constant(np.asarray(norms / _FOR_ROWS) ** 0.5, like),
        constant(np.asarray(diagonal / _FOR_ROWS), like),
    ), _FOR_BASES + _FOR_ROWS
