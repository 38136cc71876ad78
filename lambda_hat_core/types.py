"""Shared shapes. Axes are named chain, draw, d, batch, n throughout the package."""

from jaxtyping import Array, Float

Weights = Float[Array, " d"]
Batch = tuple[Array, ...] | None
