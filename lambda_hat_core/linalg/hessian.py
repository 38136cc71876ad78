"""The Hessian of L_n: products with it at a point, averaged over points, and as a matrix."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lambda_hat_core.linalg.host import hosted, namespace
from lambda_hat_core.linalg.lanczos import Operator, Pairs, Vector
from lambda_hat_core.posterior import Loss, Posterior
from lambda_hat_core.programs import compiled, quickly
from lambda_hat_core.types import AnyArray, Batch, Weights


@compiled
def hessian_product(
    loss: Loss, points: Float[Array, "part d"], parts: Batch, v: Float[AnyArray, " d"]
) -> Weights:
    """Return H v, where H is the mean over parts of the data of the Hessian at the part's point.

    Args:
        loss: its mean over rows has the Hessian.
        points: one for every part.
        parts: the data, with a leading axis of parts before that of rows; None for a potential.
        v: the vector.
    """

    def at(w: Weights, batch: Batch) -> Weights:
        return jax.jvp(lambda u: jax.grad(loss.mean)(u, batch), (w,), (v,))[1]

    return jnp.mean(jax.lax.map(lambda pair: at(*pair), (points, parts)), axis=0)


def product_at(loss: Loss, w: Weights, data: Batch) -> Operator:
    """Return v -> H v, the Hessian at one point."""
    point, parts, xp = jax.device_put(hosted(w)[None]), _taken(data, None), namespace()
    return lambda v: xp.asarray(hessian_product(loss, point, parts, v))


@quickly
def _columns(loss: Loss, w: Weights, data: Batch) -> Float[Array, "d d"]:
    def column(v: Weights) -> Weights:
        return jax.jvp(lambda u: jax.grad(loss.mean)(u, data), (w,), (v,))[1]

    return jax.lax.map(column, jnp.eye(w.size), batch_size=16)


def hessian_pairs(loss: Loss, w: Weights, data: Batch) -> Pairs:
    """Return all eigenpairs at one point, from d products and a matrix of d^2 numbers."""
    return eigenpairs(np.asarray(_columns(loss, w, data)))


def eigenpairs(matrix: Float[np.ndarray, "k k"]) -> Pairs:
    """Return the pairs of the symmetric part; of a matrix that is not finite all values are NaN."""
    if not np.isfinite(matrix).all():
        return Pairs(np.full(len(matrix), np.nan), matrix)
    theta, columns = np.linalg.eigh((matrix + matrix.T) / 2)
    return Pairs(theta, columns.T)


_FEWEST_ROWS = 64
"""Examples on which the Hessian at one of several points is taken at least."""


def shares_rows(posterior: Posterior, n_points: int) -> bool:
    """Return whether the mean over points takes other rows of the data at each of them."""
    return n_points > 1 and posterior.data is not None and posterior.n >= n_points * _FEWEST_ROWS


class MeanHessian:
    """The Hessian of L_n, averaged over points, for any number of products with it.

    If there are enough examples, each point has a random share of them, so that a product costs one
    pass over the data for any number of points: the mean of a metric need not be exact. At a single
    point the shares are joined again, but for fewer rows than there are shares, so that this is the
    same program.
    """

    def __init__(self, rng: np.random.Generator, posterior: Posterior, n_points: int):
        """Share the rows among `n_points` points."""
        self._loss, self._data = posterior.loss, posterior.data
        self._shares = shares_rows(posterior, n_points)
        if self._shares:
            size = posterior.n // n_points
            rows = rng.permutation(posterior.n)[: size * n_points].reshape(n_points, size)
            self._data = _taken(self._data, rows)
        else:
            self._data = _taken(self._data, None)

    def at(self, points: Float[Array, "point d"]) -> tuple[Operator, float]:
        """Return v -> H v for as many points, or for one, and the passes that a product costs."""
        if self._shares:
            if len(points) == 1:
                points = jax.device_put(namespace().repeat(hosted(points), self._count, axis=0))
            return self._product([points]), 1.0
        host = hosted(points)
        single = [jax.device_put(host[i : i + 1]) for i in range(len(host))]
        return self._product(single), float(len(single))

    def _product(self, groups: list[Float[Array, "part d"]]) -> Operator:
        xp, loss, data = namespace(), self._loss, self._data

        def product(v: Vector) -> Vector:
            return sum(xp.asarray(hessian_product(loss, w, data, v)) for w in groups) / len(groups)

        return product

    @property
    def _count(self) -> int:
        return len(jax.tree.leaves(self._data)[0])


def _taken(data: Batch, rows: Any) -> Batch:
    """Return the data with a leading axis of parts with these rows; None: one part has all rows."""

    def take(array: Array) -> Array:
        host = hosted(array)
        return jax.device_put(host[None] if rows is None else host[rows])

    return jax.tree.map(take, data)
