"""The findings of a run as named checks with a severity, as they are shown to users.

The first three checks group the findings of the verdict. The others, whether w* is a minimum and
the agreement with a known value and with the work budget, never affect the verdict.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from lambda_hat_core.analysis import verdict
from lambda_hat_core.analysis.family import KHAT_MAX
from lambda_hat_core.analysis.finding import Finding
from lambda_hat_core.analysis.measure import Estimate
from lambda_hat_core.analysis.minimum import OFF_CENTRE_MAX, standing
from lambda_hat_core.analysis.temperature import finite_temperature
from lambda_hat_core.analysis.verdict import findings
from lambda_hat_core.analysis.words import plus_minus, short
from lambda_hat_core.config.samplers.base import BUDGET
from lambda_hat_core.truth.exact import UNKNOWN, Exact


class Check(NamedTuple):
    """One named check. The severity is `error` if its failure leaves no usable number.

    Attributes:
        name: one of `CHECK_NAMES`.
        passed: whether the check passed; None if there is nothing to compare with.
        severity: the severity of its failure.
        value: the measured value, None if there is none.
        threshold: the limit that the value is compared with.
        text: a sentence that explains the result.
    """

    name: str
    passed: bool | None
    severity: Literal["warn", "error"]
    value: float | None
    threshold: float | None
    text: str


CHECK_NAMES = (
    "finite",
    "converged",
    "certificate",
    "minimum",
    "interval_covers_known",
    "work_within_budget",
)
"""The names of all checks, in the order in which `checks` returns them."""


def checks(
    estimate: Estimate,
    meta: Mapping[str, Any] | None = None,
    *,
    exact: Exact = UNKNOWN,
    budget_fge: float | None = None,
) -> list[Check]:
    """Return all checks of a run, each of `CHECK_NAMES` once.

    Args:
        estimate: the run's estimate.
        meta: the target's meta.json.
        exact: the posterior's own value at this run's nbeta and gamma, if it can be computed.
        budget_fge: the most full-gradient evaluations that the run should have cost.
    """
    found = findings(estimate)
    return [
        _grouped("finite", found, (None, None), "every recorded scalar is finite"),
        _grouped("converged", found, _mixed(estimate), _mixed_text(estimate)),
        _grouped(
            "certificate",
            found,
            (estimate.v_m, verdict.V_M_TOLERANCE),
            _certificate_text(estimate),
        ),
        _minimum(estimate, meta),
        _covers(estimate, meta or {}, exact),
        _budget(estimate, budget_fge),
    ]


def _grouped(
    name: str, found: list[Finding], good: tuple[float | None, float | None], text: str
) -> Check:
    """Return a check that fails with the findings of that name, or else passes with a text.

    The certificate is undecided where it was not computed.
    """
    mine = [finding for finding in found if finding.check == name]
    if not mine:
        passed = None if name == "certificate" and good[0] is None else True
        return Check(name, passed, "warn", *good, text)
    severity = "error" if any(finding.verdict == "failed" for finding in mine) else "warn"
    texts = "; ".join(finding.text for finding in mine)
    return Check(name, False, severity, mine[0].value, mine[0].threshold, texts)


def _mixed(estimate: Estimate) -> tuple[float | None, float | None]:
    if estimate.iid:
        return estimate.khat, KHAT_MAX
    return estimate.r_hat, verdict.R_HAT_MAX


def _mixed_text(estimate: Estimate) -> str:
    if estimate.llc is None:
        return "no estimate to judge"
    if estimate.iid:
        khat = "not computed" if estimate.khat is None else f"{estimate.khat:.2f}"
        return f"independent draws; k-hat {khat}"
    return (
        f"R-hat at most {estimate.r_hat:.4f} ({estimate.r_hat_of}), "
        f"{estimate.ess_min:.0f} effective draws ({estimate.ess_min_of})"
    )


def _certificate_text(estimate: Estimate) -> str:
    if estimate.v_m is None:
        return "V_M was not computed"
    error = estimate.v_m_se or 0.0
    text = f"V_M = {plus_minus(estimate.v_m, error)}, required within {verdict.V_M_TOLERANCE} of 1"
    if error > verdict.V_M_TOLERANCE:
        return f"{text}: too noisy to see a deviation of {verdict.V_M_TOLERANCE}"
    return text


def _minimum(estimate: Estimate, meta: Mapping[str, Any] | None) -> Check:
    at = standing(estimate, meta)
    if at.words:
        words = "; ".join(at.words)
        passed = (meta or {}).get("step") is not None
        return Check("minimum", passed, "warn", at.descent, OFF_CENTRE_MAX, words)
    text = "w* was not audited" if meta is None else "w* passed its audit"
    if estimate.llc_min is not None:
        text += f"; the lowest draw has nbeta (L_n - L_n(w*)) = {estimate.llc_min:.3g}"
    return Check("minimum", True, "warn", at.descent, OFF_CENTRE_MAX, text)


def _covers(estimate: Estimate, meta: Mapping[str, Any], exact: Exact) -> Check:
    """Compare with the exact finite-temperature value, or else with lambda itself.

    The exact expectation is lower than lambda by about (m - 1) / log nbeta. Without an exact value
    the interval must therefore overlap that range, rather than contain lambda. An exact value that
    was sampled has an error, by four of which the interval is widened.
    """
    name, lo, hi = "interval_covers_known", estimate.llc_lo, estimate.llc_hi
    value = meta.get("llc_known") if exact.value is None else exact.value
    if value is None:
        text = f"no exact value is known: {meta.get('llc_known_reason') or 'none is attached'}"
        return Check(name, None, "warn", estimate.llc, None, text)
    value, slack = float(value), 4 * (exact.se or 0.0)
    low, what = value, f"the exact value {value:.4g} at this nbeta and gamma"
    if exact.value is None:
        term = ((meta.get("multiplicity") or 1) - 1) / math.log(max(estimate.nbeta, math.e))
        low, what = value - term, f"lambda = {value:.4g}" + (f" minus {term:.2g}" if term else "")
    if lo is None or hi is None:
        return Check(
            name, False, "warn", estimate.llc, value, f"there is no interval to contain {what}"
        )
    passed = bool(lo <= value + slack and hi >= low - slack)
    relation = "contains" if passed else "does not contain"
    text = f"the 90 % interval [{lo:.4g}, {hi:.4g}] {relation} {what}"
    told = finite_temperature(estimate.llc, estimate.llc_se, meta.get("llc_known"), exact)
    if exact.value is None and not passed and told is not None:
        text = f"{text}; {told}"
    return Check(name, passed, "warn", estimate.llc, value, text)


def _budget(estimate: Estimate, budget_fge: float | None) -> Check:
    name, work = "work_within_budget", estimate.work_fge
    if budget_fge is None:
        text = f"{short(work)} full-gradient evaluations; no budget was set"
        return Check(name, None, "warn", work, None, text)
    passed = work <= budget_fge
    relation = "within" if passed else "over"
    rounded = float(f"{work:.3g}"), float(f"{budget_fge:.3g}")
    cost, most = map(short, rounded)
    forecasts = f" ({BUDGET} forecasts)" if estimate.rel_se is None else ""
    text = f"{cost} full-gradient evaluations, {relation} the budget of {most}{forecasts}"
    return Check(name, passed, "warn", work, budget_fge, text)
