"""How well the chains mixed: effective sample sizes, R-hat, stuck chains, energy, k-hat.

The loss alone can look converged while slow directions are not. |w - w*|^2 is the slowest scalar at
hand, but it matters only as far as the loss depends on it: with rho the correlation of the two, a
share rho^2 of the variance of the loss moves with it. An error of its mean of z standard deviations
is one of rho z in the loss, so its ESS counts divided by the share, and the excess of its R-hat^2
over 1 times the share. rho is itself measured by that many effective draws only, hence

    share = min(1, rho^2 + 1 / ESS).

`mclmc` changes its direction only over a length L, which is long where flat directions mix slowly.
Chains that are hardly longer than that look mixed and are not: on products of matrices, chains of 1
to 7 lengths had errors of 2.2 of their standard errors. So the lengths of all chains together count
as effective draws of the direction.
"""

import math
from typing import NamedTuple

import numpy as np

from lambda_hat_core.analysis.diagnostics import (
    bfmi,
    ess_bulk,
    ess_tail,
    moves,
    number,
    r_hat,
)
from lambda_hat_core.samplers.trace import Trace


class Mixing(NamedTuple):
    """The fields of an `Estimate` that describe how well the chains mixed."""

    ess_bulk: float | None = None
    ess_tail: float | None = None
    ess_min: float | None = None
    ess_min_of: str | None = None
    r_hat: float | None = None
    r_hat_of: str | None = None
    r_hat_projections: float | None = None
    n_stuck: int = 0
    bfmi: float | None = None
    khat: float | None = None


NOT_MEASURED = Mixing()


def mixing(trace: Trace) -> Mixing:
    """Return the diagnostics of a complete, finite trace.

    For independent draws the ESS is their number, and R-hat does not exist. A series that never
    changes has neither; its chains are counted as stuck.
    """
    # At nbeta 0, a negative control, the llc is 0 in every draw, but the loss moves.
    loss = trace.llc if trace.nbeta else trace.loss
    stuck = sum(not moves(chain[None]) for chain in loss)
    if trace.iid:
        count, khat = float(trace.loss.size), trace.extras.get("khat")
        return Mixing(
            ess_bulk=count,
            ess_tail=count,
            ess_min=count,
            ess_min_of="the loss",
            n_stuck=stuck,
            khat=None if khat is None else number(np.max(khat)),
        )
    away, apart = ess_bulk(trace.dist2), r_hat(trace.dist2)
    share = _share(trace, away)
    sizes = {
        "the loss": ess_bulk(loss),
        "the tails of the loss": ess_tail(loss),
        "|w - w*|^2": None if away is None else away / share,
        "the direction of motion": _turns(trace),
    }
    ratios = {
        "the loss": r_hat(loss),
        "|w - w*|^2": None if apart is None else math.sqrt(1 + share * (apart**2 - 1)),
    }
    r_hat_of, r_hat_max = _extreme(ratios, largest=True)
    along = [r_hat(trace.projections[:, :, k]) for k in range(trace.projections.shape[2])]
    ess_min_of, ess_min = _extreme(sizes, largest=False)
    return Mixing(
        ess_bulk=sizes["the loss"],
        ess_tail=sizes["the tails of the loss"],
        ess_min=ess_min,
        ess_min_of=ess_min_of,
        r_hat=r_hat_max,
        r_hat_of=r_hat_of,
        r_hat_projections=max((x for x in along if x is not None), default=None),
        n_stuck=stuck,
        bfmi=bfmi(trace.stats["energy"]) if "energy" in trace.stats else None,
    )


def _turns(trace: Trace) -> float | None:
    """Return how many decoherence lengths the chains are long together, None without such."""
    each = trace.info.get("turns_per_draw")
    return None if each is None else each * trace.loss.size


def _share(trace: Trace, ess: float | None) -> float:
    """Return which share of the variance of the loss moves with |w - w*|^2, at most."""
    if ess is None or not moves(trace.llc):
        return 1.0
    rho = float(np.corrcoef(trace.llc.ravel(), trace.dist2.ravel())[0, 1])
    return min(1.0, rho**2 + 1 / ess)


def _extreme(
    values: dict[str, float | None], *, largest: bool
) -> tuple[str, float] | tuple[None, None]:
    """Return the name and value of the largest or smallest entry that is not None."""
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        return None, None
    name = (max if largest else min)(known, key=lambda key: known[key])
    return name, known[name]
