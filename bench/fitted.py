"""Losses at a fitted minimum and small networks, whose answers are sampled by slices."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from case import Case, Loss, default_nbeta, once
from references import slices
from scipy.optimize import minimize

from lambda_hat_core.posterior import Target


def _logistic_loss(w: Any, rows: Any) -> Any:
    inputs, labels = rows
    return jnp.mean(jnp.logaddexp(0.0, -labels * (inputs @ w)))


def _student_loss(w: Any, rows: Any) -> Any:
    inputs, labels = rows
    return jnp.mean(2.0 * jnp.log1p((inputs @ w - labels) ** 2 / 3))


class _Mean:
    """A loss as a target has it."""

    def __init__(self, loss: Loss) -> None:
        self.mean = loss


def _fitted(loss: Loss, x: np.ndarray, y: np.ndarray) -> Case:
    """Return a convex loss at its minimum, by elliptical slice sampling."""
    n, d = x.shape
    both = jax.jit(jax.value_and_grad(lambda w: loss(w, (x, y))))
    hessian = jax.jit(jax.hessian(lambda w: loss(w, (x, y))))
    w = minimize(lambda w: tuple(map(np.asarray, both(w))), np.zeros(d), jac=True).x
    for _ in range(5):
        w = w - np.linalg.solve(np.asarray(hessian(w)), np.asarray(both(w)[1]))
    name = f"slices {loss.__name__} {n} {d}"
    return Case(loss, w, (x, y), {}, *_by_slices(name, loss, w, (x, y), n, draws=8000))


def _by_slices(
    name: str, loss: Loss, w: np.ndarray, data: Any, n: int, draws: int = 40_000
) -> tuple[float, float]:
    of: Any = _Mean(loss)
    target = Target(jnp.asarray(w), jax.tree.map(jnp.asarray, data), of, n)
    return once(name, lambda: slices(target, default_nbeta(n), 1.0, draws=draws))


def logistic(n: int, d: int) -> Case:
    """Return a logistic regression with noisy classes."""
    rng = np.random.default_rng(n + d)
    x = rng.normal(size=(n, d))
    y = np.where(rng.uniform(size=n) < 1 / (1 + np.exp(-x @ rng.normal(size=d))), 1.0, -1.0)
    return _fitted(_logistic_loss, x, y)


def student(n: int, d: int) -> Case:
    """Return a regression with outliers under Student's t likelihood."""
    rng = np.random.default_rng(n + d)
    x = rng.normal(size=(n, d))
    return _fitted(_student_loss, x, x @ np.ones(d) + rng.standard_t(3, n))


class Small(NamedTuple):
    """A network, and the weights of the truth.

    Attributes:
        apply: outputs from weights and inputs.
        truth: the weights.
        inputs: from a generator and a number of rows.
        noise: standard deviation of the labels.
    """

    apply: Callable[[Any, Any], Any]
    truth: np.ndarray
    inputs: Callable[[np.random.Generator, int], np.ndarray]
    noise: float


def _perceptron(hidden: int, kind: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """Return sum_h b_h f(a_h . x + c_h) + e of two inputs."""

    def apply(w: Any, x: Any) -> Any:
        a, c, b = (
            w[: 2 * hidden].reshape(2, hidden),
            w[2 * hidden : -hidden - 1],
            w[-hidden - 1 : -1],
        )
        return kind(x @ a + c) @ b + w[-1]

    return apply


def _drawn(hidden: int, alive: int) -> np.ndarray:
    """Return weights of which `alive` hidden units have any."""
    rng = np.random.default_rng(hidden + 10 * alive)
    a, c, b = rng.normal(size=(2, hidden)), rng.normal(size=hidden), rng.normal(size=hidden)
    for weights in (a.T, c, b):
        weights[alive:] = 0.0
    return np.concatenate([a.ravel(), c, b, [0.3]])


def _superposed(w: Any, x: Any) -> Any:
    """Return ReLU(W^T W x + b), W of two rows: the toy model of superposition (Elhage et al. 2022,
    arXiv:2209.10652)."""
    features = x.shape[1]
    pairs = w[: 2 * features].reshape(2, features)
    return jnp.maximum(x @ pairs.T @ pairs + w[2 * features :], 0.0)


def _polygon(corners: int, features: int) -> np.ndarray:
    """Return a regular polygon of weights; the features beyond it have none."""
    angles = 2 * np.pi * np.arange(corners) / corners
    pairs = np.zeros((2, features))
    pairs[:, :corners] = np.stack([np.cos(angles), np.sin(angles)])
    return np.concatenate([pairs.ravel(), np.full(features, -0.3)])


def _normal(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.normal(size=(n, 2))


def _sparse(features: int) -> Callable[[np.random.Generator, int], np.ndarray]:
    """Return inputs of which one feature is not 0."""

    def inputs(rng: np.random.Generator, n: int) -> np.ndarray:
        return np.eye(features)[rng.integers(features, size=n)] * rng.uniform(size=(n, 1))

    return inputs


NETWORKS = {
    "tanh net 2-3-1": Small(_perceptron(3, jnp.tanh), _drawn(3, 3), _normal, 0.5),
    "tanh net 2-4-1, two units alive": Small(_perceptron(4, jnp.tanh), _drawn(4, 2), _normal, 0.5),
    "gelu net 2-3-1": Small(_perceptron(3, jax.nn.gelu), _drawn(3, 3), _normal, 0.5),
    "superposition, 4 of 4 features": Small(_superposed, _polygon(4, 4), _sparse(4), 0.2),
    "superposition, 5 of 5 features": Small(_superposed, _polygon(5, 5), _sparse(5), 0.2),
    "superposition, 4 of 6 features": Small(_superposed, _polygon(4, 6), _sparse(6), 0.2),
}
"""The first and the third are regular; the others have dead units, or a rotation that no output
sees, or features without weights."""


def network(name: str, n: int = 1000) -> Case:
    """Return a small network at its truth."""
    of = NETWORKS[name]
    rng = np.random.default_rng(5)
    x = of.inputs(rng, n // 2)
    out = np.asarray(of.apply(jnp.asarray(of.truth), x))
    noise = of.noise * rng.normal(size=out.shape)
    data = (np.concatenate([x, x]), np.concatenate([out + noise, out - noise]))

    def loss(w: Any, rows: Any) -> Any:
        x, labels = rows
        return jnp.mean((of.apply(w, x) - labels) ** 2)

    return Case(
        loss, of.truth, data, {}, *_by_slices(f"slices {name} {n}", loss, of.truth, data, n)
    )
