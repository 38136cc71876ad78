"""When a run has seen enough: relative fixed-width stopping.

At geometrically growing numbers of draws (Flegal & Gong 2015, arXiv:1303.0238; Vats, Flegal & Jones
2019, arXiv:1512.07713) the draws so far are judged as a finished run would be, after a fraction of
them is dropped as burn-in. A run ends once its standard error, relative to the estimate, is as
small as was asked for, and the verdict has no finding that more draws could remove. The looks
depend on the specification alone, so the same specification gives the same bits.
"""

from collections.abc import Callable, Sequence

from lambda_hat_core.analysis.family import knows_family
from lambda_hat_core.analysis.finding import Finding
from lambda_hat_core.analysis.means import (
    alternates,
    is_complete,
    is_precise,
    llc_at_step_zero,
)
from lambda_hat_core.analysis.measure import measure
from lambda_hat_core.analysis.verdict import STEP_BIAS_MAX, findings
from lambda_hat_core.config.samplers.base import Until
from lambda_hat_core.samplers.alternating import BLOCK, CYCLE
from lambda_hat_core.samplers.rule import Draws, Look, StopRule
from lambda_hat_core.samplers.trace import Trace

_CYCLE = BLOCK * CYCLE
_SHARES = (0.25, 0.5)
"""Of the draws of Markov chains, tried as burn-in in turn: the first with which nothing is found
against the run."""

BIAS_SES = 2.0
"""Standard errors by which the bias of a step is beyond its limit where that is clear."""


def never() -> bool:
    """Have all the time that a run takes."""
    return False


def hopeful(trace: Trace) -> bool:
    """Go on, whatever the draws are."""
    del trace
    return False


def has_outgrown(trace: Trace) -> bool:
    """Return whether draws show beyond their errors that the step is too large to extrapolate."""
    if not (is_complete(trace) and alternates(trace)):
        return False
    found = llc_at_step_zero(trace)
    clear = abs(found.bias) - BIAS_SES * found.bias_se
    return clear > STEP_BIAS_MAX * abs(found.mean.mean)


def _named(finding: Finding) -> str:
    """Return in a few words what has to change."""
    value, limit = finding.value, finding.threshold
    if value is None or limit is None:
        return finding.cause
    match finding.cause:
        case "r_hat":
            return f"R-hat {value:.3g} to fall to {limit:.3g}"
        case "ess":
            return f"{limit:.0f} effective draws, of which there are {value:.0f}"
        case "certificate":
            return f"the certificate, {value:.3g}, to come nearer to 1"
        case "noisy certificate":
            return f"the error of the certificate, {value:.3g}, to fall to {limit:.3g}"
        case _:
            return finding.cause


def stop_rule(
    until: Until,
    trace_of: Callable[[Draws], Trace],
    *,
    chunk: int = _CYCLE,
    shares: Sequence[float] = _SHARES,
    least_burn: int = 0,
    is_late: Callable[[], bool] = never,
    is_lost: Callable[[Trace], bool] = hopeful,
) -> StopRule:
    """Return the rule of `until`.

    Args:
        until: the rule as written.
        trace_of: makes the trace that draws would be.
        chunk: draws per chain between two visits of the host; the burn-in is whole chunks. For
            chains it is a cycle of step sizes.
        shares: of the draws, tried as burn-in in turn; 0: nothing is dropped.
        least_burn: draws that are dropped at least.
        is_late: whether the time for the run is up.
        is_lost: whether a trace shows that no more draws help; it ends the run.
    """
    least = -(-least_burn // chunk) * chunk

    def judged(trace: Trace) -> tuple[bool, str]:
        if not is_precise(trace, until.rel_se):
            return False, ""
        found = measure(trace)
        left = [_named(one) for one in findings(found) if not one.persists]
        if not knows_family(found):
            left.append("the bias of its family")
        return not left, left[0] if left else ""

    def look(draws: Draws) -> Look:
        n_draws = draws.cumulative_work.size
        burn, waits = 0, ""
        for share in shares:
            wanted = max(1, round(share * n_draws / chunk)) * chunk if share else 0
            if wanted > max(n_draws - chunk, 0):
                continue
            burn = wanted
            if least > max(n_draws - chunk, 0):
                continue
            burn = max(burn, least)
            kept = {name: values[:, burn:] for name, values in draws.values.items()}
            left = draws._replace(
                n_burn=burn,
                values=kept,
                cumulative_work=draws.cumulative_work[burn:],
                seconds=draws.seconds[burn:],
            )
            trace = trace_of(left)
            is_enough, waits_for = judged(trace)
            waits = waits or waits_for
            if is_enough or is_lost(trace):
                return Look(burn, is_enough=True)
        return Look(burn, is_enough=False, waits_for=waits)

    return StopRule(
        chunk, until.max_draws, until.max_fge, is_late, until.rel_se, look, told_burn=shares[0]
    )
