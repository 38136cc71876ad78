"""Passes over many rows one part after the other, so that memory does not grow with their number.

A loss that is the mean of the losses of its rows is the mean over parts of them. Derivatives keep
what one part needs and evaluate it again, at the cost of one more loss.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Scalar

from lambda_hat_core.types import Batch

AT_ONCE = 2**16
"""Most rows that are evaluated at once."""


def mean_of_rows(mean: Callable[[Batch], Scalar], batch: Batch) -> Scalar:
    """Return a mean over rows, of up to `AT_ONCE` rows by a single call of `mean`."""
    n = len(jax.tree.leaves(batch)[0])
    if n <= AT_ONCE:
        return mean(batch)
    count, left = divmod(n, AT_ONCE)
    whole = n - left

    def parted(a: Array) -> Array:
        return a[:whole].reshape(count, AT_ONCE, *a.shape[1:])

    means = jax.lax.map(jax.checkpoint(mean), jax.tree.map(parted, batch))
    total = AT_ONCE * jnp.sum(means)
    if left:
        total += left * mean(jax.tree.map(lambda a: a[whole:], batch))
    return total / n


def each_row(of_row: Callable[[Batch], Scalar], batch: Batch) -> Float[Array, " n"]:
    """Return a number of every row, of up to `AT_ONCE` rows at once."""
    if len(jax.tree.leaves(batch)[0]) <= AT_ONCE:
        return jax.vmap(of_row)(batch)
    return jax.lax.map(of_row, batch, batch_size=AT_ONCE)
