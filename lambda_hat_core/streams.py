"""Named random streams: adding a stage or a chain does not change any other number."""

import zlib

from jaxtyping import PRNGKeyArray

from lambda_hat_core.counters import key_of


def stream(seed: int, name: str) -> PRNGKeyArray:
    """Return the key of the stream `name` under `seed`."""
    return key_of(seed, zlib.crc32(name.encode()))
