"""The precision guard: a process serves one dtype, set by JAX_ENABLE_X64 before JAX starts."""

import jax

from lambda_hat_core.config.samplers import Dtype


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
