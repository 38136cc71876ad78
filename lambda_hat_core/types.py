"""Shared array types. Axes are named chain, draw, d, batch and n throughout the package."""

from jaxtyping import Array, Float, PyTree

Weights = Float[Array, " d"]
Batch = PyTree[Array]
"""Examples: arrays with leading axis n in any pytree, or None for a potential."""
