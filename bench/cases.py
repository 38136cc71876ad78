"""Losses at their minimum, most with real batches, whose answer is exact or sampled independently.

Labels have noise, and every input occurs twice with opposite noise, so that w* is the exact minimum
and the excess of the loss is the mean squared difference of the outputs. Answers are at the nbeta
and gamma of the case, so no finite-temperature term is left in them. What differs between the cases
of a family is in their data, so that they share programs.
"""

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np
from case import Case, default_nbeta, once
from fitted import NETWORKS, logistic, network, student
from planar import polynomial, potential
from references import SWEEPS, gibbs

from lambda_hat_core.posterior import Target
from lambda_hat_core.targets.losses import Supervised
from lambda_hat_core.targets.networks import DeepLinearNetwork


def _half_sum(curvatures: np.ndarray, nbeta: float) -> float:
    stiffness = nbeta * curvatures
    return float(0.5 * np.sum(stiffness / (stiffness + 1)))


def _quadratic_loss(w: Any, rows: Any) -> Any:
    axes, curvatures = rows
    return 0.5 * jnp.mean(curvatures * (axes @ w) ** 2)


def quadratic(curvatures: np.ndarray, nbeta: float = 145.0) -> Case:
    """Return half of w^T H w; a row is an axis of H with its curvature."""
    d = curvatures.size
    axes = np.linalg.qr(np.random.default_rng(d).normal(size=(d, d)))[0]
    exact = _half_sum(curvatures, nbeta)
    return Case(_quadratic_loss, np.zeros(d), (axes, d * curvatures), {"nbeta": nbeta}, exact)


def product_of_squares(d: int, nbeta: float) -> Case:
    """Return prod w_i^2 at 0; the logarithms of the squares are independent, so they convolve."""
    step, low, high = 2e-3, -60.0, 6.0
    place = np.arange(low, high, step)
    # The density of log chi-squared with one degree of freedom.
    one = np.exp(0.5 * place - 0.5 * np.exp(place)) / np.sqrt(2 * np.pi)
    size = 1 << (d * place.size).bit_length()
    whole = np.fft.irfft(np.fft.rfft(one, size) ** d, size)[: d * place.size - d + 1]
    rise = nbeta * np.exp(d * low + step * np.arange(whole.size))
    mass = np.maximum(whole, 0) * np.exp(-rise)
    exact = float(np.sum(mass * rise) / np.sum(mass))

    def loss(w: Any, rows: Any) -> Any:
        return jnp.mean(rows) * jnp.prod(w**2)

    return Case(loss, np.zeros(d), np.ones(10), {"nbeta": nbeta}, exact)


def _linear_loss(w: Any, rows: Any) -> Any:
    inputs, labels = rows
    return jnp.mean((inputs @ w - labels) ** 2)


def regression(n: int, d: int, spread: float, tails: float | None = None, rare: int = 0) -> Case:
    """Return least squares with unit noise.

    `tails` is the degrees of freedom of the features, of which the first `rare` are 1 in 10 to 40
    rows and 0 in all others.
    """
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n, d)) if tails is None else rng.standard_t(tails, size=(n, d))
    x = x * np.geomspace(1 / spread, 1.0, d)
    for feature in range(rare):
        x[:, feature] = 0.0
        x[rng.choice(n, rng.integers(10, 41), replace=False), feature] = 1.0
    y = x @ rng.normal(size=d) + rng.normal(size=n)
    exact = _half_sum(np.linalg.eigvalsh(2 * x.T @ x / n), default_nbeta(n))
    return Case(_linear_loss, np.linalg.lstsq(x, y)[0], (x, y), {}, exact)


def _product_loss(layers: list[Any], rows: Any) -> Any:
    inputs, labels = rows
    for layer in layers:
        inputs = inputs @ layer
    return jnp.mean((inputs - labels) ** 2)


_CUBES = 400_000_000
"""Work of the Gibbs sweeps of a case, about half a minute on one core."""


