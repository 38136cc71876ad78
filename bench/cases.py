"""Losses at their minimum, most with real batches, whose answer is exact or sampled independently.

Labels have noise, and every input occurs twice with opposite noise, so that w* is the exact minimum
and the excess of the loss is the mean squared difference of the outputs. Answers are at the nbeta
and gamma of the case, so no finite-temperature term is left in them.
"""

import json
import zlib
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from references import gibbs, slices
from scipy.optimize import minimize

from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.posterior import Target
from lambda_hat_core.targets.losses import Supervised
from lambda_hat_core.targets.networks import DeepLinearNetwork
from lambda_hat_core.truth import quadrature

ANSWERS = Path("bench/out/answers.json")
"""Answers by sampling, which take a minute together. Remove it after a change of a case."""

Outputs = Callable[[Any, Any], Any]
"""f(w, x) for all rows of x, written for NumPy and JAX alike."""


class Case(NamedTuple):
    """A call of `estimate_llc`, and its answer.

    Attributes:
        loss: the loss.
        params: w*, its minimum.
        data: inputs and labels, or None.
        n: number of examples.
        posterior: settings that differ from the defaults.
        exact: the value that a perfect sampler would find.
        exact_se: its standard error, 0 if it is exact.
    """

    loss: Callable[[Any, Any], Any]
    params: np.ndarray
    data: Any
    n: int
    posterior: dict[str, float]
    exact: float
    exact_se: float = 0.0


def _once(name: str, compute: Callable[[], tuple[float, float]]) -> tuple[float, float]:
    """Return a sampled answer and its error, from the file of those that were made before."""
    made = json.loads(ANSWERS.read_text()) if ANSWERS.exists() else {}
    if name not in made:
        made[name] = compute()
        ANSWERS.parent.mkdir(parents=True, exist_ok=True)
        ANSWERS.write_text(json.dumps(made))
    return tuple(made[name])


def is_held_out(name: str) -> bool:
    """Return whether a case is kept out of the choice of thresholds: about every third is."""
    return zlib.crc32(name.encode()) % 3 == 0


def _half_sum(curvatures: np.ndarray, nbeta: float, gamma: float = 1.0) -> float:
    stiffness = nbeta * curvatures
    return float(0.5 * np.sum(stiffness / (stiffness + gamma)))


def _nbeta(n: int) -> float:
    return PosteriorSpec().resolved_nbeta(n)


def quadratic(curvatures: np.ndarray, nbeta: float = 145.0) -> Case:
    """Return half of w^T H w in coordinates in which H is not diagonal."""
    d = curvatures.size
    axes = np.linalg.qr(np.random.default_rng(d).normal(size=(d, d)))[0]

    def loss(w: Any, batch: Any) -> Any:
        del batch
        return 0.5 * jnp.sum(curvatures * (axes @ w) ** 2)

    exact = _half_sum(curvatures, nbeta)
    return Case(loss, np.zeros(d), None, 1000, {"nbeta": nbeta}, exact)


def _grid(excess: Callable[[Any], Any], w: np.ndarray, nbeta: float, gamma: float) -> float:
    """Return the mean on an even grid, for zero sets that are curves; smooth, so it converges."""
    found = []
    for count in (2400, 3000):
        axes = [np.linspace(c - 7 / gamma**0.5, c + 7 / gamma**0.5, count) for c in w]
        mass = total = 0.0
        for first in axes[0]:
            points = np.stack([np.full(count, first), axes[1]], axis=1)
            rise = nbeta * excess(points)
            weights = np.exp(-rise - 0.5 * gamma * np.sum((points - w) ** 2, axis=1))
            mass, total = mass + weights.sum(), total + weights @ rise
        found.append(total / mass)
    assert abs(found[0] - found[1]) < 1e-4 * found[1], found
    return float(found[1])


def _planar(excess: Callable[[Any], Any], w: np.ndarray, nbeta: float, gamma: float) -> float:
    exact = quadrature.potential(excess, w, nbeta, gamma)
    return _grid(excess, w, nbeta, gamma) if exact is None else exact


