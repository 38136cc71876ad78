"""The networks of bench/answers.py: shapes, losses, data and training, in plain JAX."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from sklearn.datasets import load_digits

Arrays = dict[str, Any]

_STEPS, _RATE = 20_000, 1e-2
_FLIPPED = 0.1
"""Fraction of random labels, so that no network interpolates its data."""


class Network(NamedTuple):
    """A loss, the shapes of its parameters, and its data."""

    forward: Callable[[Arrays, Any], Any]
    shapes: dict[str, tuple[int, ...]]
    data: Callable[[int], tuple[np.ndarray, np.ndarray]]
    n: int

    def loss(self, params: Arrays, batch: Any) -> Any:
        """Return the mean squared error, or the mean cross entropy of class labels."""
        x, y = batch
        out = self.forward(params, x)
        if jnp.issubdtype(y.dtype, jnp.floating):
            return jnp.mean((out - y) ** 2)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(out), y[:, None], axis=1))


def _mlp(*widths: int) -> tuple[Callable[[Arrays, Any], Any], dict[str, tuple[int, ...]]]:
    depth = len(widths) - 1
    shapes: dict[str, tuple[int, ...]] = {}
    for i, pair in enumerate(pairwise(widths)):
        shapes |= {f"w{i}": pair, f"b{i}": pair[1:]}

    def forward(params: Arrays, x: Any) -> Any:
        for i in range(depth):
            x = x @ params[f"w{i}"] + params[f"b{i}"]
            x = jnp.tanh(x) if i < depth - 1 else x
        return x

    return forward, shapes


def _convolutional(params: Arrays, x: Any) -> Any:
    image = x.reshape(-1, 8, 8, 1)
    for name in ("k0", "k1"):
        image = jax.lax.conv_general_dilated(
            image, params[name], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        image = jax.nn.gelu(image + params[f"{name}_bias"])
    pooled = image.reshape(-1, 4, 2, 4, 2, image.shape[-1]).mean((2, 4))
    return pooled.reshape(len(x), -1) @ params["w"] + params["b"]


def _attention(params: Arrays, x: Any) -> Any:
    """One block over the rows of an image as tokens."""
    tokens = x.reshape(-1, 8, 8) @ params["embed"] + params["position"]
    q, k, v = (tokens @ params[name] for name in "qkv")
    heads = [a.reshape(*a.shape[:2], 4, -1) for a in (q, k, v)]
    scores = jnp.einsum("nihc,njhc->nhij", *heads[:2]) / heads[0].shape[-1] ** 0.5
    mixed = jnp.einsum("nhij,njhc->nihc", jax.nn.softmax(scores), heads[2])
    tokens = tokens + mixed.reshape(tokens.shape) @ params["o"]
    hidden = jax.nn.gelu(tokens @ params["up"] + params["up_bias"])
    tokens = tokens + hidden @ params["down"] + params["down_bias"]
    return tokens.mean(1) @ params["w"] + params["b"]


def _teacher(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 8))
    hidden = np.tanh(x @ rng.normal(size=(8, 4)) / 8**0.5)
    y = hidden @ rng.normal(size=(4, 1)) + 0.3 * rng.normal(size=(n, 1))
    return x.astype(np.float32), y.astype(np.float32)


def _digits(n: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(1)
    flip = rng.random(len(y)) < _FLIPPED
    y = np.where(flip, rng.integers(0, 10, len(y)), y)
    return (x[:n] / 16).astype(np.float32), y[:n].astype(np.int32)


NETWORKS = {
    "regression": Network(*_mlp(8, 28, 28, 1), _teacher, 1000),
    "digits": Network(*_mlp(64, 128, 10), _digits, 1797),
    "deep digits": Network(*_mlp(64, 256, 256, 64, 10), _digits, 1797),
    "transformer": Network(
        _attention,
        {
            "embed": (8, 64), "position": (8, 64), "q": (64, 64), "k": (64, 64), "v": (64, 64),
            "o": (64, 64), "up": (64, 256), "up_bias": (256,), "down": (256, 64),
            "down_bias": (64,), "w": (64, 10), "b": (10,),
        },
        _digits,
        1797,
    ),
    "convolutional": Network(
        _convolutional,
        {"k0": (3, 3, 1, 16), "k0_bias": (16,), "k1": (3, 3, 16, 16), "k1_bias": (16,),
         "w": (256, 10), "b": (10,)},
        _digits,
        1797,
    ),
}  # fmt: skip


def trained(name: str, folder: Path) -> Arrays:
    """Return w* of a network, which is trained with full batches once and kept in `folder`."""
    file = folder / f"{name.replace(' ', '_')}.npz"
    if not file.exists():
        network = NETWORKS[name]
        np.savez(file, **_train(network, network.data(network.n)))
    with np.load(file) as stored:
        return dict(stored)


def _train(network: Network, data: Any) -> Arrays:
    keys = jr.split(jr.key(7), len(network.shapes))
    params = {
        name: jr.normal(key, shape) / np.prod(shape[:-1]) ** 0.5
        for key, (name, shape) in zip(keys, network.shapes.items(), strict=True)
    }
    optimiser = optax.adam(optax.cosine_decay_schedule(_RATE, _STEPS))

    @jax.jit
    def run(params: Arrays) -> Arrays:
        def step(carry: Any, _: None) -> tuple[Any, None]:
            params, state = carry
            updates, state = optimiser.update(jax.grad(network.loss)(params, data), state)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimiser.init(params)), None, length=_STEPS)[0][0]

    return {name: np.asarray(value) for name, value in run(params).items()}


def at_any_n(n: int, folder: Path) -> tuple[Arrays, tuple[np.ndarray, np.ndarray]]:
    """Return a w* of `regression` and n examples of which it is a minimum.

    Every input occurs twice, with opposite noise on the network's output, so the gradient at w* is
    0 for every n.
    """
    params = trained("regression", folder)
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n // 2, 8)).astype(np.float32)
    out = np.asarray(NETWORKS["regression"].forward(params, jnp.asarray(x)))
    noise = 0.3 * rng.normal(size=out.shape).astype(np.float32)
    return params, (np.concatenate([x, x]), np.concatenate([out + noise, out - noise]))
