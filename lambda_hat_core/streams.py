"""Named random streams: adding a stage or a chain does not change any other number."""

import zlib

import jax
import jax.random as jr
import numpy as np
from jaxtyping import Array, PRNGKeyArray, UInt32


def stream(seed: int, name: str) -> PRNGKeyArray:
    """Return the key of the stream `name` under `seed`."""
    return _key(np.uint32(seed), np.uint32(zlib.crc32(name.encode())))


@jax.jit
def _key(seed: UInt32[Array, ""], name: UInt32[Array, ""]) -> PRNGKeyArray:
    return jr.fold_in(jr.key(seed), name)
