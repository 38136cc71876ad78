"""Covariances of observables with errors, from groups of consecutive draws.

With mu the mean over all draws, group g has C_g, the mean of (z - mu) (z - mu)^T over its draws.
The estimate is the mean over groups, and its standard error their scatter divided by sqrt(G): the
batch means method, for all m^2 entries at once. Groups are several times as long as draws stay
correlated, so that they are nearly independent; at least every chain is one. A function that is
linear in the covariance is evaluated for every group, and others through their derivative.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from lambda_hat_core.analysis.diagnostics import t_quantile
from lambda_hat_core.samplers.alternating import BLOCK, CYCLE
from lambda_hat_core.samplers.moments import Moments, Recorded, sums

_MOST_PER_CHAIN = 16
_MANY = 256
"""Observables from which there are half as many groups, since each has a matrix."""
_CORRELATED = 10.0
"""Least length of a group, in draws that count as independent."""

Matrix = Float[np.ndarray, "a b"]


class Measured(NamedTuple):
    """Numbers with their errors, arrays of one shape.

    Attributes:
        value: the estimates.
        se: their standard errors; NaN where there is one group only.
        half_width: half the widths of their 90 % intervals.
    """

    value: np.ndarray
    se: np.ndarray
    half_width: np.ndarray


class Groups(NamedTuple):
    """Groups of draws of all chains.

    Attributes:
        moments: their sums, with the chains one after the other on the first axis.
        weights: of the draws at each step size in a mean; they add up to 1.
        mean: mu.
        n_chains: number of chains.
    """

    moments: Moments
    weights: Float[np.ndarray, " kind"]
    mean: Float[np.ndarray, " m"]
    n_chains: int

    def covariances(self) -> Iterator[Matrix]:
        """Yield C_g of every group."""
        for count, total, cross in zip(*self.moments, strict=True):
            share = self.weights / count[0]
            about = np.einsum("k,km->m", share, total[0])
            product = np.outer(about, self.mean)
            yield (
                np.einsum("k,kab->ab", share, cross[0])
                - product
                - product.T
                + np.outer(self.mean, self.mean)
            )

    def covariance(self) -> Matrix:
        """Return the covariance of all observables."""
        found = np.zeros((self.mean.size, self.mean.size))
        for covariance in self.covariances():
            found += covariance
        return found / len(self.moments.size)

    def measured(self, of: Callable[[Matrix], np.ndarray]) -> Measured:
        """Return the mean over groups of a function of their covariances, with its error."""
        size, total, square = 0, 0.0, 0.0
        for covariance in self.covariances():
            value = np.asarray(of(covariance))
            size += 1
            step = value - total
            total = total + step / size
            square = square + step * (value - total)
        total = np.asarray(total)
        if size < 2:
            unknown = np.full(total.shape, math.nan)
            return Measured(total, unknown, unknown)
        se = np.sqrt(np.asarray(square) / (size - 1) / size)
        return Measured(total, se, t_quantile(size - 1) * se)

    def means(self) -> Measured:
        """Return the means with errors from the groups' means."""
        about = np.einsum("gk,gkm->gm", self.weights / self.moments.size[:, 0], self._totals())
        size = len(about)
        if size < 2:
            unknown = np.full(self.mean.shape, math.nan)
            return Measured(self.mean, unknown, unknown)
        se = about.std(axis=0, ddof=1) / math.sqrt(size)
        return Measured(self.mean, se, t_quantile(size - 1) * se)

    def r_hat(self) -> Float[np.ndarray, " m"]:
        """Return the R-hat of all observables, of half chains (Gelman et al. 2013, section 11.4).

        It is NaN where nothing varies.
        """
        count, total, square = (
            x.sum(axis=(1, 2)).reshape(self.n_chains, -1, *x.shape[3:])
            for x in (*self.moments[:2], np.diagonal(self.moments.cross, axis1=-2, axis2=-1))
        )
        half = max(count.shape[1] // 2, 1)
        starts = [0] if count.shape[1] == 1 else [0, count.shape[1] - half]
        parts = [(x[:, i : i + half].sum(axis=1) for x in (count, total, square)) for i in starts]
        sizes, totals, squares = (np.concatenate(x) for x in zip(*parts, strict=True))
        means = totals / sizes[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            within = (squares / sizes[:, None] - means**2).mean(axis=0)
            between = means.var(axis=0, ddof=1) if len(means) > 1 else np.full(within.shape, np.nan)
            return np.sqrt(1 + between / within)

    def _totals(self) -> np.ndarray:
        return self.moments.total[:, 0]


def grouped(
    recorded: Recorded,
    *,
    ess: float | None,
    fine: Bool[np.ndarray, " draw"] | None,
    weights: Float[np.ndarray, " kind"],
) -> Groups:
    """Return what a run recorded in groups.

    Args:
        recorded: the draws, or the sums of batches of them.
        ess: effective sample size over all chains, which decides how long groups are; None: as for
            independent draws.
        fine: which draws were made at the smaller of two step sizes; None: all have the same.
        weights: of the draws at each of them.
    """
    draws, found = recorded
    if draws is not None:
        n_chains, n_draws, m = draws.shape
        wanted = _per_chain(float(n_draws) if ess is None else ess / n_chains, m)
        length = max(n_draws // wanted, 1)
        if fine is not None:
            cycle = BLOCK * CYCLE
            length = max(length // cycle, 1) * cycle
        begin = n_draws % length if n_draws >= length else 0
        starts = range(begin, n_draws, length)
        batches = [
            sums(draws[:, i : i + length], None if fine is None else fine[i : i + length])
            for i in starts
        ]
        found = Moments(*(np.concatenate(x, axis=1) for x in zip(*batches, strict=True)))
    else:
        assert found is not None
        n_draws = int(found.size[0].sum())
        ess = n_draws * len(found.size) if ess is None else ess
        found = _joined(found, _per_chain(ess / len(found.size), found.total.shape[-1]))
    flat = Moments(*(x.reshape(-1, 1, *x.shape[2:]) for x in found))
    mean = np.einsum("gk,gkm->m", weights / flat.size[:, 0], flat.total[:, 0]) / len(flat.size)
    return Groups(flat, weights, mean, len(found.size))


def _per_chain(ess: float, m: int) -> int:
    most = _MOST_PER_CHAIN if m <= _MANY else _MOST_PER_CHAIN // 2
    return min(max(int(ess / _CORRELATED), 1), most)


def _joined(found: Moments, wanted: int) -> Moments:
    """Join neighbouring batches so that a chain has at most `wanted`."""
    n_batches = found.size.shape[1]
    width = -(-n_batches // min(wanted, n_batches))
    starts = np.arange(n_batches % width, n_batches, width)
    return Moments(*(np.add.reduceat(x, starts, axis=1) for x in found))
