"""The checkpoints of a run on disk: its set-up, the states of its chains, the recorded chunks."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array

from lambda_hat_core.samplers import drive
from lambda_hat_core.store import checkpoint
from lambda_hat_core.store.plain import from_plain, to_plain

_STRUCTURE = "structure"

Parts = list[dict[str, np.ndarray]]


class DiskCheckpoint(drive.Checkpoint):
    """Stores the chains of one run, so that another process can continue it.

    Args:
        file: the file, already bound to the chunk layout.
        every: least number of seconds between two writes, so that short runs write nothing.
        clock: returns the time in seconds.
    """

    def __init__(
        self,
        file: checkpoint.CheckpointFile,
        every: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._file, self._every, self._clock = file, every, clock
        self._last = clock()

    def remember(self, name: str, known: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        """Return the stored result of `make`; if there is none, call it.

        The result is stored if the last write was at least `every` seconds ago.
        """
        file = self._file.beside(name)
        stored = file.load()
        if stored is not None:
            arrays = stored[1]
            try:
                return from_plain(json.loads(str(arrays.pop(_STRUCTURE))), arrays, known)
            except ValueError:
                pass
        value = make()
        if self._is_due():
            structure, arrays = to_plain(value, known)
            file.save(0, {**arrays, _STRUCTURE: json.dumps(structure)})
            self._last = self._clock()
        return value

    def beside(self, name: str) -> "DiskCheckpoint":
        """Return where another part of the same run is kept, in a file of its own."""
        return DiskCheckpoint(self._file.beside(name), self._every, self._clock)

    def resume(self, states: Any) -> tuple[Any, Parts, list[float]]:
        """Return the stored states, chunks and end times, or `states` and two empty lists."""
        stored = self._file.load()
        if stored is None:
            return states, [], []
        index, arrays = stored
        leaves, shape = jax.tree.flatten(states)
        restored = [_like(leaf, arrays[f"state/{i}"]) for i, leaf in enumerate(leaves)]
        parts: Parts = [{} for _ in range(index)]
        for name, value in arrays.items():
            kind, _, rest = name.partition("/")
            if kind == "part":
                number, _, column = rest.partition("/")
                parts[int(number)][column] = value
        return jax.tree.unflatten(shape, restored), parts, arrays["ends"].tolist()

    def save(self, states: Any, parts: Parts, ends: list[float]) -> None:
        """Store the state after the last of `parts`, unless the last write was too recent."""
        if not self._is_due():
            return
        arrays = {f"state/{i}": _plain(leaf) for i, leaf in enumerate(jax.tree.leaves(states))}
        for number, part in enumerate(parts):
            arrays |= {f"part/{number}/{column}": value for column, value in part.items()}
        self._file.save(len(parts), {**arrays, "ends": np.asarray(ends)})
        self._last = self._clock()

    def _is_due(self) -> bool:
        return self._clock() - self._last >= self._every


def _is_key(leaf: Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(leaf: Array) -> np.ndarray:
    return np.asarray(jr.key_data(leaf) if _is_key(leaf) else leaf)


def _like(leaf: Array, stored: np.ndarray) -> Array:
    if _is_key(leaf):
        return jr.wrap_key_data(jnp.asarray(stored), impl=jr.key_impl(leaf))
    return jnp.asarray(stored, leaf.dtype)
