"""The identity of a loss as a program, which depends on what it computes and not on its name."""

import hashlib
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lambda_hat_core.types import Batch, Weights


def program_of(loss: Callable[[Weights, Batch], Any], w: Weights, data: Batch) -> str:
    """Return 16 hex digits that identify the loss and its gradient as JAX traces them at w.

    Two functions have the same identity if they do the same operations on the same constants. A
    function that is defined a second time keeps its identity, and one that reads a global variable
    changes its identity with the variable, which `jax.jit` would not notice.
    """
    traced = jax.make_jaxpr(lambda w, data: jax.value_and_grad(loss)(w, data))(w, data)
    with np.printoptions(threshold=sys.maxsize, floatmode="unique"):
        digest = hashlib.sha256(str(traced.jaxpr).encode())
    for constant in traced.consts:
        values = _values(constant)
        digest.update(f"{values.dtype}{values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()[:16]


def _values(constant: Any) -> np.ndarray:
    if jnp.issubdtype(constant.dtype, jax.dtypes.prng_key):
        constant = jax.random.key_data(constant)
    return np.asarray(constant)
