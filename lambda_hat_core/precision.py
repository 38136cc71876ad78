"""The dtype of a process: each worker computes in one, but full-data losses are always float64.

A float32 program that contains a float64 loss is traced with 64-bit types off, except for the loss,
which is traced with them on. The whole program is lowered with them on, because several lowering
rules of JAX trace JAX functions, and would round float64 operands to float32 otherwise.
"""

from contextlib import AbstractContextManager

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lambda_hat_core.config.samplers.base import Dtype


def mixed() -> AbstractContextManager[None]:
    """Return the context in which a jitted function with float64 parts must be called.

    The other parts of the function must be in the context `of` an array.
    """
    return jax.enable_x64(True)


def of(like: Array) -> AbstractContextManager[None]:
    """Return the context in which JAX's default dtypes have the precision of an array."""
    return jax.enable_x64(like.dtype == jnp.float64)


def require(dtype: Dtype) -> None:
    """Check that this process computes in `dtype`.

    Raises:
        ValueError: if it does not.
    """
    here = "float64" if jax.config.jax_enable_x64 else "float32"
    if here != dtype:
        raise ValueError(
            f"the spec says dtype {dtype}, but this process computes in {here}; start it with "
            f"JAX_ENABLE_X64={int(dtype == 'float64')} in its environment"
        )
