"""Linear algebra that no program needs to be compiled for.

The set-up of a run is a few hundred gradients with a little linear algebra between them. XLA takes
longer to compile that little than NumPy takes to do it, so only the gradients are programs. On a
CPU NumPy reads the arrays of JAX where they are. On an accelerator the same lines are operations of
`jax.numpy`, one at a time, and nothing leaves the device.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray


def on_cpu() -> bool:
    """Return whether the arrays of JAX are in the memory that NumPy reads."""
    return jax.default_backend() == "cpu"


def namespace() -> Any:
    """Return numpy on a CPU, else jax.numpy."""
    return np if on_cpu() else jnp


def hosted(tree: Any) -> Any:
    """Return a pytree with its arrays as those of `namespace`."""
    return jax.tree.map(np.asarray, tree) if on_cpu() else tree


def placed(tree: Any) -> Any:
    """Return a pytree with its NumPy arrays on the device."""
    return jax.tree.map(jax.device_put, tree)


def generator(key: PRNGKeyArray) -> np.random.Generator:
    """Return a generator of NumPy that is seeded by a key of JAX."""
    words = np.asarray(jax.random.key_data(key)).ravel().tolist()
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))
