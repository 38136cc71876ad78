r"""Warm-up of replica exchange (`exchange` has the kernel).

It takes windows of equal length. In each of them dual averaging drives the acceptance of every
replica, over all chains together, to its target (as in `adapt`). After each but the last, the
ladder moves to where all neighbours reject alike, and every replica gets the metric of what it met:
along each Ritz vector of the mean Hessian the width is (Var(w) / E[(grad U)^2])^(1/4), which on a
Gaussian is its standard deviation. Elsewhere it lies between the deviation and the inverse root of
the mean curvature, which differ by orders of magnitude at a crossing.
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

from lambda_hat_core.config.samplers.tempered import Tempered
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.programs import compiled
from lambda_hat_core.samplers import ladder
from lambda_hat_core.samplers.averaging import DECAY, SHRINKAGE, STABILITY
from lambda_hat_core.samplers.exchange import Replicas, Rungs, TemperedKernel
from lambda_hat_core.samplers.kernel import Tuned
from lambda_hat_core.samplers.telling import silent
from lambda_hat_core.types import constant

_WINDOWS = 6
_RESIZED_AFTER = (2, 4)
"""Windows after which the number of replicas may change."""
_PROBES = 64
"""Draws of the localiser, whose losses say where the ladder begins."""
_PRIOR_POINTS = 10.0
"""Weight of the previous width in a measured one, in draws."""
_FIRST_STEP = 0.5


class _Seen(NamedTuple):
    """State of a window; all but the first three fields are sums, the moments over its second half.

    Attributes:
        log_step: logarithm of the step size of every replica.
        log_average: its average.
        error: running mean of what the acceptance rates lack.
        work: full-gradient evaluations of all chains.
        rejected: rejections of every pair of neighbours.
        mean: of w - w* along each vector.
        square: of its square; that of the rest of w - w* comes last.
        force: of the square of grad U, likewise.
    """

    log_step: Float[Array, " replica"]
    log_average: Float[Array, " replica"]
    error: Float[Array, " replica"]
    work: Scalar
    rejected: Float[Array, " pair"]
    mean: Float[Array, "replica k"]
    square: Float[Array, "replica k1"]
    force: Float[Array, "replica k1"]


@compiled
def _begun(kernel: TemperedKernel, positions: Float[Array, "chain ..."]) -> Replicas:
    return jax.vmap(lambda w: kernel.init(jr.key(0), w))(positions)


def _moments(
    kernel: TemperedKernel, state: Replicas
) -> tuple[Float[Array, "replica k"], Float[Array, "replica k1"], Float[Array, "replica k1"]]:
    away = state.w - kernel.posterior.w0
    pull = jax.vmap(kernel.posterior.tether_grad)(away)
    force = kernel.rungs.nbeta[:, None] * state.slope + pull

    def squares(x: Float[Array, "replica d"], along: Float[Array, "replica k"]) -> Array:
        rest = jnp.sum(x**2, 1) - jnp.sum(along**2, 1)
        return jnp.concatenate([along**2, rest[:, None]], axis=1)

    along = away @ kernel.vectors.T
    return along, squares(away, along), squares(force, force @ kernel.vectors.T)


@compiled
def _advance(
    keys: Key[Array, " step"], kernel: TemperedKernel, states: Replicas, target: Scalar
) -> tuple[Replicas, _Seen]:
    """Take all chains through a window."""
    size, k = kernel.rungs.widths.shape
    n_chains, half = len(states.t), len(keys) // 2
    like = kernel.posterior.w0
    start = jnp.log(kernel.rungs.step_size)
    centre = start + jnp.log(10.0).astype(like.dtype)
    zeros, wide = jnp.zeros(size, like.dtype), jnp.zeros((size, k + 1), like.dtype)
    seen = _Seen(start, start, zeros, zeros[0], zeros[1:], wide[:, :-1], wide, wide)

    def step(carry: tuple[Replicas, _Seen], turn: tuple[Array, Array]) -> tuple[Any, None]:
        (states, seen), (index, key) = carry, turn
        moving = eqx.tree_at(lambda k: k.rungs.step_size, kernel, jnp.exp(seen.log_step))
        states, stats = jax.vmap(moving.step)(jr.split(key, n_chains), states)
        t = (index + 1).astype(like.dtype)
        rate, weight = 1 / (t + STABILITY), t**-DECAY
        lacks = target - jnp.mean(stats["replica_acceptance"], axis=0)
        error = (1 - rate) * seen.error + rate * lacks
        log_step = centre - jnp.sqrt(t) / SHRINKAGE * error
        late = (index >= half).astype(like.dtype)
        found = jax.vmap(_moments, (None, 0))(kernel, states)
        mean, square, force = (late * jnp.sum(x, axis=0) for x in found)
        return (
            states,
            _Seen(
                log_step,
                weight * log_step + (1 - weight) * seen.log_average,
                error,
                seen.work + jnp.sum(stats["work"]),
                seen.rejected + late * jnp.sum(1 - stats["exchange_rate"], axis=0),
                seen.mean + mean,
                seen.square + square,
                seen.force + force,
            ),
        ), None

    indices = jnp.arange(len(keys))
    (states, seen), _ = jax.lax.scan(step, (states, seen), (indices, keys))
    return states, seen


@compiled
def _probe(key: PRNGKeyArray, posterior: Posterior) -> Float[Array, " probe"]:
    """Return the rise of the loss at draws of the localiser."""
    noise = jr.normal(key, (_PROBES, posterior.w0.size), posterior.w0.dtype)
    points = posterior.centre + noise / jnp.sqrt(posterior.gamma)
    return jax.lax.map(posterior.loss_mean, points) - posterior.loss_mean(posterior.w0)


def _first_ladder(
    key: PRNGKeyArray, posterior: Posterior, spec: Tempered, llc: float
) -> tuple[np.ndarray, float]:
    """Return the ladder before anything is measured, and the nbeta at which it begins to matter.

    Raises:
        ValueError: if a replica is not hotter than the run, or has no density.
    """
    nbeta, gamma = float(posterior.nbeta), float(posterior.gamma)
    if nbeta == 0:
        raise ValueError(
            "tempered adds replicas that are hotter than the run, and at nbeta 0 none is: choose "
            "another sampler, such as nuts"
        )
    hottest = spec.nbeta_min if spec.ladder is None else min(spec.ladder)
    if hottest == 0 and gamma == 0:
        name = "nbeta_min" if spec.ladder is None else "ladder"
        raise ValueError(
            f"tempered.{name} has a replica at nbeta 0, but gamma is 0, so that it has no density: "
            f"choose gamma > 0, or let {name} end above 0"
        )
    for name, value in (("nbeta_min", spec.nbeta_min), ("ladder", max(spec.ladder or (0.0,)))):
        if value >= nbeta:
            raise ValueError(
                f"tempered.{name} is {value:g}, but the run's nbeta is {nbeta:g}, and the other "
                f"replicas are hotter than the run: choose {name} below {nbeta:g}"
            )
    softest = hottest
    if hottest == 0:
        rises = np.asarray(_probe(key, posterior), np.float64)
        typical = float(np.nanmedian(np.where(np.isfinite(rises), rises, np.inf)))
        softest = 1 / typical if typical > 1 / nbeta and math.isfinite(typical) else nbeta
    if spec.ladder is not None:
        return np.array([nbeta, *sorted(spec.ladder, reverse=True)]), softest
    size = None if spec.n_replicas == "auto" else spec.n_replicas
    return ladder.first(nbeta, hottest, softest, llc, size), softest


def _widths(posterior: Posterior, spectrum: Spectrum, nbeta: np.ndarray) -> np.ndarray:
    """Return (nbeta |H| + gamma)^(-1/2) at every replica, that of the complement last."""
    curvature = np.append(np.abs(np.asarray(spectrum.theta)), float(spectrum.rest))
    stiff = nbeta[:, None] * curvature + float(posterior.gamma)
    return 1 / np.sqrt(np.maximum(stiff, 1e-8 * max(float(stiff.max()), 1e-300)))


def _measured(seen: _Seen, before: np.ndarray, n_points: int, left_out: int) -> np.ndarray:
    """Return the widths that a window has measured."""
    mean, square, force = (np.asarray(x, np.float64) / n_points for x in seen[5:])
    share = np.append(np.ones(mean.shape[1]), max(left_out, 1))
    variance = (square - np.pad(mean, ((0, 0), (0, 1))) ** 2) / share
    force = force / share
    variance = (n_points * variance + _PRIOR_POINTS * before**2) / (n_points + _PRIOR_POINTS)
    force = (n_points * force + _PRIOR_POINTS / before**2) / (n_points + _PRIOR_POINTS)
    return (variance / force) ** 0.25


def _rungs(nbeta: np.ndarray, widths: np.ndarray, steps: np.ndarray, like: Array) -> Rungs:
    parts = (nbeta, widths[:, :-1], widths[:, -1], steps)
    return Rungs(*(constant(part, like) for part in parts))


def build(
    key: PRNGKeyArray,
    posterior: Posterior,
    spec: Tempered,
    *,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
    llc: float | None,
    log: Callable[[str], None] = silent,
) -> Tuned:
    """Warm up from `start`, then return the fixed kernel; `llc` is a rough estimate.

    Raises:
        ValueError: if the ladder does not suit nbeta and gamma.
    """
    probe_key, key = jr.split(key)
    nbeta, softest = _first_ladder(probe_key, posterior, spec, llc or 0.0)
    k, d = spectrum.vectors.shape
    widths, steps = _widths(posterior, spectrum, nbeta), np.full(len(nbeta), _FIRST_STEP)
    like, target = posterior.w0, constant(spec.target_acceptance, posterior.w0)
    kernel = TemperedKernel(
        posterior,
        _rungs(nbeta, widths, steps, like),
        spectrum.vectors,
        spec.kernel,
        spec.n_leapfrog,
        bool(nbeta[-1] == 0),
    )
    length = spec.n_warmup // _WINDOWS
    n_points = len(start) * (length - length // 2)
    states, work = _begun(kernel, start), float(start.shape[0] * len(nbeta))
    rejections = np.zeros(len(nbeta) - 1)
    for window, window_key in enumerate(jr.split(key, _WINDOWS), start=1):
        states, seen = _advance(jr.split(window_key, length), kernel, states, target)
        work += float(seen.work)
        steps = np.exp(np.asarray(seen.log_average, np.float64))
        if kernel.has_reference:
            steps[-1] = steps[-2]
        rejections = np.asarray(seen.rejected, np.float64) / n_points
        log(
            f"warm-up {window * length}/{_WINDOWS * length}, {len(nbeta)} replicas, neighbours "
            f"exchange at {1 - rejections.max():.2f} to {1 - rejections.min():.2f}"
        )
        if window < _WINDOWS:
            widths = _measured(seen, widths, n_points, d - k)
            old = ladder.coordinate(nbeta, softest)
            if spec.ladder is None:
                size = len(nbeta)
                if spec.n_replicas == "auto" and window in _RESIZED_AFTER:
                    size = ladder.wanted(rejections)
                nbeta = ladder.equalised(nbeta, rejections, softest, size)
            new = ladder.coordinate(nbeta, softest)
            widths = np.exp(_between(new, old, np.log(widths)))
            steps = np.exp(_between(new, old, np.log(steps[:, None])))[:, 0]
            nearest = np.argmin(np.abs(new[:, None] - old), axis=1)
            states = _taken(states, jnp.asarray(nearest))
        kernel = eqx.tree_at(lambda k: k.rungs, kernel, _rungs(nbeta, widths, steps, like))
    info = {
        "step_size": float(steps[0]),
        "nbeta": nbeta.tolist(),
        "step_sizes": steps.tolist(),
        "metric": "measured",
    }
    return Tuned(kernel, states.w, work, info)


@compiled
def _taken(states: Replicas, source: Array) -> Replicas:
    """Return the chains with other replicas, each a copy of one that there was."""
    w, loss, slope, returning = (x[:, source] for x in states[:4])
    return Replicas(w, loss, slope, jnp.zeros_like(returning), states.t)


def _between(new: np.ndarray, old: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Interpolate the columns of `values`, known at the descending `old`, to `new`."""
    return np.stack([np.interp(new, old[::-1], column[::-1]) for column in values.T], axis=1)
