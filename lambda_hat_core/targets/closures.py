"""What a user's function closes over, once for each precision.

JAX gives a NumPy array the dtype in which it first meets it, and keeps to it as long as any
compiled program holds the array, even where 64-bit types are switched on or off in the meantime
(jax 0.12): float32 then meets float64 in one operation, and the program does not compile. A JAX
array of 64 bits stays one where 64-bit types are off. So a function that is used in both precisions
gets arrays of its own in each.
"""

import functools
from collections.abc import Callable, Iterator
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

_Jitted: Any = type(jax.jit(lambda: None))


def fresh(array: Any) -> Array:
    """Return a copy that JAX has not met before, in a dtype that JAX has here."""
    return jnp.asarray(np.array(array))


def detached(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with copies of its arrays, to be called in this precision only.

    Its arrays are those in closures, globals, default arguments and `functools.partial`, in
    containers there, and in functions that are reached in the same ways (of functions in globals,
    those of the same module). A function without any comes back as it is.
    """
    return _Copier().copy(function)


class _Copier:
    """Copies what holds arrays, each object once."""

    def __init__(self):
        self._copies: dict[int, tuple[Any, Any]] = {}

    def copy(self, old: Any) -> Any:
        """Return `old`, or a copy where it holds an array."""
        if id(old) not in self._copies:
            self._copies[id(old)] = (old, old)  # what refers to itself ends here
            self._copies[id(old)] = (old, self._made(old))
        return self._copies[id(old)][1]

    def _made(self, old: Any) -> Any:
        match old:
            case np.ndarray():
                return old.copy()
            case jax.Array() if not isinstance(old, Tracer):
                here = jax.dtypes.canonicalize_dtype(old.dtype, allow_extended_dtype=True)
                return old if here == old.dtype else fresh(old)
            case FunctionType():
                return self._function(old)
            case MethodType():
                return self._of([old.__func__], lambda f: MethodType(f, old.__self__), old)
            case functools.partial():
                parts = [old.func, old.args, old.keywords]
                return self._of(parts, lambda f, a, k: functools.partial(f, *a, **k), old)
            case _Jitted():
                return self._of([old.__wrapped__], lambda f: f, old)
            case dict():
                return self._of(old.values(), lambda *v: dict(zip(old, v, strict=True)), old)
            case list():
                return self._of(old, lambda *v: [*v], old)
            case tuple():
                make = getattr(old, "_make", type(old))
                return self._of(old, lambda *v: make(v), old)
            case CellType():
                return self._of(_content(old), CellType, old)
            case eqx.Module():
                leaves, frame = jax.tree.flatten(old)
                return self._of(leaves, lambda *v: frame.unflatten(v), old)
            case _:
                return old

    def _of(self, parts: Any, make: Callable[..., Any], old: Any) -> Any:
        """Return what `make` makes of copies of the parts, or `old` where they need none."""
        parts = list(parts)
        copies = [self.copy(part) for part in parts]
        same = all(copy is part for copy, part in zip(copies, parts, strict=True))
        return old if same else make(*copies)

    def _function(self, old: FunctionType) -> FunctionType:
        used = {
            name: value
            for name in _names(old.__code__)
            if (value := old.__globals__.get(name)) is not None and _within_reach(value, old)
        }
        parts = [used, old.__closure__ or (), old.__defaults__, old.__kwdefaults__]

        def make(used: dict, cells: tuple, defaults: Any, by_name: Any) -> FunctionType:
            around = old.__globals__ | used
            new = FunctionType(old.__code__, around, old.__name__, defaults, cells)
            new.__kwdefaults__ = by_name
            return new

        return self._of(parts, make, old)


def _content(cell: CellType) -> list[Any]:
    """Return what a cell holds; nothing while the name that it is for is not bound."""
    return [] if cell == CellType() else [cell.cell_contents]


def _names(code: CodeType) -> Iterator[str]:
    """Yield the names that a function, and the functions written in it, look up."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _within_reach(value: Any, function: FunctionType) -> bool:
    inner = getattr(value, "__wrapped__", value)
    return not isinstance(inner, FunctionType) or inner.__globals__ is function.__globals__
