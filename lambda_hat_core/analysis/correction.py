"""What the ledger predicts of a bias is taken off the mean, and what is not known of it stays in.

The ledger is exact on a quadratic. Elsewhere its sign and size are right, not its digits, so a half
of what it takes off counts as one standard error. A run whose draws are at two step sizes measures
that part of the bias, and only its burn-in is left to predict.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lambda_hat_core.analysis.diagnostics import Mean, number, t_quantile
from lambda_hat_core.samplers.trace import Trace

LARGEST = 0.25
"""Largest predicted bias, relative to the estimate, that is taken off. A larger one makes a run
suspect, and its size is no longer known well enough."""

UNKNOWN = 0.5
"""Standard error of a predicted bias, as a share of it."""

GROWN = 0.05
"""Heating or cooling of the llc, relative to it, by noise of batches that the set-up had not seen,
from which on it counts: the run is made again, or it is taken off. Less may be chance."""


def predicted(trace: Trace) -> dict[str, float | None] | None:
    """Return the bias that the ledger predicts and nothing else measures, absolute and relative.

    Noise of batches that had grown by the end of the run belongs to it (`samplers.noise_check`).
    """
    ledger = trace.info.get("ledger") or {}
    own = _burn_in(trace, ledger)
    if "step_order" in trace.info:
        return own or ledger.get("burn_in")
    found, heated = ledger.get("error"), trace.info.get("heated")
    # In a trace that was read, what is not finite is None.
    if found is None or found["relative"] is None:
        return found
    if own is not None:
        found = {name: found[name] - ledger["burn_in"][name] + own[name] for name in found}
    if heated is None:
        return found
    if abs(heated) <= GROWN * abs(ledger["llc"]):
        return found
    return {
        "absolute": found["absolute"] + heated,
        "relative": found["relative"] + heated / abs(ledger["llc"]),
    }


def _burn_in(trace: Trace, ledger: Mapping[str, Any]) -> dict[str, float | None] | None:
    """Return what the way from the start leaves in the draws of a run that a rule ended.

    The ledger has the sums of the biases of its first draws, every so many. None: its own burn-in
    is that of the run, whose lengths are written.
    """
    arrival = ledger.get("arrival")
    if not arrival or None in arrival["sums"] or not trace.info.get("until"):
        return None
    first, last = trace.info["n_burn"], trace.info["n_draws"]
    at = arrival["every"] * np.arange(len(arrival["sums"]) + 1)
    before, after = np.interp([first, last], at, [0.0, *arrival["sums"]])
    absolute = float(after - before) / max(last - first, 1)
    # At nbeta 0, a negative control, there is no llc.
    return {"absolute": absolute, "relative": absolute / ledger["llc"] if ledger["llc"] else 0.0}


def corrected(mean: Mean, trace: Trace) -> Mean:
    """Return the mean LLC of the draws of a trace without its predicted bias."""
    found = predicted(trace)
    bias = None if found is None else number(found.get("absolute"))
    if bias is None or abs(bias) > LARGEST * abs(mean.mean):
        return mean
    left = UNKNOWN * abs(bias)

    def widened(error: float | None, times: float) -> float | None:
        return None if error is None else math.hypot(error, times * left)

    return Mean(
        mean.mean - bias, widened(mean.se, 1.0), widened(mean.half_width, t_quantile(math.inf))
    )
