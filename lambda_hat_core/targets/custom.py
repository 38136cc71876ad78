"""Targets made by a function of the user: `factory(key, **kwargs) -> CustomTarget`."""

import importlib
import inspect
import json
import math
import sys
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Scalar

from lambda_hat_core.config.model import Custom
from lambda_hat_core.plan.factory import factory_search_path, source_sha256
from lambda_hat_core.streams import stream
from lambda_hat_core.targets.closures import detached, fresh
from lambda_hat_core.targets.loss_check import averages_rows, check_loss, check_value, refusal
from lambda_hat_core.targets.networks.layout import Shapes, dotted, split
from lambda_hat_core.targets.problem import Problem
from lambda_hat_core.targets.program import program_of
from lambda_hat_core.types import Batch, Weights


@dataclass(frozen=True)
class CustomTarget:
    """The object that a factory returns.

    Attributes:
        params: any pytree, or an Equinox module, of float arrays: w*, or, if `train` is true, the
            start of the training.
        loss: `loss(params, batch) -> scalar`, the mean over the rows of `batch`. JAX must be able
            to differentiate it twice at w*, because every sampler needs the Hessian there.
        data: any pytree of arrays with leading axis n, or None for a potential.
        n: number of examples; for a potential it determines n beta.
        llc_known: the coefficient, if the author knows it, as a finite number.
        train: whether `params` are to be trained and polished.
    """

    params: Any
    loss: Callable[[Any, Any], Any]
    data: Any
    n: int
    llc_known: float | None = None
    train: bool = False


@dataclass(frozen=True)
class CustomLoss:
    """A user's loss as a function of flat vectors; equality is that of `identity`.

    Attributes:
        identity: losses that compute different numbers have different identities.
        narrow: `loss(params, batch)` for use while 64-bit types are off.
        wide: the same for use while they are on.
        rebuild: converts a flat vector to `params`.
        by_row: whether the loss of a batch is the mean of the losses of its rows.
    """

    identity: Hashable
    narrow: Callable[[Any, Any], Any] = field(compare=False)
    wide: Callable[[Any, Any], Any] = field(compare=False)
    rebuild: Callable[[Weights], Any] = field(compare=False)
    by_row: bool = False

    @property
    def has_per_example(self) -> bool:
        """Whether the loss of a batch was seen to be the mean of the losses of its rows."""
        return self.by_row

    def per_example(self, w: Weights, batch: Batch) -> Float[Array, " n"]:
        """Return the loss of every row, each of which is a batch of one."""

        def of_row(row: Batch) -> Scalar:
            return self.mean(w, jax.tree.map(lambda a: a[None], row))

        return jax.vmap(of_row)(batch)

    def __call__(self, w: Weights, batch: Batch) -> Any:
        """Call the user's function."""
        function = self.wide if jax.config.jax_enable_x64 else self.narrow
        return function(self.rebuild(w), batch)

    def mean(self, w: Weights, batch: Batch) -> Scalar:
        """Return the mean loss over the rows of `batch`."""
        return jnp.asarray(self(w, batch))


def prepare(spec: Custom, seed: int) -> Problem:
    """Call the factory and return its problem.

    Raises:
        ValueError: if the factory fails or its result is invalid; the error names the factory, the
            mistake, the rule and the correction.
    """
    made = _call(spec, seed)
    source = source_sha256(spec.factory.partition(":")[0])
    identity = (spec.factory, source, json.dumps([seed, spec.kwargs], sort_keys=True))
    return problem_of(made, f"model.factory {spec.factory}", identity)


def problem_of(made: CustomTarget, maker: str, identity: Hashable | None = None) -> Problem:
    """Return the problem of a target that `maker` made, in this precision.

    Losses with the same `identity` share compiled programs. By default the identity is a hash of
    the traced program of the loss and its gradient.

    Raises:
        ValueError: if the target is invalid; the error names the maker, the mistake, the rule and
            the correction.
    """
    if not isinstance(made.n, int) or made.n < 1:
        raise refusal(maker, f"has n = {made.n!r}", "n is a positive integer")
    arrays, rebuild = _flatten(maker, made.params)
    shapes: Shapes = tuple((name, array.shape) for name, array in arrays.items())
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            did = f"has params with NaN or infinite numbers at {dotted(name)}"
            raise refusal(maker, did, "every number must be finite")
    start = fresh(np.concatenate([array.ravel() for array in arrays.values()]))
    data = _checked_data(maker, made)
    with jax.enable_x64(False):
        narrow = detached(made.loss)
    with jax.enable_x64(True):
        wide = detached(made.loss)
    loss = CustomLoss(identity, narrow, wide, rebuild)
    check_loss(maker, loss, made.params, start, data)
    if isinstance(identity, CustomLoss):
        loss = replace(loss, identity=identity.identity, by_row=identity.by_row)
    else:
        if identity is None:
            loss = replace(loss, identity=program_of(loss.mean, start, data))
        # After that: losses without an identity would share one program.
        loss = replace(loss, by_row=averages_rows(loss, start, data))
    check_value(maker, loss, start, data)
    claim = _claim(maker, made.llc_known)
    return Problem(loss, data, made.n, start, shapes, trains=made.train, claim=claim, maker=maker)


