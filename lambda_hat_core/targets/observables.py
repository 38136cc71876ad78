"""The observables that are asked for by name: rows and data sets of a target, and functions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lambda_hat_core.config.errors import suggest
from lambda_hat_core.config.observables import LOSS, MOST_ROWS, PER_EXAMPLE, Wanted, is_name, parsed
from lambda_hat_core.posterior import Target
from lambda_hat_core.samplers.observables import Function, Observable, rows_at, sized
from lambda_hat_core.targets.arrays import checked_data
from lambda_hat_core.targets.closures import detached
from lambda_hat_core.targets.loss_check import refusal, traced
from lambda_hat_core.targets.problem import Named
from lambda_hat_core.targets.program import program_of
from lambda_hat_core.targets.restricted import Restricted
from lambda_hat_core.types import Batch, Weights


def named(
    maker: str,
    data_sets: Mapping[str, Any] | None,
    functions: Mapping[str, Callable[[Any], Any]] | None,
    loss: Any,
    target: tuple[Weights, Batch],
) -> Named:
    """Return the data sets and functions of a custom target.

    Args:
        maker: the name of what made the target, for errors.
        data_sets: pytrees like the target's data, by name.
        functions: of params, by name.
        loss: of the target, a `custom.CustomLoss`. If its rows have weights, a batch is a pair of
            rows and their weights, which are 1 in data sets.
        target: the flat vector and the data of the target.

    Raises:
        ValueError: if there are no names, one is taken twice, or a data set is not like the data.
    """
    for what, things in (("data_sets", data_sets), ("functions", functions)):
        check_names(maker, what, things)
    w, like = target
    own = like[0] if loss.weighted and like is not None else like
    sets: dict[str, Batch] = {}
    for name, data in (data_sets or {}).items():
        rows, count = _rows(maker, name, data, own)
        sets[name] = (rows, jnp.ones(count)) if loss.weighted else rows
        _check_loss_on(maker, name, lambda batch=sets[name]: loss.mean(w, batch))
    calls = {name: _function(call, loss.rebuild) for name, call in (functions or {}).items()}
    for name in calls.keys() & sets.keys():
        raise refusal(maker, f"has a data set and a function {name}", "give each its own name")
    return Named(sets, calls)


def check_names(maker: str, what: str, things: Any) -> None:
    """Check that `things` are a mapping whose keys may stand in `observables`.

    Raises:
        ValueError: if they are not; the error names the key.
    """
    if not isinstance(things, Mapping | None):
        rule = f"write {what}={{'name': ...}}"
        raise refusal(maker, f"has {what} of type {type(things).__name__}", rule)
    for name in things or ():
        if not is_name(name):
            rule = "a name is made of letters, digits and _, and does not begin with a digit"
            raise refusal(maker, f"has {what} with the name {name!r}", rule)
        if name in (LOSS, PER_EXAMPLE):
            rule = "that word of observables has a meaning of its own: choose another name"
            raise refusal(maker, f"has {what} with the name {name}", rule)


def _rows(maker: str, name: str, data: Any, own: Batch) -> tuple[Batch, int]:
    """Return the rows of a data set, which are like those of the target's data, and how many."""
    leaves, rule = jax.tree.leaves(data), "its rows are rows of data"
    count = len(leaves[0]) if leaves and np.ndim(leaves[0]) else 0
    rows = checked_data(f"{maker}: data_sets {name}", data, count)
    if jax.tree.structure(rows) != jax.tree.structure(own):
        raise refusal(maker, f"has a data set {name} of another structure than data", rule)
    if not count:
        raise refusal(maker, f"has a data set {name} without rows", "it needs at least one")
    for its, ours in zip(jax.tree.leaves(rows), jax.tree.leaves(own), strict=True):
        if its.ndim != ours.ndim or jnp.iscomplexobj(its) != jnp.iscomplexobj(ours):
            did = f"has a data set {name} with {its.dtype.name} of shape {its.shape}, where data "
            raise refusal(maker, f"{did}have {ours.dtype.name} of shape {ours.shape}", rule)
    return rows, count


def _check_loss_on(maker: str, name: str, loss: Callable[[], Any]) -> None:
    did = f"has a data set {name} on which the loss raised"
    traced(maker, lambda: jax.eval_shape(loss), did, "its rows are rows of data")


