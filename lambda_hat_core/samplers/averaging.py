"""Dual averaging of the step size over all chains together.

All chains take every warm-up step with the same step size, and the acceptance that drives its
adaptation is the mean over chains (Hoffman & Gelman 2014, section 3.2, applied to the pool). With
several chains that mean is known after a few steps, so a warm-up may end before its length.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray, Scalar

from lambda_hat_core.programs import compiled
from lambda_hat_core.samplers.hamiltonian import HamiltonianKernel
from lambda_hat_core.samplers.telling import silent
from lambda_hat_core.types import constant

# Hoffman & Gelman 2014, section 3.2.1.
SHRINKAGE, STABILITY, DECAY = 0.05, 10.0, 0.75
_CHUNK = 10
"""Largest number of warm-up steps between two looks of the host."""
_LEAST = 3 * _CHUNK
"""Steps before a warm-up may end early."""
_NEAR = 0.1
"""How near its target the mean acceptance of the second half of the steps is where one ends early,
and by which share the averaged step size may have changed over the last chunk."""

Positions = Float[Array, "chain d"]


class Adapted(NamedTuple):
    """Result of dual averaging: step size, positions, and statistics of the second half.

    Attributes:
        step_size: averaged step size.
        positions: final positions of the chains.
        variance: variance of every coordinate u, pooled over chains and steps.
        n_points: number of pooled points.
        work: full-gradient evaluations of all chains.
        diverging: share of the steps of the second half that diverged.
        n_steps: steps of every chain.
    """

    step_size: Scalar
    positions: Positions
    variance: Float[np.ndarray, " d"]
    n_points: int
    work: float
    diverging: float
    n_steps: int


def with_step[K: HamiltonianKernel](kernel: K, step_size: Scalar) -> K:
    """Return the kernel with another step size."""
    return eqx.tree_at(lambda k: k.step_size, kernel, step_size)


class _Sums(NamedTuple):
    """Over all chains and the steps so far."""

    steps: Scalar
    work: Scalar
    accepted: Scalar
    diverged: Scalar
    values: Float[Array, " d"]
    squares: Float[Array, " d"]


class _Progress(NamedTuple):
    """State of dual averaging."""

    states: Any
    log_step: Scalar
    log_average: Scalar
    error: Scalar
    sums: _Sums


@compiled
def _begin(
    key: PRNGKeyArray,
    kernel: HamiltonianKernel,
    positions: Positions,
    n_chunks: int,
    chunk: int,
) -> tuple[_Progress, tuple[Key[Array, " step"], ...]]:
    """Return the initial state, and the keys of the steps of every chunk."""
    init_key, scan_key = jr.split(key)
    keys = jr.split(scan_key, n_chunks * chunk).reshape(n_chunks, chunk)
    states = jax.vmap(kernel.init)(jr.split(init_key, positions.shape[0]), positions)
    zero, zeros = jnp.zeros((), positions.dtype), jnp.zeros_like(kernel.posterior.w0)
    sums = _Sums(zero, zero, zero, zero, zeros, zeros)
    return _Progress(states, jnp.log(kernel.step_size), zero, zero, sums), tuple(keys)


@compiled
def _advance(
    keys: Key[Array, " step"], kernel: HamiltonianKernel, begun: _Progress, target: Scalar
) -> _Progress:
    centre = jnp.log(10 * kernel.step_size)
    zero = jnp.zeros((), target.dtype)

    def step(carry: _Progress, key: PRNGKeyArray) -> tuple[_Progress, None]:
        states, log_step, log_average, error, sums = carry
        n_chains = len(states.position)
        moving = with_step(kernel, jnp.exp(log_step))
        states, stats = jax.vmap(moving.step)(jr.split(key, n_chains), states)
        accepted = jnp.nan_to_num(stats["acceptance_rate"], nan=0.0)
        t = sums.steps + 1
        rate = 1 / (t + STABILITY)
        error = (1 - rate) * error + rate * (target - jnp.mean(accepted))
        log_step = centre - jnp.sqrt(t) / SHRINKAGE * error
        weight = t**-DECAY
        log_average = weight * log_step + (1 - weight) * log_average
        sums = _Sums(
            t,
            sums.work + jnp.sum(stats["work"]),
            sums.accepted + jnp.sum(accepted),
            sums.diverged + jnp.sum(stats.get("diverging", zero)),
            sums.values + jnp.sum(states.position, 0),
            sums.squares + jnp.sum(states.position**2, 0),
        )
        return _Progress(states, log_step, log_average, error, sums), None

    return jax.lax.scan(step, begun, keys)[0]


class _Seen(NamedTuple):
    """What the host looks at: the averaged step size and the sums, after a chunk."""

    log_average: float
    sums: _Sums

    def rate(self, name: str, before: "_Seen", n_chains: int) -> float:
        """Return the mean of a sum over the steps of all chains since `before`."""
        total, then = (float(getattr(seen.sums, name)) for seen in (self, before))
        return (total - then) / max(n_chains * self.since(before), 1)

    def since(self, before: "_Seen") -> int:
        """Return the steps of every chain since `before`."""
        return round(float(self.sums.steps) - float(before.sums.steps))


def _is_settled(seen: list[_Seen], target: float, n_chains: int) -> bool:
    """Return whether the step size is known, and no step of the second half diverged."""
    last = seen[-1]
    if float(last.sums.steps) < _LEAST:
        return False
    half = _half(seen)
    return (
        last.rate("diverged", half, n_chains) == 0
        and abs(last.rate("accepted", half, n_chains) - target) < _NEAR
        and abs(last.log_average - seen[-2].log_average) < _NEAR
    )


def _half(seen: list[_Seen]) -> _Seen:
    """Return what had been seen after half of the chunks; the later half is not the smaller one."""
    return seen[(len(seen) - 1) // 2]


def dual_averaging(
    key: PRNGKeyArray,
    kernel: HamiltonianKernel,
    positions: Positions,
    n_steps: int,
    target: float,
    log: Callable[[str], None] = silent,
    *,
    most: float = math.inf,
    ends_early: bool = False,
) -> Adapted:
    """Drive the mean acceptance of all chains to `target` in `n_steps` steps per chain.

    It ends before that once it has taken `most` gradients, and with `ends_early` once the step size
    is known. Progress goes to `log`, because the warm-up with long trees can take longer than the
    draws.
    """
    n_chains = len(positions)
    length = max(k for k in range(1, min(_CHUNK, n_steps) + 1) if n_steps % k == 0)
    goal = constant(target, positions)
    found, chunks = _begin(key, kernel, positions, n_steps // length, length)
    seen = [_Seen(0.0, found.sums)]
    for done, keys in enumerate(chunks, start=1):
        found = _advance(keys, kernel, found, goal)
        seen.append(_Seen(float(found.log_average), found.sums))
        work = float(found.sums.work)
        each = seen[-1].rate("work", seen[-2], n_chains)
        log(f"warm-up {done * length}/{n_steps}, {each:.3g} gradients per step")
        if work >= most:
            log(f"the warm-up ends after {work:.3g} gradients, its share of max_fge")
            break
        if ends_early and _is_settled(seen, target, n_chains):
            break
    return _end(kernel, found, _half(seen), seen[-1], n_chains)


@compiled
def _arrived(kernel: HamiltonianKernel, ended: _Progress) -> tuple[Scalar, Positions]:
    return jnp.exp(ended.log_average), jax.vmap(kernel.position)(ended.states)


def _end(
    kernel: HamiltonianKernel, ended: _Progress, half: _Seen, last: _Seen, n_chains: int
) -> Adapted:
    step_size, positions = _arrived(kernel, ended)
    count = n_chains * last.since(half)
    total, squares = (
        np.asarray(getattr(last.sums, name)) - np.asarray(getattr(half.sums, name))
        for name in ("values", "squares")
    )
    variance = np.maximum(squares - total**2 / count, 0.0) / max(count - 1, 1)
    diverging = last.rate("diverged", half, n_chains)
    work, n_steps = float(last.sums.work), round(float(last.sums.steps))
    return Adapted(step_size, positions, variance, count, work, diverging, n_steps)
