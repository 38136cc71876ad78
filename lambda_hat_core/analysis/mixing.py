"""How well the chains mixed: effective sample sizes, R-hat, stuck chains, energy, k-hat."""

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
    stuck = sum(not moves(chain[None]) for chain in trace.llc)
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
    sizes = {
        "the loss": ess_bulk(trace.llc),
        "the tails of the loss": ess_tail(trace.llc),
        "|w - w*|^2": ess_bulk(trace.dist2),
    }
    ratios = {"the loss": r_hat(trace.llc), "|w - w*|^2": r_hat(trace.dist2)}
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


def _extreme(
    values: dict[str, float | None], *, largest: bool
) -> tuple[str, float] | tuple[None, None]:
    """Return the name and value of the largest or smallest entry that is not None."""
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        return None, None
    name = (max if largest else min)(known, key=lambda key: known[key])
    return name, known[name]
