"""Functions of w that are recorded with every draw, as differences from their values at w*.

They are losses of single rows, mean losses on data sets, and functions of the user. Differences
keep the digits that covariances need: at w* + O(1 / sqrt(nbeta)) a loss changes by O(1 / nbeta).
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lambda_hat_core import precision
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.programs import quickly
from lambda_hat_core.samplers.moments import Columns, Observed, Recorded
from lambda_hat_core.types import Batch, Weights


@dataclass(frozen=True)
class Function:
    """A function of the flat vector w, compared by `identity`.

    Attributes:
        identity: functions that compute different numbers have different identities.
        call: returns a number or an array.
    """

    identity: Hashable
    call: Callable[[Weights], Any] = field(compare=False)


class Observable(eqx.Module):
    """One named function of w with one or many values.

    Attributes:
        name: under which its values are found.
        index: the number of each value: the row, or the position in the result of a function.
        batch: the rows whose losses it is; None for a function.
        mean_of: the number of rows if it is their mean loss; None if it is the loss of each.
        at_once: whether that is the loss of these rows as one batch. Where rows weigh differently
            it is not the mean of the losses of single rows.
        function: the function; None for losses.
    """

    name: str = eqx.field(static=True)
    index: tuple[int, ...] = eqx.field(static=True)
    batch: Batch = None
    mean_of: int | None = eqx.field(static=True, default=None)
    at_once: bool = eqx.field(static=True, default=False)
    function: Function | None = eqx.field(static=True, default=None)

    def values(self, posterior: Posterior, w: Weights) -> tuple[Array, Array]:
        """Return the values as pairs of numbers whose sums they are."""
        if self.function is not None:
            found = jnp.ravel(jnp.asarray(self.function.call(w))).astype(w.dtype)
            return found, jnp.zeros_like(found)
        if self.mean_of is None:
            found = posterior.loss.per_example(w, self.batch)
            return found, jnp.zeros_like(found)
        there = Posterior(
            posterior.w0,
            self.batch,
            posterior.nbeta,
            posterior.gamma,
            posterior.loss,
            self.mean_of,
        )
        high, low = there.loss_at_once(w) if self.at_once else there.full_loss(w)
        return high[None], low[None]

    @property
    def n_rows(self) -> int:
        """The number of rows whose losses are evaluated."""
        if self.function is not None:
            return 0
        return len(self.index) if self.mean_of is None else self.mean_of


class Observables(eqx.Module):
    """All observables of a run.

    Attributes:
        parts: the observables.
        at: their values at w*, and before them L_n(w*), as two arrays whose sum they are.
    """

    parts: tuple[Observable, ...]
    at: tuple[Float[Array, " m"], Float[Array, " m"]]

    def record(
        self, posterior: Posterior, w: Weights, loss: tuple[Array, Array]
    ) -> Float[Array, " m"]:
        """Return the differences from w*, that of the loss first.

        Call it where `Posterior.full_loss` may be called.

        Args:
            posterior: whose loss is observed.
            w: the point.
            loss: L_n(w), as two numbers whose sum it is.
        """
        high, low = _together(self.parts, posterior, w, loss)
        return (high - self.at[0]) + (low - self.at[1])

    def work(self, n: int) -> float:
        """Return full-gradient evaluations of one record; functions are not counted."""
        return sum(part.n_rows for part in self.parts) / (3 * n)


def columns(observables: Observables) -> Columns:
    """Return what the values of a record are."""
    parts = observables.parts
    high, low = (np.asarray(x, np.float64) for x in observables.at)
    return Columns(
        (("loss", 1), *((part.name, len(part.index)) for part in parts)),
        (0, *(number for part in parts for number in part.index)),
        tuple(p.name for p in parts if p.function is None and p.mean_of is None),
        high + low,
    )


def observed(recorded: Recorded | None, observables: Observables | None) -> Observed | None:
    """Return what was recorded together with what it is, or None if there is nothing."""
    if recorded is None or observables is None:
        return None
    return Observed(columns(observables), recorded)


def observing(posterior: Posterior, parts: tuple[Observable, ...]) -> Observables:
    """Return observables with their values at w*.

    Raises:
        ValueError: if one is not finite there.
    """
    with precision.mixed():
        found = Observables(parts, _at(parts, posterior))
    of = columns(found)
    names = np.repeat([name for name, _ in of.names], [count for _, count in of.names])
    bad = np.flatnonzero(~np.isfinite(of.at[1:])) + 1
    if bad.size:
        raise ValueError(
            f"the observable {names[bad[0]]} is {of.at[bad[0]]} at w* (its value number "
            f"{of.numbers[bad[0]]}); what is recorded are differences from there, so it must be "
            "finite: correct it, or leave it out of observables"
        )
    return found


@quickly
def _at(parts: tuple[Observable, ...], posterior: Posterior) -> tuple[Array, Array]:
    with precision.of(posterior.w0):
        return _together(parts, posterior, posterior.w0, posterior.full_loss(posterior.w0))


def _together(
    parts: tuple[Observable, ...], posterior: Posterior, w: Weights, loss: tuple[Array, Array]
) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
    pairs = [(loss[0][None], loss[1][None]), *(part.values(posterior, w) for part in parts)]
    high, low = (jnp.concatenate(halves) for halves in zip(*pairs, strict=True))
    return high, low


def sized(function: Callable[[Weights], Any], w: Weights) -> tuple[int, np.dtype]:
    """Return the number of values of a function, and their type."""
    found: Any = eqx.filter_eval_shape(lambda w: jnp.ravel(jnp.asarray(function(w))), w)
    return found.size, found.dtype


def rows_at(batch: Batch, index: np.ndarray) -> Batch:
    """Return some rows of a batch."""
    return jax.tree.map(lambda a: a[index], batch)
