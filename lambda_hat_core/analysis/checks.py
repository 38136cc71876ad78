"""A run's findings as named checks with a severity, the form a person sees them in.

The first four are the verdict's own findings, grouped. Agreement with a known value and with a
work budget are shown beside them but never enter a verdict.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from lambda_hat_core.analysis import verdict
from lambda_hat_core.analysis.measure import Estimate
from lambda_hat_core.analysis.verdict import Finding, findings
from lambda_hat_core.analysis.words import plus_minus, short
from lambda_hat_core.config.samplers.base import BUDGET


class Check(NamedTuple):
    """One named check: severity `error` where failing it leaves no usable number.

    Attributes:
        name: one of `CHECK_NAMES`.
        passed: whether it holds.
        severity: of its failure.
        value: what was measured, None where nothing was.
        threshold: the limit the value was held against.
        text: a sentence for the person who looks.
    """

    name: str
    passed: bool
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
"""Every check, in the order in which `checks` returns them."""


def checks(
    estimate: Estimate,
    meta: Mapping[str, Any] | None = None,
    *,
    llc_oracle: float | None = None,
    budget_fge: float | None = None,
) -> list[Check]:
    """Return all checks of a run, each of `CHECK_NAMES` once.

    Args:
        estimate: the run's estimate.
        meta: the target's meta.json.
        llc_oracle: the exact value at this run's nbeta and gamma, where it is computable.
        budget_fge: full-gradient evaluations the run was meant to cost at most.
    """
    found = findings(estimate, meta)
    return [
        _grouped("finite", found, (None, None), "every recorded scalar is finite"),
        _grouped("converged", found, _mixed(estimate), _mixed_text(estimate)),
        _grouped(
            "certificate",
            found,
            (estimate.v_m, verdict.V_M_TOLERANCE),
            _certificate_text(estimate),
        ),
        _grouped(
            "minimum",
            found,
            (estimate.llc_min, -verdict.OFF_CENTRE_MAX),
            _minimum_text(estimate, meta),
        ),
        _covers(estimate, meta or {}, llc_oracle),
        _budget(estimate, budget_fge),
    ]


def _grouped(
    name: str, found: list[Finding], good: tuple[float | None, float | None], text: str
) -> Check:
    """Fail with the findings of that name, or pass with a value, its threshold and a text."""
    mine = [finding for finding in found if finding.check == name]
    if not mine:
        return Check(name, True, "warn", *good, text)
    severity = "error" if any(finding.verdict == "failed" for finding in mine) else "warn"
    texts = "; ".join(finding.text for finding in mine)
    return Check(name, False, severity, mine[0].value, mine[0].threshold, texts)


def _mixed(estimate: Estimate) -> tuple[float | None, float | None]:
    if estimate.iid:
        return estimate.khat, verdict.KHAT_MAX
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
    text = f"V_M = {plus_minus(estimate.v_m, error)}, to be within {verdict.V_M_TOLERANCE} of 1"
    if error > verdict.V_M_TOLERANCE:
        return f"{text}: too noisy to see a deviation of {verdict.V_M_TOLERANCE}"
    return text


def _minimum_text(estimate: Estimate, meta: Mapping[str, Any] | None) -> str:
    audit = "w* was not audited" if meta is None else "w* passed its audit"
    if estimate.llc_min is None:
        return audit
    return f"{audit}; the lowest draw has nbeta (L_n - L_n(w*)) = {estimate.llc_min:.3g}"


def _covers(estimate: Estimate, meta: Mapping[str, Any], llc_oracle: float | None) -> Check:
    """Compare with the exact finite-temperature value, or else with lambda itself.

    Exact sampling reads lambda low by about (m - 1) / log nbeta, so without an oracle the interval
    has to meet that range, not lambda alone.
    """
    name, lo, hi = "interval_covers_known", estimate.llc_lo, estimate.llc_hi
    exact = meta.get("llc_known") if llc_oracle is None else llc_oracle
    if exact is None:
        text = f"no exact value is known: {meta.get('llc_known_reason') or 'none is attached'}"
        return Check(name, True, "warn", estimate.llc, None, text)
    exact = float(exact)
    low, what = exact, f"the exact value {exact:.4g} at this nbeta and gamma"
    if llc_oracle is None:
        term = ((meta.get("multiplicity") or 1) - 1) / math.log(max(estimate.nbeta, math.e))
        low, what = exact - term, f"lambda = {exact:.4g}" + (f" less {term:.2g}" if term else "")
    if lo is None or hi is None:
        return Check(name, False, "warn", estimate.llc, exact, f"no interval to hold {what}")
    passed = bool(lo <= exact and hi >= low)
    relation = "holds" if passed else "does not hold"
    text = f"the 90 % interval [{lo:.4g}, {hi:.4g}] {relation} {what}"
    return Check(name, passed, "warn", estimate.llc, exact, text)


def _budget(estimate: Estimate, budget_fge: float | None) -> Check:
    name, work = "work_within_budget", estimate.work_fge
    if budget_fge is None:
        text = f"{short(work)} full-gradient evaluations; no budget was set"
        return Check(name, True, "warn", work, None, text)
    passed = work <= budget_fge
    relation = "within" if passed else "over"
    rounded = float(f"{work:.3g}"), float(f"{budget_fge:.3g}")
    cost, most = map(short, rounded)
    text = f"{cost} full-gradient evaluations, {relation} the budget of {most} ({BUDGET} forecasts)"
    return Check(name, passed, "warn", work, budget_fge, text)
