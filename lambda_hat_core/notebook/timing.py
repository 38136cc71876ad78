"""The forecast of a run's duration, from the number of gradients and their measured time."""

import time
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray

from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers.kernel import ONE_CHAIN_AT_A_TIME
from lambda_hat_core.targets import audit
from lambda_hat_core.types import Weights

_LONG_ENOUGH = 0.03
"""Seconds that a measurement lasts, a thousand times the overhead of clock and call."""


class Timed(NamedTuple):
    """Seconds of the first call beyond an evaluation, and of one later evaluation."""

    first: float
    each: float


def expected(posterior: Posterior, sampler: Any) -> float:
    """Return roughly how many seconds the audit and the run will take.

    Gradients of the posterior are evaluated for about a tenth of a second, but at least once.
    """
    full, batches = sampler.gradients(posterior.n)
    n = None if posterior.data is None else posterior.n
    full += audit.work(posterior.w0.size, n, sampler.setup_rows)
    every = timed(posterior, sampler.n_chains, None)
    seconds = every.first * sampler.n_programs + full * every.each
    if batches:
        size = sampler.batch(posterior.n)
        few = every if size is None else timed(posterior, sampler.n_chains, size)
        seconds += batches * few.each
    return seconds


def timed(posterior: Posterior, n_chains: int, size: int | None) -> Timed:
    """Measure the time of gradients as in a sampler, for all chains together."""
    first, count = _seconds(posterior, n_chains, size, 1), 1
    taken = _seconds(posterior, n_chains, size, count)
    while taken < _LONG_ENOUGH:
        count *= 4
        taken = _seconds(posterior, n_chains, size, count)
    return Timed(max(first - taken / count, 0.0), taken / (count * n_chains))


def _seconds(posterior: Posterior, n_chains: int, size: int | None, count: int) -> float:
    began = time.perf_counter()
    _evaluate(posterior, n_chains, size, jax.device_put(count)).block_until_ready()
    return time.perf_counter() - began


@eqx.filter_jit
def _evaluate(
    posterior: Posterior, n_chains: int, size: int | None, count: Int[Array, ""]
) -> Float[Array, "chain d"]:
    """Take `count` gradients per chain, each at a point that depends on the previous one."""

    def gradient(w: Weights, key: PRNGKeyArray) -> Weights:
        return posterior.potential_grad(w, posterior.minibatch(key, size))

    def step(i: Array, points: Array) -> Array:
        keys = jr.split(jr.key(i), n_chains)
        if points.shape[1] >= ONE_CHAIN_AT_A_TIME:
            gradients = jax.lax.map(lambda pair: gradient(*pair), (points, keys))
        else:
            gradients = jax.vmap(gradient)(points, keys)
        return points - 1e-30 * gradients

    points = jnp.broadcast_to(posterior.w0, (n_chains, posterior.w0.size))
    return jax.lax.fori_loop(0, count, step, points)
