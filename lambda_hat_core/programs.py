"""Compilation of programs that are called once or twice.

XLA spends most of a compilation on instructions that run fast. A program of the set-up of a small
problem runs for milliseconds, and costs a second to compile: half of that is saved if nothing is
optimised. Matrix products, which are library calls, take as long either way; all else takes up to
1.9 times as long (measured on networks of 1,000 to 100,000 parameters).
"""

from collections.abc import Callable
from functools import wraps
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
