"""Targets that a user's function makes: `factory(key, **kwargs) -> CustomTarget`."""

import importlib
import inspect
import json
import math
import sys
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Scalar

from lambda_hat_core.config.model import Custom
from lambda_hat_core.networks.layout import Shapes, dotted, join, split
from lambda_hat_core.plan.factory import factory_search_path, source_sha256
from lambda_hat_core.potentials import Potential
from lambda_hat_core.streams import stream
from lambda_hat_core.targets.problem import Problem
from lambda_hat_core.types import Batch, Weights


@dataclass(frozen=True)
class CustomTarget:
    """What a factory returns.

    Attributes:
        params: any pytree, or an Equinox module, of float arrays: w*, or the start if `train`.
        loss: `loss(params, batch) -> scalar`, the mean over the rows of `batch`, which JAX can
            differentiate twice at w*: every sampler sets itself up by the Hessian there.
        data: a tuple of arrays with leading axis n, or None for a potential.
        n: examples; for a potential it sets n beta.
        llc_known: a coefficient that the author vouches for, a finite number.
        train: whether `params` are to be trained and polished.
    """

    params: Any
    loss: Callable[[Any, Any], Any]
    data: Any
    n: int
    llc_known: float | None = None
    train: bool = False


@dataclass(frozen=True)
class CustomLoss(Potential):
    """A user's loss on flat vectors, equal by where it came from.

    Attributes:
        identity: two losses that compute different numbers have different ones.
        function: `loss(params, batch)`.
        rebuild: from the flat vector to `params`.
    """

    identity: Hashable
    function: Callable[[Any, Any], Any] = field(compare=False)
    rebuild: Callable[[Weights], Any] = field(compare=False)

    def mean(self, w: Weights, batch: Batch) -> Scalar:
        """Mean loss over the rows of `batch`."""
        return jnp.asarray(self.function(self.rebuild(w), batch))


def prepare(spec: Custom, seed: int) -> Problem:
    """Call the factory and return its problem.

    Raises:
        ValueError: naming the factory, what it did, the rule and the way out.
    """
    made = _call(spec, seed)
    source = source_sha256(spec.factory.partition(":")[0])
    identity = (spec.factory, source, json.dumps([seed, spec.kwargs], sort_keys=True))
    return problem_of(made, f"model.factory {spec.factory}", identity)


def problem_of(made: CustomTarget, maker: str, identity: Hashable) -> Problem:
    """Return the problem of a target that `maker` made; its loss is known by `identity`.

    Raises:
        ValueError: naming the maker, what it did, the rule and the way out.
    """
    if not isinstance(made.n, int) or made.n < 1:
        raise _refuse(maker, f"has n = {made.n!r}", "n is a positive integer")
    arrays, rebuild = _flatten(maker, made.params)
    shapes: Shapes = tuple((name, array.shape) for name, array in arrays.items())
    for name, array in arrays.items():
        if not np.isfinite(np.asarray(array)).all():
            did = f"has params that hold NaN or infinite numbers at {dotted(name)}"
            raise _refuse(maker, did, "every number must be finite")
    start = join(shapes, {name: jnp.asarray(a, float) for name, a in arrays.items()})
    data = _checked_data(maker, made)
    loss = CustomLoss(identity, made.loss, rebuild)
    _check_loss(maker, loss, start, data)
    claim = _claim(maker, made.llc_known)
    return Problem(loss, data, made.n, start, shapes, trains=made.train, claim=claim, maker=maker)


def _refuse(maker: str, did: str, rule: str) -> ValueError:
    return ValueError(f"{maker} {did}; {rule}")


def _claim(maker: str, stated: Any) -> float | None:
    """Return the coefficient that a target's author vouches for."""
    if stated is None:
        return None
    number = isinstance(stated, int | float | np.number) and not isinstance(stated, bool)
    if not (number and math.isfinite(stated)):
        rule = "llc_known is a finite number, or None where the coefficient is not known"
        raise _refuse(maker, f"has llc_known = {stated!r}", rule)
    return float(stated)


