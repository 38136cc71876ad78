"""Which dtype is computed in: a worker serves one; full-data losses are float64 everywhere.

A float32 program that holds a float64 loss is traced with 64-bit types off, the loss with them on,
and all of it is lowered with them on: several of JAX's lowering rules trace JAX functions
themselves, and would round float64 operands to float32 where 64-bit types are off.
"""

from contextlib import AbstractContextManager

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lambda_hat_core.config.samplers.base import Dtype


def mixed() -> AbstractContextManager[None]:
    """Return the context in which a jitted function with float64 parts is called.

    What is not one of these parts stands inside of the function in the context `of` an array.
    """
    return jax.enable_x64(True)


def of(like: Array) -> AbstractContextManager[None]:
    """Return the context in which JAX's default dtypes are those of an array's precision."""
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
