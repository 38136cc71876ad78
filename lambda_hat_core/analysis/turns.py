r"""Turns of a curve of which estimates with errors are certain, whatever its shape.

Means over windows of 1, 2, 4, ... consecutive estimates get bounds that hold for all windows
together in 95 % of all cases: the mean's error times the 95 % quantile of the largest error of all
windows. A chain of windows, one after the other, whose bounds do not touch and which lie low, high,
low shows that the curve has a maximum in between: a mean over a window of a monotone curve, or of
one with a minimum only, is never above those of a window before and a window behind it.
"""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

Kind = Literal["maximum", "minimum"]

SURE = 0.95
"""Share of all cases in which there are at least as many turns as are found."""


class Turn(NamedTuple):
    """A turn, which lies somewhere between two estimates.

    Attributes:
        first: index of the first estimate of the window before it.
        last: index of the last estimate of the window behind it.
        kind: whether the curve is largest or smallest in between.
    """

    first: int
    last: int
    kind: Kind


class Windows(NamedTuple):
    """Windows, in the order of their last estimates, and the bounds on their means."""

    first: Int[np.ndarray, " w"]
    last: Int[np.ndarray, " w"]
    lo: Float[np.ndarray, " w"]
    hi: Float[np.ndarray, " w"]


def certain_turns(
    llc: Float[np.ndarray, " n"], se: Float[np.ndarray, " n"], noise: Float[np.ndarray, "n r"]
) -> list[Turn]:
    """Return the turns of the longest chain of windows.

    Args:
        llc: estimates, in order.
        se: their standard errors.
        noise: standard normal numbers, from which the quantile is taken.
    """
    windows = bounded(llc, se, noise)
    chain = _longest_chain(windows)
    turns = []
    for before, at, behind in zip(chain, chain[1:], chain[2:], strict=False):
        kind: Kind = "maximum" if windows.lo[at] > windows.hi[before] else "minimum"
        turns.append(Turn(int(windows.first[before]), int(windows.last[behind]), kind))
    return turns


def bounded(
    llc: Float[np.ndarray, " n"], se: Float[np.ndarray, " n"], noise: Float[np.ndarray, "n r"]
) -> Windows:
    """Return all windows with bounds that hold for all of them together."""
    n, weights = len(llc), 1 / se**2
    total, weighted, errors = (
        np.concatenate([np.zeros((1, *a.shape[1:])), np.cumsum(a, axis=0)])
        for a in (weights, weights * llc, noise / se[:, None])
    )
    length, rows, worst = 1, [], np.zeros(noise.shape[1])
    while length <= max(1, n // 2):
        weight = total[length:] - total[:-length]
        width = 1 / np.sqrt(weight)
        first = np.arange(n - length + 1)
        rows.append(
            (first, first + length - 1, (weighted[length:] - weighted[:-length]) / weight, width)
        )
        of_noise = np.abs(errors[length:] - errors[:-length]) * width[:, None]
        worst = np.maximum(worst, of_noise.max(axis=0))
        length *= 2
    first, last, mean, width = (np.concatenate(column) for column in zip(*rows, strict=True))
    reach = np.quantile(worst, SURE) * width
    order = np.lexsort((first, last))
    return Windows(*(column[order] for column in (first, last, mean - reach, mean + reach)))


def _longest_chain(windows: Windows) -> list[int]:
    """Return the windows of a longest chain that goes up and down, or down and up, by turns."""
    first, last, lo, hi = windows
    count = len(first)
    length = np.ones((2, count), int)  # of the longest chain that ends here, by a rise or a fall
    link = np.full((2, count), -1)
    for at in range(count):
        earlier = np.flatnonzero(last[:at] < first[at])
        for way, moved, extreme in (
            (0, hi[earlier] < lo[at], -hi[earlier]),
            (1, lo[earlier] > hi[at], lo[earlier]),
        ):
            able = earlier[moved]
            if able.size:
                lengths = length[1 - way, able]
                best = np.lexsort((extreme[moved], lengths))[-1]
                length[way, at], link[way, at] = lengths[best] + 1, able[best]
    way, at = np.unravel_index(np.argmax(length), length.shape)
    way, at, chain = int(way), int(at), []
    while at >= 0:
        chain.append(at)
        way, at = 1 - way, int(link[way, at])
    return chain[::-1]
