"""Shared array types. Axes are named chain, draw, d, batch and n throughout the package."""

import jax
import numpy as np
from jaxtyping import Array, Float, PyTree

Weights = Float[Array, " d"]
AnyArray = Array | np.ndarray
"""An array of JAX, or one of NumPy that holds the same (see `linalg.host`)."""
Batch = PyTree[Array]
"""Examples: arrays with leading axis n in any pytree, or None for a potential."""


def constant(value: float | int | np.ndarray, like: Array) -> Array:
    """Return a number or a NumPy array on the device in the dtype of `like`.

    In contrast to `jnp.asarray(value, dtype)` it compiles no program.
    """
    return jax.device_put(np.asarray(value, like.dtype))
