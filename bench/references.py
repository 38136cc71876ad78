"""Exact samplers that share nothing with the product's: no gradients, no step sizes, no tuning.

The squared error of a deep linear net is quadratic in each layer, so each layer is Gaussian given
the others, and Gibbs sampling applies. Elliptical slice sampling (Murray, Adams & MacKay 2010)
needs only values of the potential, and a Gaussian to draw ellipses from. That Gaussian is the
Laplace approximation at w*, widened.
"""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from lambda_hat_core.analysis.diagnostics import mcmc_mean
from lambda_hat_core.posterior import Target
from lambda_hat_core.targets.losses import Supervised
from lambda_hat_core.targets.networks import DeepLinearNetwork, QuadraticActivationNetwork
from lambda_hat_core.truth import quadrature

jax.config.update("jax_enable_x64", True)

CHAINS = 16
SWEEPS, SLICES = 20_000, 15_000
BURN = 0.1
_WIDER = 2.0
"""Variance of the slice sampler's Gaussian in units of the Laplace approximation's. With a narrow
one the chain would never leave the core of a posterior with long tails."""


def _estimate(excess: np.ndarray) -> tuple[float, float]:
    """Return mean and standard error of nbeta (L - L(w*)), chain x draw, without burn-in."""
    found = mcmc_mean(excess[:, int(BURN * excess.shape[1]) :])
    assert found.se is not None
    return found.mean, found.se


def gibbs(
    target: Target, nbeta: float, gamma: float, seed: int = 0, sweeps: int = SWEEPS
) -> tuple[float, float]:
    """Return llc and its standard error for a deep linear net under mse.

    With S = X^T X / n and P the least squares map, L = tr((W_1 .. W_L - P)^T S (..)) / outputs + c.
    """
    loss = target.loss
    assert isinstance(loss, Supervised) and isinstance(loss.network, DeepLinearNetwork)
    assert loss.name == "mse" and target.data is not None
    x, y = (np.asarray(array, np.float64) for array in target.data)
    moments, best = x.T @ x / len(x), np.linalg.lstsq(x, y)[0]
    origin = [np.asarray(layer) for layer in loss.network.layers(target.w0)]
    layers = [np.tile(layer, (CHAINS, 1, 1)) for layer in origin]
    scale = 2 * nbeta / y.shape[1]
    rng = np.random.default_rng(seed)

    def product(factors: list[np.ndarray], size: int) -> np.ndarray:
        whole = np.broadcast_to(np.eye(size), (CHAINS, size, size))
        for factor in factors:
            whole = whole @ factor
        return whole

    def renewed(index: int) -> np.ndarray:
        before = product(layers[:index], x.shape[1])
        after = product(layers[index + 1 :], layers[index].shape[2])
        left = before.transpose(0, 2, 1) @ moments
        (a, rows), (b, columns) = (
            np.linalg.eigh(left @ before),
            np.linalg.eigh(after @ after.transpose(0, 2, 1)),
        )
        precision = scale * a[:, :, None] * b[:, None, :] + gamma
        pull = scale * left @ best @ after.transpose(0, 2, 1) + gamma * origin[index]
        mean = rows.transpose(0, 2, 1) @ pull @ columns / precision
        drawn = mean + rng.standard_normal(mean.shape) / np.sqrt(precision)
        return rows @ drawn @ columns.transpose(0, 2, 1)

    def excess(factors: list[np.ndarray]) -> np.ndarray:
        miss = product(factors, x.shape[1]) - best
        return 0.5 * scale * np.einsum("cij,ik,ckj->c", miss, moments, miss)

    at_minimum = excess([np.tile(layer, (CHAINS, 1, 1)) for layer in origin])
    draws = np.empty((CHAINS, sweeps))
    for sweep in range(sweeps):
        for index in range(len(layers)):
            layers[index] = renewed(index)
        draws[:, sweep] = excess(layers) - at_minimum
    return _estimate(draws)


def slices(
    target: Target, nbeta: float, gamma: float, seed: int = 0, draws: int = SLICES
) -> tuple[float, float]:
    """Return llc and its standard error for any small target."""
    w0 = target.w0

    def excess(w: jax.Array) -> jax.Array:
        return nbeta * (target.loss.mean(w, target.data) - target.loss.mean(w0, target.data))

    precision = (jax.hessian(excess)(w0) + gamma * jnp.eye(w0.size)) / _WIDER
    values, vectors = jnp.linalg.eigh(precision)
    root = vectors / jnp.sqrt(jnp.maximum(values, gamma / _WIDER))

    def log_ratio(u: jax.Array) -> jax.Array:
        """Return the posterior relative to the Gaussian, at w0 + root u."""
        move = root @ u
        return -excess(w0 + move) - 0.5 * gamma * move @ move + 0.5 * u @ u

    def step(u: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        other_key, level_key, angle_key, key = jr.split(key, 4)
        other = jr.normal(other_key, u.shape)
        level = log_ratio(u) + jnp.log(jr.uniform(level_key))
        angle = jr.uniform(angle_key, minval=0.0, maxval=2 * jnp.pi)

        def point(angle: jax.Array) -> jax.Array:
            return u * jnp.cos(angle) + other * jnp.sin(angle)

        def shrink(carry: tuple) -> tuple:
            angle, low, high, key = carry
            key, sub = jr.split(key)
            low, high = jnp.where(angle < 0, angle, low), jnp.where(angle < 0, high, angle)
            return jr.uniform(sub, minval=low, maxval=high), low, high, key

        def refused(carry: tuple) -> jax.Array:
            return log_ratio(point(carry[0])) <= level

        angle, *_ = jax.lax.while_loop(refused, shrink, (angle, angle - 2 * jnp.pi, angle, key))
        u = point(angle)
        return u, excess(w0 + root @ u)

    @jax.jit
    @jax.vmap
    def chain(key: jax.Array) -> jax.Array:
        return jax.lax.scan(step, jnp.zeros_like(w0), jr.split(key, draws))[1]

    return _estimate(np.asarray(chain(jr.split(jr.key(seed), CHAINS))))


def verify() -> list[dict[str, Any]]:
    """Compare both with quadrature on networks of two weights, at a smooth and a singular point."""
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.standard_normal((50, 2)))
    nbeta, gamma = 13.0, 10.0
    rows = []
    for strength in (0.0, 0.7):
        line, squares = DeepLinearNetwork((1, 1, 1)), QuadraticActivationNetwork(2, 1)
        for network, inputs in ((line, x[:, :1]), (squares, x)):
            w = jnp.full(2, strength)
            loss = Supervised(network, "mse")
            target = Target(w, (inputs, network.apply(w, inputs)), loss, 50)
            many = jax.jit(jax.vmap(lambda w, at=target: at.loss.mean(w, at.data)))
            exact = quadrature.potential(
                lambda points, many=many: np.asarray(many(jnp.asarray(points))),
                np.asarray(w),
                nbeta,
                gamma,
            )
            assert exact is not None
            found = {"slices": slices(target, nbeta, gamma, draws=4000)}
            if network is line:
                found["gibbs"] = gibbs(target, nbeta, gamma)
            for name, (value, se) in found.items():
                rows.append(
                    {
                        "case": f"{type(network).__name__} of 2 weights, w* = {strength}",
                        "reference": name,
                        "quadrature": exact,
                        "llc": value,
                        "se": se,
                        "inside": abs(value - exact) <= 4 * se and se <= 0.02 * exact,
                    }
                )
    return rows
