"""The sampling loop that all samplers share.

Chains are mapped with vmap and sharded over the devices, draws are a scan, and the host loops over
chunks of draws. A draw is `thin` kernel steps, followed by the full-data loss and a few scalars of
the point. Its key depends only on the chain and the draw, so the chunk length changes no result.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from lambda_hat_core import precision
from lambda_hat_core.counters import fold_in, split
from lambda_hat_core.samplers.kernel import ONE_CHAIN_AT_A_TIME, Kernel
from lambda_hat_core.samplers.monitor import Monitor
from lambda_hat_core.samplers.progress import Progress as Progress
from lambda_hat_core.samplers.rule import Draws as Draws
from lambda_hat_core.samplers.rule import StopRule, looks

CHUNKS = 20
"""Chunks per run. After each one the host reports progress, checks that the values are finite, and
saves a checkpoint."""
_AVERAGED = {
    "acceptance_rate",
    "energy_error",
    "exchange_rate",
    "replica_acceptance",
    "step_size",
}
_LAST = {"energy", "replica_loss"}
"""Statistics that a draw averages over its steps, and those that it has from its last step. All
others are sums over the steps."""


class Checkpoint:
    """Keeps the state of a run between processes. This base class stores nothing."""

    def remember(self, name: str, known: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        """Return what `make` returned the first time. Objects in `known` are not stored with it."""
        del name, known
        return make()

    def resume(self, states: Any) -> tuple[Any, list[dict[str, np.ndarray]], list[float]]:
        """Return the stored states, chunks and end times, or `states` and two empty lists."""
        return states, [], []

    def save(self, states: Any, parts: list[dict[str, np.ndarray]], ends: list[float]) -> None:
        """Store the states after the last chunk, together with all chunks and their end times."""


NOTHING_KEPT = Checkpoint()


def _draw(
    kernel: Kernel, monitor: Monitor, thin: int, chain_key: PRNGKeyArray, state: Any, index: Array
) -> tuple[Any, dict[str, Array]]:
    step_key, record_key = split(fold_in(chain_key, index))
    _, shapes = jax.eval_shape(kernel.step, step_key, state)
    totals = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def advance(i: Array, carry: tuple) -> tuple:
        state, totals = carry
        state, stats = kernel.step(fold_in(step_key, i), state)
        totals = {name: totals[name] + value for name, value in stats.items()}
        return state, totals | {name: stats[name] for name in _LAST & stats.keys()}

    state, stats = jax.lax.fori_loop(0, thin, advance, (state, totals))
    for name in _AVERAGED & stats.keys():
        stats[name] = stats[name] / thin
    return state, {**stats, **monitor.record(kernel, record_key, state)}


def _mesh(n_chains: int) -> Mesh:
    count = max(k for k in range(1, jax.device_count() + 1) if n_chains % k == 0)
    return Mesh(np.array(jax.devices()[:count]), ("chain",))


@eqx.filter_jit
def _advance(
    kernel: Kernel,
    monitor: Monitor,
    keys: Key[Array, " chain"],
    states: Any,
    indices: Int[Array, " chunk"],
    thin: int,
    mesh: Mesh,
) -> tuple[Any, dict[str, Array]]:
    arrays, static = eqx.partition((kernel, monitor), eqx.is_array)

    def shard(arrays: Any, keys: Key[Array, " chain"], states: Any, indices: Array) -> Any:
        kernel, monitor = eqx.combine(arrays, static)

        def draw(key: PRNGKeyArray, state: Any, index: Array) -> Any:
            return _draw(kernel, monitor, thin, key, state, index)

        def chain(key: PRNGKeyArray, state: Any) -> Any:
            return jax.lax.scan(lambda s, i: draw(key, s, i), state, indices)

        with precision.of(kernel.posterior.w0):
            if monitor.projections.shape[1] >= ONE_CHAIN_AT_A_TIME and not kernel.together:
                return jax.lax.map(lambda pair: chain(*pair), (keys, states))
            # Chains are mapped within the loop over draws, not around it: JAX batches a loop
            # after its body has been traced, outside the float64 context of the full-data loss.
            together = jax.vmap(draw, (0, 0, None))
            states, out = jax.lax.scan(lambda s, i: together(keys, s, i), states, indices)
            return states, {name: jnp.swapaxes(values, 0, 1) for name, values in out.items()}

    by_chain, whole = PartitionSpec("chain"), PartitionSpec()
    return jax.shard_map(
        shard,
        mesh=mesh,
        in_specs=(whole, by_chain, by_chain, whole),
        out_specs=(by_chain, by_chain),
        check_vma=False,
    )(arrays, keys, states, indices)


@eqx.filter_jit
def _init(
    key: PRNGKeyArray, kernel: Kernel, start: Float[Array, "chain ..."]
) -> tuple[Key[Array, " chain"], Any]:
    """Return the key of every chain's draws and the initial state of every chain."""
    init_key, chain_key = jr.split(key)
    indices = jnp.arange(start.shape[0])
    by_chain = jax.vmap(jr.fold_in, (None, 0))
    states = jax.vmap(kernel.init)(by_chain(init_key, indices), start)
    return by_chain(chain_key, indices), states