@cache
def _module(name: str, source: str) -> Any:
    """Import a module, again if its source has changed since."""
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
        raise _refuse(maker, f"cannot be imported ({error})", way_out) from error
    if spec.source_sha256 not in (None, source):
        did = f"has source {source[:12]}, but the plan was made with {spec.source_sha256[:12]}"
        raise _refuse(maker, did, "plan again") from None
    factory = getattr(module, function, None)
    if not callable(factory):
        raise _refuse(maker, "is not a function of that module", "check its name")
    key = stream(seed, "factory")
    try:
        inspect.signature(factory).bind(key, **spec.kwargs)
    except TypeError as error:
        did = f"does not take (key, **{spec.kwargs}) ({error})"
        raise _refuse(maker, did, "correct model.kwargs") from error
    try:
        made = factory(key, **spec.kwargs)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        did = f"raised {type(error).__name__}: {error}"
        raise _refuse(maker, did, "mend it; the traceback is kept beside the row") from error
    if not isinstance(made, CustomTarget):
        raise _refuse(
            maker,
            f"returned a {type(made).__name__}",
            "it must return lambda_hat_core.CustomTarget(params, loss, data, n)",
        )
    return made


def _is_module(node: Any) -> bool:
    return isinstance(node, eqx.Module)


def _flatten(maker: str, params: Any) -> tuple[dict[str, Array], Callable[[Weights], Any]]:
    """Return the float arrays by name, and how to put a flat vector back in their places."""
    rule = "params hold float arrays; keep other arrays in data or in the loss"
    for path, leaf in jax.tree_util.tree_leaves_with_path(params, is_leaf=_is_module):
        if not _is_module(leaf) and not eqx.is_inexact_array(leaf):
            where = jax.tree_util.keystr(path) or "themselves"
            did = f"has params whose leaf {where} is {type(leaf).__name__} {leaf!r}"
            raise _refuse(maker, did[:200], rule)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if eqx.is_array(leaf) and not jnp.issubdtype(leaf.dtype, jnp.floating):
            where = jax.tree_util.keystr(path)
            raise _refuse(maker, f"has params with a {leaf.dtype} array at {where}", rule)
    floats, static = eqx.partition(params, eqx.is_inexact_array)
    paths, treedef = jax.tree_util.tree_flatten_with_path(floats)
    if not paths:
        raise _refuse(maker, "has params without a float array", rule)
    arrays = {jax.tree_util.keystr(path) or "w": jnp.asarray(leaf) for path, leaf in paths}
    shapes: Shapes = tuple((name, array.shape) for name, array in arrays.items())

    def rebuild(w: Weights) -> Any:
        return eqx.combine(treedef.unflatten(split(shapes, w).values()), static)

    return arrays, rebuild


def _checked_data(maker: str, made: CustomTarget) -> Batch:
    if made.data is None:
        return None
    rule = f"data is None or a tuple of arrays whose leading axis is n = {made.n}"
    if not isinstance(made.data, tuple) or not made.data:
        raise _refuse(maker, f"has data of type {type(made.data).__name__}", rule)
    data = tuple(jnp.asarray(array) for array in made.data)
    for i, array in enumerate(data):
        if array.ndim == 0 or array.shape[0] != made.n:
            raise _refuse(maker, f"has data[{i}] of shape {array.shape}", rule)
        if not bool(jnp.all(jnp.isfinite(array))):
            did = f"has data[{i}] that holds NaN or infinite numbers"
            raise _refuse(maker, did, "every number must be finite")
    return tuple(
        array.astype(float) if jnp.issubdtype(array.dtype, jnp.floating) else array
        for array in data
    )


def _check_loss(maker: str, loss: CustomLoss, start: Weights, data: Batch) -> None:

    @eqx.filter_jit
    def evaluate(w: Weights, batch: Batch) -> Array:
        return jnp.asarray(loss.function(loss.rebuild(w), batch))

    value = evaluate(start, data)
    if value.shape != ():
        did = f"has a loss that returns shape {value.shape}"
        raise _refuse(maker, did, "loss(params, batch) returns a scalar, the mean over rows")
    if not math.isfinite(float(value)):
        did = f"has a loss of {float(value)} at its params"
        raise _refuse(maker, did, "the loss must be finite there")
