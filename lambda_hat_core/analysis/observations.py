r"""What the observables of a run tell, with errors.

With l_i the loss of row i, O any observable and <.> the mean over the posterior:

influence         -Cov(l_i, O)                 (Bayesian influence, arXiv:2509.26544)
loss kernel       Corr(l_i, l_j)               (arXiv:2509.26537)
susceptibility    d<O>/dh = -nbeta Cov(O, g), where the mean loss L_n becomes L_n + h g
                                               (fluctuation-dissipation; arXiv:2504.18274)
functional variance  V = sum_i Var(l_i), and nu = beta V / 2   (Watanabe 2010, JMLR 11:3571)
WAIC              -1/n sum_i log <exp(-l_i)> + beta V / n

The last two need a loss that is a negative log likelihood, and the sums are over all n rows: those
of fewer rows are scaled to n, which is an estimate if the rows are a random part.
"""

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from lambda_hat_core.analysis.diagnostics import ess_bulk, number, r_hat
from lambda_hat_core.analysis.groups import Groups, Measured, grouped
from lambda_hat_core.analysis.means import alternates, llc_at_step_zero, mean_of
from lambda_hat_core.analysis.observed_mean import ObservedMean
from lambda_hat_core.config.errors import suggest
from lambda_hat_core.samplers.moments import Observed
from lambda_hat_core.samplers.trace import Trace

