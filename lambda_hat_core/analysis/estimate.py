"""The estimate nbeta (E[L_n(w)] - L_n(w*)) of a run, with three statements about it.

The verdict judges the sampler: whether its mean is the posterior's. Whether w* is a minimum is a
statement about the target, and how far lambda is from the posterior's own value one about the
temperature. Neither changes the verdict.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lambda_hat_core.analysis.advice import advise
from lambda_hat_core.analysis.measure import Estimate as Estimate
from lambda_hat_core.analysis.measure import measure
from lambda_hat_core.analysis.minimum import standing
from lambda_hat_core.analysis.temperature import finite_temperature
from lambda_hat_core.analysis.verdict import findings, judged
from lambda_hat_core.config.samplers.base import Sampler
from lambda_hat_core.config.samplers.known import SAMPLERS
from lambda_hat_core.samplers import attempts
from lambda_hat_core.samplers.trace import Trace
from lambda_hat_core.truth.exact import UNKNOWN, Exact


def estimate(
    trace: Trace,
    meta: Mapping[str, Any] | None = None,
    *,
    sampler: Sampler | None = None,
    exact: Exact = UNKNOWN,
) -> Estimate:
    """Estimate the LLC from a trace and judge it.

    Args:
        trace: the draws of the run.
        meta: the target's meta.json, which has the audit of w*; None if w* was not audited.
        sampler: the settings of the run, on which advice builds; by default the default settings.
        exact: the posterior's own value at this nbeta and gamma.
    """
    measured = measure(trace)
    used = SAMPLERS[trace.info.get("sampler", "nuts")]() if sampler is None else sampler
    found = findings(measured)
    at = standing(measured, meta)
    known = (meta or {}).get("llc_known")
    told = finite_temperature(measured.llc, measured.llc_se, known, exact)
    return measured._replace(
        verdict=judged(found),
        reasons=[finding.text for finding in found],
        advice=advise(found, measured, used, trace.info),
        at_minimum=at.at_minimum,
        descent=at.descent,
        notes=[*at.words, *([] if told is None else [told]), *_attempts(trace)],
    )


def _attempts(trace: Trace) -> Iterator[str]:
    """Yield a note where a run was made again because its step was too large."""
    before = trace.info.get("attempts")
    if before and trace.failure is None:
        yield f"{attempts.told(before)}; the draws are made at {trace.info['step_size']:.3g}"


def statements(found: Estimate, words: Callable[[str], str] = str) -> Iterator[str]:
    """Yield a line for every reason, with its way out, and one for every other statement.

    Args:
        found: the estimate.
        words: of an advice, where they are other than those of an experiment.
    """
    for reason, advice in zip(found.reasons, found.advice, strict=True):
        yield f"{found.verdict}: {reason}; set {words(advice)}"
    yield from found.notes
