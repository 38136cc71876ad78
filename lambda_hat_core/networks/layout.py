"""Where each named array lies in the flat vector: static slices, free inside jit."""

import math
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array

from lambda_hat_core.types import Weights

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
"""Names and shapes, in the order of the flat vector."""


def size(shapes: Shapes) -> int:
    """Return d, the length of the flat vector."""
    return sum(math.prod(shape) for _, shape in shapes)


def split(shapes: Shapes, w: Weights) -> dict[str, Array]:
    """Return the named arrays of a flat vector."""
    arrays, begin = {}, 0
    for name, shape in shapes:
        end = begin + math.prod(shape)
        arrays[name] = w[begin:end].reshape(shape)
        begin = end
    return arrays


def join(shapes: Shapes, arrays: Mapping[str, Array]) -> Weights:
    """Return the flat vector of named arrays."""
    return jnp.concatenate([arrays[name].reshape(-1) for name, _ in shapes])
