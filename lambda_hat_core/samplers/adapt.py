"""Warm-up over all chains together: pooled dual averaging and optionally a diagonal metric.

All chains take every warm-up step with the same step size, and the acceptance that drives its
adaptation is the mean over chains (Hoffman & Gelman 2014, section 3.2, applied to the pool).
"""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Key, PRNGKeyArray, Scalar

from lambda_hat_core.config.samplers.base import Until
from lambda_hat_core.config.samplers.exact import Hmc, Mala, Nuts
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers import coordinates
from lambda_hat_core.samplers.hamiltonian import HamiltonianKernel
from lambda_hat_core.samplers.kernel import Tuned
from lambda_hat_core.samplers.telling import silent
from lambda_hat_core.types import constant

# Hoffman & Gelman 2014, section 3.2.1.
SHRINKAGE, STABILITY, DECAY = 0.05, 10.0, 0.75
_CHUNK = 10
"""Largest number of warm-up steps between two looks at the budget."""
_SHARE = 0.5
"""Of the budget of a run that ends by itself, what its warm-up may take."""
DIVERGING_MAX = 0.01
"""Share of diverging steps above which a step size is too large. A few leave no trace in the mean;
at a crossing it is a tenth of them, and the mean is up to 30 % off."""
_TURNS, _CLOSER = 3, 0.5
"""Number of adaptations, and by what each brings the target closer to 1 and its first step size
to 0. Beyond that the trees get longer than the chains need to mix."""

Positions = Float[Array, "chain d"]


class Adapted(NamedTuple):
    """Result of dual averaging: step size, positions, and statistics of the second half.

    Attributes:
        step_size: averaged step size.
        positions: final positions of the chains.
        variance: variance of every coordinate u, pooled over chains and steps.
        n_points: number of pooled points.
        mean_loss: mean of nbeta L_n over the pooled points.
        work: full-gradient evaluations of all chains.
        diverging: share of the steps of the second half that diverged.
    """

    step_size: Scalar
    positions: Positions
    variance: Float[Array, " d"]
    n_points: Scalar
    mean_loss: Scalar
    work: Scalar
    diverging: Scalar


def with_step[K: HamiltonianKernel](kernel: K, step_size: Scalar) -> K:
    """Return the kernel with another step size."""
    return eqx.tree_at(lambda k: k.step_size, kernel, step_size)


class _Progress(NamedTuple):
    """State of dual averaging; the fields after `work` are sums over the second half."""

    states: Any
    t: Scalar
    log_step: Scalar
    log_average: Scalar
    error: Scalar
    work: Scalar
    total: Float[Array, " d"]
    squares: Float[Array, " d"]
    losses: Scalar
    diverged: Scalar


@eqx.filter_jit
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
    log_step = jnp.log(kernel.step_size)
    begun = _Progress(states, zero, log_step, zero, zero, zero, zeros, zeros, zero, zero)
    return begun, tuple(keys)


@eqx.filter_jit
def _advance(
    keys: Key[Array, " step"],
    kernel: HamiltonianKernel,
    begun: _Progress,
    half: Scalar,
    target: Scalar,
) -> _Progress:
    centre = jnp.log(10 * kernel.step_size)
    posterior = kernel.posterior
    zero = jnp.zeros((), begun.t.dtype)

    def loss(state: Any) -> Scalar:
        return -state.logdensity - posterior.tether(kernel.position(state) - posterior.w0)

    def step(carry: _Progress, key: PRNGKeyArray) -> tuple[_Progress, None]:
        states, t, log_step, log_average, error, work, total, squares, losses, diverged = carry
        n_chains = len(states.position)
        moving = with_step(kernel, jnp.exp(log_step))
        states, stats = jax.vmap(moving.step)(jr.split(key, n_chains), states)
        accepted = jnp.nan_to_num(stats["acceptance_rate"], nan=0.0)
        t = t + 1
        rate = 1 / (t + STABILITY)
        error = (1 - rate) * error + rate * (target - jnp.mean(accepted))
        log_step = centre - jnp.sqrt(t) / SHRINKAGE * error
        weight = t**-DECAY
        log_average = weight * log_step + (1 - weight) * log_average
        late = (t > half).astype(t.dtype)
        total = total + late * jnp.sum(states.position, 0)
        squares = squares + late * jnp.sum(states.position**2, 0)
        losses = losses + late * jnp.sum(jax.vmap(loss)(states))
        diverged = diverged + late * jnp.sum(stats.get("diverging", zero))
        work = work + jnp.sum(stats["work"])
        return _Progress(
            states, t, log_step, log_average, error, work, total, squares, losses, diverged
        ), None

    return jax.lax.scan(step, begun, keys)[0]


@eqx.filter_jit
def _end(kernel: HamiltonianKernel, ended: _Progress, half: Scalar) -> Adapted:
    # There are none in a warm-up that its budget ended in the first half.
    count = len(ended.states.position) * jnp.maximum(ended.t - half, 0)
    least = jnp.maximum(count, 1)
    mean = ended.total / least
    variance = (ended.squares - count * mean**2) / jnp.maximum(count - 1, 1)
    last = jax.vmap(kernel.position)(ended.states)
    step = jnp.exp(ended.log_average)
    diverging = ended.diverged / least
    return Adapted(step, last, variance, count, ended.losses / least, ended.work, diverging)


