"""Pairs of runs of two experiments on the same target, and how much their estimates differ."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from scipy.stats import norm

from lambda_hat_core.gallery.rows import Row, split

FALSE_ALARM = 0.05
"""Probability that any of the pairs is said to differ although none does."""

_SAID = ("nbeta", "gamma", "loss", "n_chains", "dtype")
"""Facts beside the settings whose difference is told."""


class Pair(NamedTuple):
    """A run of the first experiment and its counterpart in the second.

    Attributes:
        first: the run of the first experiment.
        second: that of the second.
    """

    first: Row
    second: Row

    @property
    def same(self) -> bool:
        """Whether both experiments have this very run."""
        return self.first.run == self.second.run

    @property
    def difference(self) -> float | None:
        """The second estimate minus the first; None unless both are there."""
        one, other = (row.facts.get("llc") for row in self)
        return None if one is None or other is None else other - one

    @property
    def se(self) -> float | None:
        """The standard error of the difference, for independent errors; 0 for the same run."""
        if self.same:
            return 0.0
        one, other = (row.facts.get("llc_se") for row in self)
        return None if one is None or other is None else math.hypot(one, other)

    @property
    def z(self) -> float | None:
        """The difference in units of its standard error."""
        if self.difference is None or not self.se:
            return None
        return self.difference / self.se

    def changes(self) -> list[tuple[str, Any, Any]]:
        """Return what the runs were set to differently, as name, first and second value."""
        if not (self.first.facts and self.second.facts):
            return []
        one, other = (
            {name: row.facts.get(name) for name in _SAID} | dict(row.settings) for row in self
        )
        names = dict.fromkeys([*one, *other])
        return [(k, one.get(k), other.get(k)) for k in names if _differ(one.get(k), other.get(k))]


def _differ(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return not math.isclose(one, other, rel_tol=1e-5)
    return one != other


class Paired(NamedTuple):
    """The runs of two experiments: those that are compared, and those that have no counterpart."""

    pairs: list[Pair]
    only_first: list[Row]
    only_second: list[Row]

    @property
    def limit(self) -> float:
        """The size of z above which a pair is said to differ, given the number of pairs."""
        count = sum(pair.z is not None for pair in self.pairs)
        return float(norm.isf(FALSE_ALARM / 2 / max(1, count)))

    def differing(self) -> list[Pair]:
        """Return the pairs whose difference chance does not explain."""
        limit = self.limit
        return [pair for pair in self.pairs if pair.z is not None and abs(pair.z) > limit]


def paired(first: Sequence[Row], second: Sequence[Row]) -> Paired:
    """Pair the runs of two experiments that have the same target and sampler.

    Where an experiment has several of them, those are paired whose labels have most in common
    (posterior, precision, seed), and otherwise in the order of the files.
    """
    pairs: list[Pair] = []
    left = list(second)
    only_first = []
    groups = dict.fromkeys((row.member.target, row.member.sampler) for row in first)
    for group in groups:
        mine = [row for row in first if (row.member.target, row.member.sampler) == group]
        others = [row for row in left if (row.member.target, row.member.sampler) == group]
        ranked = sorted(
            ((one, other) for one in mine for other in others),
            key=lambda both: -_likeness(*both),
        )
        taken: dict[str, Row] = {}
        for one, other in ranked:
            if one.run not in taken and other in left:
                taken[one.run] = other
                left.remove(other)
        pairs += [Pair(row, taken[row.run]) for row in mine if row.run in taken]
        only_first += [row for row in mine if row.run not in taken]
    return Paired(pairs, only_first, left)


def _likeness(one: Row, other: Row) -> float:
    """Return how many parts two labels share; the same run is its own counterpart."""
    if one.run == other.run:
        return math.inf
    (head, parts), (name, others) = split(one.member.label), split(other.member.label)
    return 2.0 * (head == name) + len({*parts} & {*others})