class _Call(NamedTuple):
    """A user's function in both precisions."""

    narrow: Callable[[Any], Any]
    wide: Callable[[Any], Any]
    rebuild: Callable[[Weights], Any]

    def __call__(self, w: Weights) -> Any:
        function = self.wide if jax.config.jax_enable_x64 else self.narrow
        return function(self.rebuild(w))


def _function(call: Callable[[Any], Any], rebuild: Callable[[Weights], Any]) -> _Call:
    with jax.enable_x64(False):
        narrow = detached(call)
    with jax.enable_x64(True):
        wide = detached(call)
    return _Call(narrow, wide, rebuild)


def chosen(
    wanted: Sequence[str], found: Named, target: Target, maker: str
) -> tuple[Observable, ...]:
    """Return the observables of a run.

    Args:
        wanted: the entries of `observables`.
        found: what they may name.
        target: as it is sampled.
        maker: the name of what made the target, for errors.

    Raises:
        ValueError: if an entry names nothing, or the loss has no losses of single rows.
    """
    return tuple(_chosen(one, found, target, maker) for one in parsed(wanted))


def _chosen(one: Wanted, found: Named, target: Target, maker: str) -> Observable:
    loss, batch, count = target.loss, target.data, target.n
    if one.name is not None and one.name in found.functions and not one.is_rows:
        return _of_function(one, found.functions[one.name], target, maker)
    if one.name is not None:
        if one.name not in found.data_sets:
            known = suggest(one.name, {*found.data_sets, *found.functions, PER_EXAMPLE})
            did = f"has no data set or function {one.name}, which observables name"
            raise refusal(maker, did, known)
        batch = found.data_sets[one.name]
        count = len(jax.tree.leaves(batch)[0])
    if batch is None:
        did = f"is a potential, and observables name {one.text}"
        raise refusal(maker, did, "a potential has no rows: name functions")
    if not one.is_rows:
        inner: Any = loss.inner if isinstance(loss, Restricted) else loss
        apart = getattr(inner, "weighted", False)
        return Observable(one.label, (0,), batch, mean_of=count, at_once=apart)
    if not loss.has_per_example:
        did = (
            f"has a loss that is not the mean of losses of single rows, and observables {one.text}"
        )
        raise refusal(maker, did, "name data sets or functions, or correct the loss")
    index = np.arange(count)
    if one.rows is None and count > MOST_ROWS:
        index = np.linspace(0, count - 1, MOST_ROWS).round().astype(int)
    elif one.rows is not None:
        index = index[one.rows]
    last = -1 if one.rows is None or one.rows.stop is None else one.rows.stop
    if not index.size or last > count:
        did = f"has {count} rows, and observables name {one.text}"
        raise refusal(maker, did, f"choose rows below {count}")
    return Observable(one.label, tuple(index.tolist()), rows_at(batch, index))


def _of_function(
    one: Wanted, function: Callable[[Weights], Any], target: Target, maker: str
) -> Observable:
    loss, w = target.loss, target.w0
    whole = loss.whole if isinstance(loss, Restricted) else None

    def call(w: Weights) -> Any:
        return function(w if whole is None else whole(w))

    def total(w: Weights, _: None) -> Any:
        fixed = jax.lax.stop_gradient(w)
        return jnp.sum(jnp.ravel(jnp.asarray(call(fixed))).astype(w.dtype))

    def described() -> tuple[int, Any, bool, str]:
        count, dtype = sized(call, w)
        is_real = not jnp.issubdtype(dtype, jnp.complexfloating)
        return count, dtype, is_real, program_of(total, w, None) if is_real else ""

    rule = "functions(params) return numbers or arrays, and JAX must be able to trace them"
    did = f"has a function {one.name} that raised"
    count, dtype, is_real, program = traced(maker, described, did, rule)
    if not (count and is_real):
        found = f"{dtype.name} numbers" if count else "an empty array"
        rule = "functions(params) return real numbers, at least one"
        raise refusal(maker, f"has a function {one.name} that returns {found}", rule)
    known = Function((one.name, program), call)
    return Observable(one.label, tuple(range(count)), function=known)