def product_of_matrices(*widths: int, rank: int, n: int = 1000, sigma: float = 0.5) -> Case:
    """Return a balanced product of matrices at a truth of some rank, by Gibbs sampling.

    The parameters are a list of matrices, as of a user's network.
    """
    rng = np.random.default_rng(sum(widths) + rank)
    network = DeepLinearNetwork(widths)
    axes = [np.linalg.qr(rng.normal(size=(width, width)))[0][:, :rank] for width in widths]
    layers = [axes[i] @ axes[i + 1].T for i, _ in enumerate(pairwise(widths))]
    w = np.concatenate([layer.ravel() for layer in layers])
    x = rng.normal(size=(n // 2, widths[0]))
    out, noise = x @ np.linalg.multi_dot(layers), sigma * rng.normal(size=(n // 2, widths[-1]))
    data = (np.concatenate([x, x]), np.concatenate([out + noise, out - noise]))
    target = Target(jnp.asarray(w), data, Supervised(network, "mse"), n)
    name = f"gibbs {widths} {rank} {n} {sigma}"
    # A sweep diagonalises; on wide networks few of them are precise enough.
    cubes = sum(a**3 + b**3 for a, b in pairwise(widths))
    sweeps = min(SWEEPS, max(400, _CUBES // cubes))
    exact = once(name, lambda: gibbs(target, default_nbeta(n), 1.0, sweeps=sweeps))
    return Case(_product_loss, layers, data, {}, *exact)


def zero_truth(inputs: int, hidden: int, n: int = 1000) -> Case:
    """Return sum_h b_h tanh(a_h . x) where the labels are noise, at 0.

    Given all a the b are Gaussian, so their integral is known; that over a is the mean over draws
    from the localiser, weighted by it.
    """
    rng = np.random.default_rng(inputs + 10 * hidden)
    x, noise = rng.normal(size=(n // 2, inputs)), rng.normal(size=n // 2)

    def loss(w: Any, rows: Any) -> Any:
        x, labels = rows
        a, b = w[:-hidden].reshape(inputs, hidden), w[-hidden:]
        return jnp.mean((jnp.tanh(x @ a) @ b - labels) ** 2)

    data = (np.concatenate([x, x]), np.concatenate([noise, -noise]))
    weights, values = [], []
    for _ in range(100):
        features = np.tanh(np.einsum("ni,pih->pnh", x, rng.normal(size=(500, inputs, hidden))))
        moments = features.transpose(0, 2, 1) @ features / len(x)
        stiffness = 2 * default_nbeta(n) * np.linalg.eigvalsh(moments)
        weights.append(np.prod(1 + stiffness, axis=1) ** -0.5)
        values.append(0.5 * np.sum(stiffness / (1 + stiffness), axis=1))
    weight, value = np.concatenate(weights), np.concatenate(values)
    weight /= weight.sum()
    exact = float(weight @ value)
    se = float(np.sqrt(np.sum(weight**2 * (value - exact) ** 2)))
    return Case(loss, np.zeros((inputs + 1) * hidden), data, {}, exact, se)


MAKERS: dict[str, Callable[[], Case]] = {
    "crossing w1^2 w2^2": lambda: potential({(2, 2): 1.0}),
    "crossing w1^2 w2^2 at (1, 0)": lambda: potential({(2, 2): 1.0}, (1.0, 0.0), 400.0),
    "crossing w1^2 w2^4": lambda: potential({(2, 4): 1.0}, nbeta=1000.0),
    "crossing w1^4 w2^6": lambda: potential({(4, 6): 1.0}, nbeta=1000.0),
    "powers w1^4 + w2^6": lambda: potential({(4, 0): 1.0, (0, 6): 1.0}),
    "powers w1^2 + w2^4": lambda: potential({(2, 0): 1.0, (0, 4): 1.0}, nbeta=1000.0),
    "three lines": lambda: potential({(4, 2): 1.0, (3, 3): 2.0, (2, 4): 1.0}, nbeta=400.0),
    "cusp": lambda: potential({(4, 0): 1.0, (2, 3): -2.0, (0, 6): 1.0}),
    "parabola": lambda: potential({(4, 0): 1.0, (2, 1): -2.0, (0, 2): 1.0}, nbeta=400.0),
    "circle": lambda: potential(
        {(4, 0): 1, (2, 2): 2, (0, 4): 1, (2, 0): -2, (0, 2): -2, (0, 0): 1}, (1.0, 0.0), 20.0
    ),
    "net w1 w2 x": lambda: polynomial([{(1, 1): 1}], (0.0, 0.0)),
    "net w1 w2 x + w2^2 x^2": lambda: polynomial([{(1, 1): 1}, {(0, 2): 1}], (0.0, 0.0)),
    "net (w1^2 - w2) x": lambda: polynomial([{(2, 0): 1, (0, 1): -1}], (0.0, 0.0)),
    "net w1 w2^2 x at (0, 1)": lambda: polynomial([{(1, 2): 1}], (0.0, 1.0)),
    "net w1 x + w1 w2 x^2": lambda: polynomial([{(1, 0): 1}, {(1, 1): 1}], (0.0, 0.5)),
    "net w1^2 x + w2^3 x^2": lambda: polynomial([{(2, 0): 1}, {(0, 3): 1}], (0.0, 0.0)),
    "quadratic condition 1e2": lambda: quadratic(np.geomspace(0.1, 10, 50)),
    "quadratic condition 1e4": lambda: quadratic(np.geomspace(1e-2, 1e2, 50)),
    "quadratic condition 1e6": lambda: quadratic(np.geomspace(1e-3, 1e3, 50)),
    "quadratic rank 12": lambda: quadratic(np.repeat([0.0, 2.0], [38, 12])),
    "quadratic power law": lambda: quadratic(100.0 * np.arange(1, 51) ** -2.0),
    "regression spread 10": lambda: regression(2000, 20, 10.0),
    "regression spread 100": lambda: regression(2000, 20, 100.0),
    "regression heavy tails": lambda: regression(2000, 20, 3.0, tails=4.0),
    "regression rare features": lambda: regression(20_000, 100, 1.0, rare=30),
    "reduced rank 5-3-5 rank 0": lambda: product_of_matrices(5, 3, 5, rank=0),
    "reduced rank 5-3-5 rank 1": lambda: product_of_matrices(5, 3, 5, rank=1),
    "reduced rank 5-3-5 rank 3": lambda: product_of_matrices(5, 3, 5, rank=3),
    "deep linear 4-4-4-4 rank 1": lambda: product_of_matrices(4, 4, 4, 4, rank=1),
    "deep linear 4-4-4-4 rank 2": lambda: product_of_matrices(4, 4, 4, 4, rank=2),
    "logistic n=1000 d=10": lambda: logistic(1000, 10),
    "student n=1000 d=8": lambda: student(1000, 8),
    "tanh zero truth 2-3-1": lambda: zero_truth(2, 3),
    "crossing of four weights": lambda: product_of_squares(4, 1000.0),
    "deep linear 6-8-6 rank 3": lambda: product_of_matrices(6, 8, 6, rank=3),
}
MAKERS |= {name: lambda name=name: network(name) for name in NETWORKS}

DEEP = {
    "10-7-7 rank 3": lambda: product_of_matrices(10, 7, 7, rank=3, n=2000),
    "10-6-7-8 rank 1": lambda: product_of_matrices(10, 6, 7, 8, rank=1, n=2000),
    "7-6-5-5-5-8 rank 5": lambda: product_of_matrices(7, 6, 5, 5, 5, 8, rank=5, n=2000),
    "21-24-21 rank 13": lambda: product_of_matrices(21, 24, 21, rank=13, n=2000),
    "20-17-15-21-15 rank 8": lambda: product_of_matrices(20, 17, 15, 21, 15, rank=8, n=2000),
    "24-21-23-17 rank 9": lambda: product_of_matrices(24, 21, 23, 17, rank=9, n=2000),
    "25-40-30-20 rank 7": lambda: product_of_matrices(25, 40, 30, 20, rank=7, n=4000),
    "36-38-37-39-20-36 rank 6": lambda: product_of_matrices(36, 38, 37, 39, 20, 36, rank=6, n=2000),
    "60-42-46-54 rank 11": lambda: product_of_matrices(60, 42, 46, 54, rank=11, n=2000),
    "91-106-88 rank 83": lambda: product_of_matrices(91, 106, 88, rank=83, n=2000),
    "180-180-180-180 rank 30": lambda: product_of_matrices(180, 180, 180, 180, rank=30, n=4000),
}
"""Deep linear networks of 119 to 97,200 weights; all but two have random widths and ranks."""
MAKERS |= {f"deep linear {name}": maker for name, maker in DEEP.items()}


def is_large(name: str) -> bool:
    """Return whether a case is for minibatch samplers: one gradient of it takes milliseconds."""
    return name.removeprefix("deep linear ") in DEEP


@cache
def case(name: str) -> Case:
    """Make a case once."""
    return MAKERS[name]()
