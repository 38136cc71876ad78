"""Potentials and networks of two weights, whose answers are quadratures.

What differs between the cases of a family is in their data, so that they share programs.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from case import Case, default_nbeta

from lambda_hat_core.truth import quadrature

Terms = dict[tuple[int, int], float]
"""A polynomial in two weights: coefficients by powers."""


def _grid(excess: Callable[[Any], Any], w: np.ndarray, nbeta: float) -> float:
    """Return the mean on an even grid, for zero sets that are curves; smooth, so it converges."""
    found = []
    for count in (2400, 3000):
        axes = [np.linspace(c - 7, c + 7, count) for c in w]
        mass = total = 0.0
        for first in axes[0]:
            points = np.stack([np.full(count, first), axes[1]], axis=1)
            rise = nbeta * excess(points)
            weights = np.exp(-rise - 0.5 * np.sum((points - w) ** 2, axis=1))
            mass, total = mass + weights.sum(), total + weights @ rise
        found.append(total / mass)
    assert abs(found[0] - found[1]) < 1e-4 * found[1], found
    return float(found[1])


def _planar(excess: Callable[[Any], Any], w: np.ndarray, nbeta: float) -> float:
    exact = quadrature.potential(excess, w, nbeta, 1.0)
    return _grid(excess, w, nbeta) if exact is None else exact


_ROWS = 12


def _powers(x: Any) -> Any:
    """Return x^0 to x^6."""
    found = [jnp.ones_like(x)]
    for _ in range(6):
        found.append(found[-1] * x)
    return jnp.stack(found)


def _potential_loss(w: Any, rows: Any) -> Any:
    i, j, coefficients = rows
    return jnp.mean(coefficients * (i @ _powers(w[0])) * (j @ _powers(w[1])))


def _evaluated(terms: Terms, points: np.ndarray) -> np.ndarray:
    return sum(c * points[:, 0] ** i * points[:, 1] ** j for (i, j), c in terms.items()) + 0.0


def potential(terms: Terms, at: tuple[float, float] = (0.0, 0.0), nbeta: float = 145.0) -> Case:
    """Return a polynomial in two weights, with its value by quadrature; a row is a term."""
    powers = np.zeros((_ROWS, 2), int)
    coefficients = np.zeros(_ROWS)
    for row, (power, coefficient) in enumerate(terms.items()):
        powers[row], coefficients[row] = power, _ROWS * coefficient
    choice = np.eye(7)
    data = (choice[powers[:, 0]], choice[powers[:, 1]], coefficients)
    w = np.array(at)
    lowest = _evaluated(terms, w[None])[0]
    exact = _planar(lambda points: _evaluated(terms, points) - lowest, w, nbeta)
    return Case(_potential_loss, w, data, {"nbeta": nbeta}, exact)


_DEGREES = [(i, j) for i in range(4) for j in range(4)]


def _net_loss(w: Any, rows: Any) -> Any:
    features, labels = rows
    first, second = _powers(w[0])[:4], _powers(w[1])[:4]
    return jnp.mean((features @ jnp.outer(first, second).ravel() - labels) ** 2)


def polynomial(
    coefficients: list[Terms], at: tuple[float, float], n: int = 1000, sigma: float = 1.0
) -> Case:
    """Return a net of two weights, sum_k c_k(w) x^(k+1), c_k a polynomial in w."""
    w, rng = np.array(at), np.random.default_rng(7)
    x = rng.normal(size=n // 2)
    features = np.zeros((n // 2, 16))
    for k, terms in enumerate(coefficients):
        for power, coefficient in terms.items():
            features[:, _DEGREES.index(power)] += coefficient * x ** (k + 1)
    moments = features.T @ features / len(x)

    def monomials(points: np.ndarray) -> np.ndarray:
        return np.stack([points[:, 0] ** i * points[:, 1] ** j for i, j in _DEGREES], axis=1)

    origin = monomials(w[None])

    def excess(points: np.ndarray) -> np.ndarray:
        off = monomials(points) - origin
        return np.sum((off @ moments) * off, axis=1)

    out, noise = features @ origin[0], sigma * rng.normal(size=n // 2)
    data = (np.concatenate([features, features]), np.concatenate([out + noise, out - noise]))
    return Case(_net_loss, w, data, {}, _planar(excess, w, default_nbeta(n)))
