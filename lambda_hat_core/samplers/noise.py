"""The Gaussian noise that Langevin samplers inject, by the name of its generator."""

from typing import Literal

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import PRNGKeyArray

from lambda_hat_core.types import Weights

Generator = Literal["threefry", "philox"]


def standard_normal(key: PRNGKeyArray, like: Weights, generator: Generator) -> Weights:
    """Return N(0, I) noise of the shape and dtype of `like`."""
    if generator == "threefry":
        return jr.normal(key, like.shape, like.dtype)
    raise ValueError(f"noise generator {generator!r} is not known; choose threefry")


def zeros(like: Weights) -> Weights:
    """Return no noise."""
    return jnp.zeros_like(like)
