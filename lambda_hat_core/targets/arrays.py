"""The arrays of a custom target: its params as a flat vector, its data and weights, checked."""

import math
import os
from collections.abc import Callable, Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lambda_hat_core.targets.closures import fresh
from lambda_hat_core.targets.loss_check import refusal
from lambda_hat_core.targets.networks.layout import Shapes, dotted, split
from lambda_hat_core.types import Batch, Weights


def _is_module(node: Any) -> bool:
    return isinstance(node, eqx.Module)


def flattened(maker: str, params: Any) -> dict[str, np.ndarray]:
    """Return the float arrays of params by name.

    Raises:
        ValueError: if there are none, or another leaf, or a number that is not finite.
    """
    rule = (
        "params must be float arrays, as numpy.asarray(number, float) makes one; put other arrays "
        "into data or the loss"
    )
    for path, leaf in jax.tree_util.tree_leaves_with_path(params, is_leaf=_is_module):
        if not _is_module(leaf) and not eqx.is_inexact_array(leaf):
            where = jax.tree_util.keystr(path)
            which = f"whose leaf {where} is" if where else "that are"
            did = f"has params {which} {type(leaf).__name__} {leaf!r}"
            raise refusal(maker, did[:200], rule)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if eqx.is_array(leaf) and not jnp.issubdtype(leaf.dtype, jnp.floating):
            where = jax.tree_util.keystr(path)
            did = f"has params with a {leaf.dtype} array" + (f" at {where}" if where else "")
            raise refusal(maker, did, rule)
    floats = eqx.filter(params, eqx.is_inexact_array)
    dtype = jnp.result_type(float)
    arrays = {
        jax.tree_util.keystr(path) or "w": np.asarray(leaf, dtype)
        for path, leaf in jax.tree_util.tree_leaves_with_path(floats)
    }
    if not arrays:
        raise refusal(maker, "has params without a float array", rule)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            did = f"has params with NaN or infinite numbers at {dotted(name)}"
            raise refusal(maker, did, "every number must be finite")
    return arrays


def rebuilder(params: Any, arrays: dict[str, np.ndarray], shapes: Shapes) -> Callable[..., Any]:
    """Return a function from the flat vector to `params`.

    Args:
        params: as the user wrote them.
        arrays: all of their float arrays.
        shapes: those in the flat vector; the others keep their values.
    """
    floats, static = eqx.partition(params, eqx.is_inexact_array)
    treedef = jax.tree.structure(floats)
    kept = {name: array for name, array in arrays.items() if name not in dict(shapes)}

    def rebuild(w: Weights) -> Any:
        dtype = jnp.result_type(float)
        fixed = {name: jnp.asarray(np.array(array, dtype)) for name, array in kept.items()}
        moving = split(shapes, w) | fixed
        return eqx.combine(treedef.unflatten(moving[name] for name in arrays), static)

    return rebuild


def checked_data(maker: str, data: Any, n: int) -> Batch:
    """Return the data as arrays of this precision.

    Raises:
        ValueError: if they are not arrays of n rows with finite numbers, or larger than the memory.
    """
    if data is None:
        return None
    paths, treedef = jax.tree_util.tree_flatten_with_path(data)
    rule = f"data are None or a pytree of arrays whose leading axis is n = {n}"
    if not paths:
        raise refusal(maker, f"has data without an array: {data!r}", rule)
    _check_memory(maker, (leaf for _, leaf in paths))
    return treedef.unflatten(
        _checked_array(maker, f"data{jax.tree_util.keystr(path)}", leaf, n, rule)
        for path, leaf in paths
    )


def _check_memory(maker: str, leaves: Iterable[Any]) -> None:
    """Refuse files mapped into memory of which one copy is larger than all memory."""
    floating = np.dtype(jnp.result_type(float)).itemsize
    needed = sum(
        leaf.size * (floating if leaf.dtype.kind == "f" else leaf.dtype.itemsize)
        for leaf in leaves
        if isinstance(leaf, np.ndarray)
    )
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        did = f"has data of {needed / 1e9:.3g} GB, and this machine has {there / 1e9:.3g} GB"
        rule = "all rows are in memory: draw as many as fit, and set nbeta to n / log n of all"
        raise refusal(maker, did, rule)


def shares(maker: str, weights: Any, n: int) -> Array:
    """Return the weights of the rows in units of their mean.

    Raises:
        ValueError: if they are not n finite numbers > 0.
    """
    rule = f"weights are n = {n} finite numbers > 0, what each row of data counts"
    values = np.asarray(weights)
    if values.shape != (n,) or values.dtype.kind not in "iuf":
        did = f"has weights of shape {values.shape} and type {values.dtype.name}"
        raise refusal(maker, did, rule)
    wrong = np.flatnonzero(~((values > 0) & np.isfinite(values)))
    if wrong.size:
        did = f"has weights of which {wrong.size} are not, the first of them {values[wrong[0]]}"
        raise refusal(maker, did, f"{rule}: leave rows that count nothing out of data")
    values = values.astype(np.float64)
    return fresh((values / values.mean()).astype(jnp.result_type(float)))


def _checked_array(maker: str, name: str, leaf: Any, n: int, rule: str) -> Array:
    if isinstance(leaf, np.ma.MaskedArray):
        did = f"has {name} of type MaskedArray"
        raise refusal(maker, did, "its mask would be lost: leave rows with masked numbers out")
    values = np.asarray(leaf)
    if values.ndim == 0 or values.dtype.kind in "OUSMm" or values.dtype.names is not None:
        of = type(leaf).__name__ if values.ndim == 0 else f"{values.dtype} values"
        way_out = "numpy.asarray makes one of a list of numbers"
        raise refusal(maker, f"has {name} of type {of}", f"{rule}, of numbers: {way_out}")
    if values.shape[0] != n:
        raise refusal(maker, f"has {name} of shape {values.shape}", rule)
    _check_integers(maker, name, values)
    if jnp.issubdtype(values.dtype, jnp.floating):
        values = values.astype(jnp.result_type(float))
    else:
        values = np.array(values)
    if jnp.issubdtype(values.dtype, jnp.inexact) and not np.isfinite(values).all():
        rows = np.unique(np.nonzero(~np.isfinite(values))[0])
        where = f"in {len(rows)} of {n} rows, first in row {rows[0]}"
        did = f"has {name} with NaN or infinite numbers {where}"
        raise refusal(maker, did, "every number must be finite: correct or leave out these rows")
    # A copy in either case, which JAX has not seen before (see `closures`).
    return jax.device_put(values)


def _check_integers(maker: str, name: str, values: np.ndarray) -> None:
    """Refuse integers that would change, because 64-bit types are off in this precision."""
    if values.dtype.kind not in "iu" or not values.size:
        return
    limits = np.iinfo(jax.dtypes.canonicalize_dtype(values.dtype))
    largest = max(abs(int(values.min())), int(values.max()))
    if largest > limits.max:
        did = f"has {name} with the integer {largest}"
        rule = f"float32 runs have {limits.bits}-bit integers: number them from 0, or use float64"
        raise refusal(maker, did, rule)


def stated(maker: str, llc_known: Any) -> float | None:
    """Return the coefficient that the author of a target states, or None."""
    if llc_known is None:
        return None
    number = isinstance(llc_known, int | float | np.number) and not isinstance(llc_known, bool)
    if not (number and math.isfinite(llc_known)):
        rule = "llc_known is a finite number, or None where the coefficient is not known"
        raise refusal(maker, f"has llc_known = {llc_known!r}", rule)
    return float(llc_known)
