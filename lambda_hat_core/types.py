"""Shared shapes. Axes are named chain, draw, d, batch, n throughout the package."""

from jaxtyping import Array, Float, PyTree

Weights = Float[Array, " d"]
Batch = PyTree[Array]
"""Examples: arrays with leading axis n in any pytree; None for a potential, which has none."""
