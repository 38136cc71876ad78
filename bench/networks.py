"""The networks of bench/answers.py in plain JAX: their losses, and their training."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from architectures import ARCHITECTURES, Architecture, Arrays, Examples, cell, file_of

_RATE = 1e-2
_STEPS = {"deep digits": 1_500, "transformer": 1_500, "convolutional": 600}
"""Of training; of the small networks 20,000. The large ones fit their data long before."""


class Ops:
    """The operations of a forward pass."""

    tanh = staticmethod(jnp.tanh)
    gelu = staticmethod(jax.nn.gelu)
    softmax = staticmethod(jax.nn.softmax)
    einsum = staticmethod(jnp.einsum)

    @staticmethod
    def convolve(image: Any, kernel: Any) -> Any:
        """Return the convolution, of the size of the image."""
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=layout)


class Network(NamedTuple):
    """An architecture with a loss."""

    of: Architecture

    def loss(self, params: Arrays, batch: Any) -> Any:
        """Return the mean squared error, or the mean cross entropy of class labels."""
        x, y = batch
        out = self.of.forward(Ops, params, x)
        if jnp.issubdtype(y.dtype, jnp.floating):
            return jnp.mean((out - y) ** 2)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(out), y[:, None], axis=1))


def train(name: str, folder: Path) -> None:
    """Train an architecture with full batches and keep its w*, unless that has been done."""
    if file_of(name, folder).exists():
        return
    made = ARCHITECTURES[name]
    steps = _STEPS.get(name, 20_000)
    final, _ = training(Network(made), made.examples(folder), steps=steps, keep=1)
    np.savez(file_of(name, folder), **final)


def training(
    network: Network, data: Examples, *, steps: int, keep: int
) -> tuple[Arrays, list[Arrays]]:
    """Train with full batches and Adam.

    Args:
        network: the network.
        data: all examples.
        steps: steps of Adam, whose rate falls to 0 along a cosine.
        keep: number of checkpoints, at equal distances, of which the last is the end.

    Returns:
        The parameters at the end, and all checkpoints.
    """
    shapes = network.of.shapes
    keys = jr.split(jr.key(7), len(shapes))
    params = {
        name: jr.normal(key, shape) / np.prod(shape[:-1]) ** 0.5
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }
    optimiser = optax.adam(optax.cosine_decay_schedule(_RATE, steps))

    def step(carry: Any, _: None) -> tuple[Any, None]:
        params, state = carry
        updates, state = optimiser.update(jax.grad(network.loss)(params, data), state)
        return (optax.apply_updates(params, updates), state), None

    @jax.jit
    def stretch(carry: Any) -> Any:
        return jax.lax.scan(step, carry, None, length=steps // keep)[0]

    carry = (params, optimiser.init(params))
    checkpoints = []
    for _ in range(keep):
        carry = stretch(carry)
        checkpoints.append({name: np.asarray(value) for name, value in carry[0].items()})
    return checkpoints[-1], checkpoints


def trained(name: str, folder: Path) -> tuple[Network, Arrays, Examples]:
    """Return network, w* and examples of a cell (`architectures.cell`), trained where need be."""
    train("regression" if name.startswith("n=") else name, folder)
    made, params, data = cell(name, folder)
    return Network(made), params, data
