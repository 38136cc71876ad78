"""Compiled programs: how far they are optimised, and how many a process may hold.

XLA spends most of a compilation on instructions that run fast, and a first estimate is mostly
compilation. On a CPU its first level of optimisation gives programs that run as fast as the third,
which is the default, and saves a third of the compilation (gradients, Hessian products and steps of
networks with 1,000 and 10,000 parameters, noise and elementwise functions alone: within 10 %).

A program of the set-up of a small problem runs for milliseconds. Half of its compilation is saved
if nothing is optimised. Matrix products, which are library calls, take as long either way; all else
takes two to four times as long.
"""

import gc
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
from jax.core import Tracer

from lambda_hat_core.types import AnyArray

SMALL = 20_000
"""Longest axis of any argument, such as examples or parameters, of a small problem."""
_LEVEL = "xla_backend_optimization_level"


def compiled[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function as `eqx.filter_jit` does, on a CPU with the optimisation that pays.

    Args:
        function: a pure function; its arguments are pytrees.
    """
    return _by_level(function, lambda arrays: 1)


def quickly[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function likewise, but without any optimisation if the problem is small.

    Args:
        function: a pure function that is called a few times; its arguments are pytrees.
    """

    def level(arrays: list[AnyArray]) -> int:
        longest = max((axis for array in arrays for axis in array.shape), default=0)
        return 0 if longest <= SMALL else 1

    return _by_level(function, level)


def _by_level[**P, R](
    function: Callable[P, R], level: Callable[[list[AnyArray]], int]
) -> Callable[P, R]:
    """Compile a function at the level that `level` returns for the arrays of its arguments.

    On other devices, as a part of another program, and where JAX was told to optimise little, it
    has no level of its own.
    """

    def jitted(**options: Any) -> Callable[P, R]:
        return eqx.filter_jit(function, **options)

    plain = jitted()
    by_level = [jitted(compiler_options={_LEVEL: number}) for number in (0, 1)]

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if jax.default_backend() != "cpu" or jax.config.read("jax_disable_most_optimizations"):
            return plain(*args, **kwargs)
        arrays = [leaf for leaf in jax.tree.leaves((args, kwargs)) if eqx.is_array(leaf)]
        if any(isinstance(array, Tracer) for array in arrays):
            return plain(*args, **kwargs)
        return by_level[level(arrays)](*args, **kwargs)

    return call


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