def potential(
    of: Callable[..., Any], at: tuple[float, ...] = (0.0, 0.0), nbeta: float = 145.0, **more: float
) -> Case:
    """Return a potential of one or two weights, with its value by quadrature."""

    def loss(w: Any, batch: Any) -> Any:
        del batch
        return of(*w)

    def excess(points: np.ndarray) -> np.ndarray:
        return np.asarray(of(*points.T)) - of(*at)

    posterior = {"nbeta": nbeta, "gamma": 1.0, **more}
    exact = _planar(excess, np.array(at), nbeta, posterior["gamma"])
    return Case(loss, np.array(at), None, 1000, posterior, exact)


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

    def loss(w: Any, batch: Any) -> Any:
        del batch
        return jnp.prod(w**2)

    return Case(loss, np.zeros(d), None, 1000, {"nbeta": nbeta}, exact)


def _twice(
    outputs: Outputs, w: np.ndarray, x: np.ndarray, sigma: float, seed: int
) -> tuple[Callable[[Any, Any], Any], Any]:
    """Return the squared error of outputs, and data in which every input occurs twice."""
    out = np.asarray(outputs(w, x))
    noise = sigma * np.random.default_rng(seed).normal(size=out.shape)

    def loss(w: Any, batch: Any) -> Any:
        inputs, labels = batch
        return jnp.mean((outputs(w, inputs) - labels) ** 2)

    return loss, (np.concatenate([x, x]), np.concatenate([out + noise, out - noise]))