def chunk_length(n_draws: int) -> int:
    """Return the number of draws per chunk."""
    return -(-n_draws // min(CHUNKS, n_draws))


def _not_finite(values: dict[str, np.ndarray], first: int) -> str | None:
    bad = ~np.isfinite(values["loss"])
    if not bad.any():
        return None
    draw = int(np.flatnonzero(bad.any(axis=0))[0])
    chains = np.flatnonzero(bad[:, draw]).tolist()
    return f"the loss is not finite at draw {first + draw} of chain {', '.join(map(str, chains))}"


def run_chains(
    key: PRNGKeyArray,
    kernel: Kernel,
    monitor: Monitor,
    start: Float[Array, "chain ..."],
    *,
    n_draws: int,
    n_burn: int,
    thin: int,
    llc_of: Callable[[np.ndarray], np.ndarray],
    setup_work: float,
    setup_seconds: float,
    progress: Callable[[Progress], None],
    checkpoint: Checkpoint = NOTHING_KEPT,
    clock: Callable[[], float] = time.perf_counter,
    rule: StopRule | None = None,
) -> Draws:
    """Advance all chains by `n_draws` draws and drop the first `n_burn`.

    The loop stops at the end of the first chunk that holds a loss that is not finite. The start
    point is never recorded. `llc_of` maps losses to llc draws for the progress report.
    """
    n_chains = start.shape[0]
    mesh = _mesh(n_chains)
    keys, states = _init(key, kernel, start)
    length = chunk_length(n_draws) if rule is None else rule.chunk
    n_draws = n_draws if rule is None else rule.most_draws
    states, parts, ends = checkpoint.resume(states)
    # Sharded as `_advance` returns them, so that all calls share the program the first compiles.
    keys, states = jax.device_put((keys, states), NamedSharding(mesh, PartitionSpec("chain")))
    began = clock() - (ends[-1] if ends else 0.0)
    failure, stopped_by, spent = None, "length", None

    def collected(n_draws: int, n_burn: int) -> Draws:
        return _collect(parts, ends, n_draws, n_burn, setup_work, setup_seconds, failure)

    while len(parts) * length < n_draws and failure is None:
        first = len(parts) * length
        if rule is not None and parts:
            spent = rule.spent(first, setup_work + sum(map(_work, parts)))
            if spent or (looks(len(parts)) and rule.look(collected(first, 0))[1]):
                break
        span = jax.device_put(np.arange(first, first + length))
        with precision.mixed():
            states, out = _advance(kernel, monitor, keys, states, span, thin, mesh)
        part = _to_host(out)
        failure = _not_finite(part, first)
        parts.append(part)
        ends.append(clock() - began)
        if failure is None:
            checkpoint.save(states, parts, ends)
        done = min(first + length, n_draws)
        rate = _rate(ends, length)
        if rule is not None:
            n_burn = done // 4
        kept = slice(-1, None) if done <= n_burn else slice(n_burn, None)
        means = llc_of(_joined(parts, "loss")[:, kept]).mean(axis=1)
        spread = float(means.std(ddof=1)) if n_chains > 1 else np.nan
        virial_m = _joined(parts, "virial_m")[:, kept].mean()
        llc, se = float(means.mean()), spread / n_chains**0.5
        work = setup_work + sum(map(_work, parts))
        total = n_draws if rule is None else rule.total(done, work, llc, se)
        progress(
            Progress(
                done,
                total,
                n_chains * rate,
                (total - done) / rate,
                llc=llc,
                llc_se=se,
                v_m=float(virial_m) if np.any(np.asarray(monitor.weights) > 0) else np.nan,
                work_fge=work,
                rel_se=None if rule is None else rule.rel_se,
            )
        )
    if failure is not None:
        stopped_by, spent, n_burn = "failure", None, 0
    elif rule is not None:
        n_draws = min(n_draws, len(parts) * length)
        n_burn, is_enough = rule.look(collected(n_draws, 0))
        spent = None if is_enough else spent or "max_draws"
        stopped_by = "precision" if is_enough else "budget"
    return collected(n_draws, n_burn)._replace(stopped_by=stopped_by, spent=spent)


def _rate(ends: list[float], length: int) -> float:
    """Return draws per second and chain.

    The first chunk includes compilation and counts only while it is the only one.
    """
    chunks, since = (len(ends) - 1, ends[0]) if len(ends) > 1 else (1, 0.0)
    return chunks * length / max(ends[-1] - since, 1e-9)


def _joined(parts: list[dict[str, np.ndarray]], name: str) -> np.ndarray:
    return np.concatenate([part[name] for part in parts], axis=1)


def _work(part: dict[str, np.ndarray]) -> float:
    return float(np.nansum(part["work"]) + np.nansum(part["recording_work"]))


def _to_host(out: dict[str, Array]) -> dict[str, np.ndarray]:
    part = {name: np.asarray(value, np.float64) for name, value in jax.device_get(out).items()}
    part["loss"] = part.pop("loss_high") + part.pop("loss_low")
    return part


def _collect(
    parts: list[dict[str, np.ndarray]],
    ends: list[float],
    n_draws: int,
    n_burn: int,
    setup_work: float,
    setup_seconds: float,
    failure: str | None,
) -> Draws:
    """Join the chunks and drop the burn-in and the surplus draws of the last chunk."""
    length = parts[0]["loss"].shape[1]
    values = {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}
    work = values.pop("work") + values.pop("recording_work")
    cumulative = setup_work + np.cumsum(np.nan_to_num(work.sum(axis=0)))
    knots = length * np.arange(len(ends) + 1)
    seconds = setup_seconds + np.interp(1 + np.arange(cumulative.size), knots, [0.0, *ends])
    kept = slice(0 if failure else n_burn, n_draws)
    return Draws(
        {name: value[:, kept] for name, value in values.items()},
        cumulative[kept],
        seconds[kept],
        failure,
        kept.start,
    )