_FEW = 64
"""Observables whose means are judged one by one, which takes some 10 ms for each."""

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False, eq=False)
class Observations:
    """The observables of a run: their means, covariances and what follows from them.

    Attributes:
        trace: the run.
    """

    trace: Trace

    def __repr__(self) -> str:
        """Return the names, with the numbers of their values."""
        return f"Observations({', '.join(f'{name}: {count}' for name, count in self._names)})"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the observables; `loss` is that on all of the target's data."""
        return tuple(name for name, _ in self._names)

    @property
    def rows_of(self) -> tuple[str, ...]:
        """The names of those that are losses of single rows."""
        return self._observed.columns.rows_of

    def index(self, name: str) -> np.ndarray:
        """Return the numbers of the values of an observable, such as its rows."""
        return np.asarray(self._observed.columns.numbers)[self._at(name)]

    @property
    def _observed(self) -> Observed:
        assert self.trace.observed is not None
        return self.trace.observed

    @property
    def _names(self) -> tuple[tuple[str, int], ...]:
        return self._observed.columns.names

    def _at(self, name: str) -> slice:
        start = 0
        for known, count in self._names:
            if known == name:
                return slice(start, start + count)
            start += count
        raise ValueError(f"{name!r} is no observable of this run; {suggest(name, self.names)}")

    @cached_property
    def groups(self) -> Groups:
        """The draws in groups, from whose scatter errors come."""
        trace = self.trace
        fine, weights = None, np.ones(1)
        if alternates(trace):
            sizes = trace.stats["step_size"][0]
            fine = sizes < 0.75 * sizes.max()
            share = _share_of_fine(trace)
            if share is None or not fine.any() or fine.all():
                fine = None
            else:
                weights = np.array([1 - share, share])
        summed = self._observed.recorded.moments
        if summed is not None and fine is None:
            kinds = summed.size[0].sum(axis=0)
            weights = kinds / kinds.sum()
        known = [ess for ess in map(ess_bulk, (trace.loss, trace.dist2)) if ess is not None]
        ess = None if trace.iid or not known else min(known)
        return grouped(self._observed.recorded, ess=ess, fine=fine, weights=weights)

    def rows(self) -> list[ObservedMean]:
        """Return the mean of every observable with its error, in order.

        Those of few observables are found like that of the llc, of many from groups of draws.
        """
        columns = self._observed.columns
        names = [name for name, count in columns.names for _ in range(count)]
        draws = self._observed.recorded.draws
        means = self._by_groups() if draws is None or len(names) > _FEW else self._one_by_one(draws)
        return [
            ObservedMean(name, index, number(at), number(at + mean), number(se), number(agree))
            for name, index, at, (mean, se, agree) in zip(
                names, columns.numbers, columns.at, means, strict=True
            )
        ]

    def _one_by_one(self, draws: np.ndarray) -> list[tuple[float, float, float]]:
        found: list[tuple[float, float, float]] = []
        for series in np.moveaxis(draws, -1, 0):
            if not np.isfinite(series).all():
                found.append((math.nan, math.nan, math.nan))
                continue
            mean = mean_of(self.trace, series)
            agree = None if self.trace.iid else r_hat(series)
            se, agree = (math.nan if x is None else x for x in (mean.se, agree))
            found.append((mean.mean, se, agree))
        return found

    def _by_groups(self) -> list[tuple[float, float, float]]:
        means = self.groups.means()
        agree = self.groups.r_hat() * (math.nan if self.trace.iid else 1.0)
        return [*zip(means.value.tolist(), means.se.tolist(), agree.tolist(), strict=True)]

    def to_dataframe(self) -> "pd.DataFrame":
        """Return the means as a table."""
        import pandas as pd

        return pd.DataFrame(map(asdict, self.rows()))

    def covariance(self, a: str, b: str | None = None) -> Measured:
        """Return the covariances of the values of two observables, by default one with itself.

        Raises:
            ValueError: if there is no such observable.
        """
        first, second = self._at(a), self._at(a if b is None else b)
        return self.groups.measured(lambda c: c[first, second])

    def influence(self, a: str, of: str = "loss") -> Measured:
        """Return -Cov(a, of): how much more of a row's loss in the posterior changes `of`.

        It is the derivative of the mean of `of` by the weight of a row in nbeta L_n, where a
        weight of 1 adds the row's loss once.

        Raises:
            ValueError: if there is no such observable.
        """
        return _times(-1.0, self.covariance(a, of))

    def susceptibility(self, of: str, to: str) -> Measured:
        """Return -nbeta Cov(of, to): the derivative of the mean of `of` by h in L_n + h `to`.

        Raises:
            ValueError: if there is no such observable.
        """
        return _times(-self.trace.nbeta, self.covariance(of, to))

    def kernel(self, a: str, b: str | None = None) -> Measured:
        """Return the correlations of the values of two observables, by default one with itself.

        Raises:
            ValueError: if there is no such observable.
        """
        first, second = self._at(a), self._at(a if b is None else b)
        whole = self.groups.covariance()
        deviation = np.sqrt(np.diag(whole))
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = 1 / np.outer(deviation[first], deviation[second])
            value = whole[first, second] * scale

            def linear(c: np.ndarray) -> np.ndarray:
                share = np.diag(c) / np.diag(whole)
                lost = (share[first, None] + share[None, second]) / 2
                return c[first, second] * scale - value * (lost - 1)

            return self.groups.measured(linear)

    def functional_variance(self, a: str = "per_example") -> Measured:
        """Return sum_i Var(l_i) over all n rows.

        Raises:
            ValueError: if these are not the losses of single rows of the target's data.
        """
        at, scale = self._rows_of_data(a), self.trace.n / len(self.index(a))
        return self.groups.measured(lambda c: scale * np.trace(c[at, at]))

    def nu(self, a: str = "per_example") -> Measured:
        """Return the singular fluctuation nu = beta/2 sum_i Var(l_i).

        Raises:
            ValueError: if these are not the losses of single rows of the target's data.
        """
        return _times(0.5 * self.trace.nbeta / self.trace.n, self.functional_variance(a))

    def waic(self, a: str = "per_example") -> float:
        """Return the widely applicable information criterion per row.

        Raises:
            ValueError: if these are not the losses of single rows of the target's data, or only
                sums of the draws were kept.
        """
        at, beta = self._rows_of_data(a), self.trace.nbeta / self.trace.n
        draws = self._observed.recorded.draws
        if draws is None:
            raise ValueError(
                f"WAIC needs every draw of {a}, and of a run as long as this one only sums are "
                "kept; record fewer rows, such as per_example[0:100]"
            )
        losses = self._observed.columns.at[at] + draws[:, :, at]
        flat = losses.reshape(-1, losses.shape[-1])
        least = flat.min(axis=0)
        evidence = least - np.log(np.mean(np.exp(least - flat), axis=0))
        variance = float(self.functional_variance(a).value)
        return float(evidence.mean()) + beta * variance / self.trace.n

    def _rows_of_data(self, a: str) -> slice:
        if a != "per_example" or a not in self._observed.columns.rows_of:
            raise ValueError(
                f"{a!r} are not the losses of single rows of the target's data; record per_example"
            )
        return self._at(a)

    def plot(self, a: str = "per_example") -> "Figure":
        """Return a heat map of the kernel of an observable, ordered by clusters.

        Raises:
            ValueError: if there is no such observable.
        """
        from lambda_hat_core.analysis.figures.observables import kernel_figure

        return kernel_figure(self.kernel(a).value, self.index(a), a)


def _times(factor: float, found: Measured) -> Measured:
    return Measured(factor * found.value, abs(factor) * found.se, abs(factor) * found.half_width)


def _share_of_fine(trace: Trace) -> float | None:
    """Return the weight of the draws at half the step in the mean at step size 0, or None."""
    found = llc_at_step_zero(trace)
    usable = math.isfinite(found.bias_se) and found.difference != 0
    return found.bias / found.difference if usable else None