def dual_averaging(
    key: PRNGKeyArray,
    kernel: HamiltonianKernel,
    positions: Positions,
    n_steps: int,
    target: Scalar,
    log: Callable[[str], None] = silent,
    *,
    most: float = math.inf,
) -> Adapted:
    """Drive the mean acceptance of all chains to `target` in `n_steps` steps per chain.

    It ends before that once it has taken `most` gradients. Progress goes to `log`, because the
    warm-up with long trees can take longer than the draws.
    """
    half = constant(n_steps // 2, positions)
    length = max(k for k in range(1, min(_CHUNK, n_steps) + 1) if n_steps % k == 0)
    found, chunks = _begin(key, kernel, positions, n_steps // length, length)
    before = 0.0
    for done, keys in enumerate(chunks, start=1):
        found = _advance(keys, kernel, found, half, target)
        work = float(found.work)
        gradients = (work - before) / (length * len(positions))
        log(f"warm-up {done * length}/{n_steps}, {gradients:.3g} gradients per step")
        before = work
        if work >= most:
            log(f"the warm-up ends after {work:.3g} gradients, its share of max_fge")
            break
    return _end(kernel, found, half)


def adapted(
    key: PRNGKeyArray,
    posterior: Posterior,
    spec: Nuts | Hmc | Mala,
    kernel: Callable[[Posterior, coordinates.Coordinates, Scalar], HamiltonianKernel],
    *,
    start: Positions,
    spectrum: Spectrum,
    log: Callable[[str], None],
    scaling: float = -1 / 4,
    step_size: float | None = None,
) -> Tuned:
    """Adapt `kernel` from `start` as `spec` says; the first step size is d^scaling widths."""
    first = constant(posterior.w0.size**scaling, start)
    return warm_up(
        key,
        kernel(posterior, coordinates.identity(posterior), first),
        start,
        n_warmup=spec.n_warmup,
        target=spec.target_acceptance,
        metric=spec.metric,
        spectrum=spectrum,
        log=log,
        step_size=step_size,
        until=spec.until,
    )


def warm_up(
    key: PRNGKeyArray,
    kernel: HamiltonianKernel,
    positions: Positions,
    *,
    n_warmup: int,
    target: float,
    metric: str,
    spectrum: Spectrum,
    log: Callable[[str], None],
    step_size: float | None = None,
    until: Until | None = None,
) -> Tuned:
    """Adapt step size and metric, and return the kernel, which is fixed from then on.

    `lanczos` and `identity` adapt the step size only. `diagonal` spends half of the warm-up under
    a multiple of the identity, takes the pooled variances of the second half of these steps as the
    metric, and adapts the step size to this metric in the remaining steps. The step size of the
    kernel that is passed in refers to coordinates of unit width. A given `step_size` is kept. Where
    a rule ends the run, at most half of its budget is spent here.
    """
    posterior = kernel.posterior
    goal = constant(target, positions)
    most = math.inf if until is None else _SHARE * until.max_fge
    work = 0.0
    stiffness = float(posterior.nbeta) * spectrum.h_max + float(posterior.gamma)
    narrowest = constant(1 / math.sqrt(stiffness or 1.0), posterior.w0)
    if metric == "lanczos":
        chosen = coordinates.laplace(posterior, spectrum)
    elif metric == "identity":
        chosen = coordinates.identity(posterior)
        kernel = kernel.scaled(narrowest)
    else:
        rough = coordinates.diagonal(posterior, narrowest)
        kernel = eqx.tree_at(lambda k: k.coordinates, kernel, rough)
        first = n_warmup // 2
        key, first_key = jr.split(key)
        seen = dual_averaging(first_key, kernel, positions, first, goal, log, most=most / 2)
        work, positions = float(seen.work), seen.positions
        kernel, n_warmup = with_step(kernel, seen.step_size), n_warmup - first
        # Stan's regularisation towards a small multiple of the identity.
        shrunk = (seen.n_points * seen.variance + 5e-3) / (seen.n_points + 5)
        chosen = coordinates.diagonal(posterior, narrowest * jnp.sqrt(shrunk))
    kernel = eqx.tree_at(lambda k: k.coordinates, kernel, chosen)
    info: dict[str, Any] = {"metric": metric}
    if step_size is None:
        seen, aim = _settled(key, kernel, positions, n_warmup, target, log, most - work)
        step, positions, work = seen.step_size, seen.positions, work + float(seen.work)
        info |= {"target_acceptance": aim, "diverging": float(seen.diverging)}
    else:
        step = constant(step_size, positions)
    return Tuned(with_step(kernel, step), positions, work, info | {"step_size": float(step)})


def _settled(
    key: PRNGKeyArray,
    kernel: HamiltonianKernel,
    positions: Positions,
    n_steps: int,
    target: float,
    log: Callable[[str], None],
    most: float,
) -> tuple[Adapted, float]:
    """Adapt again with a higher target while steps diverge; return that target too.

    The work is that of all turns, which take about `most` gradients together.
    """
    work = 0.0
    for turn in itertools.count():
        turn_key = jr.fold_in(key, turn) if turn else key
        seen = dual_averaging(
            turn_key,
            kernel,
            positions,
            n_steps,
            constant(target, positions),
            log,
            most=most - work,
        )
        work += float(seen.work)
        share = float(seen.diverging)
        if share <= DIVERGING_MAX or turn + 1 == _TURNS or work >= most:
            return seen._replace(work=constant(work, positions)), target
        target = 1 - _CLOSER * (1 - target)
        log(f"{share:.1%} of the steps diverged: on with target_acceptance {target:.4g}")
        kernel, positions = with_step(kernel, _CLOSER * seen.step_size), seen.positions
    raise AssertionError("the last turn returns")
