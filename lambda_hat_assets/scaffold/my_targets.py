"""The targets of this project. Each function returns a network, its loss and its data."""

import jax
import jax.numpy as jnp
import numpy as np

from lambda_hat_core import CustomTarget


def network(params, inputs):
    """Return the outputs of the network, one per row."""
    return jnp.tanh(inputs @ params["in"]) @ params["out"]


def loss(params, batch):
    """Return the mean of the loss over the rows of a batch."""
    inputs, labels = batch
    return jnp.mean((network(params, inputs) - labels) ** 2)


def make_target(key, width):
    """Return a network to be trained, with its loss and its data.

    Args:
        key: a key of JAX, which follows from the target's seed in the experiment.
        width: the number of hidden units, which `kwargs` in the experiment sets.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 4))
    y = 2 * np.tanh(x[:, 0] - x[:, 1]) + 2 * np.tanh(x[:, 2]) + 0.3 * rng.normal(size=2000)
    first, second = jax.random.split(key)
    start = {
        "in": 0.5 * jax.random.normal(first, (4, width)),
        "out": 0.5 * jax.random.normal(second, (width,)),
    }
    return CustomTarget(start, loss, (x, y), n=len(x), train=True)
