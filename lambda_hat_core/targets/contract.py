"""The contract of a user's loss: the mean over the rows of its batch, and always the same number.

Every gradient of a minibatch is taken for that of all examples, so a sum, a mean over what is not
masked, or statistics of the batch bias a run without a sign of it. So the loss of some rows is
compared with the losses of their halves, at the params and at a point beside them.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lambda_hat_core.programs import quickly
from lambda_hat_core.targets.loss_check import refusal
from lambda_hat_core.targets.probe import Probe
from lambda_hat_core.targets.problem import Problem
from lambda_hat_core.targets.program import program_of
from lambda_hat_core.types import Batch, Weights, constant

_TOLERANCE = 1e-5
"""Relative difference that a loss which computes in float32 inside may show."""
_NOISE = 1e-9
"""Losses that are smaller than this share of those beside the params count as 0."""
_DIVISIONS = 4
"""Ways in which rows are divided: the halves of one may happen to count the same."""
_JITTED: Any = type(jax.jit(lambda: None))

_RULE = "the loss of a batch is the mean over its rows, whichever and however many they are"
_TOGETHER = (
    "where all rows are needed together, the loss is a potential: close over them, and pass "
    "data=None with n"
)


def check_contract(problem: Problem, seen: Probe, *, weighted: bool) -> None:
    """Reject a loss that is not deterministic, or not the mean over rows.

    Args:
        problem: its loss has an identity, and is known to be a finite scalar.
        seen: its loss on a few rows.
        weighted: whether the rows have weights.

    Raises:
        ValueError: if it is not, or does not take fewer rows; the error says what it seems to be
            instead.
    """
    maker, w, data = problem.maker, problem.start, problem.data
    loss: Any = problem.loss
    plain = replace(loss, wide=_without_jit(loss.wide), narrow=_without_jit(loss.narrow))
    one, other = (program_of(lambda w, data: plain.mean(w, data), w, data) for _ in range(2))
    if one != other:
        raise refusal(
            maker,
            "has a loss that is another one each time that it is called",
            "it must be deterministic: draw random numbers once, and put them into data",
        )
    if seen.size > 1:
        _check_rows(problem, seen, weighted)


def _without_jit(function: Any) -> Any:
    while isinstance(function, _JITTED):
        function = function.__wrapped__
    return function


def _check_rows(problem: Problem, seen: Probe, weighted: bool) -> None:
    """Compare the loss of the rows with the mean loss of their halves, divided in several ways."""
    maker, loss, m = problem.maker, problem.loss, seen.size
    rng = np.random.default_rng(0)
    divided = [rng.permutation(m).reshape(2, m // 2) for _ in range(_DIVISIONS)]
    halves = np.concatenate(divided)
    one = jax.tree.map(lambda a: jax.ShapeDtypeStruct((m // 2, *a.shape[1:]), a.dtype), seen.rows)
    try:
        eqx.filter_eval_shape(loss.mean, problem.start, one)
    except MemoryError:
        raise
    except Exception as error:
        # Whatever a user's function raises on fewer rows, it is the same mistake.
        words = " ".join(str(error).split())[:200]
        did = (
            f"has a loss that takes all {problem.n} rows, but not {m // 2} of them "
            f"({type(error).__name__}: {words})"
        )
        rule = f"{_RULE}: arrays with an entry for each row belong into data; {_TOGETHER}"
        raise refusal(maker, did, rule) from error
    points = constant(np.stack(seen.points[:2]), problem.start)
    losses, again = (
        np.asarray(_losses(loss, points, seen.rows, halves), np.float64) for _ in range(2)
    )
    if not _close(losses, again, losses).all():
        did = f"has a loss of {losses[0, 0]:.6g}, and of {again[0, 0]:.6g} at the next call"
        raise refusal(maker, did, "it must be deterministic: put random numbers into data")
    together = np.asarray(seen.values[:2], np.float64)[:, None]
    apart = losses.reshape(2, _DIVISIONS, 2).mean(axis=2)
    wrong = np.isfinite(together + apart) & ~_close(together, apart, together)
    if not wrong.any():
        return
    at, division = np.unravel_index(np.argmax(wrong), wrong.shape)
    where = "" if at == 0 else " beside its params"
    did = (
        f"has a loss that is not the mean over rows: {together[at, 0]:.6g} on {m} rows{where}, but "
        f"{apart[at, division]:.6g} as the mean of two halves of them"
    )
    is_sum = bool(_close(together, 2 * apart, together)[wrong].all())
    raise refusal(maker, did, f"{_RULE}: {_way_out(problem, seen, is_sum, weighted)}")


def _close(a: np.ndarray, b: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Compare losses; at a perfect fit they are only the rounding errors of `losses` beside it."""
    finite = np.abs(losses[np.isfinite(losses)])
    least = _NOISE * finite.max(initial=0.0)
    return np.isclose(a, b, rtol=_TOLERANCE, atol=least, equal_nan=True)


@quickly
def _losses(loss: Any, points: Array, rows: Batch, halves: Any) -> Float[Array, "point half"]:
    def of_half(w: Weights, half: Array) -> Array:
        return loss.mean(w, jax.tree.map(lambda a: a[half], rows))

    return jax.lax.map(
        lambda w: jax.lax.map(lambda half: of_half(w, half), jnp.asarray(halves)), points
    )


def _way_out(problem: Problem, seen: Probe, is_sum: bool, weighted: bool) -> str:
    """Return what the loss seems to be, and what to write."""
    if is_sum:
        return "it is a sum: write jnp.mean for jnp.sum, or divide by the number of rows"
    traced = jax.make_jaxpr(problem.loss.mean)(problem.start, seen.rows).jaxpr
    square = _squared(traced, seen.size)
    if square:
        return (
            f"an array in it has shape {square} on {seen.size} rows, as (n,) minus (n, 1) has: "
            f"give predictions and labels the same shape; {_TOGETHER}"
        )
    if any("random_bits" in equation.primitive.name for equation in _equations(traced)):
        return "it draws random numbers for its rows: draw them once, and put them into data"
    if weighted:
        return "so weights must be what each row counts in it, such as the sum of its mask"
    return (
        "if rows count differently in it, as under a mask or in a mean over tokens, pass weights, "
        "what each row counts (the sum of its mask); if it normalises by statistics of its batch, "
        f"use those that training stored; {_TOGETHER}"
    )


def _equations(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield equation
        for leaf in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_program):
            if _is_program(leaf):
                yield from _equations(getattr(leaf, "jaxpr", leaf))


def _is_program(node: Any) -> bool:
    return hasattr(node, "eqns") or hasattr(node, "jaxpr")


def _squared(jaxpr: Any, rows: int) -> tuple[int, ...]:
    """Return the shape of an array that has one axis of all rows too many, or ()."""
    for equation in _equations(jaxpr):
        for variable in equation.outvars:
            shape = getattr(variable.aval, "shape", ())
            if tuple(shape).count(rows) > 1:
                return tuple(shape)
    return ()
