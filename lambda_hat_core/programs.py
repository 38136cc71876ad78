"""Compiled programs: those that are called once or twice, and how many a process may hold.

XLA spends most of a compilation on instructions that run fast. A program of the set-up of a small
problem runs for milliseconds, and costs a second to compile: half of that is saved if nothing is
optimised. Matrix products, which are library calls, take as long either way; all else takes up to
1.9 times as long (measured on networks of 1,000 to 100,000 parameters).
"""

import gc
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
from jax.core import Tracer

SMALL = 20_000
"""Longest axis of any argument, such as examples or parameters, of a small problem."""
_QUICKLY: dict[str, Any] = {"compiler_options": {"xla_backend_optimization_level": 0}}


def quickly[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function as `eqx.filter_jit` does, without optimisation if small and on a CPU.

    Args:
        function: a pure function; its arguments are pytrees.
    """
    plain = eqx.filter_jit(function)
    quick = eqx.filter_jit(function, **_QUICKLY)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return (quick if _is_small((args, kwargs)) else plain)(*args, **kwargs)

    return call


def _is_small(arguments: object) -> bool:
    """Return whether these are arrays of a small problem; a part of another program is none."""
    arrays = [leaf for leaf in jax.tree.leaves(arguments) if eqx.is_array(leaf)]
    if jax.default_backend() != "cpu" or any(isinstance(a, Tracer) for a in arrays):
        return False
    return max((axis for array in arrays for axis in array.shape), default=0) <= SMALL


def forget_if_many(share: float = 0.5) -> bool:
    """Forget all compiled programs of this process if they are close to the limit of the system.

    Linux allows a process a limited number of memory maps, 65,530 by default, and XLA needs about a
    dozen of them for each program. A process that samples networks of 30 different shapes would
    reach the limit, and XLA ends it with a segmentation fault. Programs that are needed again are
    read from the persistent cache or compiled anew.

    Args:
        share: the share of the limit from which programs are forgotten, in (0, 1).

    Returns:
        Whether they were forgotten. On systems without such a limit it is False.
    """
    limit, maps = Path("/proc/sys/vm/max_map_count"), Path("/proc/self/maps")
    if not (limit.exists() and maps.exists()):
        return False
    if maps.read_bytes().count(b"\n") < share * int(limit.read_text()):
        return False
    jax.clear_caches()
    gc.collect()
    return True
