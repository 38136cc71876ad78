"""When the loop over draws stops before its length: its rule, and the draws that the rule sees."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from lambda_hat_core.samplers.moments import Recorded


class Draws(NamedTuple):
    """The draws without burn-in.

    Attributes:
        values: what was recorded, by name.
        cumulative_work: full-gradient evaluations up to each draw, set-up included.
        seconds: up to each draw, set-up included.
        failure: names the first draw whose loss is not finite.
        n_burn: draws per chain that were dropped.
        stopped_by: precision, budget, length or failure.
        spent: name of the budget that was.
        arrived: returns where the chains are; None for draws that are not of chains.
        observed: what the observables recorded, if there are any.
    """

    values: dict[str, np.ndarray]
    cumulative_work: Float[np.ndarray, " draw"]
    seconds: Float[np.ndarray, " draw"]
    failure: str | None
    n_burn: int
    stopped_by: str = "length"
    spent: str | None = None
    arrived: Callable[[], Float[Array, "chain d"]] | None = None
    observed: Recorded | None = None


class Look(NamedTuple):
    """What a look at the draws so far found.

    Attributes:
        n_burn: how many of the first to drop.
        is_enough: whether what is left is enough.
        waits_for: what more draws have to settle where the precision is reached, in a few words.
    """

    n_burn: int
    is_enough: bool
    waits_for: str = ""


class StopRule(NamedTuple):
    """When to stop: at a precision, looked at after growing numbers of draws, or at a budget.

    Attributes:
        chunk: draws per chain between two visits of the host, at each of which the budgets are
            looked at.
        most_draws: per chain.
        most_work: full-gradient evaluations, set-up included.
        is_late: whether the time for the run is up.
        rel_se: standard error, as a share of the llc, that is wanted. It only forecasts the end.
        look: at the draws so far.
        told_burn: share of the draws that reports of progress leave out as burn-in.
    """

    chunk: int
    most_draws: int
    most_work: float
    is_late: Callable[[], bool]
    rel_se: float
    look: Callable[[Draws], Look]
    told_burn: float = 0.25

    def spent(self, n_draws: int, work: float) -> str | None:
        """Return the name of the budget that so many draws per chain and so much work exceed."""
        if work >= self.most_work:
            return "max_fge"
        if n_draws >= self.most_draws:
            return "max_draws"
        return "max_seconds" if self.is_late() else None

    def total(
        self, n_draws: int, work: float, llc: float, se: float, *, is_precise: bool = False
    ) -> int:
        """Forecast the draws per chain at the end: errors shrink with the root of their number.

        Where the precision is reached, and something else is not, only the budgets are known.
        """
        if work >= self.most_work:
            return n_draws
        knows = llc and np.isfinite(se) and not is_precise
        needed = (se / (self.rel_se * llc)) ** 2 if knows else np.inf
        times = min(needed, self.most_work / work, self.most_draws / n_draws)
        return min(max(round(times * n_draws), n_draws + self.chunk), self.most_draws)


_FIRST_LOOK, _GROWTH = 3, 1.25
"""Chunks before the first look at a stop rule, and by what their number grows until the next."""


def looks(n_chunks: int) -> bool:
    """Return whether a stop rule is looked at after so many chunks."""
    at = _FIRST_LOOK
    while at < n_chunks:
        at = max(at + 1, int(_GROWTH * at))
    return at == n_chunks
