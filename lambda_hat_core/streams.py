"""Named random streams: adding a stage or a chain does not change any other number."""

import zlib

import jax.random as jr
from jaxtyping import PRNGKeyArray


def stream(seed: int, name: str) -> PRNGKeyArray:
    """Return the key of the stream `name` under `seed`."""
    return jr.fold_in(jr.key(seed), zlib.crc32(name.encode()))
