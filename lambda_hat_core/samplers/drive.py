"""The draws of Markov chains, the same for all of them.

Chains are mapped with vmap and sharded over the devices, draws are a scan, and the host loops over
chunks of draws. A draw is `thin` kernel steps, followed by the full-data loss and a few scalars of
the point. Its key depends only on the chain and the draw, so the chunk length changes no result.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from lambda_hat_core import precision
from lambda_hat_core.counters import fold_in, split
from lambda_hat_core.programs import compiled, quickly
from lambda_hat_core.samplers.kernel import ONE_CHAIN_AT_A_TIME, Kernel, positions
from lambda_hat_core.samplers.loop import Part, run_draws, to_host
from lambda_hat_core.samplers.monitor import Monitor
from lambda_hat_core.samplers.progress import Progress as Progress
from lambda_hat_core.samplers.rule import Draws as Draws
from lambda_hat_core.samplers.rule import StopRule

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

    def beside(self, name: str) -> "Checkpoint":
        """Return where another part of the same run is kept."""
        del name
        return self

    def resume(self, states: Any) -> tuple[Any, list[Part], list[float]]:
        """Return the stored states, chunks and end times, or `states` and two empty lists."""
        return states, [], []

    def save(self, states: Any, parts: list[Part], ends: list[float]) -> None:
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


@compiled
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


@quickly
def _init(
    key: PRNGKeyArray, kernel: Kernel, start: Float[Array, "chain ..."]
) -> tuple[Key[Array, " chain"], Any]:
    """Return the key of every chain's draws and the initial state of every chain."""
    init_key, chain_key = split(key)
    indices = jnp.arange(start.shape[0])
    by_chain = jax.vmap(fold_in, (None, 0))
    states = jax.vmap(kernel.init)(by_chain(init_key, indices), start)
    return by_chain(chain_key, indices), states


def chunk_length(n_draws: int) -> int:
    """Return the number of draws per chunk."""
    return -(-n_draws // min(CHUNKS, n_draws))


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
    alternates: bool = False,
    highest: float = math.inf,
) -> Draws:
    """Advance all chains by `n_draws` draws, or until `rule` ends them, and drop the burn-in.

    The start point is never recorded. Other arguments are those of `loop.run_draws`.
    """
    mesh = _mesh(start.shape[0])
    keys, states = _init(key, kernel, start)
    states, parts, ends = checkpoint.resume(states)
    # Sharded as `_advance` returns them, so that all calls share the program the first compiles.
    keys, states = jax.device_put((keys, states), NamedSharding(mesh, PartitionSpec("chain")))

    reached = states

    def advance(states: Any, indices: np.ndarray) -> tuple[Any, Part]:
        nonlocal reached
        span = jax.device_put(indices)
        with precision.mixed():
            states, out = _advance(kernel, monitor, keys, states, span, thin, mesh)
        reached = states
        return states, to_host(out)

    draws = run_draws(
        advance,
        states,
        parts,
        ends,
        chunk=chunk_length(n_draws) if rule is None else rule.chunk,
        n_draws=n_draws,
        n_burn=n_burn,
        llc_of=llc_of,
        is_certified=bool(np.any(np.asarray(monitor.weights) > 0)),
        setup_work=setup_work,
        setup_seconds=setup_seconds,
        progress=progress,
        save=checkpoint.save,
        clock=clock,
        rule=rule,
        alternates=alternates,
        highest=highest,
    )
    return draws._replace(arrived=lambda: positions(kernel, reached))
