"""What bench/answers.py and its peer share: architectures, data and files, without JAX or PyTorch.

A forward pass takes the few operations that libraries write differently from `ops`. NumPy itself is
such a library for a multilayer perceptron.
"""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Arrays = dict[str, Any]
Examples = tuple[np.ndarray, np.ndarray]

_FLIPPED = 0.1
"""Fraction of random labels, so that no network interpolates its data."""


class Architecture(NamedTuple):
    """A forward pass `(ops, params, x) -> outputs`, the shapes of its parameters, and its data.

    `ops` has tanh, gelu (in its tanh form), softmax over the last axis, einsum, and convolve: of
    images in the layout NHWC with a kernel in the layout HWIO, of the same size as the image.
    """

    forward: Callable[[Any, Any, Any], Any]
    shapes: dict[str, tuple[int, ...]]
    examples: Callable[[Path], Examples]


def _mlp(*widths: int) -> tuple[Callable[[Any, Any, Any], Any], dict[str, tuple[int, ...]]]:
    depth = len(widths) - 1
    shapes: dict[str, tuple[int, ...]] = {}
    for i, pair in enumerate(pairwise(widths)):
        shapes |= {f"w{i}": pair, f"b{i}": pair[1:]}

    def forward(ops: Any, params: Any, x: Any) -> Any:
        for i in range(depth):
            x = x @ params[f"w{i}"] + params[f"b{i}"]
            x = ops.tanh(x) if i < depth - 1 else x
        return x

    return forward, shapes


def _convolutional(ops: Any, params: Any, x: Any) -> Any:
    image = x.reshape(-1, 8, 8, 1)
    for name in ("k0", "k1"):
        image = ops.gelu(ops.convolve(image, params[name]) + params[f"{name}_bias"])
    pooled = image.reshape(-1, 4, 2, 4, 2, image.shape[-1]).mean((2, 4))
    return pooled.reshape(len(x), -1) @ params["w"] + params["b"]


def _attention(ops: Any, params: Any, x: Any) -> Any:
    """One block over the rows of an image as tokens."""
    tokens = x.reshape(-1, 8, 8) @ params["embed"] + params["position"]
    q, k, v = (tokens @ params[name] for name in "qkv")
    heads = [a.reshape(*a.shape[:2], 4, -1) for a in (q, k, v)]
    scores = ops.einsum("nihc,njhc->nhij", *heads[:2]) / heads[0].shape[-1] ** 0.5
    mixed = ops.einsum("nhij,njhc->nihc", ops.softmax(scores), heads[2])
    tokens = tokens + mixed.reshape(tokens.shape) @ params["o"]
    hidden = ops.gelu(tokens @ params["up"] + params["up_bias"])
    tokens = tokens + hidden @ params["down"] + params["down_bias"]
    return tokens.mean(1) @ params["w"] + params["b"]


def _teacher(folder: Path) -> Examples:
    del folder
    n = 1000
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 8))
    hidden = np.tanh(x @ rng.normal(size=(8, 4)) / 8**0.5)
    y = hidden @ rng.normal(size=(4, 1)) + 0.3 * rng.normal(size=(n, 1))
    return x.astype(np.float32), y.astype(np.float32)


def _digits(folder: Path) -> Examples:
    """Return the digits, which the first caller that has scikit-learn writes into the folder."""
    file = folder / "digits_examples.npz"
    if not file.exists():
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        rng = np.random.default_rng(1)
        flip = rng.random(len(y)) < _FLIPPED
        y = np.where(flip, rng.integers(0, 10, len(y)), y)
        np.savez(file, x=(x / 16).astype(np.float32), y=y.astype(np.int32))
    with np.load(file) as stored:
        return stored["x"], stored["y"]


ARCHITECTURES = {
    "regression": Architecture(*_mlp(8, 28, 28, 1), _teacher),
    "digits": Architecture(*_mlp(64, 128, 10), _digits),
    "deep digits": Architecture(*_mlp(64, 256, 256, 64, 10), _digits),
    "transformer": Architecture(
        _attention,
        {
            "embed": (8, 64), "position": (8, 64), "q": (64, 64), "k": (64, 64), "v": (64, 64),
            "o": (64, 64), "up": (64, 256), "up_bias": (256,), "down": (256, 64),
            "down_bias": (64,), "w": (64, 10), "b": (10,),
        },
        _digits,
    ),
    "convolutional": Architecture(
        _convolutional,
        {"k0": (3, 3, 1, 16), "k0_bias": (16,), "k1": (3, 3, 16, 16), "k1_bias": (16,),
         "w": (256, 10), "b": (10,)},
        _digits,
    ),
}  # fmt: skip


def file_of(name: str, folder: Path) -> Path:
    """Return where w* of an architecture is kept."""
    return folder / f"{name.replace(' ', '_')}.npz"


def kept(name: str, folder: Path) -> Arrays:
    """Return w* of an architecture that has been trained.

    Raises:
        FileNotFoundError: if it has not.
    """
    file = file_of(name, folder)
    if not file.exists():
        raise FileNotFoundError(
            f"{file} is missing, since {name!r} has not been trained in this folder: run "
            f"`python bench/answers.py --cells {name!r} --folder {folder}` first"
        )
    with np.load(file) as stored:
        return dict(stored)


def cell(name: str, folder: Path) -> tuple[Architecture, Arrays, Examples]:
    """Return architecture, w* and examples of a cell: `digits`, say, or `n=1000`.

    The latter is `regression` at its w* with as many examples. Every input occurs twice, with
    opposite noise on the network's output, so the gradient at w* is 0 for every n.
    """
    if not name.startswith("n="):
        made = ARCHITECTURES[name]
        return made, kept(name, folder), made.examples(folder)
    made, params = ARCHITECTURES["regression"], kept("regression", folder)
    n = int(name.removeprefix("n="))
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n // 2, 8)).astype(np.float32)
    out = made.forward(np, params, x)
    noise = 0.3 * rng.normal(size=out.shape).astype(np.float32)
    return made, params, (np.concatenate([x, x]), np.concatenate([out + noise, out - noise]))
