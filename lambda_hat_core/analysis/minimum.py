"""Whether w* is a minimum: a statement about the target, not about the sampler.

A correct sampler reproduces the posterior around any w*. At a point that is not a minimum the mean
loss of that posterior may even lie below L_n(w*), so that the estimate is negative without anything
being wrong with the run. What is wrong then is to read it as a learning coefficient.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from lambda_hat_core.analysis.measure import Estimate
from lambda_hat_core.analysis.words import plus_minus
from lambda_hat_core.config.posterior import PosteriorSpec

NEGATIVE_SES = 2.0
"""Number of standard errors below zero at which an estimate cannot be a learning coefficient."""

OFF_CENTRE_MAX = 0.05
"""Limit, in nats, on nbeta/2 g^T H^+ g, by which a remaining gradient g at w* lowers the LLC."""

OFF_CENTRE_SHARE = 0.5
"""Ratio of that bias to the estimate at which the estimate becomes meaningless."""

WAY_OUT = "the estimate is that of the given point: train w* further"
NO_END = (
    "the estimate is that of the given point: add weight decay to the loss, so that it has a "
    "minimum"
)
"""The way out where training further only leads further out."""


class Standing(NamedTuple):
    """What is known about w*.

    Attributes:
        at_minimum: whether neither the audit nor the draws show that w* is no minimum; None if
            there was no audit and no draw speaks against it.
        descent: nbeta times the loss that a Newton step from w* predicts to lose.
        words: why w* is not a minimum, one sentence each; empty if nothing says so.
    """

    at_minimum: bool | None
    descent: float | None
    words: list[str]


def standing(estimate: Estimate, meta: Mapping[str, Any] | None) -> Standing:
    """Return what the audit in a target's meta.json and the draws of a run tell about w*."""
    descent = off_centre_bias(estimate, meta or {})
    words = [*_audited(estimate, meta or {})]
    words += _drawn(estimate, seen=bool(words))
    fine = None if meta is None or meta.get("is_minimum") is None else True
    if words and (meta or {}).get("step") is None:
        words[-1] = f"{words[-1]}; {NO_END if 'at infinity' in words[0] else WAY_OUT}"
        words[-1] += "" if descent is None else ", or read descent beside the llc"
    return Standing(False if words else fine, descent, words)


def _audited(estimate: Estimate, meta: Mapping[str, Any]) -> Iterator[str]:
    bias, llc = off_centre_bias(estimate, meta), estimate.llc
    if meta.get("is_minimum") is False:
        why = "; ".join(meta.get("audit_reasons", [])) or "it failed its audit"
        step = meta.get("step")
        what = "not at a minimum" if step is None else f"the checkpoint of step {step}, no minimum"
        yield f"w* is {what}: {why}"
    elif bias is not None and bias > OFF_CENTRE_MAX:
        yield (
            f"w* is not at a minimum: at this nbeta the gradient there lowers the LLC by "
            f"{bias:.3g}, more than {OFF_CENTRE_MAX}"
        )
    if bias is None or llc is None or llc < 0:
        return
    if bias > max(OFF_CENTRE_MAX, OFF_CENTRE_SHARE * llc):
        yield (
            f"w* is far from a minimum: a Newton step predicts that nbeta L_n falls by {bias:.3g}, "
            "more than half of the estimate, which is then no learning coefficient"
        )


def _drawn(estimate: Estimate, *, seen: bool) -> Iterator[str]:
    """Yield what the draws say that was not `seen` without them.

    A draw may lie below w* by the tolerated off-centre bias (on a quadratic exactly the depth of
    the true minimum) plus rounding.
    """
    llc, rounding = estimate.llc, estimate.llc_rounding or 0.0
    if llc is not None and llc < -(NEGATIVE_SES * (estimate.llc_se or 0.0) + rounding):
        yield (
            f"the estimate {plus_minus(llc, estimate.llc_se)} is negative, because the posterior's "
            "mean loss lies below that of w*: w* is not its minimum"
        )
        return
    floor = -(OFF_CENTRE_MAX + rounding)
    if not seen and estimate.llc_min is not None and estimate.llc_min < floor:
        yield (
            f"a draw lies below w*: nbeta (L_n - L_n(w*)) reached {estimate.llc_min:.3g}, under "
            f"{floor:.3g}, so w* is not the minimum"
        )


def off_centre_bias(estimate: Estimate, meta: Mapping[str, Any]) -> float | None:
    """Return nbeta/2 g^T H^+ g at the nbeta of the run; meta has it at the default nbeta."""
    bias = meta.get("off_centre_bias")
    if bias is None:
        return None
    return float(bias) * estimate.nbeta / PosteriorSpec().resolved_nbeta(estimate.n)
