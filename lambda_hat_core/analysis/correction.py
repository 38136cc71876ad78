"""What the ledger predicts of a bias is taken off the mean, and what is not known of it stays in.

The ledger is exact on a quadratic. Elsewhere its sign and size are right, not its digits, so a half
of what it takes off counts as one standard error. A run whose draws are at two step sizes measures
that part of the bias, and only its burn-in is left to predict.
"""

import math

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
    if "step_order" in trace.info:
        return ledger.get("burn_in")
    found, heated = ledger.get("error"), trace.info.get("heated")
    # In a trace that was read, what is not finite is None.
    if found is None or found["relative"] is None or heated is None:
        return found
    if abs(heated) <= GROWN * abs(ledger["llc"]):
        return found
    return {
        "absolute": found["absolute"] + heated,
        "relative": found["relative"] + heated / abs(ledger["llc"]),
    }


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
