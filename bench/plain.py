"""Baselines for the product: the same numerics, written by hand in the plainest way."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import blackjax
import jax
import jax.numpy as jnp
import jax.random as jr
from shapes import CHAINS, WIDTHS, N, posterior_of

from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers.coordinates import Coordinates
from lambda_hat_core.samplers.noise import standard_normal

EPS = 1e-6
DOUBLINGS = 4
"""Largest number of doublings of a NUTS tree."""

Layers = list[tuple[jax.Array, jax.Array]]


def mean_loss(layers: Layers, x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the mean squared error of the same MLP, given as a list of layers."""
    for weight, bias in layers[:-1]:
        x = jnp.tanh(x @ weight + bias)
    weight, bias = layers[-1]
    return jnp.mean((x @ weight + bias - y) ** 2)


def layers_of(d: int, w: jax.Array) -> Layers:
    """Return the flat weight vector as a list of layers."""
    layers, begin = [], 0
    for a, b in pairwise(WIDTHS[d]):
        middle, end = begin + a * b, begin + a * b + b
        layers.append((w[begin:middle].reshape(a, b), w[middle:end]))
        begin = end
    return layers


def library_noise(key: Any, like: jax.Array) -> jax.Array:
    """Return normal noise from jax.random."""
    return jr.normal(key, like.shape, like.dtype)


def product_noise(key: Any, like: jax.Array) -> jax.Array:
    """Return the normal noise that the product draws."""
    return standard_normal(key, like.reshape(-1), "threefry").reshape(like.shape)


def sgld(d: int, batch: int | None, steps: int, noise: Callable, over: str) -> Callable:
    """Return SGLD written by hand: a scan over steps, with chains under vmap or in turn."""
    posterior = posterior_of(d)
    assert posterior.data is not None
    x, y = posterior.data
    centre, gamma, nbeta = layers_of(d, posterior.w0), posterior.gamma, posterior.nbeta

    def step(layers: Layers, key: Any) -> tuple[Layers, None]:
        batch_key, noise_key = jr.split(key)
        rows = (x, y)
        if batch is not None:
            index = jr.randint(batch_key, (batch,), 0, N)
            rows = (x[index], y[index])
        gradient = jax.grad(mean_loss)(layers, *rows)
        leaves, tree = jax.tree.flatten(layers)
        kicks = [
            noise(k, leaf) for k, leaf in zip(jr.split(noise_key, len(leaves)), leaves, strict=True)
        ]

        def move(w, centre, g, xi):
            return w - 0.5 * EPS * (gamma * (w - centre) + nbeta * g) + EPS**0.5 * xi

        return jax.tree.map(move, layers, centre, gradient, jax.tree.unflatten(tree, kicks)), None

    def chain(key: Any) -> Layers:
        return jax.lax.scan(step, centre, jr.split(key, steps))[0]

    keys = jr.split(jr.key(2), CHAINS)
    run = jax.jit(jax.vmap(chain) if over == "vmap" else lambda keys: jax.lax.map(chain, keys))
    return lambda: run(keys)


def nuts(
    posterior: Posterior, place: Coordinates, step_size: float, draws: int, over: str
) -> Callable[[], Any]:
    """Return NUTS written by hand: blackjax's kernel in a scan, in the same coordinates.

    The call returns the number of leapfrog steps of every draw.
    """

    def log_density(u: jax.Array) -> jax.Array:
        inner = place.extra * (place.vectors @ u)
        return -posterior.potential(place.origin + place.scale * u + inner @ place.vectors)

    mass = jnp.ones_like(posterior.w0)
    sampler = blackjax.nuts(log_density, step_size, mass, max_num_doublings=DOUBLINGS)

    def chain(key: Any) -> jax.Array:
        def step(state: Any, key: Any) -> tuple[Any, jax.Array]:
            state, info = sampler.step(key, state)
            return state, info.num_integration_steps

        start = sampler.init(jnp.zeros_like(posterior.w0))
        return jax.lax.scan(step, start, jr.split(key, draws))[1]

    keys = jr.split(jr.key(1), CHAINS)
    run = jax.jit(jax.vmap(chain) if over == "vmap" else lambda keys: jax.lax.map(chain, keys))
    return lambda: run(keys)


def gradients(posterior: Posterior, steps: int, over: str) -> Callable[[], Any]:
    """Return a bare scan over full gradients."""

    def chain(w: jax.Array) -> jax.Array:
        gradient = jax.grad(posterior.potential)
        return jax.lax.scan(lambda w, _: (w - 1e-9 * gradient(w), None), w, length=steps)[0]

    start = jnp.tile(posterior.w0, (CHAINS, 1))
    run = jax.jit(jax.vmap(chain) if over == "vmap" else lambda s: jax.lax.map(chain, s))
    return lambda: run(start)