def polynomial(
    coefficients: Callable[..., tuple[Any, ...]],
    at: tuple[float, float],
    n: int = 1000,
    sigma: float = 1.0,
) -> Case:
    """Return a net of two weights whose output is a polynomial in x, by its coefficients."""
    w = np.array(at)
    x = np.random.default_rng(7).normal(size=n // 2)
    powers = np.arange(1, 1 + len(coefficients(*at)))

    def outputs(w: Any, x: Any) -> Any:
        return sum(c * x**k for c, k in zip(coefficients(*w), powers, strict=True))

    loss, data = _twice(outputs, w, x, sigma, 8)
    moments = np.mean(x[:, None, None] ** (powers[:, None] + powers), axis=0)

    def excess(points: np.ndarray) -> np.ndarray:
        found = np.broadcast_arrays(*coefficients(*points.T))
        off = np.stack(found, axis=-1) - np.array(coefficients(*at))
        return np.einsum("pi,ij,pj->p", off, moments, off)

    return Case(loss, w, data, n, {}, _planar(excess, w, _nbeta(n), 1.0))


def regression(n: int, d: int, spread: float, tails: float | None = None, seed: int = 3) -> Case:
    """Return least squares with unit noise; `tails` is the degrees of freedom of the features."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) if tails is None else rng.standard_t(tails, size=(n, d))
    x = x * np.geomspace(1 / spread, 1.0, d)
    y = x @ rng.normal(size=d) + rng.normal(size=n)

    def loss(w: Any, batch: Any) -> Any:
        inputs, labels = batch
        return jnp.mean((inputs @ w - labels) ** 2)

    exact = _half_sum(np.linalg.eigvalsh(2 * x.T @ x / n), _nbeta(n))
    return Case(loss, np.linalg.lstsq(x, y)[0], (x, y), n, {}, exact)


def product_of_matrices(
    *widths: int, rank: int, n: int = 1000, sigma: float = 0.5, scale: float = 1.0
) -> Case:
    """Return a balanced product of matrices at a truth of some rank, by Gibbs sampling."""
    rng = np.random.default_rng(sum(widths) + rank)
    network = DeepLinearNetwork(widths)
    layers = []
    axes = [np.linalg.qr(rng.normal(size=(width, width)))[0][:, :rank] for width in widths]
    for i, shape in enumerate(pairwise(widths)):
        layers.append(scale * (axes[i] @ axes[i + 1].T).reshape(shape))
    w = np.concatenate([layer.ravel() for layer in layers])
    x = rng.normal(size=(n // 2, widths[0]))

    def outputs(w: Any, x: Any) -> Any:
        return network.apply(jnp.asarray(w), jnp.asarray(x))

    loss, data = _twice(outputs, w, x, sigma, 9)
    target = Target(jnp.asarray(w), data, Supervised(network, "mse"), n)
    name = f"gibbs {widths} {rank} {n} {sigma} {scale}"
    return Case(loss, w, data, n, {}, *_once(name, lambda: gibbs(target, _nbeta(n), 1.0)))


def zero_truth(inputs: int, hidden: int, n: int = 1000) -> Case:
    """Return sum_h b_h tanh(a_h . x) where the labels are noise, at 0.

    Given all a the b are Gaussian, so their integral is known; that over a is the mean over draws
    from the localiser, weighted by it.
    """
    rng = np.random.default_rng(inputs + 10 * hidden)
    x = rng.normal(size=(n // 2, inputs))

    def outputs(w: Any, x: Any) -> Any:
        a, b = w[:-hidden].reshape(inputs, hidden), w[-hidden:]
        return (jnp if isinstance(w, jnp.ndarray) else np).tanh(x @ a) @ b

    w = np.zeros((inputs + 1) * hidden)
    loss, data = _twice(outputs, w, x, 1.0, 11)
    weights, values = [], []
    for _ in range(200):
        features = np.tanh(np.einsum("ni,pih->pnh", x, rng.normal(size=(500, inputs, hidden))))
        moments = np.einsum("pnh,pnk->phk", features, features) / len(x)
        stiffness = 2 * _nbeta(n) * np.linalg.eigvalsh(moments)
        weights.append(np.prod(1 + stiffness, axis=1) ** -0.5)
        values.append(0.5 * np.sum(stiffness / (1 + stiffness), axis=1))
    weight, value = np.concatenate(weights), np.concatenate(values)
    weight /= weight.sum()
    exact = float(weight @ value)
    se = float(np.sqrt(np.sum(weight**2 * (value - exact) ** 2)))
    return Case(loss, w, data, n, {}, exact, se)


def trained(outputs: Outputs, d: int, x: np.ndarray, y: np.ndarray, kind: str) -> Case:
    """Return a model at its own minimum, by elliptical slice sampling."""
    n = len(x)

    def loss(w: Any, batch: Any) -> Any:
        inputs, labels = batch
        out = outputs(w, inputs)
        if kind == "logistic":
            return jnp.mean(jnp.logaddexp(0.0, -labels * out))
        if kind == "student":
            return jnp.mean(2.0 * jnp.log1p((out - labels) ** 2 / 3))
        return jnp.mean((out - labels) ** 2)

    both = jax.jit(jax.value_and_grad(lambda w: loss(w, (x, y))))
    begin = np.random.default_rng(5).normal(size=d)
    found = minimize(
        lambda w: tuple(map(np.asarray, both(w))), begin, jac=True, method="BFGS",
        options={"gtol": 1e-10, "maxiter": 5000},
    )  # fmt: skip
    w = found.x
    hessian = jax.jit(jax.hessian(lambda w: loss(w, (x, y))))
    for _ in range(5):
        w = w - np.linalg.solve(np.asarray(hessian(w)), np.asarray(both(w)[1]))

    class Mean:
        def mean(self, w: Any, data: Any) -> Any:
            return loss(w, data)

    target: Any = Target(jnp.asarray(w), (jnp.asarray(x), jnp.asarray(y)), Mean(), n)  # ty: ignore
    name = f"slices {kind} {n} {d}"
    return Case(
        loss, w, (x, y), n, {}, *_once(name, lambda: slices(target, _nbeta(n), 1.0, draws=8000))
    )


def logistic(n: int, d: int) -> Case:
    """Return a logistic regression with noisy classes."""
    rng = np.random.default_rng(n + d)
    x = rng.normal(size=(n, d))
    y = np.where(rng.uniform(size=n) < 1 / (1 + np.exp(-x @ rng.normal(size=d))), 1.0, -1.0)
    return trained(lambda w, x: x @ w, d, x, y, "logistic")


def student(n: int, d: int) -> Case:
    """Return a regression with outliers under Student's t likelihood."""
    rng = np.random.default_rng(n + d)
    x = rng.normal(size=(n, d))
    return trained(lambda w, x: x @ w, d, x, x @ np.ones(d) + rng.standard_t(3, n), "student")


MAKERS: dict[str, Callable[[], Case]] = {
    "quadratic d=20 condition 1e2": lambda: quadratic(np.geomspace(0.1, 10, 20)),
    "quadratic d=50 condition 1e4": lambda: quadratic(np.geomspace(1e-2, 1e2, 50)),
    "quadratic d=100 condition 1e6": lambda: quadratic(np.geomspace(1e-3, 1e3, 100)),
    "quadratic d=30 rank 12": lambda: quadratic(np.repeat([0.0, 2.0], [18, 12])),
    "quadratic d=300 power law": lambda: quadratic(100.0 * np.arange(1, 301) ** -2.0),
    "power w^4": lambda: potential(lambda w: w**4, (0.0,)),
    "power w^6": lambda: potential(lambda w: w**6, (0.0,), 1000.0),
    "crossing w1^2 w2^2": lambda: potential(lambda a, b: a**2 * b**2),
    "crossing w1^2 w2^2 at (1, 0)": lambda: potential(lambda a, b: a**2 * b**2, (1.0, 0.0), 400.0),
    "crossing w1^2 w2^4": lambda: potential(lambda a, b: a**2 * b**4, nbeta=1000.0),
    "crossing w1^4 w2^6": lambda: potential(lambda a, b: a**4 * b**6, nbeta=1000.0),
    "crossing of four weights": lambda: product_of_squares(4, 1000.0),
    "three lines": lambda: potential(lambda a, b: (a * b * (a + b)) ** 2, nbeta=400.0),
    "cusp": lambda: potential(lambda a, b: (a**2 - b**3) ** 2),
    "circle": lambda: potential(lambda a, b: (a**2 + b**2 - 1) ** 2, (1.0, 0.0), 20.0),
    "polynomial w1 w2 x": lambda: polynomial(lambda a, b: (a * b,), (0.0, 0.0)),
    "polynomial w1 w2 x + w2^2 x^2": lambda: polynomial(lambda a, b: (a * b, b * b), (0.0, 0.0)),
    "polynomial (w1^2 - w2) x": lambda: polynomial(lambda a, b: (a * a - b,), (0.0, 0.0)),
    "polynomial w1 w2^2 x at (0, 1)": lambda: polynomial(lambda a, b: (a * b * b,), (0.0, 1.0)),
    "polynomial w1 x + w1 w2 x^2": lambda: polynomial(lambda a, b: (a, a * b), (0.0, 0.5), 2000),
    "regression n=2000 d=20": lambda: regression(2000, 20, 10.0),
    "regression n=5000 d=60": lambda: regression(5000, 60, 100.0),
    "regression n=1000 d=10 heavy tails": lambda: regression(1000, 10, 3.0, tails=4.0),
    "regression n=20000 d=30": lambda: regression(20000, 30, 10.0),
    "reduced rank 5-3-5 rank 0": lambda: product_of_matrices(5, 3, 5, rank=0),
    "reduced rank 5-3-5 rank 1": lambda: product_of_matrices(5, 3, 5, rank=1),
    "reduced rank 5-3-5 rank 3": lambda: product_of_matrices(5, 3, 5, rank=3),
    "deep linear 6-8-6 rank 3": lambda: product_of_matrices(6, 8, 6, rank=3),
    "deep linear 4-4-4-4 rank 2": lambda: product_of_matrices(4, 4, 4, 4, rank=2),
    "deep linear 10-15-10 rank 4": lambda: product_of_matrices(10, 15, 10, rank=4, n=2000),
    "tanh zero truth 1-2-1": lambda: zero_truth(1, 2),
    "tanh zero truth 2-3-1": lambda: zero_truth(2, 3),
    "logistic n=1000 d=10": lambda: logistic(1000, 10),
    "logistic n=300 d=20": lambda: logistic(300, 20),
    "student n=1000 d=8": lambda: student(1000, 8),
}


@cache
def case(name: str) -> Case:
    """Make a case once."""
    return MAKERS[name]()
