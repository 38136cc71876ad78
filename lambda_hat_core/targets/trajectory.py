"""A training whose weights are kept at chosen steps.

A step depends only on the state before it and on its own number, so it does not matter where a
training is interrupted: from any state that was kept it goes on to the same bits. So a killed
training resumes, and steps that are asked for later are reached from the nearest step before them.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray, Scalar

from lambda_hat_core import precision
from lambda_hat_core.config.model import Custom
from lambda_hat_core.config.spec import TrajectorySpec
from lambda_hat_core.config.training import Training
from lambda_hat_core.posterior import Loss
from lambda_hat_core.programs import compiled
from lambda_hat_core.streams import stream
from lambda_hat_core.targets.assemble import assemble
from lambda_hat_core.targets.measures import Measures, measures
from lambda_hat_core.targets.networks.layout import named_arrays
from lambda_hat_core.targets.train import diverged, fits, make_step, optimiser
from lambda_hat_core.types import Batch, Weights

_FIRST, _SECONDS = 64, 5.0
"""Steps of the first stretch, and the least seconds between two states that are kept."""

_REST = "__optimizer__"

State = tuple[np.ndarray, ...]
"""The flat weights, then the leaves of the optimiser's state."""


@runtime_checkable
class Kept(Protocol):
    """Where the states of a training are kept."""

    def nearest(self, step: int) -> tuple[int, State] | None:
        """Return the last state at or before a step, with its own step; None if there is none."""
        ...

    def save(self, step: int, state: State, *, wanted: bool) -> None:
        """Keep a state; `wanted`: its step is one of those asked for."""
        ...


class Point(NamedTuple):
    """The training at one step."""

    step: int
    state: State
    measures: Measures


class Tracer:
    """The training of a trajectory.

    Args:
        spec: what is trained, and how.

    Raises:
        ValueError: if it cannot be built or is not trained.
    """

    def __init__(self, spec: TrajectorySpec):
        precision.require("float64")
        self.spec, self.problem = spec, assemble(spec)
        self._check()
        start = jnp.asarray(self.problem.start)
        first = optimiser(spec.training).init(start)
        leaves, self._tree = jax.tree.flatten(first)
        self._start = tuple(np.asarray(leaf) for leaf in (start, *leaves))
        self._key = stream(spec.seed, "training")

    def points(
        self, steps: Iterable[int], kept: Kept, log: Callable[[str], None]
    ) -> Iterator[Point]:
        """Yield the training at some steps, in ascending order.

        Args:
            steps: the steps.
            kept: states that the training may go on from; it receives those on the way.
            log: receives one line at a time.

        Raises:
            FloatingPointError: if training diverges.
        """
        at, state = 0, self._start
        for step in sorted(steps):
            before = kept.nearest(step)
            if before is not None and before[0] > at:
                at, state = before
            for reached in self._train(state, at, step):
                at, state = reached
                kept.save(at, state, wanted=at == step)
            seen = measures(self.problem, jnp.asarray(state[0]))
            log(f"step {step}: {seen.words(self.problem)}")
            yield Point(step, state, seen)

    def write(self, path: Path, state: State) -> None:
        """Write a state: the weights by name, and the leaves of the optimiser's state."""
        rest = {f"{_REST}{i}": leaf for i, leaf in enumerate(state[1:])}
        weights = named_arrays(self.problem.shapes, state[0])
        np.savez(path, allow_pickle=False, **weights, **rest)

    def read(self, path: Path) -> State:
        """Return the state in a file that `write` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            rest = (stored[f"{_REST}{i}"] for i in range(self._tree.num_leaves))
            return flat_weights(path, [name for name, _ in self.problem.shapes]), *rest

    def work(self, steps: Sequence[int]) -> float:
        """Return the full-gradient evaluations of the training up to the last of some steps."""
        size, n = self.spec.training.batch_size, self.problem.n
        full = 1.0 if size is None or self.problem.data is None else size / n
        return max(steps) * full + len(steps) / 3

    def _train(self, state: State, begin: int, end: int) -> Iterator[tuple[int, State]]:
        """Yield states at steps after `begin`, at least one in some seconds, and last at `end`."""
        problem, training = self.problem, self.spec.training
        stretch, since, last = _FIRST, time.monotonic(), begin
        while begin < end:
            until, began = min(begin + stretch, end), time.monotonic()
            inside = (jnp.asarray(state[0]), jax.tree.unflatten(self._tree, state[1:]))
            span = jnp.asarray([begin, until])
            w, inner = _stretch(
                self._key, problem.loss, inside, problem.data, problem.n, training, span
            )
            state = tuple(np.asarray(leaf) for leaf in (w, *jax.tree.leaves(inner)))
            begin = until
            if not np.isfinite(state[0]).all():
                raise diverged(problem, training, f"between steps {last} and {begin}")
            now = time.monotonic()
            if now - began < _SECONDS / 4:
                stretch *= 2
            if begin == end or now - since > _SECONDS:
                since, last = now, begin
                yield begin, state

    def _check(self) -> None:
        problem, training = self.problem, self.spec.training
        if isinstance(self.spec.model, Custom) and not problem.trains:
            raise ValueError(
                f"{problem.maker} returns train=False, so that there is no training to take "
                "checkpoints of: return train=True, or remove checkpoints"
            )
        fits(training, problem.n)


@compiled
def _stretch(
    key: PRNGKeyArray,
    loss: Loss,
    state: tuple[Weights, Any],
    data: Batch,
    n: int,
    spec: Training,
    span: Array,
) -> tuple[Weights, Any]:
    step = make_step(key, loss, data, n, spec)

    def advance(i: Scalar, state: tuple[Weights, Any]) -> tuple[Weights, Any]:
        return step(state, i)

    return jax.lax.fori_loop(span[0], span[1], advance, state)


def flat_weights(path: Path, names: Iterable[str]) -> np.ndarray:
    """Return the weights in a file of a step as a flat vector, in the order of `names`."""
    with np.load(path, allow_pickle=False) as stored:
        return np.concatenate([stored[name].ravel() for name in names])
