"""The estimate nbeta (E[L_n(w)] - L_n(w*)) of a run, with its error and its verdict."""

from collections.abc import Mapping
from typing import Any

from lambda_hat_core.analysis.measure import Estimate as Estimate
from lambda_hat_core.analysis.measure import measure
from lambda_hat_core.analysis.verdict import judge
from lambda_hat_core.samplers.trace import Trace


def estimate(trace: Trace, meta: Mapping[str, Any] | None = None) -> Estimate:
    """Estimate the LLC from a trace and judge it.

    Args:
        trace: the draws of the run.
        meta: the target's meta.json, which has the audit of w*; None if w* was not audited.
    """
    measured = measure(trace)
    verdict, reasons = judge(measured, meta)
    return measured._replace(verdict=verdict, reasons=reasons)