def _claim(maker: str, stated: Any) -> float | None:
    """Return the coefficient that the author of a target states, or None."""
    if stated is None:
        return None
    number = isinstance(stated, int | float | np.number) and not isinstance(stated, bool)
    if not (number and math.isfinite(stated)):
        rule = "llc_known is a finite number, or None where the coefficient is not known"
        raise refusal(maker, f"has llc_known = {stated!r}", rule)
    return float(stated)


@cache
def _module(name: str, source: str) -> Any:
    """Import a module; reload it if its source has changed since the last import."""
    del source
    sys.path[:0] = [path for path in factory_search_path() if path not in sys.path]
    if name in sys.modules:
        return importlib.reload(sys.modules[name])
    return importlib.import_module(name)


def _call(spec: Custom, seed: int) -> CustomTarget:
    maker = f"model.factory {spec.factory}"
    name, _, function = spec.factory.partition(":")
    way_out = "put the module in the working directory or on PYTHONPATH"
    try:
        source = source_sha256(name)
        module = _module(name, source)
    except (ImportError, SyntaxError) as error:
        raise refusal(maker, f"cannot be imported ({error})", way_out) from error
    if spec.source_sha256 not in (None, source):
        did = f"has source {source[:12]}, but the plan was made with {spec.source_sha256[:12]}"
        raise refusal(maker, did, "plan again") from None
    factory = getattr(module, function, None)
    if not callable(factory):
        raise refusal(maker, "is not a function of that module", "check its name")
    key = stream(seed, "factory")
    try:
        inspect.signature(factory).bind(key, **spec.kwargs)
    except TypeError as error:
        did = f"does not take (key, **{spec.kwargs}) ({error})"
        raise refusal(maker, did, "correct model.kwargs") from error
    try:
        made = factory(key, **spec.kwargs)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        did = f"raised {type(error).__name__}: {error}"
        raise refusal(
            maker, did, "correct it; the traceback is kept next to the record of the failure"
        ) from error
    if not isinstance(made, CustomTarget):
        raise refusal(
            maker,
            f"returned a {type(made).__name__}",
            "it must return lambda_hat_core.CustomTarget(params, loss, data, n)",
        )
    return made


def _is_module(node: Any) -> bool:
    return isinstance(node, eqx.Module)


def _flatten(maker: str, params: Any) -> tuple[dict[str, np.ndarray], Callable[[Weights], Any]]:
    """Return the float arrays by name, and a function from the flat vector to `params`."""
    rule = "params must be float arrays; put other arrays into data or the loss"
    for path, leaf in jax.tree_util.tree_leaves_with_path(params, is_leaf=_is_module):
        if not _is_module(leaf) and not eqx.is_inexact_array(leaf):
            where = jax.tree_util.keystr(path) or "themselves"
            did = f"has params whose leaf {where} is {type(leaf).__name__} {leaf!r}"
            raise refusal(maker, did[:200], rule)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if eqx.is_array(leaf) and not jnp.issubdtype(leaf.dtype, jnp.floating):
            where = jax.tree_util.keystr(path)
            raise refusal(maker, f"has params with a {leaf.dtype} array at {where}", rule)
    floats, static = eqx.partition(params, eqx.is_inexact_array)
    paths, treedef = jax.tree_util.tree_flatten_with_path(floats)
    if not paths:
        raise refusal(maker, "has params without a float array", rule)
    dtype = jnp.result_type(float)
    arrays = {jax.tree_util.keystr(path) or "w": np.asarray(leaf, dtype) for path, leaf in paths}
    shapes: Shapes = tuple((name, array.shape) for name, array in arrays.items())

    def rebuild(w: Weights) -> Any:
        return eqx.combine(treedef.unflatten(split(shapes, w).values()), static)

    return arrays, rebuild


def _checked_data(maker: str, made: CustomTarget) -> Batch:
    if made.data is None:
        return None
    paths, treedef = jax.tree_util.tree_flatten_with_path(made.data)
    rule = f"data are None or a pytree of arrays whose leading axis is n = {made.n}"
    if not paths:
        raise refusal(maker, f"has data without an array: {made.data!r}", rule)
    return treedef.unflatten(
        _checked_array(maker, f"data{jax.tree_util.keystr(path)}", leaf, made.n, rule)
        for path, leaf in paths
    )


def _checked_array(maker: str, name: str, leaf: Any, n: int, rule: str) -> Array:
    values = np.asarray(leaf)
    if values.ndim == 0 or values.dtype.kind in "OUSM":
        raise refusal(maker, f"has {name} of type {type(leaf).__name__}", rule)
    if values.shape[0] != n:
        raise refusal(maker, f"has {name} of shape {values.shape}", rule)
    if jnp.issubdtype(values.dtype, jnp.floating):
        values = values.astype(jnp.result_type(float))
    if jnp.issubdtype(values.dtype, jnp.inexact) and not np.isfinite(values).all():
        did = f"has {name} with NaN or infinite numbers"
        raise refusal(maker, did, "every number must be finite")
    return fresh(values)
