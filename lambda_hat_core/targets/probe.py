"""A loss and its gradient on a few rows at a few points, which the checks of a loss share."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lambda_hat_core.posterior import Loss
from lambda_hat_core.programs import quickly
from lambda_hat_core.targets import derivatives
from lambda_hat_core.targets.problem import Problem
from lambda_hat_core.types import Batch, Weights, constant

_ROWS = 250
"""Most rows, spread over all of them. A loss that goes through its rows in chunks and drops what is
left is seen by their halves: 125 is a multiple of no usual chunk."""


class Probe(NamedTuple):
    """What was seen at the params, close to them, and away from them.

    Attributes:
        rows: an even number of rows, where there are two; None for a potential.
        size: how many they are.
        points: the params, a point close by (at the params themselves a loss may be 0 whatever the
            rows), and one as far away as the params are large.
        values: the loss of the rows at each point.
        slopes: its gradient there.
    """

    rows: Batch
    size: int
    points: tuple[Weights, ...]
    values: Float[np.ndarray, " point"]
    slopes: Float[np.ndarray, "point d"]


def probed(problem: Problem) -> Probe:
    """Return the loss and its gradient on a few rows.

    Raises:
        ValueError: if the gradient is not finite close to the params, where the loss is.
    """
    w, data = problem.start, problem.data
    rows, count = data, 0
    if data is not None:
        count = min(problem.n, _ROWS)
        count -= count % 2 if count > 1 else 0
        if count < problem.n:
            rows = _taken(data, np.linspace(0, problem.n - 1, count).astype(int))
    at = np.asarray(w)
    scale = max(0.1, float(np.sqrt(at @ at / max(1, at.size))))
    far = at + scale * np.random.default_rng(0).normal(size=at.size)
    points = (w, *(constant(p, w) for p in (at + 0.01 * np.cos(np.arange(at.size)), far)))
    seen = [slope(problem.loss, point, rows) for point in points]
    values, slopes = (np.stack([np.asarray(one[i]) for one in seen]) for i in (0, 1))
    if np.isfinite(values[1]) and not np.isfinite(slopes[1]).all():
        raise derivatives.refusal(problem, points[1], "beside its params")
    return Probe(rows, count, points, values, slopes)


@quickly
def _taken(data: Batch, index: Any) -> Batch:
    """Return the rows with these indices."""
    return jax.tree.map(lambda a: a[jnp.asarray(index)], data)


@quickly
def slope(loss: Loss, w: Weights, data: Batch) -> tuple[Array, Array]:
    """Return the loss of some rows and its gradient."""
    return jax.value_and_grad(loss.mean)(w, data)
