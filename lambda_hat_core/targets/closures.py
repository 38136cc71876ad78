"""Copies of the arrays that a user's function closes over, one for each precision.

When JAX first sees a NumPy array it chooses a dtype for it, and keeps that dtype as long as any
compiled program holds the array, even if 64-bit types are switched on or off in the meantime
(jax 0.12). Then one operation mixes float32 and float64, and the program does not compile. A 64-bit
JAX array also keeps its dtype when 64-bit types are off. A function that is used in both precisions
therefore gets its own copies of its arrays in each of them.
"""

import functools
from collections.abc import Callable, Iterator
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

_Jitted: Any = type(jax.jit(lambda: None))


def fresh(array: Any) -> Array:
    """Return a copy that JAX has not seen before, in a dtype that is enabled here."""
    return jax.device_put(np.array(array))


def detached(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with copies of its arrays, to be called in this precision only.

    Copied are the arrays in closures, globals, default arguments and `functools.partial`, in
    containers found there, and in functions found there (of functions in globals, only those of the
    same module). A function without arrays is returned unchanged.
    """
    return _Copier().copy(function)


class _Copier:
    """Copies objects that contain arrays, each object once."""

    def __init__(self):
        self._copies: dict[int, tuple[Any, Any]] = {}

    def copy(self, old: Any) -> Any:
        """Return `old`, or a copy if it contains an array."""
        if id(old) not in self._copies:
            self._copies[id(old)] = (old, old)  # stops at objects that refer to themselves
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
        """Return `make` of the copied parts, or `old` if no part had to be copied."""
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
    """Return the content of a cell as a list, which is empty if its name is not bound yet."""
    return [] if cell == CellType() else [cell.cell_contents]


def _names(code: CodeType) -> Iterator[str]:
    """Yield the global names that a function, and the functions defined inside it, use."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _within_reach(value: Any, function: FunctionType) -> bool:
    inner = getattr(value, "__wrapped__", value)
    return not isinstance(inner, FunctionType) or inner.__globals__ is function.__globals__
